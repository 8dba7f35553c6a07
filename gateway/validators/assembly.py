"""The validators as the configuration asks for them: for the server, and the same for a perspective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network

from gateway.addresses import AddressGuard
from gateway.config.perspectives import PerspectiveAddress, quorum_of
from gateway.config.schema import ValidationSettings
from gateway.dial import Dialer
from gateway.perspectives.remote import Connections, MutualTLS, remotes
from gateway.validators.dns import Resolver
from gateway.validators.dns01 import DNS01Validator, DNSAccount01Validator
from gateway.validators.dnspersist01 import DNSPersist01Validator
from gateway.validators.http01 import HTTP01Validator
from gateway.validators.mpic import MPICCAAChecker, MPICValidator, Panel
from gateway.validators.tlsalpn01 import TLSALPN01Validator
from policy.validation import CAAChecker, Validator


@dataclass(frozen=True, slots=True)
class ValidationParts:
    """What proves control and finds CAA records. `connections` are those to perspectives, where there are any.

    `attempt_seconds` is what one attempt may take in all.
    """

    resolver: Resolver
    validators: Mapping[str, Validator]
    attempt_seconds: float
    caa_checker: CAAChecker | None = None
    connections: Connections | None = None


def validation_parts(settings: ValidationSettings) -> ValidationParts:
    """The parts of the server: with perspectives configured, their quorum decides.

    Raises OSError for certificate files that cannot be used.
    """
    resolver = make_resolver(settings)
    own = make_validators(settings, resolver)
    if not settings.perspectives:
        return ValidationParts(resolver, own, settings.timeout_seconds)
    connections = Connections(perspective_tls(settings).client_context)
    addresses = [PerspectiveAddress.parse(text) for text in settings.perspectives]
    panel = Panel(remotes(addresses, connections), quorum_of(settings), settings.timeout_seconds)
    return ValidationParts(
        resolver,
        {method: MPICValidator(validator, panel) for method, validator in own.items()},
        # CAA and the challenge one after the other: a perspective that hangs must end as one that failed, by its
        # own deadline, and not take the whole attempt with it.
        2 * (settings.timeout_seconds + panel.grace_seconds) + 1.0,
        MPICCAAChecker(resolver, panel),
        connections,
    )


def make_resolver(settings: ValidationSettings) -> Resolver:
    """The resolver that is configured, else that of the machine."""
    host, _, port = settings.resolver.rpartition(":")
    return Resolver((host, int(port)) if host else None, dnssec=settings.dnssec)


def make_validators(settings: ValidationSettings, resolver: Resolver) -> dict[str, Validator]:
    """The validators that look with their own eyes, by method."""
    allow = settings.allow_private_targets
    networks = allow if isinstance(allow, bool) else tuple(ip_network(text) for text in allow)
    dialer = Dialer(resolver, AddressGuard(networks))
    deadline = settings.timeout_seconds
    return {
        "http-01": HTTP01Validator(dialer, port=settings.http01_port, deadline_seconds=deadline),
        "dns-01": DNS01Validator(resolver),
        "dns-account-01": DNSAccount01Validator(resolver),
        "dns-persist-01": DNSPersist01Validator(resolver, settings.caa_identities),
        "tls-alpn-01": TLSALPN01Validator(dialer, port=settings.tlsalpn01_port, deadline_seconds=deadline),
    }


def perspective_tls(settings: ValidationSettings) -> MutualTLS:
    """The certificate files between server and perspectives; the same keys on both sides."""
    return MutualTLS(settings.perspective_certificate_file, settings.perspective_key_file, settings.perspective_ca_file)
