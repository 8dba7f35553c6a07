"""ChangeSubjectName (RFC 6402 section 2.8): a renewal that asks for other names than the certificate has.

The request repeats the names of the certificate that is shown; those that are wanted are in an attribute. Whether
they are granted is decided as for any order: nothing here judges.
"""

from __future__ import annotations

from msgspec.structs import replace

from ca_core import der, oids
from ca_core.csr import CertificationRequest, read_attribute
from ca_core.names import read_general_names, read_subject
from policy.problems import BadCSR, RejectedIdentifier

_SET = 0x31
_SUBJECT_ALT = 0xA1


def asks_for_other_names(request: CertificationRequest) -> bool:
    """Whether the request has the attribute."""
    return oids.CMC_CHANGE_SUBJECT_NAME in request.attributes


def renamed(request: CertificationRequest) -> CertificationRequest:
    """The request as if it had asked for the names in the attribute; what that leaves out stays. Raises BadCSR.

    subjectAlt is read with its tag [1] (RFC 6402 appendix A.1) and without, as other modules print it: a Name
    consists of SETs, GeneralNames of context-specific elements.
    """
    value = read_attribute(request, oids.CMC_CHANGE_SUBJECT_NAME)
    if value is None:
        return request
    try:
        parts = der.elements(value)
        for part in parts:
            if part[0] == _SUBJECT_ALT:
                request = _with_names(request, bytes((der.SEQUENCE,)) + part[1:])
            elif der.elements(part) and der.elements(part)[0][0] != _SET:
                request = _with_names(request, part)
            else:
                request = replace(request, subject=read_subject(part))
    except (ValueError, RejectedIdentifier) as fault:
        raise BadCSR("the ChangeSubjectName attribute cannot be read (RFC 6402 section 2.8)") from fault
    if not 1 <= len(parts) <= 2:
        raise BadCSR("a ChangeSubjectName attribute has a subject, a subjectAlt, or both (RFC 6402 section 2.8)")
    return request


def _with_names(request: CertificationRequest, general_names: bytes) -> CertificationRequest:
    names, unknown = read_general_names(general_names)
    return replace(request, names=names, unknown_names=unknown)
