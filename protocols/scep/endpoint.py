"""The SCEP door: GetCACaps, GetCACert, GetNextCACert, PKIOperation (RFC 8894 section 4)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from ca_core import oids
from ca_core.clock import Clock
from ca_core.csr import CertificationRequest
from ca_core.keys import Decrypter
from policy.credential import Claim, Principal
from policy.mount import Mount
from policy.order import Order, OrderStatus
from policy.problems import BadCSR, BadTime, Malformed, Problem, UnknownCertificate
from policy.registration import Certificate, RegistrationAuthority
from policy.service_keys import SCEP_RA, ServiceKeys, UsableKey, ra_subject
from protocols.cms.algorithms import AES_128_CBC, AES_CIPHERS, DES3_CBC, DES_CBC, ContentCipher
from protocols.cms.enveloped import Recipient, envelop, read_enveloped
from protocols.cms.recipients import KeyTransport
from protocols.cms.signed import Unsigned, certs_only, crls_only, unsigned
from protocols.endpoint import Services, note
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport
from protocols.scep import codec, message, problems, translate
from protocols.scep.message import Message, MessageType, Speaker
from protocols.scep.ndes import AdminPage
from protocols.scep.settings import DEFAULT_LABEL, Legacy, MountOptions, SCEPSettings, read_options

ROOT = "/scep"
CLIENT = "/pkiclient.exe"
"""What Cisco's clients add to the path (RFC 8894 section 4.1)."""
ELSEWHERE = ("/cgi-bin/pkiclient.exe", "/certsrv/mscep", "/certsrv/mscep/", "/certsrv/mscep/mscep.dll")
"""Where clients look that were made for another server: the mount labelled "default" is there, too."""
NONCE_BYTES = 16  # RFC 8894 section 3.2.1.5


class SCEPEndpoint:
    """Simple Certificate Enrolment Protocol: the routes of every mount."""

    def __init__(self, services: Services) -> None:
        assert isinstance(services.settings, SCEPSettings)
        assert services.service_keys is not None and services.codes is not None
        self._settings = services.settings
        self._codes = services.codes
        self._ra = services.ra
        self._keys = services.service_keys
        self._clock = services.clock

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """Every way to write a mount's address. Raises ValueError for options that cannot be understood."""
        routes: list[Route] = []
        for mount in mounts:
            if mount.protocol != "scep":
                continue
            mounted = MountedSCEP(self._ra, self._keys, self._clock, mount)
            paths = _paths(f"{ROOT}/{mount.label}")
            if mount.label == DEFAULT_LABEL:
                routes += AdminPage(self._ra, self._codes, self._settings, mount).routes()
                paths += (ROOT, f"{ROOT}/", ROOT + CLIENT, *ELSEWHERE, ELSEWHERE[-1] + CLIENT)
            routes += [Route(("GET", "POST"), path, "scep", mounted.serve, Transport.ANY) for path in paths]
        return tuple(routes)

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """A status and a text, where no message can be answered."""
        return problems.say(problem)


def _paths(root: str) -> tuple[str, ...]:
    named = f"{root}/{{credential}}"
    return (root, f"{root}/", root + CLIENT, named, f"{named}/", named + CLIENT)


