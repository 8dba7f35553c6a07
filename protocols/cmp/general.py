"""Support messages (RFC 9810 section 5.3.19, RFC 9483 section 4.3): genm in, genp out.

What is known about a mount comes in as values; who asks for what is looked at, and nothing is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from ca_core import oids
from ca_core.der import elements, integer, object_identifier, octet_string, read_tlv, sequence, tlv
from ca_core.names import write_subject
from policy.problems import Malformed
from policy.product import Product
from protocols.cmp.bodies import Answer, info
from protocols.cmp.message import BodyType, read_info
from protocols.cmp.problems import PKIFailureInfo, Refusal
from protocols.cmp.protection import UNREADABLE

_TYPE = "1.3.6.1.5.5.7.4."
SIGN_KEY_PAIR_TYPES, ENC_KEY_PAIR_TYPES, PREFERRED_SYMM_ALG = _TYPE + "2", _TYPE + "3", _TYPE + "4"
CURRENT_CRL, UNSUPPORTED_OIDS, SUPP_LANG_TAGS = _TYPE + "6", _TYPE + "7", _TYPE + "16"
CA_CERTS, ROOT_CA_KEY_UPDATE, CERT_REQ_TEMPLATE, ROOT_CA_CERT = _TYPE + "17", _TYPE + "18", _TYPE + "19", _TYPE + "20"
CRL_STATUS_LIST, CRLS = _TYPE + "22", _TYPE + "23"
_REG_ALG_ID = "1.3.6.1.5.5.7.5.1.11"  # id-regCtrl-algId, RFC 9810 section 5.3.19.16
_REG_RSA_KEY_LEN = "1.3.6.1.5.5.7.5.1.12"  # id-regCtrl-rsaKeyLen
_AES_256_CBC = "2.16.840.1.101.3.4.1.42"
_RSA_BITS = {"rsa-2048": 2048, "rsa-3072": 3072, "rsa-4096": 4096}
_CURVES = {"ec-p256": oids.CURVE_P256, "ec-p384": oids.CURVE_P384, "ec-p521": oids.CURVE_P521}
_PLAIN_KEYS = {
    "ed25519": oids.ED25519,
    "ed448": oids.ED448,
    "ml-dsa-44": oids.ML_DSA_44,
    "ml-dsa-65": oids.ML_DSA_65,
    "ml-dsa-87": oids.ML_DSA_87,
}
NEED_CRLS = frozenset({CURRENT_CRL, CRL_STATUS_LIST})
MAX_TYPES = 20


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a mount can tell: CA certificates (issuing, intermediates, root, what links roots), CRLs, the product."""

    certificates: tuple[bytes, ...]
    crls: tuple[bytes, ...]
    product: Product | None


@asn1.sequence
class _General:
    items: list[list[asn1.TLV]]


@asn1.sequence
class _Moment:
    at: asn1.UTCTime | asn1.GeneralizedTime


def read_genm(content: bytes) -> tuple[tuple[str, bytes | None], ...]:
    """The types and values of GenMsgContent. Raises Malformed."""
    try:
        found = tuple([read_info(one) for one in asn1.decode_der(_General, sequence(content)).items])
        if len(found) > MAX_TYPES:
            raise ValueError(f"more than {MAX_TYPES} types")
    except (ValueError, OverflowError) as exc:
        raise Malformed("the body is not GenMsgContent (RFC 9810 section 5.3.19)") from exc
    return found


def answer(asked: tuple[tuple[str, bytes | None], ...], known: Knowledge) -> Answer:
    """genp: an answer for each type, and the list of those that are not known here. Raises Malformed, Refusal."""
    told, unknown = [], []
    for oid, value in asked:
        responder = _RESPONDERS.get(oid)
        if responder is None:
            unknown.append(object_identifier(oid))
        else:
            told.append(responder(value, known))
    if unknown:
        told.append(info(UNSUPPORTED_OIDS, sequence(*unknown)))
    return Answer(BodyType.GENP, sequence(*told))


