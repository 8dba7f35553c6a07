from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import example, given
from hypothesis import strategies as st
from pyasn1.codec.der import decoder
from pyasn1_modules import rfc5280

from ca_core import der
from ca_core.names import (
    Identifier,
    IdentifierType,
    Subject,
    common_name,
    common_names,
    read_general_names,
    read_identifier,
    read_subject,
    subject_text,
    write_general_names,
    write_subject,
)
from ca_core.problems import BadCSR, Problem, RejectedIdentifier, UnsupportedIdentifier

LONG = ".".join(["a" * 63] * 3 + ["b" * 61])


@pytest.mark.parametrize(
    ("kind", "given_value", "normal"),
    [
        ("dns", "a.example", "a.example"),
        ("dns", "WWW.Example.COM", "www.example.com"),
        ("dns", "*.Example.com", "*.example.com"),
        ("dns", "localhost", "localhost"),
        ("dns", "1.2.3.4a", "1.2.3.4a"),
        ("dns", "bücher.example", "xn--bcher-kva.example"),
        ("dns", "BÜCHER.example", "xn--bcher-kva.example"),
        ("dns", "faß.example", "xn--fa-hia.example"),
        ("dns", "日本。example", "xn--wgv71a.example"),
        ("dns", "xn--BCHER-kva.example", "xn--bcher-kva.example"),
        ("dns", LONG, LONG),
        ("ip", "192.0.2.1", "192.0.2.1"),
        ("ip", "2001:DB8:0:0:0::1", "2001:db8::1"),
        ("email", "Info@EXAMPLE.org", "Info@example.org"),
        ("uri", "HTTPS://User@Example.org:443/A%2fb?q#f", "https://User@example.org:443/A%2fb?q#f"),
        ("uri", "spiffe://trust.example/workload", "spiffe://trust.example/workload"),
        ("uri", "http://[2001:DB8::1]:/", "http://[2001:db8::1]/"),
        ("upn", "Jürgen@REALM.example", "Jürgen@realm.example"),
        ("permanent-identifier", "SN 0815", "SN 0815"),
    ],
)
def test_identifiers_are_brought_to_their_normal_form(kind: str, given_value: str, normal: str) -> None:
    """One name has one form, whichever door it came through."""
    assert read_identifier(kind, given_value) == Identifier(IdentifierType(kind), normal)


@pytest.mark.parametrize(
    ("kind", "value", "why"),
    [
        ("dns", "", "is empty"),
        ("dns", "*.", "is empty"),
        ("dns", "a_b.example", '"_"'),
        ("dns", "a b.example", '" "'),
        ("dns", "a\0.example", "character"),
        ("dns", "a.example.", "ends in a dot"),
        ("dns", ".a.example", "empty label"),
        ("dns", "a..example", "empty label"),
        ("dns", "-a.example", "hyphen"),
        ("dns", "a-.example", "hyphen"),
        ("dns", "ab--cd.example", "no A-label"),
        ("dns", "xn--a.example", "A-label"),
        ("dns", "xn--zzzzzzzz.example", "A-label"),
        ("dns", "xn--abc-.example", "hyphen"),
        ("dns", "a" * 64 + ".example", "63"),
        ("dns", "a" + LONG, "253|63"),
        ("dns", "*." + LONG, "253"),
        ("dns", "192.0.2.1", "IP address"),
        ("dns", "*.192.0.2.1", "IP address"),
        ("dns", "[2001:db8::1]", "IP address"),
        ("dns", "2001:db8::1", "IP address"),
        ("dns", "a.123", "all digits"),
        ("dns", "*", "wildcard"),
        ("dns", "a.*.example", "wildcard"),
        ("dns", "*.*.example", "wildcard"),
        ("dns", "f*.example", '"\\*"'),
        ("dns", "☃..example", "internationalised"),
        ("dns", "a\u200b\udc80.example", "internationalised"),
        ("ip", "192.0.2.01", "not an IP address"),
        ("ip", "192.0.2.0/24", "not an IP address"),
        ("ip", "fe80::1%eth0", "zone"),
        ("ip", "::ffff:192.0.2.1", "IPv4-mapped"),
        ("ip", "[::1]", "not an IP address"),
        ("email", "info", '"@"'),
        ("email", "a b@example.org", "local part"),
        ("email", '"a b"@example.org', "local part"),
        ("email", "é@example.org", "local part"),
        ("email", "a" * 65 + "@example.org", "64"),
        ("email", "a@b@example.org", "local part"),
        ("uri", "urn:uuid:1", "absolute URI"),
        ("uri", "//host/path", "absolute URI"),
        ("uri", "http://host/a b", "absolute URI"),
        ("uri", "http://host/\n", "absolute URI"),
        ("uri", "http://host/%zz", "absolute URI"),
        ("uri", "http://a_b/", "absolute URI"),
        ("upn", "nobody", "user@realm"),
        ("upn", "@realm", "user@realm"),
        ("upn", "a@b@realm", "second"),
        ("upn", "a\x01@realm", "control"),
        ("permanent-identifier", "", "empty"),
        ("permanent-identifier", "a\x7f", "control"),
        ("permanent-identifier", "\ud800", "Unicode"),
    ],
)
def test_what_is_no_identifier_is_refused_with_a_reason(kind: str, value: str, why: str) -> None:
    """The sentence has the value and what is wrong with it; the problem carries the identifier. Rows: T-24."""
    with pytest.raises(RejectedIdentifier, match=why) as caught:
        read_identifier(kind, value)
    assert caught.value.context["identifier"] == Identifier(IdentifierType(kind), value)
    caught.value.detail.encode()


