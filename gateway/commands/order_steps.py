"""Commands that lead an order step by step: place, change, hand in, prove, papers, try again, explain."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ca_core.csr import CertificationRequest, read_csr, read_pem_or_der
from ca_core.names import Identifier, read_name
from gateway.commands.orders import order_value
from gateway.commands.plain import event_value, moment
from policy.access import Actor
from policy.authentication import standing_in
from policy.credential import Principal
from policy.dossier import Document, Dossier
from policy.inventory import check_tags
from policy.lifecycle import Validation
from policy.order import NewOrder, Order
from policy.ordering import as_new
from policy.problems import Malformed, UnknownOrder

if TYPE_CHECKING:
    from gateway.app import Core
    from gateway.commands import Command


async def told(core: Core, order: Order) -> dict[str, Any]:
    """An order with what it owes."""
    owed = await core.lifecycle.ordering.owed(order)
    dossier = order.dossier or Dossier()
    return {
        **order_value(order),
        "tags": list(dossier.tags),
        "automatic_renewal": dossier.automatic,
        "requirements": [{"kind": one.kind, "detail": one.detail, "about": one.about, "id": one.id} for one in owed],
        "documents": [_document(one) for one in dossier.documents],
    }


def _document(one: Document) -> dict[str, Any]:
    return {
        "id": one.id,
        "type": one.type,
        "name": one.name,
        "media_type": one.media_type,
        "size": one.size,
        "sha256": one.sha256,
        "received": moment(one.at),
        "status": one.status.value,
        "reviewer": one.reviewer,
        "why": one.why,
    }


def request_of(csr: str | None) -> CertificationRequest | None:
    """A request in PEM, or in base64 of DER."""
    if csr is None:
        return None
    if "-----BEGIN" in csr:
        return read_csr(read_pem_or_der(csr.encode()))
    return read_csr(_bytes(csr))


def _bytes(text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError as fault:
        raise Malformed("neither PEM nor base64") from fault


def names_of(names: list[str]) -> tuple[Identifier, ...]:
    """Names as people write them."""
    return tuple(map(read_name, names))


async def place(
    core: Core,
    *,
    credential: str,
    actor: Actor,
    names: list[str] | None = None,
    csr: str | None = None,
    product: str | None = None,
    draft: bool = False,
    tags: list[str] | None = None,
    automatic: bool = False,
) -> dict[str, Any]:
    """Order in the name of a credential. Raises what placing raises, Forbidden."""
    actor.check("order:place")
    found = await core.administration.credential(credential)
    actor.check("order:place", found.owned)
    mount = found.mounts[0] if found.mounts else f"{found.type}/default"
    dossier = Dossier(tags=check_tags(tags or ()), automatic=automatic) if tags or automatic else None
    new = NewOrder(product=product, identifiers=names_of(names or []), request=request_of(csr), dossier=dossier)
    ordering = core.lifecycle.ordering
    make = ordering.draft if draft else ordering.place
    return await told(core, await make(standing_in(found, mount, actor.name), new))


async def change(
    core: Core,
    *,
    id: str,
    actor: Actor,
    names: list[str] | None = None,
    csr: str | None = None,
    product: str | None = None,
    tags: list[str] | None = None,
) -> dict[str, Any]:
    """Change a draft; what is left out stays. Raises NotReady."""
    order, acting = await _found(core, "order:change", id, actor)
    new = as_new(order)
    if names is not None:
        new = replace(new, identifiers=names_of(names))
    if csr is not None:
        new = replace(new, request=request_of(csr))
    if product is not None:
        new = replace(new, product=product)
    if tags is not None:
        new = replace(new, dossier=replace(new.dossier or Dossier(), tags=check_tags(tags)))
    return await told(core, await core.lifecycle.ordering.change(acting, order, new))


async def submit(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """Hand in a draft."""
    order, acting = await _found(core, "order:place", id, actor)
    return await told(core, await core.lifecycle.ordering.submit(acting, order))


async def hand_in(core: Core, *, id: str, csr: str, actor: Actor) -> dict[str, Any]:
    """The certification request of an order."""
    order, acting = await _found(core, "order:place", id, actor)
    request = request_of(csr)
    assert request is not None
    return await told(core, await core.lifecycle.ordering.hand_in(acting, order, request))


async def agree(core: Core, *, id: str, signer: str, actor: Actor) -> dict[str, Any]:
    """Agree to the terms of an order's product."""
    order, acting = await _found(core, "order:change", id, actor)
    return await told(core, await core.lifecycle.ordering.agree(acting, order, signer))


