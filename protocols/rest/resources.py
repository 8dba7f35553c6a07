"""Every resource module of the API. A new one adds its line here, and nothing else has to know of it."""

from __future__ import annotations

from protocols.rest import certificates, me, orders
from protocols.rest.operation import Operation

OPERATIONS: tuple[Operation, ...] = (
    *me.OPERATIONS,
    *orders.OPERATIONS,
    *certificates.OPERATIONS,
)