def test_the_sentence_of_the_house_style() -> None:
    """What was wrong, with the value."""
    with pytest.raises(RejectedIdentifier) as caught:
        read_identifier("dns", "a_b.example")
    assert caught.value.detail == ('dns identifier "a_b.example" has a character that host names do not allow: "_"')


def test_unknown_types_are_told_apart_from_bad_values() -> None:
    """RFC 8555 section 6.7: unsupportedIdentifier is not rejectedIdentifier."""
    with pytest.raises(UnsupportedIdentifier, match="dns, ip") as caught:
        read_identifier("tnauthlist", "x")
    assert caught.value.context["identifier"] == "tnauthlist:x"


@pytest.mark.parametrize(
    ("kind", "value", "accepted"),
    [
        ("ip", "2001:db8::1", True),
        ("ip", "2001:DB8::1", False),
        ("ip", "2001:db8:0::1", False),
        ("dns", "A.example", True),
        ("dns", "bücher.example", False),
        ("dns", "xn--bcher-kva.example", True),
    ],
)
def test_strict_reading_for_acme(kind: str, value: str, accepted: bool) -> None:
    """RFC 8738 section 3 and RFC 8555 section 7.1.4: canonical addresses, A-labels; upper case is lowered.

    Rows: R12, T-24.
    """
    if accepted:
        assert read_identifier(kind, value, strict=True).value == value.lower()
    else:
        with pytest.raises(RejectedIdentifier):
            read_identifier(kind, value, strict=True)


def test_wildcards_have_a_base() -> None:
    """RFC 8555 section 7.1.4: control is proven over the name without the wildcard."""
    wildcard, plain = read_identifier("dns", "*.a.example"), read_identifier("dns", "a.example")
    assert (wildcard.wildcard, wildcard.base) == (True, "a.example")
    assert (plain.wildcard, plain.base) == (False, "a.example")
    assert str(wildcard) == "dns:*.a.example"


TYPES = st.sampled_from(list(IdentifierType))
LIKELY = st.one_of(
    st.text(),
    st.text(alphabet="aA0-.*_@:/[]%xnüß。 \n", max_size=80),
    st.ip_addresses().map(str),
    st.emails(),
    st.from_regex(r"(xn--)?[a-z0-9-]{1,20}\.[a-z]{1,10}", fullmatch=True),
    st.from_regex(r"[a-z]{1,5}://[a-z.0-9\[\]:]{1,20}(/[a-z%]*)?", fullmatch=True),
)


@given(TYPES, LIKELY)
@example(IdentifierType.DNS, "\u0130.example")
@example(IdentifierType.URI, "http://0:0/")
def test_normalising_twice_is_a_no_op(kind: IdentifierType, value: str) -> None:
    """A normal form is its own normal form, for ACME too, and fits into a certificate and back out."""
    try:
        once = read_identifier(kind, value)
    except RejectedIdentifier:
        return
    assert read_identifier(kind, once.value) == once
    assert read_identifier(kind, once.value, strict=True) == once
    assert read_general_names(write_general_names((once,))) == ((once,), ())


@given(st.text(), LIKELY, st.booleans())
def test_any_text_is_an_identifier_or_a_problem(kind: str, value: str, strict: bool) -> None:
    """No other exception, and a sentence that can be sent."""
    try:
        read_identifier(kind, value, strict=strict)
    except Problem as problem:
        problem.detail.encode()


ALL = tuple(
    read_identifier(kind, value)
    for kind, value in (
        ("dns", "a.example"),
        ("dns", "*.xn--bcher-kva.example"),
        ("ip", "192.0.2.1"),
        ("ip", "2001:db8::1"),
        ("email", "info@a.example"),
        ("uri", "https://a.example/x"),
        ("upn", "jürgen@realm.example"),
        ("permanent-identifier", "SN-0815"),
    )
)


