"""Contacts of accounts: which are taken, as data of a mount."""

from __future__ import annotations

import pytest

from policy.mount import Mount
from policy.problems import Malformed, Problem
from protocols.acme.contacts import ContactRules, read_contacts
from protocols.acme.problems import InvalidContact, UnsupportedContact
from protocols.acme.settings import read_options
from tests.protocols.acme.client import Client
from tests.protocols.acme.world import World
from tests.replacing import replace

RULES = ContactRules()


@pytest.mark.parametrize("contact", ["mailto:a@example.org", "MAILTO:a+b@example.org", "mailto:a%2Bb@example.org"])
def test_plain_contacts_are_kept_as_they_are(contact: str) -> None:
    """RFC 8555 section 7.3."""
    assert read_contacts([contact], RULES) == (contact,)
    assert read_contacts([], RULES) == ()


@pytest.mark.parametrize(
    ("contact", "problem"),
    [
        ("tel:+491234", UnsupportedContact),
        ("https://example.org", UnsupportedContact),
        ("a@example.org", InvalidContact),
        ("mailto:", InvalidContact),
        ("mailto:a", InvalidContact),
        ("mailto:a@b.test,c@d.test", InvalidContact),
        ("mailto:a@b.test%2Cc@d.test", InvalidContact),
        ("mailto:a@b.test?subject=x", InvalidContact),
        ("mailto:a@b.test\r\nBcc: c@d.test", InvalidContact),
        ("mailto:a@b.test%0D%0ABcc:c@d.test", InvalidContact),
        ("mailto:ä@b.test", InvalidContact),
        ("mailto:" + "a" * 400 + "@b.test", InvalidContact),
    ],
)
def test_other_contacts_are_refused(contact: str, problem: type[Problem]) -> None:
    """No header fields, one address, nothing that mail programs could read otherwise. Rows: R14."""
    with pytest.raises(problem):
        read_contacts(["mailto:good@example.org", contact], RULES)


def test_too_many_contacts_are_refused() -> None:
    """The setting bounds them."""
    with pytest.raises(Malformed):
        read_contacts(["mailto:a@b.test"] * 11, RULES)


@pytest.mark.parametrize("contact", ["tel:+49-89-1234", "TEL:+1(555)1234"])
def test_telephones_are_taken_where_the_mount_says_so(contact: str) -> None:
    """RFC 3966: global numbers, nothing else."""
    rules = replace(RULES, schemes=("mailto", "tel"))
    assert read_contacts([contact], rules) == (contact,)
    for wrong in ("tel:1234", "tel:+12;ext=3", "tel:+", "tel:+1234567890123456"):
        with pytest.raises(InvalidContact):
            read_contacts([wrong], rules)


def test_domains_are_allowed_and_denied() -> None:
    """Itself and below; a denial wins."""
    rules = replace(RULES, domains=("example.org",), denied_domains=("old.example.org",))
    assert read_contacts(["mailto:a@x.example.org"], rules)
    for wrong in ("mailto:a@example.com", "mailto:a@badexample.org", "mailto:a@old.example.org"):
        with pytest.raises(InvalidContact):
            read_contacts([wrong], rules)


@pytest.mark.parametrize("options", [{"contact_schemes": ["https"]}, {"contact_domains": ["*.example.org"]}])
def test_rules_that_cannot_be_understood_refuse_the_mount(options: dict[str, object]) -> None:
    """At the start, not at the first account."""
    with pytest.raises(ValueError, match="acme/x"):
        read_options(Mount("acme", "x", (), "issuing", options=options))


async def test_a_mount_may_want_a_contact(world: World) -> None:
    """A4: registering and changing an account follow the rules of the mount."""
    mount = world.mounts[0]
    options = {"contact_required": True, "contact_domains": ["example.org"]}
    await world.save(replace(mount, options=options, version=2))
    world.mount(replace(mount, options=options), *world.mounts[1:])
    client = Client(world)
    assert (await client.register()).problem() == (400, "invalidContact")
    assert (await client.register(contact=["mailto:a@example.com"])).problem() == (400, "invalidContact")
    assert (await client.register(contact=["mailto:a@example.org"])).status == 201
    assert (await client.post(client.kid or "", {"contact": []})).problem() == (400, "invalidContact")
    assert (await client.post(client.kid or "", {"contact": ["mailto:b@example.org"]})).status == 200
