"""Claim -> Principal for every kind of credential. The one place where it is decided who speaks.

Unknown names, wrong secrets and foreign certificates are answered alike, after like work, so that an answer does
not tell which credentials exist. What is proven but may not be used now is said plainly: the holder should know.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import argon2
from cryptography.x509 import ExtendedKeyUsage, ExtensionNotFound, ObjectIdentifier, load_der_x509_certificate
from msgspec.structs import replace

from ca_core import oids
from ca_core.clock import Clock
from policy.account import Account, AccountStatus
from policy.catalogue import Catalogue
from policy.codes import Codes, check_names
from policy.credential import (
    AccessKeyClaim,
    AccountClaim,
    AssertionClaim,
    AuthenticationMethod,
    BindingClaim,
    CertificateClaim,
    ChallengeClaim,
    Claim,
    ClientCertificateClaim,
    ClientSecretClaim,
    Credential,
    CredentialState,
    CredentialType,
    MACClaim,
    OpenClaim,
    PasswordClaim,
    Principal,
    Protector,
    Requester,
    SecretForm,
    StoredSecret,
    TokenClaim,
)
from policy.mount import Mount
from policy.oauth import OAuthClients
from policy.peer import anchors_of, own
from policy.problems import AccountBindingRequired, Forbidden, Problem, Unauthenticated
from policy.refusals import WRONG_MAC
from policy.sealing import Sealing, Secret, fingerprint
from policy.store import Store

_SAID = {
    CredentialState.PENDING: "is not valid yet",
    CredentialState.SUSPENDED: "is suspended",
    CredentialState.REVOKED: "is revoked",
    CredentialState.EXPIRED: "has expired",
}

_WITH_PASSWORD = frozenset({AuthenticationMethod.PASSWORD, AuthenticationMethod.ONE_TIME})

REMEMBERED = timedelta(seconds=1)
MAX_REMEMBERED = 10_000

ARGON2_AT_ONCE = 2
"""Slow hashes computed at the same time: each takes 100 ms of a core, and anybody may ask for one."""


class Authentication:
    """Decides what claims prove at a mount."""

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        sealing: Sealing,
        clock: Clock,
        clients: OAuthClients | None = None,
    ) -> None:
        """`clients` proves OAuth clients and tokens; without it there are none."""
        self._store = store
        self._catalogue = catalogue
        self._sealing = sealing
        self._clock = clock
        self._clients = clients
        self._codes = Codes(store, sealing, clock)
        self._hasher = argon2.PasswordHasher()
        self._slow = asyncio.Semaphore(ARGON2_AT_ONCE)
        self._nobody = sealing.hash(Secret(b"nobody"))
        self._known: dict[tuple[str, str, int, str], tuple[int, datetime, Principal]] = {}

    async def authenticate(self, mount: Mount, claims: Sequence[Claim], address: str) -> Principal:
        """What these claims prove. All of them must be good and speak for one credential.

        Raises Unauthenticated, Forbidden, AccountBindingRequired.
        """
        if not claims:
            raise Unauthenticated("authentication is needed: no credential was shown")
        if len(claims) == 1 and isinstance(claims[0], AccountClaim):
            return await self._same_account(mount, claims[0], address)
        return await self._authenticate(mount, claims, address)

    async def _same_account(self, mount: Mount, claim: AccountClaim, address: str) -> Principal:
        """What was found for this account and address holds until the configuration epoch, or for a moment.

        An ACME client asks six times per certificate. Whatever is revoked, suspended or deactivated raises the epoch;
        the moment is for what only the clock knows (a credential's beginning and end).
        """
        key = (mount.key, claim.account.id, claim.account.version, address)
        epoch, now = self._store.configuration_epoch, self._clock()
        known = self._known.get(key)
        if known is not None and known[0] == epoch and known[1] <= now < known[1] + REMEMBERED:
            return known[2]
        principal = await self._authenticate(mount, (claim,), address)
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = (epoch, now, principal)
        return principal

    async def _authenticate(self, mount: Mount, claims: Sequence[Claim], address: str) -> Principal:
        principals = [await self._one(mount, claim, address) for claim in claims]
        first = principals[0]
        if any(other.credential.id != first.credential.id for other in principals[1:]):
            raise Unauthenticated("the password and the certificate belong to different credentials")
        await self.check_usable(first.credential, mount, address)
        if len(principals) == 1:
            return first
        shown = next((one for one in principals if one.certificate_der is not None), first)
        # A password beside the certificate makes it more than a certificate that renews itself.
        return replace(shown, renewal_only=False)

    async def check_usable(self, credential: Credential, mount: Mount, address: str) -> None:
        """That a proven credential may be used here and now. Raises Forbidden."""
        if credential.type != mount.protocol or (credential.mounts and mount.key not in credential.mounts):
            raise Forbidden(f"this credential may not be used at {mount.key}", credential=credential.id)
        await self._check_owner(credential)
        state = credential.at(self._clock())
        if state is not CredentialState.ACTIVE:
            raise Forbidden(f"the credential {_SAID[state]}", credential=credential.id)
        if credential.allowed_cidrs and not _within(address, credential.allowed_cidrs):
            raise Forbidden("the credential may not be used from this address", credential=credential.id)

    async def _check_owner(self, credential: Credential) -> None:
        """That the user and group of the credential are still there and active. Raises Forbidden."""
        user = await self._catalogue.user(credential.user)
        group = await self._catalogue.group(credential.group)
        if user is None or not user.active or group is None or not group.active:
            raise Forbidden("the user or group of this credential is deactivated", credential=credential.id)

    async def _one(self, mount: Mount, claim: Claim, address: str) -> Principal:
        match claim:
            case AccountClaim(account):
                return await self._account(mount, account, address)
            case BindingClaim():
                return await self._binding(mount, claim, address)
            case PasswordClaim():
                return await self._password(mount, claim, address)
            case MACClaim():
                return await self._mac(mount, claim, address)
            case CertificateClaim():
                return await self._certificate(mount, claim, address)
            case AccessKeyClaim():
                return await self._access_key(mount, claim, address)
            case ChallengeClaim():
                return await self._challenge(mount, claim, address)
            case OpenClaim():
                return await self._open(mount, address)
            case ClientSecretClaim() | AssertionClaim() | ClientCertificateClaim() | TokenClaim():
                if self._clients is None:
                    raise Unauthenticated("there are no OAuth clients here")
                return await self._clients.principal(mount, claim, address)

    async def _account(self, mount: Mount, account: Account, address: str) -> Principal:
        if account.mount != mount.key:
            raise Unauthenticated("the account belongs to another directory")
        if account.status is not AccountStatus.VALID:
            raise Unauthenticated(f"the account is {account.status}", account=account.id)
        credential = await self._catalogue.credential(account.credential)
        if credential is None:
            raise Forbidden("the credential of this account is gone", account=account.id)
        return Principal(credential, Requester("account", account.id), mount.key, address, account=account)

    async def _binding(self, mount: Mount, claim: BindingClaim, address: str) -> Principal:
        kind = CredentialType(mount.protocol)
        credential = await self._catalogue.credential_by_identifier(kind, claim.kid)
        usable = credential is not None and credential.method is AuthenticationMethod.EAB
        # A credential that does not exist is checked against a key that nobody has, in the same time.
        keys = self._opened(credential) if credential is not None and usable else [Secret(self._nobody)]
        problem: Problem = Unauthenticated("the external account binding is not valid")
        for key in keys:
            try:
                claim.verify(key)
            except Unauthenticated:
                continue
            if credential is not None and usable:
                return Principal(credential, Requester("credential", credential.id), mount.key, address)
        raise problem

    async def _mac(self, mount: Mount, claim: MACClaim, address: str) -> Principal:
        kind = CredentialType(mount.protocol)
        credential = await self._catalogue.credential_by_identifier(kind, claim.reference)
        usable = credential is not None and credential.method is AuthenticationMethod.SHARED_SECRET
        # As with bindings: a reference that does not exist costs the same derivation, and gets the same answer.
        keys = self._opened(credential) if credential is not None and usable else [Secret(self._nobody)]
        for key in keys:
            try:
                protector = await self._protector(claim, key)
            except Unauthenticated:
                continue
            if credential is not None and usable:
                requester = Requester("credential", credential.id)
                return Principal(credential, requester, mount.key, address, protector=protector)
        raise Unauthenticated(WRONG_MAC, credential=credential.id if credential else None)

    async def _protector(self, claim: MACClaim, key: Secret) -> Protector:
        if not claim.slow:
            return claim.verify(key)
        async with self._slow:
            return await asyncio.to_thread(claim.verify, key)

    def _opened(self, credential: Credential) -> list[Secret]:
        now = self._clock()
        return [
            self._sealing.open(secret.value, credential.id)
            for secret in credential.secrets
            if secret.form is SecretForm.SEALED and (secret.expires is None or secret.expires > now)
        ] or [Secret(self._nobody)]

    async def _password(self, mount: Mount, claim: PasswordClaim, address: str) -> Principal:
        kind = CredentialType(mount.protocol)
        credential = await self._catalogue.credential_by_identifier(kind, claim.username)
        secrets: tuple[StoredSecret, ...] = ()
        if credential is not None and credential.method in _WITH_PASSWORD:
            secrets = credential.secrets
        if not await self._password_matches(claim.password, secrets) or credential is None:
            raise Unauthenticated("user name or password is wrong", credential=credential.id if credential else None)
        # The password of one that gives codes away makes codes: it enrols nothing itself.
        codes = credential.method is AuthenticationMethod.ONE_TIME
        requester = Requester("credential", credential.id)
        return Principal(credential, requester, mount.key, address, renewal_only=codes)

    async def _access_key(self, mount: Mount, claim: AccessKeyClaim, address: str) -> Principal:
        kind = CredentialType(mount.protocol)
        credential = await self._catalogue.credential_by_identifier(kind, claim.identifier)
        usable = credential is not None and credential.method is AuthenticationMethod.ACCESS_KEY
        secrets = credential.secrets if credential is not None and usable else ()
        if not await self._password_matches(claim.key, secrets) or credential is None:
            raise Unauthenticated("the access key is not valid", credential=credential.id if credential else None)
        # Whoever speaks is the user, whichever credential is shown: so nobody approves what they asked for.
        requester = Requester("user", credential.user, {"credential": credential.id})
        return Principal(credential, requester, mount.key, address)

    async def _challenge(self, mount: Mount, claim: ChallengeClaim, address: str) -> Principal:
        """Whose challenge this is: of the credential that is named, or a one-time code, which names its own."""
        kind = CredentialType(mount.protocol)
        credential = await self._catalogue.credential_by_identifier(kind, claim.identifier)
        if credential is not None and credential.method is AuthenticationMethod.MANUAL:
            return Principal(credential, Requester("address", address), mount.key, address)
        if claim.challenge is None:
            raise Unauthenticated("the request has no challenge password")
        if credential is not None and credential.method is AuthenticationMethod.PASSWORD:
            if not await self._password_matches(claim.challenge, credential.secrets):
                raise Unauthenticated("the challenge password is wrong", credential=credential.id)
            return Principal(credential, Requester("credential", credential.id), mount.key, address)
        code = await self._codes.find(claim.challenge)
        if code is None or (credential is not None and credential.id != code.credential):
            raise Unauthenticated("the challenge password is wrong", credential=credential.id if credential else None)
        credential = await self._catalogue.credential(code.credential)
        if credential is None:
            raise Unauthenticated("the challenge password is wrong")
        check_names(code, claim.request)
        return Principal(credential, Requester("credential", credential.id), mount.key, address, code=code.hash)

    async def _password_matches(self, password: Secret, secrets: tuple[StoredSecret, ...]) -> bool:
        now = self._clock()
        hashed = self._sealing.hash(password)  # also for a name that does not exist: like work
        found = False
        for secret in secrets:
            if secret.expires is not None and secret.expires <= now:
                continue
            if secret.form is SecretForm.HMAC:
                found |= hmac.compare_digest(hashed, secret.value)
            elif secret.form is SecretForm.ARGON2ID:
                found |= await self._argon2(password, secret.value)
        return found

    async def _argon2(self, password: Secret, stored: bytes) -> bool:
        async with self._slow:
            return await asyncio.to_thread(self._verify, password.reveal(), stored.decode())

    def _verify(self, password: bytes, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _certificate(self, mount: Mount, claim: CertificateClaim, address: str) -> Principal:
        digest = fingerprint(claim.certificate)
        stored, der = await own(self._store, claim, self._clock()), claim.certificate
        if stored is not None:
            credential = await self._catalogue.credential(stored.credential)
            if credential is None:
                raise Unauthenticated("the client certificate belongs to no credential")
            requester = Requester("certificate", stored.serial)
            speaks_for_others = _is_registration_authority(der)
            return Principal(
                credential,
                requester,
                mount.key,
                address,
                certificate=stored.serial,
                certificate_der=der,
                renewal_only=credential.method is not AuthenticationMethod.CERTIFICATE and not speaks_for_others,
                registration_authority=speaks_for_others,
            )
        credential = await self._foreign(mount, claim, digest)
        requester = Requester("certificate", f"sha256:{digest}")
        return Principal(credential, requester, mount.key, address, certificate_der=claim.certificate)

    async def _foreign(self, mount: Mount, claim: CertificateClaim, digest: str) -> Credential:
        """The credential of a certificate that is not ours: named by its own digest, or by its anchor's.

        An anchor of the mount stands for every device of one maker (RFC 7030 section 3.1, Implicit TA database).
        """
        kind = CredentialType(mount.protocol)
        anchors = anchors_of(mount, claim, self._clock())
        candidates = [f"sha256:{digest}", *(f"anchor:{fingerprint(anchor)}" for anchor in anchors)]
        if len(candidates) > 1:
            for identifier in candidates:
                credential = await self._catalogue.credential_by_identifier(kind, identifier)
                if credential is not None and credential.method is AuthenticationMethod.CERTIFICATE:
                    return credential
        raise Unauthenticated("the client certificate belongs to no credential", certificate=digest)

    async def _open(self, mount: Mount, address: str) -> Principal:
        if mount.open_credential is None:
            raise AccountBindingRequired(
                "this directory takes accounts with an external account binding only: ask its administrator for one"
            )
        credential = await self._catalogue.credential(mount.open_credential)
        if credential is None or credential.method is not AuthenticationMethod.NONE:
            raise Forbidden("this directory is closed")
        return Principal(credential, Requester("credential", credential.id), mount.key, address)


def standing_in(credential: Credential, mount: str, requester: str, account: Account | None = None) -> Principal:
    """Who asked for something that goes on without them: a kept request, an automatic renewal.

    Proves nothing anew: whether the credential may still issue is decided by the guards of the transaction.
    """
    kind, _, name = requester.partition(":")
    return Principal(credential, Requester(kind, name), mount, "", account)


@lru_cache(maxsize=4096)
def _is_registration_authority(der: bytes) -> bool:
    """Whether the CA marked the holder of this certificate as an RA (RFC 6402 section 2.10, id-kp-cmcRA)."""
    try:
        usages = load_der_x509_certificate(der).extensions.get_extension_for_class(ExtendedKeyUsage).value
    except ExtensionNotFound:
        return False
    return ObjectIdentifier(oids.EKU_CMC_RA) in usages


@lru_cache(maxsize=4096)
def _within(address: str, networks: tuple[str, ...]) -> bool:
    try:
        caller = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped is not None:
        caller = caller.ipv4_mapped
    return any(caller in ipaddress.ip_network(network) for network in networks)
