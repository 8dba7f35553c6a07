"""curl and openssl against the EST door, as an administrator with a shell does it (RFC 7030, RFC 8951)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7

from tests.clients.gate import Gate, names_of, run, serial_of, serving

pytestmark = [pytest.mark.client, pytest.mark.door]


@dataclass(frozen=True)
class Answer:
    """Status, head and body of one answer."""

    status: int
    head: str
    body: bytes


class Curl:
    """curl with a folder of its own; every call trusts the gate's root and nothing else."""

    def __init__(self, gate: Gate, folder: Path) -> None:
        est = gate.told["est"]
        self.gate = gate
        self.folder = folder
        self.url = est["url"].rstrip("/")
        self.user = ("--user", f"{est['username']}:{est['password']}")

    def __call__(self, operation: str, *words: object) -> Answer:
        said = run(
            *("curl", "--silent", "--show-error", "--cacert", self.gate.root, "--dump-header", "head"),
            *("--output", "body", "--write-out", "%{http_code}", *words, f"{self.url}/{operation}"),
            folder=self.folder,
        )
        assert said.status == 0, said.text
        return Answer(int(said.out), (self.folder / "head").read_text().lower(), (self.folder / "body").read_bytes())

    def post(self, operation: str, body: bytes, *words: object) -> Answer:
        """Post a certification request."""
        (self.folder / "request").write_bytes(body)
        kind = ("--header", "Content-Type: application/pkcs10")
        return self(operation, *kind, "--data-binary", "@request", *words)

    def request(self, name: str) -> bytes:
        """A new key and a certification request for it by openssl, as base64 without lines."""
        said = run(
            *("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-outform", "DER", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name}"),
            folder=self.folder,
        )
        assert said.status == 0, said.text
        return base64.b64encode((self.folder / f"{name}.csr").read_bytes())

    def printed(self, body: bytes) -> str:
        """What openssl reads in a certs-only answer."""
        (self.folder / "answer.p7").write_bytes(base64.b64decode(body))
        said = run(*("openssl", "pkcs7", "-inform", "DER", "-in", "answer.p7", "-print_certs"), folder=self.folder)
        assert said.status == 0, said.text
        return said.out


@pytest.fixture
def curl(gate: Gate, need: Callable[..., None], tmp_path: Path) -> Curl:
    need("curl", "openssl")
    return Curl(gate, tmp_path)


def test_cacerts_needs_no_authentication(curl: Curl, gate: Gate) -> None:
    """E6: The issuing CA and the root as certs-only, to anybody (RFC 7030 section 4.1)."""
    answer = curl("cacerts")
    assert answer.status == 200
    assert "application/pkcs7-mime" in answer.head
    printed = curl.printed(answer.body)
    root = "".join(Path(gate.root).read_text().split("-----")[2].split())
    assert root in "".join(printed.split())


def test_csrattrs(curl: Curl) -> None:
    """The attributes to ask for (section 4.5.2), or 204 when there are none to name."""
    answer = curl("csrattrs", *curl.user)
    assert answer.status in (200, 204)
    if answer.status == 200:
        assert "application/csrattrs" in answer.head
        assert base64.b64decode(answer.body)


def test_enrols_with_a_password_and_renews_with_the_certificate(curl: Curl, gate: Gate) -> None:
    """E5, E18: simpleenroll by HTTP Basic (section 4.2.1), then simplereenroll by the certificate (section 4.2.2)."""
    name = "router-1.certgate.test"
    answer = curl.post("simpleenroll", curl.request(name), *curl.user)
    assert answer.status == 200, answer.body
    assert "application/pkcs7-mime" in answer.head
    (first,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))
    assert names_of(first) == {name}
    (curl.folder / "first.pem").write_text(curl.printed(answer.body))
    (curl.folder / f"{name}.key").rename(curl.folder / "first.key")
    answer = curl.post("simplereenroll", curl.request(name), "--cert", "first.pem", "--key", "first.key")
    assert answer.status == 200, answer.body
    (second,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))
    assert names_of(second) == {name}
    assert first.subject == second.subject
    assert first.serial_number != second.serial_number
    assert gate.show(serial_of(second))["status"] == "valid"


def test_the_same_request_again_gets_the_same_certificate(curl: Curl) -> None:
    """A client that lost the answer asks again with the same bytes: one order, one certificate."""
    request = curl.request("lost-answer.certgate.test")
    first = curl.post("simpleenroll", request, *curl.user)
    second = curl.post("simpleenroll", request, *curl.user)
    assert (first.status, second.status) == (200, 200)
    assert curl.printed(first.body) == curl.printed(second.body)


def test_renewal_with_a_revoked_certificate_is_refused(curl: Curl, gate: Gate) -> None:
    """E11: A certificate that was revoked proves nothing any more."""
    name = "stolen.certgate.test"
    answer = curl.post("simpleenroll", curl.request(name), *curl.user)
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))
    (curl.folder / "old.pem").write_text(curl.printed(answer.body))
    (curl.folder / f"{name}.key").rename(curl.folder / "old.key")
    said = gate.certgate("cert", "revoke", serial_of(certificate), "--reason", "keyCompromise")
    assert said.status == 0, said.text
    answer = curl.post("simplereenroll", curl.request(name), "--cert", "old.pem", "--key", "old.key")
    assert answer.status in (401, 403)


