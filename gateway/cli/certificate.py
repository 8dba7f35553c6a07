"""certgate cert: show, list, export, renew, reissue, renew-now, revoke, hold, release, tag."""

from __future__ import annotations

import argparse
from typing import Any

from ca_core.status import RevocationReason
from gateway.cli import OK, USAGE, Actions, CommandFailed, json_option, noun, verb
from gateway.cli.order_steps import request_text, say
from gateway.cli.output import print_facts, print_json, print_lines, print_table, when
from gateway.cli.talk import Conversation, ask, conversation, pages

NO_REASON = (RevocationReason.CERTIFICATE_HOLD, RevocationReason.REMOVE_FROM_CRL)
TABLE_ROWS = 50


def add(commands: Actions) -> None:
    """Add the commands to the tree."""
    actions = noun(commands, "cert", "look at, export and revoke certificates")
    one = verb(actions, "show", show, "one certificate: its state, what it is for, why it was issued")
    one.add_argument("serial", help="hexadecimal, with or without colons")
    one.add_argument("--pem", action="store_true", help="only the certificate and its chain, as PEM")
    json_option(one)
    one = verb(actions, "list", list_, "certificates, newest first")
    _filters(one)
    one.add_argument("--limit", type=int, metavar="N", help=f"at most so many; 0 for all (default {TABLE_ROWS})")
    json_option(one, "one object per line, all certificates unless --limit says less")
    one = verb(actions, "export", export, "every certificate with its PEM, newest first, one JSON object per line")
    _filters(one)
    one.add_argument("--json", action="store_true", help="the one form there is; accepted for clarity")
    _changes(actions)


def _filters(one: argparse.ArgumentParser) -> None:
    one.add_argument("--credential", default="", metavar="NAME", help="of this credential (identifier or id)")
    one.add_argument("--text", default="", metavar="TEXT", help="with a name that contains this")


def _changes(actions: Actions) -> None:
    one = verb(actions, "renew-now", renew_now, "have ACME clients renew certificates before their time (ARI)")
    one.add_argument("serials", nargs="*", metavar="SERIAL", help="none: list what is to be renewed now")
    one.add_argument("--product", metavar="P", help="all certificates of this product that there are now")
    one.add_argument("--explanation-url", metavar="URL", help="of a page that tells people why (RFC 9773)")
    one.add_argument("--why", default="", metavar="TEXT", help="for the audit log")
    one.add_argument("--withdraw", action="store_true", help="take it back: the ordinary windows count again")
    json_option(one)
    allowed = ", ".join(reason for reason in RevocationReason if reason not in NO_REASON)
    one = verb(actions, "revoke", revoke, "revoke a certificate for good")
    one.add_argument("serial")
    one.add_argument("--reason", default="unspecified", metavar="NAME", help=f"one of {allowed}")
    one.add_argument(
        "--block",
        action="append",
        choices=("identity", "domain", "key"),
        help="keep its names, their domains or its key from being certified again; repeatable",
    )
    one.add_argument("--invalidity-date", metavar="TIME", help="since when its key is suspected")
    json_option(one)
    _successors(actions)
    for name, run, reason, help in (
        ("hold", hold, RevocationReason.CERTIFICATE_HOLD, "suspend a certificate until it is released or revoked"),
        ("release", release, RevocationReason.REMOVE_FROM_CRL, "reinstate a suspended certificate"),
    ):
        one = verb(actions, name, run, help)
        one.add_argument("serial")
        one.add_argument("--reason", choices=[reason.value], help="the only one there is; may be left out")
        json_option(one)


def _successors(actions: Actions) -> None:
    one = verb(actions, "renew", renew, "the same again: by the request that was kept, or by another one")
    one.add_argument("serial")
    one.add_argument("--csr", metavar="FILE", help="PEM or DER")
    one.add_argument("--automatic-renewal", action="store_true", help="renew the new one when its window opens")
    json_option(one)
    one = verb(actions, "reissue", reissue, "the same with another key or other names")
    one.add_argument("serial")
    one.add_argument("--csr", metavar="FILE", help="PEM or DER")
    one.add_argument("--name", action="append", metavar="NAME", help="left out, the same names; repeatable")
    one.add_argument("--new-key", action="store_true", help="the key has to be another one")
    one.add_argument("--revoke-previous", metavar="REASON", help="revoke this one when the new one is there")
    json_option(one)
    one = verb(actions, "tag", tag, "give a certificate these tags and no others")
    one.add_argument("serial")
    one.add_argument("tags", nargs="*", metavar="TAG")
    json_option(one)


def renew(options: argparse.Namespace) -> int:
    """certgate cert renew"""
    words = {"csr": request_text(options.csr), "automatic": options.automatic_renewal or None}
    return say(options, ask(options, "cert.follow", serial=options.serial, **words))