def test_general_names_are_read_by_others() -> None:
    """Two independent decoders see what was written (RFC 5280 section 4.2.1.6, RFC 4043 section 2)."""
    decoded, rest = decoder.decode(write_general_names(ALL), asn1Spec=rfc5280.GeneralNames())
    assert not rest
    assert [name.getName() for name in decoded] == [
        "dNSName",
        "dNSName",
        "iPAddress",
        "iPAddress",
        "rfc822Name",
        "uniformResourceIdentifier",
        "otherName",
        "otherName",
    ]
    assert bytes(decoded[3]["iPAddress"]).hex() == "20010db8000000000000000000000001"
    types = [str(name["otherName"]["type-id"]) for name in decoded[6:]]
    assert types == ["1.3.6.1.4.1.311.20.2.3", "1.3.6.1.5.5.7.8.3"]


def test_general_names_round_trip_in_order() -> None:
    """Reading gives what was written, in the order it was written."""
    assert read_general_names(write_general_names(ALL)) == (ALL, ())
    many = tuple(read_identifier("dns", f"host-{number}.a.example") for number in range(100))
    assert read_general_names(write_general_names(many)) == (many, ())
    assert write_general_names(()) == b"\x30\x00"


def test_general_names_agree_with_cryptography() -> None:
    """The extension of `cryptography` gives the same bytes and is read as well."""
    extension = x509.SubjectAlternativeName([x509.DNSName("a.example"), x509.RFC822Name("info@a.example")])
    expected = (read_identifier("dns", "a.example"), read_identifier("email", "info@a.example"))
    assert read_general_names(extension) == (expected, ())
    assert write_general_names(expected) == extension.public_bytes()


def test_names_of_other_types_are_listed_and_not_dropped() -> None:
    """A request with a name type that is not understood can be refused (CVE-2022-34831 of another CA). Rows: T-1."""
    with_assigner = der.sequence(der.tlv(0x0C, b"x"), der.object_identifier("1.2.3"))  # RFC 4043 section 2
    extension = x509.SubjectAlternativeName(
        [
            x509.DNSName("a.example"),
            x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), der.NULL),
            x509.OtherName(x509.ObjectIdentifier("1.3.6.1.5.5.7.8.3"), with_assigner),
        ]
    )
    names, unknown = read_general_names(extension)
    assert names == (read_identifier("dns", "a.example"),)
    assert unknown == ("directoryName", "registeredID", "otherName 1.2.3.4", "otherName 1.3.6.1.5.5.7.8.3")


@pytest.mark.parametrize("value", ["8703010203", "820161820261ff", "82056120622e63", "8200", "860161"])
def test_unusable_general_names_are_refused(value: str) -> None:
    """Wrong address length, octets beyond ASCII, characters no host name has, empty, relative."""
    content = bytes.fromhex(value)
    with pytest.raises(RejectedIdentifier):
        read_general_names(bytes((0x30, len(content))) + content)


def test_several_unusable_names_are_reported_together() -> None:
    """One subproblem for each."""
    content = b"\x82\x03a_b\x82\x03c_d\x82\x01e"
    with pytest.raises(RejectedIdentifier) as caught:
        read_general_names(bytes((0x30, len(content))) + content)
    assert [problem.context["identifier"].value for problem in caught.value.subproblems] == ["a_b", "c_d"]


@given(st.binary(max_size=60))
@example(b"\x30\x03\x82\x01")
@example(b"\x30\x02\x82\x00\x00")
@example(b"\x30\x81\x02\x82\x00")
def test_any_bytes_are_general_names_or_refused(data: bytes) -> None:
    """ValueError for what is no DER, a problem for what is no name."""
    for value in (data, bytes((0x30, len(data))) + data):
        try:
            names, _ = read_general_names(value)
        except (ValueError, RejectedIdentifier):
            continue
        for name in names:
            assert read_identifier(name.type, name.value) == name


SUBJECT: Subject = (
    ("C", "DE"),
    ("DC", "example"),
    ("O", "Bücher, Inc."),
    ("serialNumber", "0815"),
    ("emailAddress", "info@a.example"),
    ("unstructuredName", "router.a.example"),
    ("1.2.3.4", "private"),
    ("CN", "a.example"),
)


def test_subjects_are_written_as_x520_wants() -> None:
    """UTF8String but for C and serialNumber (PrintableString), DC and e-mail (IA5String); one per RDN."""
    decoded, rest = decoder.decode(write_subject(SUBJECT), asn1Spec=rfc5280.Name())
    assert not rest
    tags = [bytes(rdn[0]["value"])[0] for rdn in decoded["rdnSequence"]]
    assert tags == [0x13, 0x16, 0x0C, 0x13, 0x16, 0x0C, 0x0C, 0x0C]


