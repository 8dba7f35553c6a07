"""Every resource module of the API. A new one adds its line here, and nothing else has to know of it."""

from __future__ import annotations

from protocols.rest import (
    blocks,
    bulks,
    certificate_changes,
    certificates,
    credential_views,
    credentials,
    domains,
    groups,
    me,
    mounts,
    onboarding,
    order_papers,
    order_progress,
    orders,
    organizations,
    products,
    roles,
    users,
)
from protocols.rest.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *me.OPERATIONS,
    *orders.OPERATIONS,
    *order_papers.OPERATIONS,
    *order_progress.OPERATIONS,
    *certificates.OPERATIONS,
    *users.OPERATIONS,
    *groups.OPERATIONS,
    *roles.OPERATIONS,
    *organizations.OPERATIONS,
    *onboarding.OPERATIONS,
    *domains.OPERATIONS,
    *certificate_changes.OPERATIONS,
    *bulks.OPERATIONS,
    *blocks.OPERATIONS,
    *credentials.OPERATIONS,
    *credential_views.OPERATIONS,
    *products.OPERATIONS,
    *mounts.OPERATIONS,
)
