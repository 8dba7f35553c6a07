"""The decision about a request: rules on it, the to-be-signed certificate, and rules on its bytes.

Nothing is written here: `policy.fulfilment` records what was decided, and has it signed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from ca_core.csr import CertificationRequest
from ca_core.issuance import IssuanceRequest, Prepared
from ca_core.names import common_name
from policy.authorizing import Authorizing
from policy.blocking import Blocking
from policy.catalogue import Catalogue
from policy.credential import Credential
from policy.domain import Domain
from policy.order import Authorization, AuthorizationStatus, Identifier, Order, Step
from policy.problems import UnknownProduct
from policy.product import Product
from policy.rules import Case, Judged, judge
from policy.rules.standard import ON_CERTIFICATE, ON_REQUEST


class Deciding:
    """Decides whether and how a request is issued."""

    def __init__(
        self,
        catalogue: Catalogue,
        ca: CertificateAuthority,
        authorizing: Authorizing,
        blocking: Blocking,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._ca = ca
        self._authorizing = authorizing
        self._clock = clock
        self._blocking = blocking

    async def decide(
        self, credential: Credential, order: Order, product: Product, request: CertificationRequest
    ) -> tuple[tuple[Step, ...], Prepared]:
        """Judge the request, prepare, judge the to-be-signed bytes. Raises the Problem of what objects."""
        mount = await self._catalogue.mount(order.mount)
        if order.product not in mount.products or order.product not in credential.products:
            raise UnknownProduct(f'the product "{order.product}" cannot be ordered here any more')
        await self._blocking.check(order.identifiers, request)
        authorizations = await self._authorizing.read(order.authorizations)
        await self._authorizing.check_caa_again(authorizations, order.identifiers)
        domains = await self._catalogue.domains(credential.group) if any(one.domain for one in authorizations) else ()
        case = Case(
            product=product,
            credential=credential,
            identifiers=order.identifiers,
            groups=await self._catalogue.lineage(credential.group),
            request=request,
            proven=proven(order.identifiers, authorizations, domains, self._clock()),
        )
        steps = judge(case, ON_REQUEST)
        prepared = self._ca.prepare(
            IssuanceRequest(
                issuer=product.issuer,
                profile=product.profile,
                spki=request.spki,
                key_type=request.key_type,
                subject=request.subject,
                names=order.identifiers,
                not_before=order.not_before,
                not_after=order.not_after,
            )
        )
        steps += judge(replace(case, judged=read_judged(prepared)), ON_CERTIFICATE)
        lints = Step("lint", "passed", f"profile {prepared.profile_name} v{prepared.profile_version}")
        return (*steps, lints), prepared


def proven(
    identifiers: Iterable[Identifier],
    authorizations: Iterable[Authorization],
    domains: Iterable[Domain],
    now: datetime,
) -> frozenset[Identifier]:
    """The identifiers that authorizations prove now; one that a domain proves only while the group still has it."""
    found: set[Identifier] = set()
    above: list[Authorization] = []
    for one in authorizations:
        if one.at(now) is not AuthorizationStatus.VALID or one.trusted:
            continue
        identifier = one.identifier
        if one.wildcard:
            identifier = Identifier(identifier.type, f"*.{identifier.value}")
        if one.domain is not None and not any(domain.covers(identifier, now) for domain in domains):
            continue
        found.add(identifier)
        if one.subdomains:
            above.append(one)
    if above:
        found.update(identifier for identifier in identifiers if any(one.covers(identifier) for one in above))
    return frozenset(found)


def read_judged(prepared: Prepared) -> Judged:
    """What the to-be-signed certificate says, from its bytes as they were parsed for the lints."""
    content = prepared.content
    return Judged(
        names=content.names,
        common_name=common_name(content.subject),
        spki=content.spki,
        not_before=content.not_before,
        not_after=content.not_after,
        ca=content.is_ca,
    )
