"""Rules: patterns of names and what a wildcard spans; a certificate of a password credential renews itself only."""

from __future__ import annotations

import pytest

from ca_core.names import read_identifier
from policy.credential import CertificateClaim, PasswordClaim
from policy.order import NewOrder, OrderStatus
from policy.problems import BadCSR, Forbidden, RejectedIdentifier
from policy.rules.identifiers import check_pattern, matches
from policy.sealing import Secret
from tests.conftest import House, dns
from tests.policy.making import ADDRESS, acme, change_names, enrolled, est, request, showing

NAME = "a.certgate.test"


# --------------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("pattern", "kind", "value", "expected"),
    [
        ("dns:*.example.org", "dns", "a.example.org", True),
        ("dns:*.example.org", "dns", "a.b.example.org", True),
        ("dns:*.example.org", "dns", "*.example.org", True),
        ("dns:*.example.org", "dns", "example.org", False),
        ("dns:*.example.org", "dns", "badexample.org", False),
        ("dns:example.org", "dns", "example.org", True),
        ("dns:example.org", "dns", "a.example.org", False),
        ("dns:**", "dns", "a.example.org", True),
        ("dns:**", "ip", "192.0.2.1", False),
        ("ip:192.0.2.0/24", "ip", "192.0.2.1", True),
        ("ip:192.0.2.0/24", "ip", "198.51.100.1", False),
        ("ip:192.0.2.0/24", "ip", "2001:db8::1", False),
        ("ip:2001:db8::/32", "ip", "2001:db8::1", True),
    ],
)
def test_a_pattern_covers_what_it_says(pattern: str, kind: str, value: str, expected: bool) -> None:
    """Label by label for names, as networks for addresses, and never another type."""
    check_pattern(pattern)
    assert matches(pattern, read_identifier(kind, value)) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "example.org",
        "dns",
        "host:example.org",
        "dns:a*.example.org",
        "dns:a.*.org",
        "dns:*",
        "ip:10.0.0.0/99",
        "ip:x",
    ],
)
def test_a_pattern_that_never_matches_is_refused(pattern: str) -> None:
    """A denial that denies nothing is worse than none."""
    with pytest.raises(ValueError, match=r"."):
        check_pattern(pattern)


# --------------------------------------------------------------------------- wildcards


@pytest.mark.parametrize(
    ("denied", "name", "granted"),
    [
        ("dns:secret.example.org", "*.example.org", False),
        ("dns:*.secret.example.org", "*.secret.example.org", False),
        ("dns:deep.secret.example.org", "*.example.org", True),
        ("dns:secret.example.org", "*.example.net", True),
        ("dns:example.org", "*.example.org", True),
    ],
)
async def test_a_wildcard_is_denied_with_any_name_that_it_spans(
    house: House, denied: str, name: str, granted: bool
) -> None:
    """A wildcard stands for one label (RFC 9525 section 6.3), so its certificate serves the denied name as well."""
    await change_names(house, denied=(denied,))
    principal, new = await acme(house), NewOrder(identifiers=(dns(name),))
    if granted:
        assert (await house.core.ra.place(principal, new)).status is OrderStatus.PENDING
    else:
        with pytest.raises(RejectedIdentifier, match="denied"):
            await house.core.ra.place(principal, new)


async def test_a_product_without_wildcards_grants_none(house: House) -> None:
    """Neither of what it allows nor of what it trusts."""
    await change_names(house, wildcards=False)
    with pytest.raises(RejectedIdentifier, match="wildcard"):
        await house.core.ra.place(await acme(house), NewOrder(identifiers=(dns("*.certgate.test"),)))


# --------------------------------------------------------------------------- what a certificate speaks for


async def test_a_certificate_of_a_password_credential_renews_itself_only(house: House) -> None:
    """A stolen device key must not enrol for every other device of the credential."""
    principal = await est(house)
    shown = await showing(house, await enrolled(house, principal, request(NAME, cn=NAME)))
    assert shown.renewal_only
    for name in (NAME, "victim.certgate.test"):
        with pytest.raises(Forbidden, match="renewal"):
            await house.core.ra.enroll(shown, NewOrder(request=request(name)))
    with pytest.raises(BadCSR, match="names"):
        await house.core.ra.renew(shown, NewOrder(request=request("victim.certgate.test", cn=NAME)))
    renewed = await house.core.ra.renew(shown, NewOrder(request=request(NAME, cn=NAME)))
    assert renewed.status is OrderStatus.VALID


async def test_the_password_beside_the_certificate_enrols(house: House) -> None:
    """A client that shows both is the whole credential."""
    made = await house.credential("est")
    claim = PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))
    principal = await house.core.ra.authenticate("est/default", [claim], ADDRESS)
    certificate = await enrolled(house, principal, request(NAME))
    both = await house.core.ra.authenticate("est/default", [CertificateClaim(certificate.der), claim], ADDRESS)
    assert not both.renewal_only
    done = await house.core.ra.enroll(both, NewOrder(request=request("b.certgate.test")))
    assert done.status is OrderStatus.VALID
