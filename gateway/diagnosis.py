"""What `certgate doctor` makes of the facts that commands give it. Pure: facts and the time in, findings out.

gateway/probes.py has the checks that look at this machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

Facts = Mapping[str, Any]


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long, or not for everybody."""
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `advice` says what to do, where there is something to do."""

    check: str
    outcome: Outcome
    detail: str
    advice: str = ""


def ok(check: str, detail: str) -> Finding:
    """All is well."""
    return Finding(check, Outcome.OK, detail)


def warning(check: str, detail: str, advice: str) -> Finding:
    """Not for long, or not for everybody."""
    return Finding(check, Outcome.WARNING, detail, advice)


def problem(check: str, detail: str, advice: str) -> Finding:
    """Broken."""
    return Finding(check, Outcome.PROBLEM, detail, advice)


def diagnose(facts: Facts, now: datetime, *, running: bool, version: str) -> list[Finding]:
    """Everything that can be judged from what a server or store says of itself."""
    found = [finding for check in CHECKS for finding in check(facts, now)]
    return [*found, *_crls(facts, now, running=running), *(_server(facts, now, version) if running else ())]


def at(text: str) -> datetime:
    """A moment as commands give it."""
    return datetime.fromisoformat(text)


def _server(facts: Facts, now: datetime, version: str) -> Iterator[Finding]:
    if facts["version"] != version:
        detail = f"the running server is certgate {facts['version']}, this command {version}"
        yield warning("server version", detail, "restart the server")
    else:
        yield ok("server version", f"certgate {version}")
    if facts["loop"] == "uvloop":
        yield ok("event loop", "uvloop")
    else:
        yield warning("event loop", "uvloop is not installed", 'faster sockets: pip install "certgate[speed]"')
    difference = abs((at(facts["now"]) - now).total_seconds())
    if difference > 5:
        yield problem("server clock", f"{difference:.0f} s away from this command's", "one of both is faked or stopped")
    else:
        yield ok("server clock", "the same as this command's")


def _authorities(facts: Facts, now: datetime) -> Iterator[Finding]:
    found = facts["authorities"]
    if not any(not one["root"] for one in found):
        yield problem("CA", "there is no issuing CA", "certgate quickstart, or certgate ca create")
    for one in found:
        name = f"CA {one['name']}"
        left, whole = at(one["not_after"]) - now, at(one["not_after"]) - at(one["not_before"])
        if at(one["not_before"]) > now:
            yield problem(name, f"is not valid before {one['not_before']}", "set the clock of this machine")
        elif left <= timedelta():
            yield problem(name, f"has expired {one['not_after']}", "make a new one: certgate ca create")
        elif left < whole * 0.1:
            yield warning(name, f"expires {one['not_after']}", "make the next one, and let products name it")
        elif not one["loaded"]:
            yield warning(name, "was made since the server started", "restart the server to use it")
        else:
            yield ok(name, f"valid until {one['not_after']}")


def _crls(facts: Facts, now: datetime, *, running: bool) -> Iterator[Finding]:
    stale = [
        f"{one['issuer']}/{one['shard']}"
        for one in facts["crls"]
        if one["next_update"] is None or at(one["next_update"]) <= now
    ]
    aged = [
        f"{one['issuer']}/{one['shard']}"
        for one in facts["crls"]
        if one["this_update"] is not None and at(one["this_update"]) < now - timedelta(days=2)
    ]
    if stale:
        advice = "certgate ca crl" if running else "start the server, which publishes them; or certgate ca crl"
        yield problem("CRLs", f"missing or over: {_some(stale)}", advice)
    elif aged and running:
        advice = "look into the server's log for what stops its background work"
        yield warning("CRLs", f"not renewed for two days: {_some(aged)}", advice)
    elif facts["crls"]:
        first = min(one["next_update"] for one in facts["crls"])
        yield ok("CRLs", f"{len(facts['crls'])} published, the first ends {first}")


def _service_keys(facts: Facts, now: datetime) -> Iterator[Finding]:
    over = [f"{key['purpose']} of {key['issuer']}" for key in facts["service_keys"] if at(key["not_after"]) <= now]
    if over:
        yield warning("service keys", f"expired: {_some(over)}", "the server renews them when it starts")
    else:
        yield ok("service keys", f"{len(facts['service_keys'])} are valid")


def _products(facts: Facts, now: datetime) -> Iterator[Finding]:
    issuers = {one["name"]: one for one in facts["authorities"]}
    lost = [
        f"{one['name']} (CA {one['issuer']})"
        for one in facts["products"]
        if one["state"] == "active" and (one["issuer"] not in issuers or issuers[one["issuer"]]["root"])
    ]
    if lost:
        yield problem("products", f"name no issuing CA of ours: {_some(lost)}", "certgate product apply, or ca create")
    elif not facts["products"]:
        yield warning("products", "there are none, so nothing can be ordered", "certgate product apply -f FILE")
    else:
        yield ok("products", f"{len(facts['products'])} name CAs that are there")


def _mounts(facts: Facts, now: datetime) -> Iterator[Finding]:
    active = {one["name"] for one in facts["products"] if one["state"] == "active"}
    empty = [one["key"] for one in facts["mounts"] if one["active"] and not active & set(one["products"])]
    issuers = {one["name"] for one in facts["authorities"]}
    lost = [one["key"] for one in facts["mounts"] if one["active"] and one["issuer"] not in issuers]
    if lost:
        yield problem("mounts", f"name a CA that is not there: {_some(lost)}", "certgate mount apply -f FILE")
    elif empty:
        yield warning("mounts", f"offer no active product: {_some(empty)}", "certgate product state NAME active")
    elif not facts["mounts"]:
        yield warning("mounts", "there are none, so no door is open", "certgate mount apply -f FILE")
    else:
        yield ok("mounts", f"{sum(one['active'] for one in facts['mounts'])} are open")


def _credentials(facts: Facts, now: datetime) -> Iterator[Finding]:
    soon = [f"{one['identifier']} ({one['expires'][:10]})" for one in facts["expiring_credentials"]]
    if soon:
        yield warning("credentials", f"expire within 30 days: {_some(soon)}", "make new ones for their clients")
    else:
        yield ok("credentials", "none expires within 30 days")


def _orders(facts: Facts, now: datetime) -> Iterator[Finding]:
    if facts["interrupted_issuances"]:
        detail = f"{facts['interrupted_issuances']} issuances are under way or were interrupted"
        yield warning("issuances", detail, "a running server finishes them; ask again in a minute")
    else:
        yield ok("issuances", "none was left half done")
    if facts["held_orders"]:
        detail = f"{facts['held_orders']} orders wait for a person"
        yield warning("held orders", detail, "certgate order list --status held, then order approve or reject")
    else:
        yield ok("held orders", "nothing waits for a person")


def _audit(facts: Facts, now: datetime) -> Iterator[Finding]:
    store = facts["store"]
    behind = store["events"] - store["sealed"]
    old = store["sealed_at"] is None or at(store["sealed_at"]) < now - timedelta(hours=1)
    if behind > 1000 and old:
        yield warning("audit log", f"{behind} events are not sealed", "start the server, or certgate audit checkpoint")
    else:
        yield ok("audit log", f"{store['events']} events, {store['sealed']} of them sealed")
    if store["sealed_at"] is not None and at(store["sealed_at"]) > now + timedelta(minutes=5):
        advice = "set the clock of this machine: it went backwards"
        yield problem("clock", f"the log was sealed in the future, at {store['sealed_at']}", advice)


def _origins(facts: Facts, now: datetime) -> Iterator[Finding]:
    """Certificates keep the status origin for their whole life, so a wrong one is worth a word early."""
    open_to_others = not _is_loopback(facts["listen"])
    local = [origin for origin in facts["origins"] if _is_loopback(urlsplit(origin).hostname or "")]
    if open_to_others and local:
        advice = "set server.base_url, server.mtls_url and server.status_url to what clients can reach"
        yield warning("addresses", f"clients elsewhere cannot reach {_some(local)}", advice)
    else:
        yield ok("addresses", ", ".join(facts["origins"]))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


CHECKS: tuple[Callable[[Facts, datetime], Iterator[Finding]], ...] = (
    _authorities,
    _service_keys,
    _products,
    _mounts,
    _credentials,
    _orders,
    _audit,
    _origins,
)
