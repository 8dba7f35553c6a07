"""Client kits of the EST door."""

from __future__ import annotations

from collections.abc import Mapping

from protocols.kits import Kit, KitFacts, MakeKit, request_command


def _place(facts: KitFacts) -> str:
    label = "" if facts.label == "default" else f"/{facts.label}"
    return f"{facts.mtls_url}/.well-known/est{label}"


def _curl(facts: KitFacts) -> Kit:
    name = facts.name
    return Kit(
        (
            request_command(name, der=True),
            f'openssl base64 -A -in {name}.csr | curl --cacert {facts.root} --user {facts.user}:"{facts.quoted}" '
            f'--data-binary @- -H "Content-Type: application/pkcs10" {_place(facts)}/simpleenroll | '
            f"openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs -out {name}.pem",
        )
    )


def _strongswan(facts: KitFacts) -> Kit:
    name = facts.name
    return Kit(
        (
            request_command(name, der=True),
            f'pki --est --url {facts.mtls_url} --cacert {facts.root} --userpass {facts.user}:"{facts.quoted}" '
            f"--in {name}.csr --outform pem > {name}.pem",
        ),
        note="" if facts.label == "default" else f"strongSwan needs --label {facts.label}, from version 6 on.",
    )


def _estclient(facts: KitFacts) -> Kit:
    return Kit(
        (
            f"EST_OPENSSL_CACERT={facts.root} estclient -e -s {_host(facts)} -p {_port(facts)} "
            f'-u {facts.user} -h "{facts.quoted}" -o . --common-name {facts.name}',
        )
    )


def _host(facts: KitFacts) -> str:
    return facts.mtls_url.removeprefix("https://").rpartition(":")[0] or facts.mtls_url.removeprefix("https://")


def _port(facts: KitFacts) -> str:
    return facts.mtls_url.removeprefix("https://").rpartition(":")[2]


KITS: Mapping[str, MakeKit] = {"curl": _curl, "strongswan": _strongswan, "estclient": _estclient}
