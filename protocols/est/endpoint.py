"""The EST door: CA certificates and attributes, enrolment, renewal, keys, CMC (RFC 7030, clarified by RFC 8951)."""

from __future__ import annotations

import secrets

from ca_core.clock import Clock
from ca_core.csr import CertificationRequest, read_csr
from policy.credential import CertificateClaim, Claim, MACClaim, PasswordClaim, Principal
from policy.mount import Mount
from policy.order import Order, OrderStatus
from policy.problems import Forbidden, Problem, Unauthenticated
from policy.registration import RegistrationAuthority
from protocols.cmc import PKIData, Status, StatusInfo, write_pki_response
from protocols.cms.signed import SignedData
from protocols.endpoint import Services
from protocols.est import codec, csrattrs, fullcmc, problems, translate
from protocols.est.demands import NOTHING, read_demands
from protocols.est.demands import check as check_demands
from protocols.est.digest import Digests, Stale
from protocols.est.keygen import protect, read_protection
from protocols.est.possession import check_linking, linking_attribute, read_shared_secret
from protocols.est.settings import (
    Authentication,
    ChallengePassword,
    ChangeSubjectName,
    ESTSettings,
    KeyGeneration,
    Reenroll,
    read_options,
)
from protocols.http import HTTPRequest, HTTPResponse, Route
from protocols.renewalinfo import read_certid

ROOT = "/.well-known/est"
DEFAULT_LABEL = "default"


class ESTEndpoint:
    """Enrollment over Secure Transport: the routes of every mount."""

    def __init__(self, services: Services) -> None:
        assert isinstance(services.settings, ESTSettings)
        self._ra = services.ra
        self._settings = services.settings
        self._clock = services.clock

    def _digests(self) -> Digests | None:
        """HTTP Digest, where the operator switched it on; its nonces die with the store's opening, as ACME's."""
        settings = self._settings
        return Digests(settings.realm, self._ra.nonce_key(), settings.digest) if settings.digest else None

    def routes(self, mounts: tuple[Mount, ...]) -> tuple[Route, ...]:
        """The operations of every EST mount: with its label and, for the one labelled "default", without.

        Raises ValueError for a label that is an operation's name, and for options that cannot be understood.
        """
        routes: list[Route] = []
        for mount in mounts:
            if mount.protocol != "est":
                continue
            mounted = MountedEST(self._ra, self._settings, self._clock, self._digests(), mount)
            routes += mounted.routes(f"{ROOT}/{mount.label}")
            # strongSwan 5.9.8 has no option for a label: the path of its --url comes before the well-known part.
            routes += mounted.routes(f"/{mount.label}{ROOT}")
            if mount.label == DEFAULT_LABEL:
                routes += mounted.routes(ROOT)
        return tuple(routes)

    def say(self, problem: Problem, request: HTTPRequest) -> HTTPResponse:
        """A status and a text (RFC 8951 section 5)."""
        challenges: tuple[tuple[str, str], ...] = (problems.challenge(self._settings.realm),)
        digests = self._digests() if isinstance(problem, Unauthenticated) else None
        if digests is not None:
            challenges = (*digests.challenges(self._clock(), stale=isinstance(problem, Stale)), *challenges)
        return problems.say(problem, challenges)


