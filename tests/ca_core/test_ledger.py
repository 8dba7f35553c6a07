"""Serial numbers as text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ca_core.ledger import serial_hex


@given(st.integers(0, (1 << 159) - 1))
def test_serial_hex_is_forty_digits_that_sort_like_the_number(serial: int) -> None:
    """Ids in the store sort by time as the serial numbers do."""
    text = serial_hex(serial)
    assert len(text) == 40
    assert int(text, 16) == serial
    assert text == text.lower()
