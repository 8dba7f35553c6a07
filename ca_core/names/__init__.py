"""Names: identifiers, general names and subject names: parse, normalise, compare, write."""

from __future__ import annotations

from ca_core.names.general import read_general_names, write_general_names
from ca_core.names.identifiers import Identifier, IdentifierType, read_identifier, read_name
from ca_core.names.subject import (
    Subject,
    common_name,
    common_names,
    read_subject,
    subject_text,
    write_subject,
)

__all__ = [
    "Identifier",
    "IdentifierType",
    "Subject",
    "common_name",
    "common_names",
    "read_general_names",
    "read_identifier",
    "read_name",
    "read_subject",
    "subject_text",
    "write_general_names",
    "write_subject",
]
