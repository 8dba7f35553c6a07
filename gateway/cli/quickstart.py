"""certgate quickstart: a working certificate gateway from nothing, offline and without questions."""

from __future__ import annotations

import argparse
import shlex
from typing import Any
from urllib.parse import urlsplit

from gateway.cli import EXIT_STATUSES, UNAVAILABLE, CommandFailed, overrides, server_parent, state_parent
from gateway.cli.talk import configuration


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the tree."""
    one = commands.add_parser(
        "quickstart",
        parents=[state_parent(), server_parent()],
        help="set everything up and print client commands",
        description="Set everything up without questions, and print client commands; a second time changes nothing.",
        epilog=EXIT_STATUSES,
    )
    one.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Set up, and print what to paste."""
    import asyncio

    from gateway.masterkey import StateMissing
    from gateway.setup import keep_settings, quickstart
    from gateway.store import StoreRefused
    from policy.problems import Problem

    config = configuration(options)
    try:
        told = asyncio.run(quickstart(config))
        keep_settings(config, overrides(options))
    except Problem as problem:
        raise CommandFailed(problem.detail) from problem
    except (StateMissing, StoreRefused, OSError) as fault:
        raise CommandFailed(str(fault), UNAVAILABLE) from fault
    print(client_commands(told, str(options.state)))
    return 0


def client_commands(told: dict[str, Any], state: str) -> str:
    """Commands for an ordinary user: own directories, the CA in the environment, a name that needs no DNS."""
    acme, est, scep, cmp, rest = (told[door] for door in ("acme", "est", "scep", "cmp", "rest"))
    root = shlex.quote(told["root_ca"])
    host = urlsplit(told["base_url"]).hostname or "127.0.0.1"
    return f"""certgate is set up in {state}. Start it:

  certgate serve --state {shlex.quote(state)}

Then, in another shell, a certificate by ACME (certbot):

  REQUESTS_CA_BUNDLE={root} certbot certonly -n --agree-tos --register-unsafely-without-email \\
    --server {acme["directory"]} --eab-kid {acme["kid"]} --eab-hmac-key {acme["hmac_key"]} \\
    --standalone --http-01-address {host} --http-01-port 8888 -d www.certgate.test \\
    --config-dir certbot/config --work-dir certbot/work --logs-dir certbot/logs

by ACME (lego):

  LEGO_CA_CERTIFICATES={root} lego --server {acme["directory"]} --accept-tos --email you@example.com \\
    --eab --kid {acme["kid"]} --hmac {acme["hmac_key"]} --path lego --domains lego.certgate.test \\
    --http --http.port {host}:8888 run

by EST (curl):

  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -outform DER \\
    -subj /CN=device-1.certgate.test -addext subjectAltName=DNS:device-1.certgate.test | openssl base64 -A | \\
  curl --cacert {root} --user {est["username"]}:{est["password"]} --data-binary @- \\
    -H "Content-Type: application/pkcs10" {est["url"]}/simpleenroll | \\
  openssl base64 -d -A | openssl pkcs7 -inform DER -print_certs -out device.pem

by EST (strongSwan):

  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout peer.key -outform DER -out peer.csr \\
    -subj /CN=peer.certgate.test -addext subjectAltName=DNS:peer.certgate.test
  pki --est --url {told["mtls_url"]} --cacert {root} --userpass {est["username"]}:{est["password"]} \\
    --in peer.csr --outform pem > peer.pem

by SCEP (strongSwan 5.9.11 or later):

  pki --gen --type rsa --size 2048 --outform pem > scep.key
  pki --scepca --url {scep["url"]} --caout scep-ca.pem --raout scep-ra.pem --outform pem --force
  pki --scep --url {scep["url"]} --password {scep["challenge"]} --in scep.key \\
    --dn CN=scep.certgate.test --san scep.certgate.test --cacert-enc scep-ra.pem --cacert-sig scep-ra.pem \\
    --cacert {root} --cacert {shlex.quote(told["issuing_ca"])} --outform pem > scep.pem

by REST (curl):

  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout api.key -out api.csr \\
    -subj /CN=api.certgate.test -addext subjectAltName=DNS:api.certgate.test
  python3 -c 'import json; print(json.dumps({{"csr": open("api.csr").read()}}))' | \\
  curl --cacert {root} -H "Authorization: Bearer {rest["access_key"]}" \\
    -H "Content-Type: application/json" --data @- {rest["url"]}/orders

by CMP (openssl):

  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out machine.key
  openssl cmp -config "" -cmd ir -server {cmp["url"]} -ref {cmp["reference"]} -secret pass:{cmp["secret"]} \\
    -recipient "/CN=CMP" -newkey machine.key -subject /CN=machine-1.certgate.test \\
    -sans machine-1.certgate.test -certout machine.pem -cacertsout machine-ca.pem

Why a certificate was issued: certgate order list, certgate order show ID. What is wrong, if anything: certgate doctor.
The secrets above are kept in {state}/quickstart.json, and nowhere else in the clear."""