class MountedSCEP:
    """The operations at one mount, with its options read once."""

    def __init__(self, ra: RegistrationAuthority, keys: ServiceKeys, clock: Clock, mount: Mount) -> None:
        self._ra = ra
        self._keys = keys
        self._clock = clock
        self._mount = mount
        self._options = read_options(mount)
        self._accepted = _accepted(self._options)
        self._operations: dict[str, Callable[[HTTPRequest, bytes], Awaitable[HTTPResponse]]] = {
            "getcacaps": self._capabilities,
            "getcacert": self._ca_certificates,
            "getnextcacert": self._next_ca_certificates,
            codec.PKI_OPERATION: self._pki_operation,
        }
        self._served: dict[MessageType, Callable[[Message, HTTPRequest], Awaitable[bytes | None]]] = {
            MessageType.PKCS_REQ: self._enrol,
            MessageType.RENEWAL_REQ: self._renew,
            MessageType.CERT_POLL: self._poll,
            MessageType.GET_CERT: self._get_certificate,
            MessageType.GET_CRL: self._get_crl,
        }

    async def serve(self, request: HTTPRequest) -> HTTPResponse:
        """Whatever the query asks for. Raises Malformed for an operation that there is not."""
        asked = codec.read_query(request)
        operation = self._operations.get(asked.operation)
        if operation is None:
            raise Malformed("the operation is not one of GetCACaps, GetCACert, GetNextCACert and PKIOperation")
        return await operation(request, asked.message)

    # ------------------------------------------------------------- what everybody may read

    async def _capabilities(self, request: HTTPRequest, _: bytes) -> HTTPResponse:
        return codec.write_capabilities(self._options)

    async def _ca_certificates(self, request: HTTPRequest, _: bytes) -> HTTPResponse:
        key = await self._key(self._mount.issuer)
        return codec.write_ca_certificates(await self._chain(key, self._mount.issuer))

    async def _next_ca_certificates(self, request: HTTPRequest, _: bytes) -> HTTPResponse:
        """The certificates of the CA that takes over, signed by the RA of the one that there is (section 4.7.1)."""
        if not self._options.next_issuer:
            raise Malformed("there is no next CA: GetCACaps does not say GetNextCACert")
        following = await self._key(self._options.next_issuer)
        key = await self._key(self._mount.issuer)
        draft = unsigned(
            oids.CMS_DATA,
            certs_only(await self._chain(following, self._options.next_issuer), in_order=True),
            signer=key.key.certificate,
            algorithm=key.signer.algorithm,
            attributes={},
            certificates=(key.key.certificate,),
        )
        return codec.write_next_ca_certificates(draft.finish(await key.signer.sign(draft.to_sign())))

    async def _chain(self, key: UsableKey, issuer: str) -> tuple[bytes, ...]:
        """The RA's certificate, then those of its CA, as far as the mount's options show them."""
        if self._options.ra_only:
            return (key.key.certificate,)
        chain = await self._ra.ca_certificates(replace(self._mount, issuer=issuer))
        return (key.key.certificate, *(chain if self._options.include_root else codec.without_root(chain)))

    async def _key(self, issuer: str) -> UsableKey:
        """The key of the RA of an issuer, with its certificate: an RSA key, whatever that of the CA is."""
        return await self._keys.get(SCEP_RA, issuer, subject=ra_subject(issuer))

    # ------------------------------------------------------------- messages

    async def _pki_operation(self, request: HTTPRequest, body: bytes) -> HTTPResponse:
        """Answer a message. What cannot be answered as a message raises: HTTP says it (section 4.3)."""
        asked = message.read_message(body)
        request.event["transaction"] = asked.transaction_id
        key = await self._key(self._mount.issuer)
        speaker = Speaker(key.key.certificate, key.signer.algorithm)
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            content = await self._answer(asked, request)
            answer = self._written(asked, content, speaker, nonce)
        except Problem as problem:
            info = problems.fail_info(problem)
            if info is None:
                raise
            note(problem, request)
            answer = message.failure(asked, info, problem, speaker, nonce)
        return codec.write_message(answer.finish(await key.signer.sign(answer.to_sign())))

    def _written(self, asked: Message, content: bytes | None, speaker: Speaker, nonce: bytes) -> Unsigned:
        if content is None:
            return message.pending(asked, speaker, nonce)
        return message.success(asked, content, speaker, nonce)

    async def _answer(self, asked: Message, request: HTTPRequest) -> bytes | None:
        """The content of the answer, encrypted; None says: ask again.

        A messageType that is not served is refused before anything else is looked at (CVE-2026-30836): the right to
        a certificate is the Principal that every way to one demands, and no message comes with it.
        """
        if asked.message_type is None:
            raise Malformed("the messageType is not one that is served here (RFC 8894 section 3.2.1.2)")
        message.check_recipient(asked)
        message.verify(asked, sha1=Legacy.SHA1 in self._options.legacy)
        self._check_time(asked)
        return await self._served[asked.message_type](asked, request)

    def _check_time(self, asked: Message) -> None:
        allowed = self._options.signing_time_seconds
        said = message.signing_time(asked) if allowed else None
        if said is not None and abs(said - self._clock()) > timedelta(seconds=allowed):
            raise BadTime(f"the signing time is more than {allowed} seconds off: set the clock")

    # ------------------------------------------------------------- certificates

    async def _enrol(self, asked: Message, request: HTTPRequest) -> bytes | None:
        """PKCSReq (section 3.3.1): a first certificate, or the renewal of the one that signs (section 2.3)."""
        csr, cipher = await self._request(asked)
        if not asked.self_signed and (csr.challenge_password is None or await self._is_own(asked)):
            try:
                return await self._certified(asked, csr, cipher, request)
            except BadCSR:
                # With a challenge, who has a certificate may enrol another one, for other names.
                if csr.challenge_password is None:
                    raise
        translate.check_signer(asked, csr)
        named = request.parameters.get("credential", "")
        principal = await self._authenticate(translate.read_claim(csr, named, self._options), request)
        order = await self._ra.enroll(principal, translate.to_order(asked, csr))
        return await self._certificate(asked, order, csr, cipher, request)

    async def _renew(self, asked: Message, request: HTTPRequest) -> bytes | None:
        """RenewalReq (section 3.3.1): signed by the certificate that is renewed, or by a maker's."""
        csr, cipher = await self._request(asked)
        return await self._certified(asked, csr, cipher, request)

    async def _certified(
        self, asked: Message, csr: CertificationRequest, cipher: ContentCipher, request: HTTPRequest
    ) -> bytes | None:
        """A request whose proof is the certificate that signs: renewed when it is ours, else its maker's word."""
        principal = await self._authenticate(translate.signer_claim(asked), request)
        new = translate.to_order(asked, csr)
        if principal.certificate is None:
            order = await self._ra.enroll(principal, new)
        else:
            order = await self._ra.renew(principal, new, after=self._options.renew_after)
        return await self._certificate(asked, order, csr, cipher, request)

    async def _is_own(self, asked: Message) -> bool:
        """Whether the signer's certificate says that it is of this mount's CA; whether it is, authentication finds."""
        chain = await self._ra.ca_certificates(self._mount)
        return asked.issuer == codec.subject_of(chain[0])

    async def _request(self, asked: Message) -> tuple[CertificationRequest, ContentCipher]:
        plaintext, cipher = await self._open(asked)
        return translate.read_request(plaintext, asked.spki), cipher

    async def _authenticate(self, claim: Claim, request: HTTPRequest) -> Principal:
        principal = await self._ra.authenticate(self._mount.key, [claim], request.peer.address)
        request.event["credential"] = principal.credential.id
        return principal

    async def _certificate(
        self, asked: Message, order: Order, csr: CertificationRequest, cipher: ContentCipher, request: HTTPRequest
    ) -> bytes | None:
        """The certificate of an order for the key of this request."""
        translate.check_answered(order, csr)
        return await self._delivered(asked, order, cipher, request)

    async def _delivered(
        self, asked: Message, order: Order, cipher: ContentCipher, request: HTTPRequest
    ) -> bytes | None:
        request.event["order"] = order.id
        if order.status is not OrderStatus.VALID:
            return None
        certificate = await self._ra.certificate_of(order)
        return _to_signer(asked, certs_only([certificate.der]), cipher)

    async def _poll(self, asked: Message, request: HTTPRequest) -> bytes | None:
        """CertPoll (section 3.3.3): known by its transactionID and the key that signs.

        The names that its content repeats tell nothing that the reference does not: it stays closed.
        """
        cipher = read_enveloped(asked.signed.content or b"").cipher(self._accepted)
        order = await self._ra.poll(self._mount.key, translate.reference(asked))
        translate.check_alive(order)
        return await self._delivered(asked, order, cipher, request)

    # ------------------------------------------------------------- what is there already

    async def _get_certificate(self, asked: Message, request: HTTPRequest) -> bytes | None:
        """GetCert (section 3.3.4): to who has a certificate, and of its own name only (section 7.8)."""
        found, cipher = await self._found(asked, request)
        return _to_signer(asked, certs_only([found.der]), cipher)

    async def _get_crl(self, asked: Message, request: HTTPRequest) -> bytes | None:
        """GetCRL (section 3.3.4): the list on which that certificate would stand."""
        found, cipher = await self._found(asked, request)
        crl = await self._ra.crl(found.stored.issuer_id, found.stored.shard)
        return _to_signer(asked, crls_only([crl.der]), cipher)

    async def _found(self, asked: Message, request: HTTPRequest) -> tuple[Certificate, ContentCipher]:
        """The certificate that is asked about. Raises UnknownCertificate, also for that of somebody else."""
        unknown = UnknownCertificate("there is no such certificate, or it is not the signer's")
        if asked.self_signed:
            raise unknown
        principal = await self._authenticate(translate.signer_claim(asked), request)
        if principal.certificate is None:
            raise unknown
        plaintext, cipher = await self._open(asked)
        wanted = message.read_issuer_and_serial(plaintext)
        found = await self._ra.certificate(principal, f"{wanted.serial:040x}")
        if codec.names_of(found.der) != (wanted.issuer, asked.subject):
            raise unknown
        return found, cipher

    # ------------------------------------------------------------- encryption

    async def _open(self, asked: Message) -> tuple[bytes, ContentCipher]:
        """The decrypted content of a message, and its cipher. Algorithms are judged before a private key is asked."""
        envelope = read_enveloped(asked.signed.content or b"")
        cipher = envelope.cipher(self._accepted)
        for issuer in filter(None, (self._mount.issuer, self._options.next_issuer)):
            for certificate, decrypter in await self._keys.decrypters((await self._key(issuer)).key):
                recipient = envelope.find(certificate)
                if recipient is not None:
                    key = await _decrypt(recipient, decrypter)
                    plaintext = envelope.decrypt(key, spare=secrets.token_bytes(32), accepted=self._accepted)
                    return plaintext, cipher
        raise Malformed("the message is not encrypted to a certificate that GetCACert shows")


async def _decrypt(recipient: Recipient, decrypter: Decrypter) -> bytes:
    try:
        return await decrypter.decrypt(recipient.encrypted_key, recipient.scheme)
    except ValueError:
        # A ciphertext that is no number below the modulus, or OAEP; PKCS #1 v1.5 gives random bytes instead of this.
        return b""


def _to_signer(asked: Message, content: bytes, cipher: ContentCipher) -> bytes:
    """Content for the signer of a request, under the cipher that it used itself; never under single DES."""
    chosen = AES_128_CBC if cipher is DES_CBC else cipher
    return envelop(content, [KeyTransport.to(asked.signer, asked.key)], chosen)


def _accepted(options: MountOptions) -> tuple[ContentCipher, ...]:
    further = ((Legacy.DES3, DES3_CBC), (Legacy.SINGLE_DES, DES_CBC))
    return (*AES_CIPHERS, *(cipher for legacy, cipher in further if legacy in options.legacy))