def _absent(value: bytes | None, name: str) -> None:
    if value is not None:
        raise Refusal(PKIFailureInfo.badRequest, f"{name} is asked for without a value (RFC 9483 section 4.3)")


def _ca_certs(value: bytes | None, known: Knowledge) -> bytes:
    """The certificates between root and end entity; a root is nothing that a message could vouch for."""
    _absent(value, "caCerts")
    chain = [der for der in known.certificates if not _self_issued(der)]
    return info(CA_CERTS, sequence(*chain) if chain else b"")


def _self_issued(der: bytes) -> bool:
    certificate = x509.load_der_x509_certificate(der)
    return certificate.issuer == certificate.subject


def _root_ca_cert(value: bytes | None, known: Knowledge) -> bytes:
    """rootCaKeyUpdate: the newest root, and what links it with the one that the client has; nothing when none does.

    Every link is verified here, under the key of the client's own root (trap CVE-2026-42769).
    """
    try:
        old = x509.load_der_x509_certificate(value or b"")
        old_key = old.public_key()
    except UNREADABLE as exc:
        raise Malformed("the value of rootCaCert is not the certificate of the root that the client has") from exc
    roots = [x509.load_der_x509_certificate(der) for der in known.certificates if _self_issued(der)]
    ours = [one for one in roots if one.subject == old.subject]
    if old not in ours:
        return info(ROOT_CA_KEY_UPDATE)
    for new in sorted(ours, key=lambda one: one.not_valid_before_utc, reverse=True):
        if new == old:
            break
        new_key = new.public_key()
        new_with_old = next((one for one in ours if one.public_key() == new_key and _issued(one, old)), None)
        old_with_new = next((one for one in ours if one.public_key() == old_key and _issued(one, new)), None)
        if new_key != old_key and _issued(new, new) and new_with_old is not None:
            parts = [_der(new), tlv(0xA0, _der(new_with_old))]
            if old_with_new is not None:
                parts.append(tlv(0xA1, _der(old_with_new)))
            return info(ROOT_CA_KEY_UPDATE, sequence(*parts))
    return info(ROOT_CA_KEY_UPDATE)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _cert_req_template(value: bytes | None, known: Knowledge) -> bytes:
    """What a request should look like: what is empty is for the client to fill in (RFC 9483 section 4.3.3)."""
    _absent(value, "certReqTemplate")
    if known.product is None:
        return info(CERT_REQ_TEMPLATE)
    profile = known.product.profile
    rdns = b"".join(elements(write_subject(profile.fixed_subject)))
    if "CN" in profile.subject_attributes and profile.common_name != "drop":
        rdns += tlv(0x31, sequence(object_identifier("2.5.4.3"), tlv(0x0C, b"")))
    parts = [tlv(0xA5, sequence(rdns))] if rdns else []
    if known.product.names.required and "dns" in profile.name_types:
        names = sequence(object_identifier(oids.SUBJECT_ALT_NAME), octet_string(sequence(tlv(0x82, b""))))
        parts.append(tlv(0xA9, names))
    keys = [spec for key_type in profile.key_types if (spec := _key_spec(key_type)) is not None]
    return info(CERT_REQ_TEMPLATE, sequence(sequence(*parts), sequence(*keys) if keys else b""))


def _key_spec(key_type: str) -> bytes | None:
    if key_type in _RSA_BITS:
        return sequence(object_identifier(_REG_RSA_KEY_LEN), integer(_RSA_BITS[key_type]))
    algorithm = _algorithm(key_type)
    return sequence(object_identifier(_REG_ALG_ID), algorithm) if algorithm is not None else None


def _algorithm(key_type: str) -> bytes | None:
    """The AlgorithmIdentifier of a public key of this type."""
    if key_type in _CURVES:
        return sequence(object_identifier(oids.EC_PUBLIC_KEY), object_identifier(_CURVES[key_type]))
    if key_type in _PLAIN_KEYS:
        return sequence(object_identifier(_PLAIN_KEYS[key_type]))
    return None