class MountedEST:
    """The operations at one mount, with its options read once."""

    def __init__(
        self, ra: RegistrationAuthority, settings: ESTSettings, clock: Clock, digests: Digests | None, mount: Mount
    ) -> None:
        self._ra = ra
        self._settings = settings
        self._clock = clock
        self._digests = digests
        self._key = mount.key
        self._label = mount.label
        self._options = options = read_options(mount)
        self._demands = read_demands(options.csrattrs) if options.csrattrs else NOTHING

    def routes(self, root: str) -> tuple[Route, ...]:
        """The operations below a path."""
        return (
            Route(("GET",), f"{root}/cacerts", "cacerts", self.cacerts),
            Route(("GET",), f"{root}/csrattrs", "csrattrs", self.csrattrs),
            Route(("GET",), f"{root}/crls", "crls", self.crls),
            Route(("GET",), f"{root}/renewal-info/{{certid}}", "renewal-info", self.renewal_info),
            Route(("POST",), f"{root}/simpleenroll", "simpleenroll", self.simpleenroll),
            Route(("POST",), f"{root}/simplereenroll", "simplereenroll", self.simplereenroll),
            Route(("POST",), f"{root}/serverkeygen", "serverkeygen", self.serverkeygen),
            Route(("POST",), f"{root}/fullcmc", "fullcmc", self.fullcmc),
        )

    # ------------------------------------------------------------- what everybody may read

    async def cacerts(self, request: HTTPRequest) -> HTTPResponse:
        """The CA certificates (RFC 7030 section 4.1): to anybody, cacheable, with an entity tag."""
        mount = await self._ra.mount(self._key)
        certificates = await self._ra.ca_certificates(mount)
        return codec.write_cacerts(certificates, request, self._options, self._settings.cacerts_cache_seconds)

    async def crls(self, request: HTTPRequest) -> HTTPResponse:
        """The CRLs of the issuing CA and those above it (RFC 8295 section 2.4): to anybody."""
        return codec.write_crls(await self._ra.crls(await self._ra.mount(self._key)), self._options)

    async def renewal_info(self, request: HTTPRequest) -> HTTPResponse:
        """When to renew a certificate, as ACME says it (RFC 9773 section 4): to anybody who knows the certificate."""
        issuer_id, serial = read_certid(request.parameters["certid"])
        window = await self._ra.renewal_window(issuer_id, serial)
        return codec.write_renewal_info(window, self._settings.renewal_cache_seconds)

    async def csrattrs(self, request: HTTPRequest) -> HTTPResponse:
        """What a request should have (RFC 7030 section 4.5): to anybody by the mount's default product, to a client
        that authenticates by the one that it would get."""
        options = self._options
        if options.csrattrs:
            return codec.write_csrattrs(options.csrattrs, options)
        products = await self._ra.products(await self._ra.mount(self._key))
        granted = await self._granted(request)
        product = next((one for one in products if granted is None or one.name in granted), None)
        if product is None:
            return codec.write_csrattrs(None, options)
        wishes = csrattrs.of_product(product, linking=linking_attribute(options), form=options.csrattrs_form)
        return codec.write_csrattrs(csrattrs.write_csrattrs(wishes), options)

    async def _granted(self, request: HTTPRequest) -> tuple[str, ...] | None:
        """The products of whoever asks; None for nobody in particular, which a certificate alone may well be.

        Raises Unauthenticated, Forbidden for a password that is wrong or of no use here.
        """
        claims = self._claims(request)
        if not claims:
            return None
        try:
            return (await self._principal(claims, request)).credential.products
        except (Unauthenticated, Forbidden):
            if isinstance(claims[0], PasswordClaim | MACClaim):
                raise
            return None

    # ------------------------------------------------------------- enrolment

    async def simpleenroll(self, request: HTTPRequest) -> HTTPResponse:
        """Enrol (RFC 7030 section 4.2.1): 200 with the certificate, or 202."""
        principal, csr = await self._admit(request)
        order = await self._ra.enroll(principal, translate.to_order(principal, self._label, csr))
        return await self._answer(order, request)

    async def simplereenroll(self, request: HTTPRequest) -> HTTPResponse:
        """Renew or rekey the certificate shown in the TLS handshake (RFC 7030 section 4.2.2).

        Raises Forbidden when none of ours was shown, unless the mount lets a password alone do and no
        certificate was shown at all: the certificate of a device's maker enrols and never renews.
        """
        principal, csr = await self._admit(request)
        new = translate.to_renewal(principal, self._label, csr)
        if principal.certificate is not None:
            rename = self._options.change_subject_name is ChangeSubjectName.JUDGE
            order = await self._ra.renew(principal, new, rename=rename)
        elif request.peer.certificate is None and self._options.reenroll is Reenroll.CREDENTIAL:
            order = await self._ra.enroll(principal, new)
        else:
            raise Forbidden(
                "simplereenroll renews the client certificate of the TLS connection (RFC 7030 section "
                "4.2.2), one that this server issued; use simpleenroll for a first certificate"
            )
        return await self._answer(order, request)

    async def serverkeygen(self, request: HTTPRequest) -> HTTPResponse:
        """Make a key pair for the client (RFC 7030 section 4.4): 200 with key and certificate, or 202."""
        if self._options.serverkeygen is KeyGeneration.OFF:
            return problems.not_offered("serverkeygen")
        principal, csr = await self._admit(request, own_key=False)
        protection = read_protection(csr, request.peer.certificate, self._options.serverkeygen)
        new = await self._ra.generate(principal, translate.to_generated(principal, self._label, csr))
        order = await self._ra.enroll(principal, new)
        if order.status is not OrderStatus.VALID:
            return await self._answer(order, request)
        request.event["order"] = order.id
        certificate = await self._ra.certificate_of(order)
        if protection is None:
            key = await self._ra.generated_key(principal, order)
            return codec.write_generated(key, certificate.der, self._options)
        # What may fail comes before the key is taken: it is there once.
        usable = await self._ra.service_key("cmc", await self._ra.mount(self._key))
        key = await self._ra.generated_key(principal, order)
        enveloped = await protect(key, protection, usable.key.certificate, usable.signer)
        return codec.write_generated(enveloped, certificate.der, self._options)

    async def fullcmc(self, request: HTTPRequest) -> HTTPResponse:
        """Enrol or renew by a CMC message (RFC 7030 section 4.3): an answer in CMC, once there is a request to answer.

        What cannot be read, and whoever is not authenticated, gets a text as everywhere: nothing is signed for them.
        """
        if not self._options.fullcmc:
            return problems.not_offered("fullcmc")
        secret = self._options.challenge_password is ChallengePassword.SECRET
        principal = None if secret else await self._authenticate(request, None)
        message = codec.read_cmc(request)
        data = fullcmc.read_message(message)
        if principal is None:
            principal = await self._authenticate(request, read_shared_secret(read_csr(data.request)))
        certificates: tuple[bytes, ...] = ()
        headers: tuple[tuple[str, str], ...] = ()
        try:
            order = await self._serve(principal, message, data, request)
            request.event["order"] = order.id
            if order.status is OrderStatus.VALID:
                found = await self._ra.certificate_of(order)
                status, said, certificates = 200, StatusInfo(Status.SUCCESS), (found.der, *found.chain)
            else:
                seconds = translate.retry_seconds(order, self._settings)
                status, said = 202, fullcmc.waiting(order.id, seconds, self._clock())
                headers = (("Retry-After", str(seconds)),)
        except Problem as problem:
            request.event["problem"], request.event["detail"] = problem.kind, problem.detail
            status, said = problems.STATUS[problem.kind], fullcmc.refused(problem)
            headers = problems.retry_after(problem)
        usable = await self._ra.service_key("cmc", await self._ra.mount(self._key))
        content = write_pki_response(data, said, secrets.token_bytes(16))
        signed = await fullcmc.sign(content, usable.signer, usable.key.certificate, certificates)
        return codec.write_cmc(status, signed, self._options, headers)

    async def _serve(self, principal: Principal, message: SignedData, data: PKIData, request: HTTPRequest) -> Order:
        """The order of a CMC request, once its signatures were checked."""
        csr = read_csr(data.request)
        fullcmc.check_signer(message, csr, request.peer.certificate)
        self._check_request(csr, principal, request)
        if principal.renewal_only:
            return await self._ra.renew(principal, translate.to_renewal(principal, self._label, csr))
        return await self._ra.enroll(principal, translate.to_order(principal, self._label, csr))

    async def _admit(self, request: HTTPRequest, *, own_key: bool = True) -> tuple[Principal, CertificationRequest]:
        """Who asks, and the request, its proof of possession checked. The cheap check comes first.

        Without `own_key` nothing is to be possessed, as the server makes the key.
        """
        options = self._options
        if options.challenge_password is ChallengePassword.SECRET:
            csr = codec.read_request(request, verify=own_key)
            principal = await self._authenticate(request, read_shared_secret(csr))
        else:
            principal = await self._authenticate(request, None)
            csr = codec.read_request(request, verify=own_key)
        self._check_request(csr, principal, request, own_key=own_key)
        return principal, csr

    def _check_request(
        self, csr: CertificationRequest, principal: Principal, request: HTTPRequest, *, own_key: bool = True
    ) -> None:
        """The link to the connection, and what the operator's CSR attributes ask for."""
        if not principal.registration_authority:
            # An RA passes on what its client signed for another connection (RFC 7030 section 3.7).
            check_linking(csr, request, self._options)
        check_demands(self._demands, csr, own_key=own_key)

    async def _authenticate(self, request: HTTPRequest, secret: str | None) -> Principal:
        """The credential behind everything that was shown, which has to be what the mount wants."""
        claims = self._claims(request, secret)
        self._check_shown(claims)
        return await self._principal(claims, request)

    def _claims(self, request: HTTPRequest, secret: str | None = None) -> list[Claim]:
        """Everything that was shown: password, secret in the request, certificate."""
        password = codec.read_authorization(request, self._digests, self._clock())
        certificate = codec.read_certificate(request)
        claims: list[Claim] = []
        if password is not None:
            claims.append(password)
        if secret is not None:
            claims.append(codec.read_secret(secret, password))
        if certificate is not None:
            claims.append(certificate)
        return claims

    async def _principal(self, claims: list[Claim], request: HTTPRequest) -> Principal:
        """The credential behind all of the claims.

        They go to one judgement, so that nobody adds a certificate of one owner to the password of another.
        """
        principal = await self._ra.authenticate(self._key, claims, request.peer.address)
        request.event["credential"] = principal.credential.id
        return principal

    def _check_shown(self, claims: list[Claim]) -> None:
        """Whether everything was shown that the mount wants. Raises Unauthenticated, Forbidden.

        The certificate is asked for in the handshake: HTTP has no challenge for it, so 401 would mislead.
        """
        password = any(isinstance(claim, PasswordClaim | MACClaim) for claim in claims)
        certificate = any(isinstance(claim, CertificateClaim) for claim in claims)
        wanted = self._options.authentication
        if wanted in (Authentication.CERTIFICATE, Authentication.BOTH) and not certificate:
            if wanted is Authentication.BOTH and not password:
                raise Unauthenticated("a user name with its password and a TLS client certificate are needed here")
            raise Forbidden("a TLS client certificate is needed here (RFC 7030 section 3.3.2)")
        if wanted in (Authentication.PASSWORD, Authentication.BOTH) and not password:
            raise Unauthenticated("a user name and its password are needed here (RFC 7030 section 3.2.3)")
        if not claims:
            raise Unauthenticated("a user name and its password, or a TLS client certificate, are needed here")

    async def _answer(self, order: Order, request: HTTPRequest) -> HTTPResponse:
        """The certificate of an order, or when to ask again (RFC 7030 section 4.2.3)."""
        request.event["order"] = order.id
        if order.status is OrderStatus.VALID:
            certificate = await self._ra.certificate_of(order)
            return codec.write_certificate(certificate.der, self._options)
        return codec.write_pending(translate.retry_seconds(order, self._settings))
