"""What policy's tests make: requests, keys, claims, principals."""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ca_core.csr import CertificationRequest, read_csr
from policy.account import Account
from policy.credential import AccountClaim, BindingClaim, OpenClaim, PasswordClaim, Principal
from policy.problems import Unauthenticated
from policy.registration import NewAccount
from policy.sealing import Secret
from tests.conftest import House

DER = serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo
ADDRESS = "127.0.0.1"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


@lru_cache(maxsize=1)
def some_key() -> ec.EllipticCurvePrivateKey:
    """One key for tests to which keys do not matter."""
    return new_key()


def request(*names: str, cn: str | None = None, key: ec.EllipticCurvePrivateKey | None = None) -> CertificationRequest:
    """A certification request for DNS names, as read."""
    subject = [x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)] if cn else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
    return read_csr(builder.sign(key or new_key(), hashes.SHA256()).public_bytes(DER))


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The DER of a public key."""
    return key.public_key().public_bytes(DER, SPKI)


async def est(house: House, product: str = "tls", **more: object) -> Principal:
    """A new EST credential, authenticated by its password."""
    made = await house.credential("est", product, **more)
    claim = PasswordClaim(made.credential.identifier, Secret((made.secret or "").encode()))
    return await house.core.ra.authenticate("est/default", [claim], ADDRESS)


async def account(house: House, mount: str = "acme/open", product: str = "tls") -> Account:
    """A new ACME account: at acme/open without binding, elsewhere with a credential of its own."""
    new = NewAccount(spki(new_key()), {"kty": "EC"}, f"thumbprint-{spki(new_key()).hex()[-20:]}")
    if mount == "acme/open":
        return await house.core.ra.register(mount, new, [OpenClaim()], ADDRESS)
    made = await house.credential("acme", product)
    return await house.core.ra.register(mount, new, [binding(made.credential.identifier)], ADDRESS)


def binding(kid: str, *, good: bool = True) -> BindingClaim:
    """An external account binding whose MAC is good, or not."""

    def verify(_: Secret) -> None:
        if not good:
            raise Unauthenticated("wrong MAC")

    return BindingClaim(kid, verify)


async def acme(house: House, mount: str = "acme/open", product: str = "tls") -> Principal:
    """An ACME account, authenticated."""
    made = await account(house, mount, product)
    return await house.core.ra.authenticate(mount, [AccountClaim(made)], ADDRESS)
