"""Use cases of console, CLI and admin REST: products, mounts, credentials.

Every change is one commit with its audit event, in the name of who asked. Secrets leave here once, in the answer to
the call that made them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from cryptography.x509 import load_der_x509_certificate

from ca_core.authority import CertificateAuthority
from ca_core.clock import Clock
from policy.access import Actor
from policy.audit import AuditEvent, AuditTag
from policy.credential import AuthenticationMethod
from policy.credential_change import CredentialChanges
from policy.forms import CredentialSettings
from policy.mount import LABEL, Mount
from policy.problems import Malformed, Unavailable, UnknownProduct
from policy.product import Product, ProductState
from policy.revocation import Revocation
from policy.rules.identifiers import check_pattern
from policy.sealing import Sealing
from policy.store import MOUNT, PRODUCT, Store, Unit


class Administration(CredentialChanges):
    """Changes what may be had, where and by whom."""

    def __init__(
        self,
        store: Store,
        sealing: Sealing,
        revocation: Revocation,
        ca: CertificateAuthority,
        clock: Clock,
        check_mount: Mapping[str, Callable[[Mount], object]],
        settings: CredentialSettings = CredentialSettings(),  # noqa: B008 - a frozen value
    ) -> None:
        """`check_mount` has, by protocol, what raises ValueError for options that its door does not take."""
        super().__init__(store, sealing, revocation, clock, settings)
        self._check_mount = check_mount
        self._ca = ca

    # ----------------------------------------------------------------- products and mounts

    async def apply_product(self, product: Product, actor: Actor) -> Product | None:
        """Make this the newest version of the product; None when nothing would change."""
        actor.check("product:change")
        self._check_product(product)
        current = await self._store.one(PRODUCT, product.name)
        version = current.version + 1 if current is not None else 1
        profile = replace(product.profile, version=version)
        new = replace(product, version=version, profile=profile)
        unchanged = current is not None and current == replace(
            new, version=current.version, profile=replace(profile, version=current.profile.version)
        )
        if unchanged:
            return None
        unit = Unit()
        if current is None:
            unit.insert(new)
        else:
            unit.save(new)
        detail = {"version": version, "issuer": new.issuer, "profile": profile.name}
        unit.audit(AuditEvent(AuditTag.PRODUCT_APPLIED, self._clock(), actor.name, f"product:{new.name}", detail))
        await self._commit(unit, f'the product "{new.name}" was changed at the same time')
        return new

    def _check_product(self, product: Product) -> None:
        """What would fail at the first order is told now. Raises Malformed."""
        try:
            self._ca.check_profile(product.issuer, product.profile)
            re.compile(product.names.common_name)
            if not 0 < product.renewal_fraction <= 1:
                raise ValueError("renewal_fraction is the part of the lifetime that passes first: above 0, at most 1")
            if product.ticket_seconds < 1:
                raise ValueError("ticket_seconds is at least 1")
            for pattern in (*product.names.allowed, *product.names.denied, *product.validation.trusted):
                check_pattern(pattern)
        except Unavailable as fault:
            raise Malformed(f'the product "{product.name}": {fault.detail}') from fault
        except (ValueError, re.error) as fault:
            raise Malformed(f'the product "{product.name}": {fault}') from fault

    async def set_product_state(self, name: str, state: ProductState, actor: Actor) -> Product:
        """Suspend, retire or reactivate a product: a new version with that state."""
        actor.check("product:change")
        current = await self._store.one(PRODUCT, name)
        if current is None:
            raise UnknownProduct(f'there is no product "{name}"')
        changed = await self.apply_product(replace(current, state=state), actor)
        return changed or current

    async def apply_mount(self, mount: Mount, actor: Actor) -> Mount | None:
        """Make or change a mount; None when nothing would change. Raises Malformed for what it names in vain."""
        actor.check("mount:change")
        if LABEL.fullmatch(mount.label) is None:
            raise Malformed(f'"{mount.label}" is no label: use lower-case letters, digits and inner hyphens')
        check = self._check_mount.get(mount.protocol)
        if check is None:
            raise Malformed(f'there is no door "{mount.protocol}"; there are {", ".join(self._check_mount)}')
        try:
            check(mount)
        except ValueError as fault:
            raise Malformed(str(fault)) from fault
        try:
            self._ca.issuer(mount.issuer)
        except Unavailable as fault:
            raise Malformed(fault.detail) from fault
        for name in mount.products:
            product = await self._store.one(PRODUCT, name)
            if product is None:
                raise UnknownProduct(f'there is no product "{name}"')
            if mount.protocol not in product.protocols:
                raise Malformed(f'the product "{name}" cannot be ordered by {mount.protocol}')
        for anchor in mount.anchors:
            try:
                load_der_x509_certificate(anchor)
            except ValueError as fault:
                raise Malformed(f"an anchor is not a certificate in DER: {fault}") from fault
        if mount.open_credential is not None:
            credential = await self.credential(mount.open_credential)
            if credential.method is not AuthenticationMethod.NONE or credential.type != mount.protocol:
                raise Malformed("an open credential is one of the mount's protocol, with method none")
        current = await self._store.one(MOUNT, mount.key)
        new = replace(mount, version=current.version + 1 if current is not None else 1)
        if current is not None and replace(new, version=current.version) == current:
            return None
        unit = Unit()
        if current is None:
            unit.insert(new)
        else:
            unit.save(new)
        detail = {"version": new.version}
        unit.audit(AuditEvent(AuditTag.MOUNT_APPLIED, self._clock(), actor.name, f"mount:{mount.key}", detail))
        await self._commit(unit, f'mount "{mount.key}" was changed at the same time')
        return new
