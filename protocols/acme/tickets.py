"""The page of a ticket: what a person reads who follows the `instance` of "userActionRequired".

Plain text, for terminals and browsers alike. Whoever has the address may read it: it cannot be guessed, and says
nothing that was not in the order.
"""

from __future__ import annotations

from policy.order import Order, OrderStatus
from policy.problems import UnknownOrder
from protocols.acme.door import CORS, NO_STORE, Door, id_of
from protocols.http import HTTPRequest, HTTPResponse

TEXT = "text/plain; charset=utf-8"

_SAID = {
    OrderStatus.HELD: "waits for a person to approve it. Until then the client is refused; it need not wait.",
    OrderStatus.PENDING: "is approved. Have the client order again: the certificate is then issued.",
    OrderStatus.CANCELLED: "was approved and used, or withdrawn. A further certificate has to be approved anew.",
    OrderStatus.INVALID: "was not approved, or its time is over.",
}


async def ticket(door: Door, request: HTTPRequest) -> HTTPResponse:
    """What became of the question."""
    found = await door.ra.ticket(door.mount.key, id_of(request, UnknownOrder))
    return HTTPResponse(200, write_ticket(found).encode(), TEXT, (door.index, NO_STORE, *CORS))


def write_ticket(order: Order) -> str:
    """The text of the page."""
    lines = [
        f"The request {order.id} {_SAID.get(order.status, order.status)}",
        "",
        f"names:   {', '.join(one.value for one in order.identifiers)}",
        f"product: {order.product}",
        f"asked:   {order.created:%Y-%m-%d %H:%M} UTC",
    ]
    if order.status in (OrderStatus.HELD, OrderStatus.PENDING):
        lines.append(f"until:   {order.expires:%Y-%m-%d %H:%M} UTC")
    if order.problem is not None:
        lines.append(f"because: {order.problem.detail}")
    return "\n".join(lines) + "\n"
