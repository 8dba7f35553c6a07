"""The CMP door (RFC 9810, RFC 9483) over HTTP (RFC 9811): one POST; open, check protection, run the body, protect.

Whoever proved a shared secret is answered under the key of that secret, everybody else under the service's own
signature; nothing leaves unprotected. What is wrong with a message is answered with HTTP 200 and the bit that says
so: clients of OpenSSL 3.0 do not look into the body of anything else.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from functools import lru_cache
from hashlib import sha256

from ca_core.der import sequence, tlv
from ca_core.status import CertificateState
from policy.credential import CertificateClaim, Claim, MACClaim, Principal
from policy.mount import Mount
from policy.problems import (
    Forbidden,
    Malformed,
    OrderConflict,
    Problem,
    RateLimited,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
)
from policy.registration import RegistrationAuthority
from policy.sealing import Secret
from protocols.cmp import bodies, nested, problems
from protocols.cmp.bodies import Answer, Opening
from protocols.cmp.exchange import Exchange
from protocols.cmp.header import FOLLOWING, VERSIONS, Frame, broken_rule
from protocols.cmp.keygen import asks_for_key
from protocols.cmp.message import DIRECTORY_NAME, BodyType, PKIMessage, read_message
from protocols.cmp.operations import Operations
from protocols.cmp.problems import HeaderRefusal, PKIFailureInfo, PKIStatus, Refusal, fail_info, status_string
from protocols.cmp.protection import (
    Kind,
    MACAlgorithm,
    MACProtector,
    SignerFacts,
    check_mac,
    check_signature,
    own_facts,
    read_mac,
)
from protocols.cmp.revoking import asks_for_release
from protocols.cmp.settings import CMPSettings, Profile, read_options
from protocols.cmp.translate import ANSWERS, P10CR_ID, Binding
from protocols.endpoint import Services
from protocols.http import HTTPRequest, HTTPResponse, Route, Transport

ROOT = "/.well-known/cmp"
DEFAULT_LABEL = "default"
MEDIA = "application/pkixcmp"
MEDIA_TYPES = frozenset({MEDIA, "application/pkixcmp-poll"})
MAX_BODY_BYTES = 256 * 1024
MAX_BATCH_BYTES = 1024 * 1024
"""The limit of a nested message, which holds up to twenty others."""
MAX_REFERENCE_BYTES = 255
OPERATIONS = (
    *("initialization", "certification", "keyupdate", "pkcs10", "revocation"),
    *("getcacerts", "getrootupdate", "getcertreqtemplate", "getcrls", "nested"),
)
"""Operation labels of RFC 9483 section 6.1. They say nothing that the message does not say itself."""
UNTIMED = timedelta(days=365)
"""How long a transactionID without messageTime may not come again: nothing else tells that it is old."""
_NULL_DN = tlv(DIRECTORY_NAME, sequence())


class CMPEndpoint:
    """The Certificate Management Protocol: the routes of every mount."""

    def __init__(self, services: Services) -> None:
        assert isinstance(services.settings, CMPSettings)
        self._services = services

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """Every CMP mount by its label, its aliases and, for the one labelled "default", without a label.

        Raises ValueError for options that cannot be understood.
        """
        routes: list[Route] = []
        for mount in mounts:
            if mount.protocol != "cmp":
                continue
            mounted = MountedCMP(self._services, mount)
            roots = [f"{ROOT}/p/{mount.label}", *mounted.aliases]
            if mount.label == DEFAULT_LABEL:
                roots.append(ROOT)
            routes += [route for root in roots for route in mounted.routes(root)]
        return tuple(routes)

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """A fault of HTTP in plain text."""
        return problems.say(problem, request)


class MountedCMP:
    """The door at one mount, with its options read once."""

    def __init__(self, services: Services, mount: Mount) -> None:
        assert isinstance(services.settings, CMPSettings)
        self._ra: RegistrationAuthority = services.ra
        self._settings = services.settings
        self._clock = services.clock
        self._mount = mount
        self._options = read_options(mount)
        self._operations = Operations(self._ra, self._settings, self._options, mount, self._clock)
        self.aliases = self._options.aliases

    def routes(self, root: str) -> tuple[Route, ...]:
        """The one operation, at a path with and without an operation label; some clients end theirs with a slash."""
        paths = (root, f"{root}/", *(f"{root}/{label}" for label in OPERATIONS))
        return tuple(
            Route(("POST",), path, "pkimessage", self.post, Transport.ANY, max_body_bytes=MAX_BATCH_BYTES)
            for path in paths
        )

    async def post(self, request: HTTPRequest) -> HTTPResponse:
        """Answer one message (RFC 9811 section 3)."""
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media not in MEDIA_TYPES:
            raise UnsupportedMedia(f'the content type "{media}" is not "{MEDIA}" (RFC 9811 section 3.3)')
        try:
            message = read_message(request.body)
        except Malformed as problem:
            request.event["problem"] = problem.kind
            return HTTPResponse(400, await self._protect(None, _error(problem), None), MEDIA)
        if len(request.body) > MAX_BODY_BYTES and message.body is not BodyType.NESTED:
            raise TooLarge(f"the message has {len(request.body)} bytes; the limit is {MAX_BODY_BYTES}")
        return HTTPResponse(200, await self._answer(message, request), MEDIA)

    async def _answer(self, message: PKIMessage, request: HTTPRequest) -> bytes:
        """The protected answer to a message, whatever is wrong with it."""
        try:
            exchange = await self._open(message, request)
        except Problem as problem:
            return await self._protect(message, self._refuse(message, problem, request, known=False), None)
        return await self._reply(exchange, request)

    async def _reply(self, exchange: Exchange, request: HTTPRequest) -> bytes:
        """The protected answer to a message whose sender is known."""
        message = exchange.message
        request.event["body"] = message.body.name.lower()
        try:
            if message.body is BodyType.NESTED:
                replies = await self._unwrap(exchange, request)
                if len(replies) == 1:
                    return replies[0]
                answer = Answer(BodyType.NESTED, sequence(*replies))
            else:
                answer = await self._run(exchange)
        except Problem as problem:
            answer = self._refuse(message, problem, request, known=True)
        return await self._protect(message, answer, exchange)

    async def _unwrap(self, exchange: Exchange, request: HTTPRequest) -> list[bytes]:
        """The answers to the messages in a nested one (RFC 9483 section 5.2.2), each judged by its own protection.

        Nothing is done before the protection of all of them was found good. Raises Refusal, Forbidden.
        """
        broken = broken_rule(exchange.message, self._frame())
        if broken is not None:
            raise broken
        messages = nested.read_nested(exchange.message)
        if exchange.signer is None:
            raise Refusal(PKIFailureInfo.wrongIntegrity, "a nested message is protected by a signature, not by a MAC")
        if not exchange.authority:
            raise Forbidden("only a registration authority wraps the messages of others")
        nested.check(exchange.message, messages)
        try:
            exchanges = [await self._open(message, request) for message in messages]
        except Refusal as problem:
            raise Refusal(PKIFailureInfo.badMessageCheck, f"a message inside: {problem.detail}") from problem
        if len(messages) > 1:
            await self._ra.transactions.spend(exchange.principal, exchange.reference, exchange.until)
        return [await self._reply(one, request) for one in exchanges]

    async def _run(self, exchange: Exchange) -> Answer:
        """Run the body; a transaction that came to nothing is used up all the same."""
        broken = broken_rule(exchange.message, self._frame())
        follows = exchange.message.body in FOLLOWING
        try:
            if broken is not None:
                raise broken
            if exchange.message.header.message_time is None and not follows:
                reference = f"untimed {exchange.reference}"
                await self._ra.transactions.spend(exchange.principal, reference, self._clock() + UNTIMED)
            return await self._operations.run(exchange)
        except Problem as problem:
            if (
                follows
                or isinstance(problem, OrderConflict | RateLimited)
                or not exchange.message.header.transaction_id
            ):
                raise
            refused = problem if isinstance(problem, Refusal) else None
            await self._ra.transactions.spend(exchange.principal, exchange.reference, exchange.until, refused)
            raise

    def _frame(self) -> Frame:
        strict = self._options.profile is not Profile.RFC9810
        return Frame(self._clock(), timedelta(seconds=self._settings.message_time_seconds), strict)

    # ----------------------------------------------------------------- who speaks

    async def _open(self, message: PKIMessage, request: HTTPRequest) -> Exchange:
        """Check version and protection, and who is behind it.

        Raises Refusal, Unauthenticated, Forbidden, RateLimited.
        """
        header = message.header
        if header.pvno not in VERSIONS:
            raise Refusal(PKIFailureInfo.unsupportedVersion, f"version {header.pvno} is not spoken here; 2 and 3 are")
        if header.protection_alg is None or message.protection is None:
            raise Refusal(PKIFailureInfo.badMessageCheck, "the message is not protected")
        algorithm = read_mac(header.protection_alg, self._settings)
        signer = None
        claim: Claim
        if algorithm is not None:
            claim = self._mac_claim(message, algorithm)
            binding = Binding(Kind.MAC, algorithm.oid.hex(), claim.reference)
        else:
            signer = check_signature(message, key_id_needed=self._options.profile is not Profile.RFC9810)
            leaf, *chain = message.extra_certs
            claim = CertificateClaim(leaf, tuple(chain), held=asks_for_release(message, signer))
            binding = Binding(Kind.SIGNATURE, header.protection_alg.hex(), _fingerprint(leaf))
        principal = await self._authenticate(claim, message, request, signer)
        request.event["credential"] = principal.credential.id
        until = self._clock() + timedelta(seconds=2 * self._settings.message_time_seconds)
        return Exchange(message, principal, binding, signer, until)

    def _mac_claim(self, message: PKIMessage, algorithm: MACAlgorithm) -> MACClaim:
        """The claim of a MAC. A reference that cannot be one is the name of nobody, and costs the same work."""
        kid = message.header.sender_kid or b""
        reference = kid.decode("utf-8", "replace") if len(kid) <= MAX_REFERENCE_BYTES else ""

        # A key that is made for the client is encrypted under another key from the secret: once more a derivation.
        wrapping = self._options.password_wrapping if asks_for_key(message) else None

        def verify(secret: Secret) -> MACProtector:
            return check_mac(message, algorithm, secret, wrapping)

        return MACClaim(reference, verify, algorithm.slow or wrapping is not None)

    async def _authenticate(
        self, claim: Claim, message: PKIMessage, request: HTTPRequest, signer: SignerFacts | None
    ) -> Principal:
        try:
            return await self._ra.authenticate(self._mount.key, [claim], request.peer.address)
        except Unauthenticated as problem:
            fail = PKIFailureInfo.badMessageCheck if signer is None else PKIFailureInfo.signerNotTrusted
            raise Refusal(fail, problem.detail) from problem
        except Forbidden as problem:
            state = problem.context.get("state")
            if message.body is BodyType.CERTCONF and state is CertificateState.UNCONFIRMED:
                raise Refusal(PKIFailureInfo.wrongAuthority, "a certificate does not confirm itself") from problem
            if message.body in (BodyType.KUR, BodyType.RR) and state is CertificateState.REVOKED:
                raise Refusal(PKIFailureInfo.certRevoked, problem.detail) from problem
            raise

    # ----------------------------------------------------------------- what is answered

    def _refuse(self, message: PKIMessage, problem: Problem, request: HTTPRequest, *, known: bool) -> Answer:
        """What is wrong with the content is said in the body that answers it, all else in an error (RFC 9483 3.6)."""
        request.event["problem"] = problem.kind
        request.event["detail"] = problem.detail
        fail = fail_info(problem)
        request.event["failInfo"] = fail.name
        status = bodies.status_info(PKIStatus.REJECTION, status_string(problem), fail)
        of_content = known and not isinstance(problem, HeaderRefusal)
        if not of_content and fail is not PKIFailureInfo.certRevoked:
            return bodies.error(status)
        if message.body is BodyType.RR:
            return bodies.rev_rep(status)
        if type(problem) is OrderConflict:
            return bodies.error(status)  # the transactionID is in use, whatever the content is
        if message.body in ANSWERS:
            cert_req_id = P10CR_ID if message.body is BodyType.P10CR else 0
            return bodies.cert_rep(ANSWERS[message.body], cert_req_id, status)
        return bodies.error(status)

    async def _protect(self, message: PKIMessage | None, answer: Answer, exchange: Exchange | None) -> bytes:
        """The answer as a message, under the key of the request's MAC, else signed by the service."""
        usable = await self._ra.service_key("cmp", self._mount)
        signer = own_facts(usable.key.certificate)
        protector = exchange.principal.protector if exchange is not None else None
        header = message.header if message is not None else None
        if isinstance(protector, MACProtector):
            algorithm = protector.algorithm.identifier
            key_id = (header.sender_kid if header is not None else None) or b""
            chain = answer.certificates
        else:
            algorithm = usable.signer.algorithm.identifier_der
            key_id = signer.key_id or b""
            chain = (usable.key.certificate, *usable.key.chain, *answer.certificates)
        opening = Opening(
            pvno=_version(header.pvno) if header is not None else VERSIONS[0],
            sender=_directory_name(signer.subject),
            recipient=header.sender if header is not None else _NULL_DN,
            algorithm=algorithm,
            key_id=key_id,
            transaction_id=(header.transaction_id if header is not None else None) or secrets.token_bytes(16),
            nonce=exchange.nonce if exchange is not None else secrets.token_bytes(16),
            recip_nonce=header.sender_nonce if header is not None else None,
        )
        written = bodies.write_header(opening, self._clock(), answer.info)
        body, to_protect = bodies.to_protect(written, answer)
        if isinstance(protector, MACProtector):
            protection = protector.protect(to_protect)
        else:
            protection = await usable.signer.sign(to_protect)
        return bodies.write_message(written, body, protection, tuple(dict.fromkeys(chain)))


def _error(problem: Problem) -> Answer:
    return bodies.error(bodies.status_info(PKIStatus.REJECTION, status_string(problem), fail_info(problem)))


def _version(pvno: int) -> int:
    """The version of the request, else the one of ours that is nearest to it (RFC 9810 section 7)."""
    return min(max(pvno, VERSIONS[0]), VERSIONS[-1])


@lru_cache(maxsize=64)
def _directory_name(subject: bytes) -> bytes:
    return tlv(DIRECTORY_NAME, subject)


def _fingerprint(certificate: bytes) -> str:
    return sha256(certificate).hexdigest()
