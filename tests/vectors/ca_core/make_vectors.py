"""Remake the vectors of this folder: `python make_vectors.py`. Needs openssl 3, strongSwan pki, keytool."""

from __future__ import annotations

import base64
import math
import os
import random
import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = Path(__file__).parent

OPENSSL_CONFIG = """
[req]
prompt = no
distinguished_name = dn
[dn]
C = DE
O = Example
CN = a.example
[all]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
tlsfeature = status_request
subjectAltName = DNS:a.example,DNS:*.B.example,IP:192.0.2.1,IP:2001:db8::1,email:info@a.example,\
URI:https://a.example/x,otherName:1.3.6.1.4.1.311.20.2.3;UTF8:user@realm.example
[directory]
subjectAltName = DNS:a.example,dirName:other,RID:1.2.3.4
[other]
CN = someone
[ca]
basicConstraints = critical,CA:TRUE
subjectAltName = DNS:a.example
"""


def run(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def openssl_requests(folder: Path) -> None:
    config = folder / "openssl.cnf"
    config.write_text(OPENSSL_CONFIG)
    key = str(folder / "key.pem")
    run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key)
    request = ("openssl", "req", "-new", "-config", str(config), "-outform", "DER")
    for name, extra in {
        "openssl_all_names": ("-key", key, "-reqexts", "all"),
        "openssl_directory_name": ("-key", key, "-reqexts", "directory"),
        "openssl_ca": ("-key", key, "-reqexts", "ca"),
        "openssl_sha1": ("-key", key, "-sha1"),
    }.items():
        (HERE / f"{name}.der").write_bytes(run(*request, *extra))
    (HERE / "openssl_text.pem").write_bytes(run(*request[:-1], "PEM", "-key", key, "-text"))
    explicit = str(folder / "explicit.pem")
    run(
        "openssl",
        "ecparam",
        "-name",
        "prime256v1",
        "-genkey",
        "-noout",
        "-param_enc",
        "explicit",
        "-out",
        explicit,
    )
    (HERE / "openssl_explicit_curve.der").write_bytes(run(*request, "-key", explicit))
    (HERE / "explicit_curve_spki.der").write_bytes(
        run("openssl", "pkey", "-in", explicit, "-pubout", "-outform", "DER")
    )
    pss = ("-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "rsa.pem"), "-sha256")
    options = ("-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32")
    (HERE / "openssl_pss.der").write_bytes(run(*request, *pss, *options))


def strongswan_request(folder: Path) -> None:
    key = folder / "strongswan.der"
    key.write_bytes(run("pki", "--gen", "--type", "ecdsa", "--size", "256"))
    names = ("--dn", "C=DE, O=Example, CN=a.example", "--san", "a.example", "--san", "b.example")
    (HERE / "strongswan_unsorted.der").write_bytes(
        run("pki", "--req", "--in", str(key), "--type", "ecdsa", *names, "--password", "xyz")
    )


def keytool_request(folder: Path) -> None:
    store = ("-keystore", str(folder / "store.p12"), "-storepass", "changeit", "-alias", "a")
    run("keytool", "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", "-dname", "CN=a.example, C=DE", *store)
    request = run("keytool", "-certreq", "-ext", "san=dns:a.example,ip:192.0.2.1", *store)
    body = request.split(b"-----")[2]
    (HERE / "keytool_rsa.der").write_bytes(base64.b64decode(body))
    (HERE / "keytool_rsa.pem").write_bytes(request)


SMALL_PRIMES = [n for n in range(2, 702) if all(n % d for d in range(2, math.isqrt(n) + 1))]
PRODUCT = math.prod(SMALL_PRIMES)


def is_prime(number: int) -> bool:
    return math.gcd(number, PRODUCT) == 1 and all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11))


def spki(modulus: int, exponent: int = 65537) -> bytes:
    key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def weak_rsa_keys(source: random.Random) -> None:
    """A modulus as the ROCA library made them, one of close primes, and one with a small factor."""

    def roca_prime() -> int:
        while True:
            found = source.getrandbits(1024 - PRODUCT.bit_length()) * PRODUCT
            found += pow(65537, source.getrandbits(256), PRODUCT)
            if found >> 1022 == 3 and is_prime(found):
                return found

    def next_prime(number: int) -> int:
        number |= 1
        while not is_prime(number):
            number += 2
        return number

    def honest_prime(bits: int) -> int:
        return next_prime(source.getrandbits(bits) | 3 << (bits - 2))

    (HERE / "weak_roca.der").write_bytes(spki(roca_prime() * roca_prime()))
    first = honest_prime(1024)
    (HERE / "weak_close_primes.der").write_bytes(spki(first * next_prime(first + 2)))
    (HERE / "weak_small_factor.der").write_bytes(spki(1999 * honest_prime(2048 - 11)))


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C")
    with tempfile.TemporaryDirectory() as temporary:
        openssl_requests(Path(temporary))
        strongswan_request(Path(temporary))
        keytool_request(Path(temporary))
    weak_rsa_keys(random.Random(20261123))
