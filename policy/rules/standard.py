"""The rules that come with the product, in the order in which they are judged."""

from __future__ import annotations

from policy.rules import Rule
from policy.rules.content import final_content, named, no_authority, requested_names
from policy.rules.groups import allowed_product
from policy.rules.identifiers import granted_identifiers, proven_identifiers
from policy.rules.keys import good_key

AT_PLACING: tuple[Rule, ...] = (named, allowed_product, granted_identifiers)
"""Judged when an order is written down: identifiers and product are known."""

ON_REQUEST: tuple[Rule, ...] = (requested_names, no_authority, good_key)
"""Judged when the certification request is there: a mistake leaves the order `ready` for a better one."""

ON_CERTIFICATE: tuple[Rule, ...] = (named, allowed_product, granted_identifiers, proven_identifiers, final_content)
"""Judged on the to-be-signed certificate, right before it is reserved."""
