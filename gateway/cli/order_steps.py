"""certgate order place, change, submit, csr, agree, retry, explain, validations, verify, and its documents."""

from __future__ import annotations

import argparse
import mimetypes
import sys
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from gateway.cli import OK, USAGE, Actions, CommandFailed, json_option, verb
from gateway.cli.output import print_json, print_table, shown, when
from gateway.cli.talk import ask


def add_steps(actions: Actions) -> None:
    """Add them below `certgate order`."""
    one = verb(actions, "place", place, "order a certificate in the name of a credential")
    one.add_argument("--credential", required=True, metavar="NAME", help="identifier or id")
    _wanted(one)
    one.add_argument("--draft", action="store_true", help="only write it down; it is judged when it is submitted")
    one.add_argument("--automatic-renewal", action="store_true", help="renew the certificate when its window opens")
    one = verb(actions, "change", change, "change a draft; what is left out stays")
    one.add_argument("id")
    _wanted(one)
    for name, run, help in (
        ("submit", submit, "hand in a draft: it is judged now"),
        ("retry", retry, "go on with an order that is stuck, or place anew one that ended without a certificate"),
        ("explain", explain, "why an order is as it is: the decision line by line, and what is owed"),
        ("validations", validations, "the proofs that an order needs: what has to be where, and every attempt"),
    ):
        one = verb(actions, name, run, help)
        one.add_argument("id")
        json_option(one)
    one = verb(actions, "csr", csr, "hand in the certification request of an order")
    one.add_argument("id")
    one.add_argument("file", help='PEM or DER; "-" for standard input')
    json_option(one)
    one = verb(actions, "agree", agree, "agree to the terms of an order's product")
    one.add_argument("id")
    one.add_argument("--signer", required=True, metavar="NAME", help="who agrees")
    json_option(one)
    one = verb(actions, "verify", verify, "have a proof looked at")
    one.add_argument("id")
    one.add_argument("validation", help="the id that `validations` shows")
    one.add_argument("--method", required=True, choices=("dns-01", "http-01"))
    json_option(one)
    _documents(actions)


def _wanted(one: argparse.ArgumentParser) -> None:
    one.add_argument("--name", action="append", metavar="NAME", help="a name to certify; repeatable")
    one.add_argument("--csr", metavar="FILE", help='the certification request, PEM or DER; "-" for standard input')
    one.add_argument("--product", metavar="P")
    one.add_argument("--tag", action="append", metavar="TAG", help="to find the certificate by; repeatable")
    json_option(one)


def _documents(actions: Actions) -> None:
    one = verb(actions, "add-document", add_document, "hand in a document with an order")
    one.add_argument("id")
    one.add_argument("file")
    one.add_argument("--type", required=True, metavar="T", help="one of the types that the product names")
    one.add_argument("--media-type", metavar="M", help="left out, by the end of the file's name")
    json_option(one)
    one = verb(actions, "get-document", get_document, "a document as it was handed in")
    one.add_argument("id")
    one.add_argument("document")
    one.add_argument("--out", required=True, metavar="FILE", help="where to write it; never over a file that is there")
    for name, run, help in (
        ("accept-document", accept, "accept a document; nobody accepts their own"),
        ("reject-document", reject, "reject a document, with the reason"),
    ):
        one = verb(actions, name, run, help)
        one.add_argument("id")
        one.add_argument("document")
        one.add_argument("--why", default="", metavar="TEXT", help="for the client and the audit log")
        json_option(one)


def request_text(name: str | None) -> str | None:
    """A certification request in a file, as a command takes it. Raises CommandFailed."""
    if name is None:
        return None
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as fault:
        raise CommandFailed(f"{name} cannot be read: {fault}", USAGE) from fault
    return data.decode("ascii", "replace") if b"-----BEGIN" in data else b64encode(data).decode()


def place(options: argparse.Namespace) -> int:
    """certgate order place"""
    found = ask(
        options,
        "order.place",
        credential=options.credential,
        names=options.name,
        csr=request_text(options.csr),
        product=options.product,
        draft=options.draft,
        tags=options.tag,
        automatic=options.automatic_renewal,
    )
    return say(options, found)


