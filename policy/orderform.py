"""What an order of a product may say, machine-readable: JSON Schema (2020-12), and what else a client must know.

Everything stands here that would be refused later, so that a form or a pipeline can be right the first time.
"""

from __future__ import annotations

from typing import Any

from ca_core.status import RevocationReason
from policy.product import Product
from policy.revocation import SUBSCRIBER_REASONS

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def order_form(product: Product) -> dict[str, Any]:
    """The form of an order, and how its certificate is proven, approved, renewed, suspended and revoked."""
    profile, names = product.profile, product.names
    properties: dict[str, Any] = {
        "product": {"const": product.name},
        "csr": {"type": "string", "description": "PKCS #10: PEM, or base64 of DER"},
        "names": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1 if names.required else 0,
            "maxItems": names.max_names,
            "uniqueItems": True,
        },
        "not_after": {"type": "string", "format": "date-time"},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 32},
        "automatic_renewal": {"type": "boolean"},
        "draft": {"type": "boolean"},
    }
    if product.terms is not None:
        properties["agreement"] = {"type": "object", "properties": {"signer": {"type": "string"}}}
    return {
        "order": {"$schema": DRAFT, "type": "object", "properties": properties, "additionalProperties": False},
        "names": {
            "types": list(profile.name_types),
            "allowed": list(names.allowed),
            "denied": list(names.denied),
            "wildcards": names.wildcards,
            "common_name": names.common_name,
        },
        "key_types": list(profile.key_types),
        "subject_attributes": list(profile.subject_attributes),
        "validity_seconds": {"default": profile.validity_seconds, "maximum": profile.longest_validity_seconds},
        "validation": {"methods": list(product.validation.methods), "trusted": list(product.validation.trusted)},
        "documents": [
            {"type": one.type, "title": one.title, "media_types": list(one.media_types), "max_bytes": one.max_bytes}
            for one in product.documents
        ],
        "terms": product.terms,
        "approvals": product.approvals if product.approval else 0,
        "renewal": {"opens_after": product.renewal_fraction, "same_key": product.renew_same_key},
        "verbs": ["renew", "reissue", "revoke", *(["hold", "release"] if product.suspension else [])],
        "suspension": product.suspension,
        "revocation_reasons": [str(one) for one in RevocationReason if one in SUBSCRIBER_REASONS],
    }
