"""The JSON of ACME: payloads in (RFC 8555 section 7), objects out (section 7.1). Pure.

What a client sends and a payload does not name is ignored, never stored and never reflected (section 7.3).
Payloads are read into types, so that what is kept has a bounded depth; how large they get the size of the
body bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from ca_core.names import Identifier, read_identifier
from policy.account import Account
from policy.order import Authorization, AuthorizationStatus, Challenge, ChallengeStatus, Order, OrderStatus
from policy.problems import BadTime, Malformed, Problem, RejectedIdentifier, UnsupportedIdentifier
from policy.product import Product
from protocols.acme.jws import Flattened
from protocols.acme.problems import CompoundProblem, stored_document
from protocols.acme.urls import URLs

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
T = TypeVar("T")

# --------------------------------------------------------------------------- payloads


class NewAccountPayload(msgspec.Struct, frozen=True):
    """Section 7.3."""

    contact: tuple[str, ...] = ()
    termsOfServiceAgreed: bool = False
    onlyReturnExisting: bool = False
    externalAccountBinding: Flattened | None = None


class AccountPayload(msgspec.Struct, frozen=True):
    """Sections 7.3.2, 7.3.3 and 7.3.6."""

    contact: tuple[str, ...] | None = None
    termsOfServiceAgreed: bool = False
    status: str | None = None


class KeyChangePayload(msgspec.Struct, frozen=True):
    """The inner payload of section 7.3.5."""

    account: str
    oldKey: msgspec.Raw


class WantedIdentifier(msgspec.Struct, frozen=True):
    """An identifier of an order; `ancestorDomain` from RFC 9444 section 4.1."""

    type: str
    value: str
    ancestorDomain: str | None = None


class AuthorizedIdentifier(msgspec.Struct, frozen=True):
    """An identifier that is to be proven by itself; `subdomainAuthAllowed` from RFC 9444 section 4.2."""

    type: str
    value: str
    subdomainAuthAllowed: bool = False


class NewAuthorizationPayload(msgspec.Struct, frozen=True):
    """Section 7.4.1. Clients in the field put `subdomainAuthAllowed` into the identifier, or beside it."""

    identifier: AuthorizedIdentifier
    subdomainAuthAllowed: bool = False
    profile: str | None = None


class NewOrderPayload(msgspec.Struct, frozen=True):
    """Section 7.4; `profile` from the profiles extension, `replaces` from RFC 9773 section 5."""

    identifiers: tuple[WantedIdentifier, ...]
    notBefore: Moment | None = None
    notAfter: Moment | None = None
    profile: str | None = None
    replaces: str | None = None


class FinalizePayload(msgspec.Struct, frozen=True):
    """Section 7.4."""

    csr: str


class StatusPayload(msgspec.Struct, frozen=True):
    """Section 7.5.2."""

    status: str | None = None


class ChallengePayload(msgspec.Struct, frozen=True):
    """Section 7.5.1: an empty object. Older clients put members in, which mean nothing."""


class RevocationPayload(msgspec.Struct, frozen=True):
    """Section 7.6."""

    certificate: str
    reason: int | None = None


_PAYLOADS: tuple[type[msgspec.Struct], ...] = (
    NewAccountPayload,
    AccountPayload,
    KeyChangePayload,
    NewOrderPayload,
    NewAuthorizationPayload,
    FinalizePayload,
    StatusPayload,
    ChallengePayload,
    RevocationPayload,
)
_DECODERS: dict[type[Any], msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(kind) for kind in _PAYLOADS}


def read_payload(kind: type[T], payload: bytes) -> T:
    """A payload of this kind. Raises Malformed, which names the member that is wrong."""
    if not payload:
        raise Malformed("the payload is empty, but this request needs a JSON object")
    try:
        found: T = _DECODERS[kind].decode(payload)
    except msgspec.ValidationError as exc:
        # This message is made for people and names members and types only, never a value.
        raise Malformed(f"the payload is not what this resource takes: {exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise Malformed("the payload is not JSON") from exc
    return found


def read_empty(payload: bytes) -> None:
    """A payload of POST-as-GET. Raises Malformed when it is not empty (RFC 8555 section 6.3)."""
    if payload:
        raise Malformed("this resource can only be read: the payload has to be empty (POST-as-GET)")


def read_ancestors(wanted: Sequence[WantedIdentifier]) -> dict[Identifier, str]:
    """The domains above identifiers that the client would rather prove, in normal form. Raises RejectedIdentifier."""
    return {
        read_identifier(one.type, one.value, strict=True): read_identifier("dns", one.ancestorDomain, strict=True).base
        for one in wanted
        if one.ancestorDomain is not None
    }


def read_identifiers(wanted: Sequence[WantedIdentifier], limit: int) -> tuple[Identifier, ...]:
    """Identifiers in normal form, each once, in the client's order.

    Raises RejectedIdentifier or UnsupportedIdentifier, or CompoundProblem for both, with one subproblem per
    mistake; Malformed when there are none or too many.
    """
    if not wanted:
        raise Malformed("an order needs at least one identifier (RFC 8555 section 7.4)")
    if len(wanted) > limit:
        raise Malformed(f"the order has {len(wanted)} identifiers; at most {limit} are taken")
    found: dict[Identifier, None] = {}
    wrong: list[Problem] = []
    for one in wanted:
        try:
            found[read_identifier(one.type, one.value, strict=True)] = None
        except (RejectedIdentifier, UnsupportedIdentifier) as problem:
            wrong.append(problem)
    if not wrong:
        return tuple(found)
    if len(wrong) == 1:
        detail = wrong[0].detail
    else:
        detail = f"{len(wrong)} of {len(wanted)} identifiers cannot be used; the subproblems say why"
    kinds = {type(problem) for problem in wrong}
    kind: type[Problem] = kinds.pop() if len(kinds) == 1 else CompoundProblem
    raise kind(detail, subproblems=tuple(wrong))


def read_moment(name: str, moment: datetime | None) -> datetime | None:
    """A wanted notBefore or notAfter in UTC. Raises BadTime for a part of a second, which no certificate can
    say."""
    if moment is None:
        return None
    if moment.microsecond:
        raise BadTime(f"{name} has a fraction of a second, which certificates do not have (RFC 5280 section 4.1.2.5)")
    return moment.astimezone(UTC)


# --------------------------------------------------------------------------- objects


class _OrderObject(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Section 7.1.3."""

    status: str
    expires: datetime
    identifiers: tuple[Identifier, ...]
    authorizations: list[str]
    finalize: str
    notBefore: datetime | UnsetType = UNSET
    notAfter: datetime | UnsetType = UNSET
    profile: str | UnsetType = UNSET
    replaces: str | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET
    certificate: str | UnsetType = UNSET


