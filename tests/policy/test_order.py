"""The order table: any sequence of events keeps it, terminal states never change."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.ids import CredentialId, OrderId
from policy.order import OPEN, TERMINAL, TRANSITIONS, Order, OrderEvent, OrderKind, OrderStatus, advance
from policy.problems import NotReady

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def order(status: OrderStatus) -> Order:
    return Order(
        OrderId("o"),
        "a",
        CredentialId("c"),
        "account:a",
        "acme/x",
        "tls",
        1,
        OrderKind.ENROLL,
        status,
        (),
        NOW,
        NOW,
        NOW,
    )


@given(st.sampled_from(OrderStatus), st.lists(st.sampled_from(OrderEvent)))
def test_any_sequence_of_events_keeps_the_table(start: OrderStatus, events: list[OrderEvent]) -> None:
    """An event is either a step of the table, or refused and nothing changes."""
    current = order(start)
    for event in events:
        expected = TRANSITIONS.get((current.status, event))
        if expected is None:
            with pytest.raises(NotReady):
                advance(current, event, NOW)
        else:
            after = advance(current, event, NOW)
            assert (after.status, after.version) == (expected, current.version + 1)
            current = after


def test_terminal_states_have_no_way_out() -> None:
    assert not [step for step in TRANSITIONS if step[0] in TERMINAL]
    assert frozenset(OrderStatus) == OPEN | TERMINAL


def test_only_the_outcome_of_signing_leaves_processing() -> None:
    ways = {event: to for (status, event), to in TRANSITIONS.items() if status is OrderStatus.PROCESSING}
    assert ways == {OrderEvent.ISSUE: OrderStatus.VALID, OrderEvent.FAIL: OrderStatus.INVALID}


def test_every_open_status_can_end() -> None:
    """No order is stuck for want of a way: from every open status a terminal one is reached."""
    reached = set(TERMINAL)
    while True:
        more = {status for (status, _), to in TRANSITIONS.items() if to in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(OrderStatus)
