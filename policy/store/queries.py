"""Reads: each a name, its number of parameters, and how its rows become values. The SQL is in gateway/store/*.sql."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec

from ca_core.ledger import Issuance, PublishedCRL, RevokedEntry
from ca_core.status import CertificateState, RevocationReason
from policy.account import Account, Group, Organisation, User
from policy.audit import Checkpoint
from policy.credential import Credential
from policy.domain import Domain
from policy.mount import Mount
from policy.order import Authorization, Order
from policy.product import Product
from policy.roles import Role
from policy.store.values import (
    AuditRow,
    Block,
    Bulk,
    CertificateStatus,
    CredentialCount,
    Demand,
    KnownRequest,
    OneTimeCode,
    Pause,
    ServiceKey,
    StoredAuthority,
    StoredCertificate,
)

T = TypeVar("T")
Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Query(Generic[T]):
    """A named read and how its rows become values."""

    name: str
    parameters: int
    decode: Callable[[Row], T]


def _body(kind: type[T]) -> Callable[[Row], T]:
    decoder = msgspec.json.Decoder(kind)
    return lambda row: decoder.decode(row[0])


def _at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)


def _status(row: Row) -> CertificateStatus:
    issuer_id, serial, state, reason, at, invalidity_date, not_after = row
    return CertificateStatus(
        issuer_id,
        serial,
        CertificateState(state),
        RevocationReason(reason) if reason else None,
        _at(at),
        _at(invalidity_date) if invalidity_date is not None else None,
        _at(not_after),
    )


def _revoked(row: Row) -> RevokedEntry:
    serial, at, state, reason, not_after, invalidity_date = row
    held = state == CertificateState.ON_HOLD
    return RevokedEntry(
        serial=int(serial, 16),
        revoked_at=_at(at),
        reason=RevocationReason.CERTIFICATE_HOLD if held else RevocationReason(reason) if reason else None,
        not_after=_at(not_after),
        invalidity_date=_at(invalidity_date) if invalidity_date is not None else None,
    )


def _crl(row: Row) -> PublishedCRL:
    issuer_id, shard, number, der, this_update, next_update = row
    return PublishedCRL(issuer_id, shard, number, der, _at(this_update), _at(next_update))


def _issuance(row: Row) -> Issuance:
    return msgspec.json.decode(row[0], type=Issuance)


def _certificate_and_der(row: Row) -> tuple[StoredCertificate, bytes]:
    return msgspec.json.decode(row[0], type=StoredCertificate), row[1]


_order = _body(Order)
_authorization = _body(Authorization)
_account = _body(Account)
_credential = _body(Credential)
_product = _body(Product)
_mount = _body(Mount)
_certificate = _body(StoredCertificate)

# Parameters in order; a page is read with (…, after, limit), `after` being the last key of the page before or "".
ORDER = Query("order_get", 1, _order)
"""id"""
ORDER_BY_REFERENCE = Query("order_by_reference", 4, _order)
"""mount, credential, reference, now: open, or within the replay window"""
ORDER_OF_CLIENT = Query("order_of_client", 3, _order)
"""mount, reference, not ended before: whichever credential it was placed with; an open one first"""
ORDERS_OF_OWNER = Query("orders_of_owner", 3, _order)
"""owner, after (id), limit: newest key order does not matter to ACME, stability does"""
ORDERS_OF_OWNER_NEWEST = Query("orders_of_owner_newest", 3, _order)
"""owner, after (id of the last), limit: newest first"""
ORDERS = Query("orders_page", 4, _order)
"""status or "", credential or "", after (id of the last), limit: newest first"""
ORDERS_EXPIRED = Query("orders_expired", 2, _order)
"""now, limit: open orders whose time is over"""
ORDERS_PROVEN = Query("orders_proven", 2, _order)
"""now, limit: pending orders whose authorizations are all valid"""
OPEN_ORDERS_OF_CREDENTIAL = Query("orders_open_of_credential", 2, _order)
"""credential, limit: without those that are being signed"""
OPEN_ORDERS_OF_OWNER = Query("orders_open_of_owner", 2, _order)
"""owner, limit: without those that are being signed"""
AUTHORIZATION = Query("authorization_get", 1, _authorization)
"""id"""
AUTHORIZATIONS = Query("authorization_many", 1, _authorization)
"""ids as a JSON array"""
AUTHORIZATION_REUSABLE = Query("authorization_reusable", 5, _authorization)
"""owner, identifier type, value, wildcard (0/1), valid until at least"""
AUTHORIZATION_COVERING = Query("authorization_covering", 3, _authorization)
"""owner, names (DNS) as a JSON array, valid until at least: valid ones for any of the names"""
ORDERS_OF_AUTHORIZATION = Query("orders_of_authorization", 2, _order)
"""authorization id, limit: pending orders that wait for it"""
ACCOUNT = Query("account_get", 1, _account)
"""id"""
ACCOUNT_BY_KEY = Query("account_by_key", 2, _account)
"""mount, thumbprint"""
ACCOUNTS = Query("accounts_page", 6, _account)
"""mount or "", credential or "", status or "", text or "", after (id), limit"""
PAUSES = Query("pauses_of_owner", 1, _body(Pause))
"""owner"""
ACCOUNTS_OF_CREDENTIAL = Query("accounts_of_credential", 3, _account)
"""credential, after (id), limit"""
CREDENTIAL = Query("credential_get", 1, _credential)
"""id"""
CREDENTIAL_BY_IDENTIFIER = Query("credential_by_identifier", 2, _credential)
"""type, identifier"""
CREDENTIALS = Query("credentials_page", 8, _credential)
"""type or "", status or "", user or "", group or "", product or "", text or "", after (id), limit"""
CREDENTIAL_COUNTS = Query("credential_counts", 0, lambda row: CredentialCount(*row))
"""how many there are of each type, state, user and group, as the state counts now"""
CREDENTIAL_USES = Query("credential_uses", 1, lambda row: int(row[0]))
"""id"""
IDEMPOTENT = Query("idempotency_get", 3, lambda row: KnownRequest(*row))
"""scope, key, now"""
SPENT = Query("spent_get", 3, lambda row: bool(row[0]))
"""scope, value, now: whether it was used up"""
ONE_TIME_CODE = Query("one_time_code_get", 1, _body(OneTimeCode))
"""hash (hex), used or not"""
ONE_TIME_CODES_OPEN = Query("one_time_codes_open", 3, lambda row: str(row[0]))
"""credential, now, limit: hashes of those that are neither used nor expired"""
PRODUCT = Query("product_current", 1, _product)
"""name: the newest version"""
PRODUCT_VERSION = Query("product_get", 2, _product)
"""name, version"""
PRODUCTS = Query("products_current", 0, _product)
MOUNT = Query("mount_get", 1, _mount)
"""key"""
MOUNTS = Query("mounts_all", 0, _mount)
USER = Query("user_get", 1, _body(User))
USERS = Query("users_all", 0, _body(User))
GROUP = Query("group_get", 1, _body(Group))
QUOTA_USED = Query("quota_used", 2, lambda row: int(row[0]))
"""group, month as "2026-11": certificates of the group"""
GROUPS = Query("groups_all", 0, _body(Group))
DOMAINS_OF_GROUP = Query("domains_of_group", 1, _body(Domain))
"""group"""
DOMAINS = Query("domains_all", 0, _body(Domain))
ORGANISATION = Query("organisation_get", 1, _body(Organisation))
"""name"""
ORGANISATIONS = Query("organisations_all", 0, _body(Organisation))
ROLE = Query("role_get", 1, _body(Role))
"""name: of those that were made; the predefined ones are policy.access"""
ROLES = Query("roles_all", 0, _body(Role))
CERTIFICATE = Query("certificate_get", 1, _certificate_and_der)
"""serial (hex)"""
CERTIFICATE_OF_ORDER = Query("certificate_of_order", 1, _certificate_and_der)
"""order id"""
REPLACED = Query("certificate_replaced", 1, lambda row: bool(row[0]))
"""serial (hex): whether an order that is open or valid says that it replaces it"""
ORDER_REPLACING = Query("order_replacing", 1, _order)
"""serial (hex): the order that is open or valid and says that it replaces it"""
CERTIFICATES = Query("certificates_page", 4, _certificate_and_der)
"""credential or "", name text or "", after (serial of the last), limit: newest first"""
CERTIFICATES_FOUND = Query("certificates_found", 17, _certificate_and_der)
"""the fields of a CertificateFilter (`found` makes them), after (serial of the last), limit: newest first"""
ORDERS_FOUND = Query("orders_found", 12, _order)
"""the fields of an OrderFilter (`found` makes them), after (id of the last), limit: newest first"""
TAGS_OF = Query("tags_of", 1, lambda row: (str(row[0]), str(row[1])))
"""serials as a JSON array: (serial, tag)"""
ANY_BLOCK = Query("blocks_any", 0, lambda row: bool(row[0]))
BLOCKS_ON = Query("blocks_on", 2, _body(Block))
"""subjects as a JSON array, now"""
BLOCKS = Query("blocks_page", 4, _body(Block))
"""said or "", text of the subject or "", after (id of the last), limit: newest first"""
BLOCK = Query("block_get", 1, _body(Block))
"""id"""
DOCUMENT = Query("document_get", 2, lambda row: bytes(row[0]))
"""document id, order id"""
BULK = Query("bulk_get", 1, _body(Bulk))
"""id"""
BULKS = Query("bulks_page", 2, _body(Bulk))
"""after (id of the last), limit: newest first"""
PRODUCT_VERSIONS = Query("product_versions", 1, _product)
"""name: all versions, newest first"""
CERTIFICATES_BY_KEY = Query("certificates_by_key", 1, _certificate)
"""SHA-256 of the SPKI (hex)"""
KEY_CERTIFIED = Query("key_certified", 1, lambda row: bool(row[0]))
"""SHA-256 of the SPKI (hex): whether any certificate has this key"""
DEMANDS_ON = Query("demands_on", 2, _body(Demand))
"""two objects"""
DEMANDS = Query("demands_all", 0, _body(Demand))
CERTIFICATES_OF_CREDENTIAL = Query("certificates_of_credential", 3, _certificate)
"""credential, after (serial), limit: those that are neither revoked nor expired"""
CERTIFICATE_STATUS = Query("certificate_status", 1, _status)
"""serial (hex)"""
CERTIFICATE_STATUSES = Query("certificate_statuses", 1, _status)
"""serials as a JSON array"""
REVOKED = Query("certificates_revoked", 3, _revoked)
"""issuer id, shard, not expired before (RFC 5280 section 3.3: one CRL past expiry)"""
CRL = Query("crl_get", 2, _crl)
"""issuer id, shard"""
CRLS = Query("crls_all", 0, _crl)
ISSUANCES_OPEN = Query("issuances_open", 1, _issuance)
"""limit: reserved, neither signed nor void"""
ISSUANCES_OPEN_AFTER = Query("issuances_open_after", 2, _issuance)
"""after (id), limit: the same, page by page"""
ISSUANCE_OF_ORDER = Query("issuance_of_order", 1, _issuance)
"""order id: the open one"""
AUTHORITIES = Query("authorities_all", 0, _body(StoredAuthority))
"""in the order in which they were made"""
SERVICE_KEYS = Query("service_keys_all", 0, _body(ServiceKey))
AUDIT = Query("audit_page", 2, lambda row: AuditRow(*row))
"""after (seq), limit: in order"""
AUDIT_OF_OBJECT = Query("audit_of_object", 3, lambda row: AuditRow(*row))
"""object, after (seq), limit"""
AUDIT_SIZE = Query("audit_size", 0, lambda row: int(row[0]))
"""the number of the newest event"""
CHECKPOINT = Query("checkpoint_last", 0, _body(Checkpoint))
CHECKPOINTS = Query("checkpoints_page", 2, _body(Checkpoint))
"""after (size), limit"""
UNAUDITED = Query("certificates_unaudited", 1, lambda row: str(row[0]))
"""limit: serials of certificates that have no "issued" event"""