def test_wrong_password_is_401_with_a_challenge(curl: Curl) -> None:
    """E7, E12: The client learns how to authenticate, and nothing about what was wrong (RFC 7030 section 3.2.3)."""
    request = curl.request("router-2.certgate.test")
    name = curl.user[1].partition(":")[0]
    for user in ((), ("--user", f"{name}:wrong"), ("--user", "nobody:wrong")):
        answer = curl.post("simpleenroll", request, *user)
        assert answer.status == 401
        assert "www-authenticate: basic" in answer.head


def test_forbidden_name_is_refused(curl: Curl, gate: Gate) -> None:
    """A name that the product does not grant."""
    before = len(gate.export())
    answer = curl.post("simpleenroll", curl.request("www.example.com"), *curl.user)
    assert answer.status in (400, 403, 422)
    assert b"www.example.com" in answer.body
    assert len(gate.export()) == before


@pytest.mark.parametrize("body", [b"not base64 at all!", b"AAAA", b"", base64.b64encode(b"0\x82\x01\x00")])
def test_undecodable_body_is_400(curl: Curl, body: bytes) -> None:
    """Neither base64 nor a request: 400 with a sentence."""
    answer = curl.post("simpleenroll", body, *curl.user)
    assert answer.status == 400


def test_big_body_is_413(curl: Curl) -> None:
    """Larger than any request (64 KiB): refused before it is decoded."""
    answer = curl.post("simpleenroll", b"A" * 200_000, *curl.user)
    assert answer.status == 413


def test_the_server_makes_a_key(curl: Curl) -> None:
    """serverkeygen (E20): two parts; openssl reads the key and compares it with the certificate."""
    answer = curl.post("serverkeygen", curl.request("made-here.certgate.test"), *curl.user)
    assert answer.status == 200, answer.body
    assert "cache-control: no-store" in answer.head
    parts = [part.partition(b"\r\n\r\n") for part in answer.body.split(b"\r\n--")[:2]]
    assert [b"application/pkcs8" in head for head, _, _ in parts] == [True, False]
    bodies = [base64.b64decode(body) for _, _, body in parts]
    (curl.folder / "made.key").write_bytes(bodies[0])
    said = run("openssl", "pkey", "-inform", "DER", "-in", "made.key", "-pubout", folder=curl.folder)
    assert said.status == 0, said.text
    (curl.folder / "made.pem").write_text(curl.printed(base64.b64encode(bodies[1])))
    shown = run("openssl", "x509", "-in", "made.pem", "-noout", "-pubkey", folder=curl.folder)
    assert shown.out == said.out


def test_revocation_lists_and_renewal_information(curl: Curl) -> None:
    """crls (RFC 8295) for openssl, renewal-info (E30) for scripts: to anybody."""
    answer = curl("crls")
    assert answer.status == 200
    (curl.folder / "crls.p7").write_bytes(base64.b64decode(answer.body))
    said = run("openssl", "pkcs7", "-inform", "DER", "-in", "crls.p7", "-print_certs", folder=curl.folder)
    assert said.out.count("BEGIN X509 CRL") == 2, said.text
    answer = curl.post("simpleenroll", curl.request("windowed.certgate.test"), *curl.user)
    (certificate,) = pkcs7.load_der_pkcs7_certificates(base64.b64decode(answer.body))
    key = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier or b""
    serial = certificate.serial_number.to_bytes(20, "big")
    certid = ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in (key, serial))
    answer = curl(f"renewal-info/{certid}")
    assert answer.status == 200
    assert set(json.loads(answer.body)["suggestedWindow"]) == {"start", "end"}


def test_paths_are_taken_as_they_are_sent(curl: Curl) -> None:
    """T20: neither dots nor escapes nor empty segments lead to an operation."""
    for path in ("default/../cacerts", "default%2fcacerts", "/cacerts", "cacerts/", "%63acerts", "DEFAULT/cacerts"):
        assert curl(path, "--path-as-is").status == 404, path
    answer = curl("simpleenroll")
    assert (answer.status, "allow: post" in answer.head) == (405, True)


def test_unknown_label_and_operation_are_404(curl: Curl) -> None:
    """E1: What is not there is not there, with or without a password."""
    assert curl("nothing-here/cacerts").status == 404
    assert curl("simplydisenroll", *curl.user).status == 404


def test_digest_where_it_is_switched_on(need: Callable[..., None], tmp_path: Path) -> None:
    """E12: curl answers the challenge (SHA-256, and MD5 as libest does) with a secret that is kept for it."""
    need("curl", "openssl")
    for algorithm in ("SHA-256", "MD5"):
        with serving(tmp_path / algorithm, "--set", f"est.digest=['{algorithm}']") as gate:
            said = gate.certgate(
                *("credential", "create", "--type", "est", "--user", "alice", "--group", "operations"),
                *("--product", "device", "--method", "shared-secret", "--json"),
            )
            assert said.status == 0, said.text
            made = json.loads(said.out)
            curl = Curl(gate, tmp_path)
            request = curl.request("digested.certgate.test")
            user = ("--digest", "--user", f"{made['identifier']}:{made['secret']}")
            answer = curl.post("simpleenroll", request, *user)
            assert answer.status == 200, answer.body
            assert f"algorithm={algorithm.lower()}" in answer.head  # of the challenge before
            assert curl.post("simpleenroll", request, *user[:2], f"{made['identifier']}:no").status == 401