async def retry(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """Go on with an order that is stuck, or place anew one that ended without a certificate."""
    order, acting = await _found(core, "order:place", id, actor)
    return await told(core, await core.lifecycle.ordering.again(acting, order))


async def explain(core: Core, *, id: str, actor: Actor) -> dict[str, Any]:
    """Why an order is as it is."""
    order, _ = await _found(core, "order:read", id, actor)
    _, events = await core.inventory.order(id)
    return {
        **await told(core, order),
        "decision": [{"rule": one.rule, "outcome": one.outcome, "detail": one.detail} for one in order.trace],
        "events": [event_value(one) for one in events],
    }


# --------------------------------------------------------------------------- proofs and papers


async def validations(core: Core, *, id: str, actor: Actor) -> list[dict[str, Any]]:
    """What has to be where, and every attempt."""
    order, _ = await _found(core, "order:read", id, actor)
    return [_validation(core, one) for one in await core.lifecycle.validations(order)]


def _validation(core: Core, one: Validation) -> dict[str, Any]:
    authorization = one.authorization
    return {
        "id": authorization.id,
        "name": ("*." if authorization.wildcard else "") + authorization.identifier.value,
        "status": authorization.at(core.clock()).value,
        "expires": moment(authorization.expires),
        "ways": [
            {"method": way.method, "status": way.status.value, "place": way.place, "value": way.value}
            for way in one.methods
        ],
        "attempts": [event_value(event) for event in one.attempts],
    }


async def verify(core: Core, *, id: str, validation: str, method: str, actor: Actor) -> list[dict[str, Any]]:
    """Have a proof looked at. Raises UnknownOrder, Malformed."""
    order, acting = await _found(core, "order:place", id, actor)
    if validation not in order.authorizations:
        raise UnknownOrder("the order has no such validation")
    await core.ra.answer(acting, validation, method)
    await core.lifecycle.ordering.finish(await core.lifecycle.ordering.current(id))
    return await validations(core, id=id, actor=actor)


async def add_document(
    core: Core, *, id: str, type: str, name: str, media_type: str, content: str, actor: Actor
) -> dict[str, Any]:
    """Hand in a document, as base64."""
    order, acting = await _found(core, "order:change", id, actor)
    order, _ = await core.lifecycle.documents.receive(acting, order, type, name, media_type, _bytes(content))
    return await told(core, order)


async def get_document(core: Core, *, id: str, document: str, actor: Actor) -> dict[str, Any]:
    """A document as it was handed in, as base64."""
    order, _ = await _found(core, "order:read", id, actor)
    found, content = await core.lifecycle.documents.content(order, document)
    return {**_document(found), "content": b64encode(content).decode()}


async def review(core: Core, *, id: str, document: str, accept: bool, actor: Actor, why: str = "") -> dict[str, Any]:
    """Accept or reject a document."""
    order, _ = await _found(core, "order:review", id, actor)
    return await told(core, await core.lifecycle.documents.review(order, document, actor, accept=accept, why=why))


async def _found(core: Core, permission: str, id: str, actor: Actor) -> tuple[Order, Principal]:
    """The order, and who goes on with it."""
    order = await core.lifecycle.order(permission, id, actor)
    credential = await core.administration.credential(order.credential)
    account = await core.inventory.account(order.account) if order.account is not None else None
    return order, standing_in(credential, order.mount, actor.name, account)


COMMANDS: dict[str, Command] = {
    "order.place": place,
    "order.change": change,
    "order.submit": submit,
    "order.csr": hand_in,
    "order.agree": agree,
    "order.retry": retry,
    "order.explain": explain,
    "order.validations": validations,
    "order.verify": verify,
    "order.add-document": add_document,
    "order.get-document": get_document,
    "order.review": review,
}
