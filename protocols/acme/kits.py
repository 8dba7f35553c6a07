"""Client kits of the ACME door: external account binding for the clients that people use."""

from __future__ import annotations

import json
from collections.abc import Mapping

from protocols.kits import Kit, KitFacts, MakeKit


def _directory(facts: KitFacts) -> str:
    return f"{facts.base_url}/acme/{facts.label}/directory"


def _certbot(facts: KitFacts) -> Kit:
    return Kit(
        (
            f"REQUESTS_CA_BUNDLE={facts.root} certbot certonly -n --agree-tos --register-unsafely-without-email "
            f"--server {_directory(facts)} --eab-kid {facts.user} --eab-hmac-key {facts.shell} "
            f"--standalone -d {facts.name}",
        )
    )


def _lego(facts: KitFacts) -> Kit:
    return Kit(
        (
            f"LEGO_CA_CERTIFICATES={facts.root} lego --server {_directory(facts)} --accept-tos --email you@example.org "
            f"--eab --kid {facts.user} --hmac {facts.shell} --domains {facts.name} --http run",
        )
    )


def _acme_sh(facts: KitFacts) -> Kit:
    server = f"--server {_directory(facts)} --ca-bundle {facts.root}"
    return Kit(
        (
            f"acme.sh --register-account {server} --eab-kid {facts.user} --eab-hmac-key {facts.shell}",
            f"acme.sh --issue {server} --standalone -d {facts.name}",
        )
    )


def _caddy(facts: KitFacts) -> Kit:
    file = f"""{{
    acme_ca {_directory(facts)}
    acme_ca_root {facts.root}
    acme_eab {{
        key_id {json.dumps(facts.identifier)}
        mac_key {_in_caddy(facts)}
    }}
}}

{facts.name} {{
    respond "it works"
}}
"""
    return Kit(("caddy run --config Caddyfile",), (("Caddyfile", file),))


def _in_caddy(facts: KitFacts) -> str:
    kind, _, name = facts.secret_from.partition(":")
    return f"{{env.{name}}}" if kind == "env" else facts.text


def _cert_manager(facts: KitFacts) -> Kit:
    file = f"""apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata:
  name: certgate
spec:
  acme:
    server: {_directory(facts)}
    caBundle: BASE64_OF_THE_ROOT
    privateKeySecretRef:
      name: certgate-account
    externalAccountBinding:
      keyID: {json.dumps(facts.identifier)}
      keySecretRef:
        name: certgate-eab
        key: secret
    solvers:
      - http01:
          ingress: {{}}
"""
    secret = f"kubectl -n cert-manager create secret generic certgate-eab --from-literal=secret={facts.shell}"
    apply = f'sed "s|BASE64_OF_THE_ROOT|$(base64 -w0 {facts.root})|" issuer.yaml | kubectl apply -f -'
    return Kit((secret, apply), (("issuer.yaml", file),))


def _win_acme(facts: KitFacts) -> Kit:
    return Kit(
        (
            f"wacs.exe --source manual --host {facts.name} --baseuri {_directory(facts)} --accepttos "
            f"--eab-key-identifier {facts.user} --eab-key {facts.text}",
        ),
        note="The root has to be in the trusted root store of the machine.",
    )


KITS: Mapping[str, MakeKit] = {
    "certbot": _certbot,
    "lego": _lego,
    "acme.sh": _acme_sh,
    "caddy": _caddy,
    "cert-manager": _cert_manager,
    "win-acme": _win_acme,
}