def change(options: argparse.Namespace) -> int:
    """certgate order change"""
    csr = request_text(options.csr)
    wanted = {"names": options.name, "csr": csr, "product": options.product, "tags": options.tag}
    return say(options, ask(options, "order.change", id=options.id, **wanted))


def submit(options: argparse.Namespace) -> int:
    """certgate order submit"""
    return say(options, ask(options, "order.submit", id=options.id))


def retry(options: argparse.Namespace) -> int:
    """certgate order retry"""
    return say(options, ask(options, "order.retry", id=options.id))


def csr(options: argparse.Namespace) -> int:
    """certgate order csr"""
    return say(options, ask(options, "order.csr", id=options.id, csr=request_text(options.file)))


def agree(options: argparse.Namespace) -> int:
    """certgate order agree"""
    return say(options, ask(options, "order.agree", id=options.id, signer=options.signer))


def explain(options: argparse.Namespace) -> int:
    """certgate order explain"""
    found = ask(options, "order.explain", id=options.id)
    if options.json:
        print_json(found)
        return OK
    say(options, found)
    print_table([[one["rule"], one["outcome"], one["detail"]] for one in found["decision"]], ["rule", "outcome", "why"])
    print_table([[when(one["at"]), one["tag"], one["actor"]] for one in found["events"]], ["at", "event", "by"])
    return OK


def validations(options: argparse.Namespace) -> int:
    """certgate order validations"""
    return _proofs(options, ask(options, "order.validations", id=options.id))


def verify(options: argparse.Namespace) -> int:
    """certgate order verify"""
    words = {"validation": options.validation, "method": options.method}
    return _proofs(options, ask(options, "order.verify", id=options.id, **words))


def _proofs(options: argparse.Namespace, found: list[dict[str, Any]]) -> int:
    if options.json:
        print_json(found)
        return OK
    for one in found:
        print(f"{one['id']} {shown(one['name'])}: {one['status']}")
        for way in one["ways"]:
            print(f"  {way['method']}: {shown(way['place'])} has {shown(way['value'])}")
        for event in one["attempts"]:
            print(f"  {when(event['at'])} {event['tag']}: {shown(event['detail'].get('detail', ''))}")
    return OK


def add_document(options: argparse.Namespace) -> int:
    """certgate order add-document"""
    path = Path(options.file)
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise CommandFailed(f"{options.file} cannot be read: {fault}", USAGE) from fault
    media = options.media_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    words = {"type": options.type, "name": path.name, "media_type": media, "content": b64encode(content).decode()}
    return say(options, ask(options, "order.add-document", id=options.id, **words))


def get_document(options: argparse.Namespace) -> int:
    """certgate order get-document"""
    found = ask(options, "order.get-document", id=options.id, document=options.document)
    try:
        with Path(options.out).open("xb") as file:
            file.write(b64decode(found["content"]))
    except OSError as fault:
        raise CommandFailed(f"{options.out} cannot be written: {fault}", USAGE) from fault
    print(f"{shown(found['name'])} ({found['media_type']}, {found['size']} octets) is in {options.out}")
    return OK


def accept(options: argparse.Namespace) -> int:
    """certgate order accept-document"""
    return _review(options, accept=True)


def reject(options: argparse.Namespace) -> int:
    """certgate order reject-document"""
    return _review(options, accept=False)


def _review(options: argparse.Namespace, *, accept: bool) -> int:
    words = {"document": options.document, "accept": accept, "why": options.why}
    return say(options, ask(options, "order.review", id=options.id, **words))


def say(options: argparse.Namespace, found: dict[str, Any]) -> int:
    """An order, and what it owes."""
    if options.json:
        print_json(found)
        return OK
    certificate = f"; its certificate is {found['serial']}" if found["serial"] else ""
    print(f"order {found['id']} is {found['status']}{certificate}")
    if found["problem"]:
        print(f"  {shown(found['problem']['detail'])}")
    for one in found["requirements"]:
        print(f"  owed: {shown(one['detail'])}" + (f" ({one['id']})" if one["id"] else ""))
    for one in found["documents"]:
        print(f"  document {one['id']}: {one['type']}, {shown(one['name'])}, {one['status']}")
    return OK