def test_subjects_round_trip() -> None:
    """What is written is read, by the short way, the long way and from `cryptography`'s Name."""
    assert read_subject(write_subject(SUBJECT)) == SUBJECT
    assert read_subject(write_subject(SUBJECT[-1:])) == SUBJECT[-1:]
    long: Subject = (("SN", "x" * 300), ("CN", "a"))
    assert read_subject(write_subject(long)) == long
    assert read_subject(x509.Name.from_rfc4514_string("CN=a,O=b,C=DE")) == (
        ("C", "DE"),
        ("O", "b"),
        ("CN", "a"),
    )
    assert read_subject(b"\x30\x00") == () == read_subject(x509.Name([]))


def test_multi_valued_names_and_old_strings_are_read() -> None:
    """Two attributes in one RDN, a BMPString and a TeletexString."""
    bmp = bytes.fromhex("06035504031e0400610062")
    teletex = bytes.fromhex("060355040a1401e9")
    rdn = bytes((0x31, 4 + len(bmp) + len(teletex), 0x30, len(teletex))) + teletex + bytes((0x30, len(bmp))) + bmp
    assert read_subject(bytes((0x30, len(rdn))) + rdn) == (("O", "é"), ("CN", "ab"))


def test_subject_text_is_that_of_rfc_4514() -> None:
    """Last attribute first, special characters escaped; `cryptography` reads it back."""
    assert subject_text((("C", "DE"), ("O", ' a,b"c+d '), ("CN", "#x"))) == r"CN=\#x,O=\ a\,b\"c\+d\ ,C=DE"
    assert subject_text((("1.2.3.4", "x"),)) == "1.2.3.4=#0c0178"
    assert subject_text(()) == ""
    text = subject_text((("O", "a,b\\c;d<e>f"), ("CN", " x ")))
    assert read_subject(x509.Name.from_rfc4514_string(text)) == (("O", "a,b\\c;d<e>f"), ("CN", " x "))


def test_common_names() -> None:
    """The most specific is the last; all of them are to be compared."""
    subject: Subject = (("CN", "Users"), ("O", "x"), ("CN", "a.example"))
    assert common_name(subject) == "a.example"
    assert common_names(subject) == ("Users", "a.example")
    assert common_name(()) is None


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("CN", "x" * 65, "64"),
        ("CN", "", "empty"),
        ("CN", "a\0b", "control"),
        ("CN", "\ud800", "does not allow"),
        ("C", "de", "capital"),
        ("C", "DEU", "2 characters"),
        ("serialNumber", "a_b", "PrintableString"),
        ("DC", "bücher", "does not allow"),
        ("foo", "x", "known are"),
        ("3.1", "x", "known are"),
        ("1.99", "x", "identifier"),
    ],
)
def test_attributes_beyond_their_bounds_are_refused(name: str, value: str, why: str) -> None:
    """RFC 5280 appendix A.1: upper bounds, string types, and no control characters."""
    with pytest.raises(BadCSR, match=why):
        write_subject(((name, value),))


@pytest.mark.parametrize(
    "attribute",
    ["060355040303020001", "06035504030c0161ff", "06035504030c01ff", "06035504030c0100", "06035504031e0161"],
)
def test_values_that_are_no_text_are_refused(attribute: str) -> None:
    """A BIT STRING, surplus, invalid UTF-8, NUL and half a UTF-16 character."""
    content = bytes.fromhex(attribute)
    rdn = bytes((0x31, len(content) + 2, 0x30, len(content))) + content
    with pytest.raises((BadCSR, ValueError)):
        read_subject(bytes((0x30, len(rdn))) + rdn)


@given(st.binary(max_size=40))
@example(b"\x31\x0c\x30\x0a\x06\x03\x55\x04\x03\x0c\x03abc")
def test_any_bytes_are_a_subject_or_refused(data: bytes) -> None:
    """ValueError for what is no Name, BadCSR for what is no text; what was read can be shown."""
    for value in (data, bytes((0x30, len(data))) + data):
        try:
            subject = read_subject(value)
        except (ValueError, BadCSR):
            continue
        subject_text(subject).encode()


TEXT = st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable())


@given(st.lists(st.tuples(st.sampled_from(["CN", "O", "OU", "L", "1.2.3.4"]), TEXT), max_size=5))
def test_any_printable_subject_round_trips(pairs: list[tuple[str, str]]) -> None:
    """Read is the inverse of write."""
    subject = tuple(pairs)
    assert read_subject(write_subject(subject)) == subject
