"""Which columns an entity has beside its body: what statements search or guard by."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ca_core.clock import epoch_seconds
from policy.account import Account, Group, Organisation, User
from policy.credential import Credential
from policy.mount import Mount
from policy.order import Authorization, Order
from policy.product import Product
from policy.roles import Role
from policy.sealing import fingerprint
from policy.store.values import Block, Bulk, ServiceKey, StoredAuthority

Value = str | int | bytes | float | None

Entity = (
    Order
    | Authorization
    | Account
    | Credential
    | Product
    | Mount
    | User
    | Group
    | Organisation
    | Role
    | ServiceKey
    | StoredAuthority
    | Block
    | Bulk
)


def _seconds(at: datetime | None) -> int | None:
    return None if at is None else epoch_seconds(at)


TABLES: dict[type, tuple[str, Callable[[Any], tuple[Value, ...]], bool]] = {
    Order: (
        "order",
        lambda o: (
            o.id,
            o.status,
            o.owner,
            o.credential,
            o.mount,
            o.reference,
            o.replaces,
            epoch_seconds(o.created),
            epoch_seconds(o.updated),
            epoch_seconds(o.expires),
        ),
        False,
    ),
    Authorization: (
        "authorization",
        lambda a: (
            a.id,
            a.owner,
            a.identifier.type,
            a.identifier.value,
            int(a.wildcard),
            a.status,
            epoch_seconds(a.expires),
        ),
        False,
    ),
    Account: (
        "account",
        lambda a: (a.id, a.mount, a.credential, a.status, a.thumbprint, fingerprint(a.spki)),
        True,
    ),
    Credential: (
        "credential",
        lambda c: (
            c.id,
            c.type,
            c.identifier,
            c.state,
            c.user,
            c.group,
            " ".join(c.products),
            _seconds(c.not_before),
            _seconds(c.expires),
            c.use_limit,
        ),
        True,
    ),
    Product: ("product", lambda p: (p.name, p.state), True),
    Mount: ("mount", lambda m: (m.key, int(m.active)), True),
    User: ("user", lambda u: (u.name, int(u.active)), True),
    Group: ("group", lambda g: (g.name, int(g.active)), True),
    Organisation: ("organisation", lambda o: (o.name,), True),
    Role: ("role", lambda r: (r.name,), True),
    StoredAuthority: ("authority", lambda a: (a.name,), True),
    Block: ("block", lambda b: (b.id, b.subject, int(b.active), _seconds(b.until)), True),
    Bulk: ("bulk", lambda b: (b.id,), False),
    ServiceKey: ("service_key", lambda k: (k.purpose, k.issuer), True),
}