def _sign_key_pair_types(value: bytes | None, known: Knowledge) -> bytes:
    """The algorithms of keys that can be certified; RSA once, whatever its sizes are."""
    _absent(value, "signKeyPairTypes")
    types = known.product.profile.key_types if known.product is not None else ()
    found = [algorithm for one in types if (algorithm := _algorithm(one)) is not None]
    if any(one in _RSA_BITS for one in types):
        found.insert(0, sequence(object_identifier(oids.RSA_ENCRYPTION), b"\x05\x00"))
    return info(SIGN_KEY_PAIR_TYPES, sequence(*found) if found else b"")


def _enc_key_pair_types(value: bytes | None, known: Knowledge) -> bytes:
    """Nothing beside the keys that sign: a key that only encrypts is certified nowhere here."""
    _absent(value, "encKeyPairTypes")
    return info(ENC_KEY_PAIR_TYPES)


def _preferred_symm_alg(value: bytes | None, known: Knowledge) -> bytes:
    _absent(value, "preferredSymmAlg")
    return info(PREFERRED_SYMM_ALG, sequence(object_identifier(_AES_256_CBC), octet_string(bytes(16))))


def _current_crl(value: bytes | None, known: Knowledge) -> bytes:
    """The issuing CA's CRL, where it has one shard."""
    _absent(value, "currentCRL")
    return info(CURRENT_CRL, known.crls[0] if known.crls else b"")


def _supp_lang_tags(value: bytes | None, known: Knowledge) -> bytes:
    """The texts here are English, whatever else a client would like."""
    return info(SUPP_LANG_TAGS, sequence(tlv(0x0C, b"en")))


def _crl_status_list(value: bytes | None, known: Knowledge) -> bytes:
    """crls: those that are newer than what the client has of the sources that it names (RFC 9483 section 4.3.4)."""
    try:
        statuses = elements(value or b"")
        found = [der for status in statuses for der in _newer(elements(status), known)]
    except (ValueError, IndexError) as exc:
        raise Malformed("the value of crlStatusList is not a sequence of CRLStatus") from exc
    if not statuses:
        raise Refusal(PKIFailureInfo.badRequest, "crlStatusList names no source")
    return info(CRLS, sequence(*dict.fromkeys(found)) if found else b"")


def _newer(status: tuple[bytes, ...], known: Knowledge) -> list[bytes]:
    source, *rest = status
    since = datetime.min.replace(tzinfo=UTC)
    if rest:
        since = asn1.decode_der(_Moment, sequence(rest[0])).at.as_datetime().astimezone(UTC)
    wanted = source[read_tlv(source, 0).start :]
    by_issuer = source[0] == 0xA1
    found = []
    for der in known.crls:
        crl = x509.load_der_x509_crl(der)
        # A source is a name of the issuer, or a distribution point, whose address stands in the CRL as well.
        matches = crl.issuer.public_bytes() in wanted if by_issuer else _distributed(crl, wanted)
        if matches and crl.last_update_utc > since:
            found.append(der)
    return found


def _distributed(crl: x509.CertificateRevocationList, wanted: bytes) -> bool:
    try:
        point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    except x509.ExtensionNotFound:
        return False
    addresses = [one.value.encode() for one in point.full_name or () if isinstance(one, x509.UniformResourceIdentifier)]
    return any(address in wanted for address in addresses)


_RESPONDERS: Mapping[str, Callable[[bytes | None, Knowledge], bytes]] = {
    CA_CERTS: _ca_certs,
    ROOT_CA_CERT: _root_ca_cert,
    CERT_REQ_TEMPLATE: _cert_req_template,
    CRL_STATUS_LIST: _crl_status_list,
    SIGN_KEY_PAIR_TYPES: _sign_key_pair_types,
    ENC_KEY_PAIR_TYPES: _enc_key_pair_types,
    PREFERRED_SYMM_ALG: _preferred_symm_alg,
    CURRENT_CRL: _current_crl,
    SUPP_LANG_TAGS: _supp_lang_tags,
}
