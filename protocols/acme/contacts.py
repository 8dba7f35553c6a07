"""Contacts of an account (RFC 8555 section 7.3): which are taken, as data of the mount. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from ca_core.names import read_identifier
from policy.problems import Malformed, Problem
from protocols.acme.problems import InvalidContact, UnsupportedContact

MAX_CONTACT = 320
"""Characters of a contact URL: "mailto:" and an address of 254 (RFC 5321 section 4.5.3.1.3), some of them escaped."""
MAX_DIGITS = 15
"""Digits of a telephone number (ITU-T E.164 section 6)."""


@dataclass(frozen=True, slots=True)
class ContactRules:
    """What contacts an account may and must have.

    `schemes` are those that are taken, of mailto and tel; without `domains` an address may be in any domain, else in
    one of these or below; it is never in one of `denied_domains` or below.
    """

    required: bool = False
    most: int = 10
    schemes: tuple[str, ...] = ("mailto",)
    domains: tuple[str, ...] = ()
    denied_domains: tuple[str, ...] = ()


def read_contacts(contacts: Sequence[str], rules: ContactRules) -> tuple[str, ...]:
    """Contacts, checked. Raises UnsupportedContact, InvalidContact, Malformed.

    A mailto URL with header fields or several addresses has to be refused: it could make us write to anybody.
    """
    if rules.required and not contacts:
        raise InvalidContact(f"an account needs a contact here ({', '.join(rules.schemes)})")
    if len(contacts) > rules.most:
        raise Malformed(f"there are {len(contacts)} contacts; an account may have {rules.most}")
    for contact in contacts:
        _check(contact, rules)
    return tuple(contacts)


def _check(contact: str, rules: ContactRules) -> None:
    scheme, colon, rest = contact.partition(":")
    if not colon or not scheme.isascii():
        raise InvalidContact("a contact is not a URL")
    if scheme.lower() not in rules.schemes:
        taken = ", ".join(rules.schemes)
        raise UnsupportedContact(f'contacts of scheme "{scheme[:20]}" are not used; use {taken}')
    if scheme.lower() == "tel":
        _check_number(rest)
    else:
        _check_address(rest, contact, rules)


def _check_number(number: str) -> None:
    """A global number (RFC 3966 section 5.1.4), without parameters."""
    digits = number.removeprefix("+").translate(str.maketrans("", "", "-.()"))
    if not number.startswith("+") or not digits.isascii() or not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise InvalidContact("a tel contact is a global number, which begins with + (RFC 3966 section 5.1.4)")


def _check_address(address: str, contact: str, rules: ContactRules) -> None:
    if len(contact) > MAX_CONTACT or "?" in address or "," in address or not address.isascii():
        raise InvalidContact("a mailto contact has exactly one address and no header fields (RFC 8555 section 7.3)")
    try:
        read = read_identifier("email", unquote(address))
    except Problem as exc:
        raise InvalidContact(f"a contact cannot be used: {exc.detail}") from exc
    domain = read.value.rpartition("@")[2].lower()
    if any(_within(domain, one) for one in rules.denied_domains):
        raise InvalidContact(f'contacts at "{domain}" are not taken here')
    if rules.domains and not any(_within(domain, one) for one in rules.domains):
        raise InvalidContact(f'a contact at "{domain}" is not taken here; taken are: {", ".join(rules.domains)}')


def _within(domain: str, above: str) -> bool:
    return domain == above or domain.endswith("." + above)