class _ChallengeObject(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Section 8."""

    type: str
    url: str
    status: str
    token: str | UnsetType = UNSET
    issuer_names: tuple[str, ...] | UnsetType = msgspec.field(default=UNSET, name="issuer-domain-names")
    accounturi: str | UnsetType = UNSET
    validated: datetime | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


class _AuthorizationObject(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Section 7.1.4."""

    identifier: Identifier
    status: str
    expires: datetime
    challenges: list[_ChallengeObject]
    wildcard: bool = False
    subdomainAuthAllowed: bool = False


_encode = msgspec.json.Encoder().encode

# RFC 8555 section 7.1.6 has no word for an order that waits for a person: to its client it is being
# processed. What was withdrawn will not be issued, which ACME says as "invalid".
_ORDER_WORDS = {
    OrderStatus.DRAFT: "pending",
    OrderStatus.PENDING: "pending",
    OrderStatus.READY: "ready",
    OrderStatus.HELD: "processing",
    OrderStatus.PROCESSING: "processing",
    OrderStatus.VALID: "valid",
    OrderStatus.INVALID: "invalid",
    OrderStatus.CANCELLED: "invalid",
}


def order_word(order: Order, now: datetime) -> str:
    """The status of an order in ACME's words, expiry seen by the clock (RFC 8555 section 7.1.6)."""
    word = _ORDER_WORDS[order.status]
    if order.expires <= now and word in ("pending", "ready"):
        return "invalid"
    return word


def write_order(order: Order, urls: URLs, now: datetime, replaces: str | None = None) -> bytes:
    """An order object. `replaces` is the certificate identifier to echo (RFC 9773 section 5)."""
    word = order_word(order, now)
    return _encode(
        _OrderObject(
            status=word,
            expires=order.expires,
            identifiers=order.identifiers,
            authorizations=[urls.authorization_prefix + one for one in order.authorizations],
            finalize=urls.finalize(order.id),
            notBefore=order.not_before or UNSET,
            notAfter=order.not_after or UNSET,
            profile=order.product,
            replaces=replaces or UNSET,
            error=stored_document(order.problem) if order.problem and word == "invalid" else UNSET,
            certificate=urls.certificate(order.serial) if order.serial and word == "valid" else UNSET,
        )
    )


def _challenge_object(
    challenge: Challenge, authorization: Authorization, urls: URLs, issuer_names: tuple[str, ...]
) -> _ChallengeObject:
    return _ChallengeObject(
        challenge.type,
        urls.challenge(authorization.id, challenge.type),
        challenge.status,
        challenge.token or UNSET,
        # A challenge without token is one whose answer is bound to CA and account instead (dns-persist-01).
        UNSET if challenge.token else issuer_names,
        UNSET if challenge.token else urls.account(authorization.owner),
        challenge.validated or UNSET,
        stored_document(challenge.error) if challenge.error else UNSET,
    )


def write_challenge(
    challenge: Challenge, authorization: Authorization, urls: URLs, issuer_names: tuple[str, ...] = ()
) -> bytes:
    """A challenge object. `issuer_names` are those of this CA in DNS records."""
    return _encode(_challenge_object(challenge, authorization, urls, issuer_names))


def write_authorization(
    authorization: Authorization, urls: URLs, now: datetime, issuer_names: tuple[str, ...] = ()
) -> bytes:
    """An authorization object. `wildcard` stands there only when it is true (RFC 8555 section 7.1.4)."""
    return _encode(
        _AuthorizationObject(
            authorization.identifier,
            authorization.at(now),
            authorization.expires,
            [_challenge_object(one, authorization, urls, issuer_names) for one in authorization.challenges],
            authorization.wildcard,
            authorization.subdomains,
        )
    )


def being_validated(authorization: Authorization) -> bool:
    """Whether a challenge of this authorization is being tried, so that asking again soon makes sense."""
    return authorization.status is AuthorizationStatus.PENDING and any(
        challenge.status is ChallengeStatus.PROCESSING for challenge in authorization.challenges
    )


def write_account(account: Account, urls: URLs) -> bytes:
    """An account object (section 7.1.2)."""
    found: dict[str, Any] = {"status": account.status}
    if account.contact:
        found["contact"] = account.contact
    if account.agreed is not None:
        found["termsOfServiceAgreed"] = True
    if account.binding is not None:
        found["externalAccountBinding"] = account.binding
    found["orders"] = urls.orders(account.id)
    return _encode(found)


def write_orders(orders: Sequence[Order], urls: URLs, now: datetime) -> bytes:
    """A page of an orders list (section 7.1.2.1): neither what came to nothing nor questions to a person are in it."""
    listed = (order for order in orders if not order.ticket and order_word(order, now) != "invalid")
    return _encode({"orders": [urls.order(order.id) for order in listed]})


def write_directory(
    urls: URLs,
    products: Sequence[Product],
    *,
    binding_required: bool,
    terms_of_service: str,
    website: str,
    caa_identities: Sequence[str],
    pre_authorization: bool = False,
    subdomains: bool = False,
) -> bytes:
    """The directory (section 7.1.1). newAuthz only where it is served; `meta` always, some appliances need it."""
    meta: dict[str, Any] = {}
    if terms_of_service:
        meta["termsOfService"] = terms_of_service
    if website:
        meta["website"] = website
    if caa_identities:
        meta["caaIdentities"] = list(caa_identities)
    meta["externalAccountRequired"] = binding_required
    meta["profiles"] = {product.name: product.title for product in products}
    if subdomains:
        meta["subdomainAuthAllowed"] = True
    return _encode(
        {
            "newNonce": urls.new_nonce,
            "newAccount": urls.new_account,
            "newOrder": urls.new_order,
            **({"newAuthz": urls.new_authorization} if pre_authorization else {}),
            "revokeCert": urls.revoke_certificate,
            "keyChange": urls.key_change,
            "renewalInfo": urls.renewal_info,
            "meta": meta,
        }
    )