def reissue(options: argparse.Namespace) -> int:
    """certgate cert reissue"""
    if not (options.name or options.csr or options.new_key):
        raise CommandFailed("say what is to be other: --name, --csr or --new-key", USAGE)
    words = {
        "csr": request_text(options.csr),
        "names": options.name,
        "new_key": options.new_key,
        "retire": options.revoke_previous,
    }
    return say(options, ask(options, "cert.follow", serial=options.serial, **words))


def tag(options: argparse.Namespace) -> int:
    """certgate cert tag"""
    found = ask(options, "cert.tag", serial=options.serial, tags=options.tags)
    if options.json:
        print_json(found)
    else:
        print(f"{found['serial']} has {', '.join(found['tags']) or 'no tags'} now")
    return OK


def show(options: argparse.Namespace) -> int:
    """certgate cert show"""
    found = ask(options, "cert.show", serial=options.serial)
    if options.json:
        print_json(found)
    elif options.pem:
        print(found["pem"] + "".join(found["chain"]), end="")
    else:
        _print(found)
    return OK


def _print(found: dict[str, Any]) -> None:
    print_facts(
        {
            "serial": found["serial"],
            "status": found["status"],
            "since": when(found["revoked_at"]) if found["revoked_at"] else None,
            "reason": found["reason"],
            "subject": found["subject"],
            "names": found["names"],
            "valid": f"{when(found['not_before'])} to {when(found['not_after'])} UTC",
            "issuer": found["issuer"],
            "product": found["product"],
            "profile": f"{found['profile']} (version {found['profile_version']})",
            "key": found["key_type"],
            "credential": found["credential_identifier"] or found["credential"],
            "mount": found["mount"],
            "order": found["order"],
            "replaces": found["replaces"],
            "SHA-256": found["sha256"],
        }
    )
    print("\nWhat happened:")
    print_table([[when(event["at"]), event["tag"], event["actor"]] for event in found["events"]], ["at", "event", "by"])
    print(f"\nWhy it was issued: certgate order show {found['order']}. The certificate: certgate cert show --pem")


def list_(options: argparse.Namespace) -> int:
    """certgate cert list"""
    limit = options.limit if options.limit is not None else 0 if options.json else TABLE_ROWS
    with conversation(options) as talk:
        found = pages(talk, "cert.page", limit, credential=options.credential, text=options.text)
        if options.json:
            print_lines(found)
            return OK
        rows = [
            [one["serial"], one["status"], when(one["not_after"]), one["product"], one["names"] or one["subject"]]
            for one in found
        ]
    print_table(rows, ["serial", "status", "until (UTC)", "product", "names"])
    if limit and len(rows) == limit:
        print(f"({limit} shown; --limit 0 for all)")
    return OK


def export(options: argparse.Namespace) -> int:
    """certgate cert export"""
    with conversation(options) as talk:
        for done, one in enumerate(pages(talk, "cert.page", credential=options.credential, text=options.text), 1):
            print_lines((one,))
            if done % 500 == 0:
                talk.progress.say(f"{done} certificates exported")
        talk.progress.clear()
    return OK


def revoke(options: argparse.Namespace) -> int:
    """certgate cert revoke"""
    if options.reason not in list(RevocationReason) or options.reason in NO_REASON:
        known = ", ".join(reason for reason in RevocationReason if reason not in NO_REASON)
        raise CommandFailed(f'--reason "{options.reason}": a certificate is revoked for one of {known}', USAGE)
    with conversation(options) as talk:
        words = {"reason": options.reason, "block": options.block, "invalidity_date": options.invalidity_date}
        return _say(options, talk, talk.ask("cert.revoke", serial=options.serial, **words))


def hold(options: argparse.Namespace) -> int:
    """certgate cert hold"""
    with conversation(options) as talk:
        return _say(options, talk, talk.ask("cert.hold", serial=options.serial))


def release(options: argparse.Namespace) -> int:
    """certgate cert release"""
    with conversation(options) as talk:
        return _say(options, talk, talk.ask("cert.release", serial=options.serial))


def renew_now(options: argparse.Namespace) -> int:
    """certgate cert renew-now"""
    of = {"serials": options.serials, "product": options.product}
    if not options.serials and not options.product:
        found = ask(options, "cert.demands")
    elif options.withdraw:
        found = ask(options, "cert.renew-later", **of)
    else:
        found = ask(options, "cert.renew-now", explanation_url=options.explanation_url, why=options.why, **of)
    if options.json:
        print_json(found)
        return OK
    rows = [[one["object"], when(one["at"]), one["why"], one["explanation_url"]] for one in found]
    print_table(rows, ["to be renewed now", "since (UTC)", "why", "page"])
    return OK


def _say(options: argparse.Namespace, talk: Conversation, now: dict[str, Any]) -> int:
    if options.json:
        print_json(now)
        return OK
    when_published = (
        "OCSP says so at once, the CRL within a minute."
        if talk.running
        else "No server runs: OCSP and CRL say so when one is started."
    )
    print(f"{now['serial']} is {now['status']} now. {when_published}")
    return OK
