"""PEM chains: strict form, read by others."""

from __future__ import annotations

import ssl

from hypothesis import given
from hypothesis import strategies as st

from protocols.acme import pem


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=3))
def test_chains_are_those_of_the_standard_library(chain: list[bytes]) -> None:
    """RFC 7468: the same text as another writer makes, with nothing between (RFC 8555 section 9.1). Rows: R23."""
    assert pem.write_chain(tuple(chain)).decode() == "".join(ssl.DER_cert_to_PEM_cert(one) for one in chain)
