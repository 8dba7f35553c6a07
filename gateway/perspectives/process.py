"""A perspective as a process: one listener with mutual TLS, and the service behind it."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.schema import ServerSettings, ValidationSettings
from gateway.config.sources import origin_url
from gateway.listening import Listener
from gateway.logs import Logging
from gateway.metrics import Metrics
from gateway.perspectives.service import PerspectiveService
from gateway.server import Server
from gateway.tls import TLSProfile
from gateway.validators.assembly import make_resolver, make_validators, perspective_tls

LISTENER = "perspective"
CLOSING_SECONDS = 5.0
"""What the answer may take beyond the validation itself."""


class PerspectiveProcess:
    """Everything that runs in a perspective. `listen` and `port` are where, `coordinator` for whom."""

    def __init__(
        self, settings: ValidationSettings, name: str, log: Logging, *, listen: str, port: int, coordinator: str
    ) -> None:
        """Raises OSError for certificate files that cannot be used."""
        self._tls = perspective_tls(settings)
        self._listen = listen
        resolver = make_resolver(settings)
        service = PerspectiveService(
            name,
            make_validators(settings, resolver),
            resolver,
            coordinator=coordinator,
            deadline_seconds=settings.timeout_seconds,
        )
        # Both ends are ours and of one age, so there is nothing to be lenient for.
        profile = TLSProfile("1.3", "1.3", client_certificates=True, required=True)
        server = ServerSettings(
            listen=listen,
            drain_seconds=settings.timeout_seconds,
            request_timeout_seconds=settings.timeout_seconds + CLOSING_SECONDS,
        )
        listener = Listener(LISTENER, listen, port, origin_url("https", listen, port), profile)
        self.server = Server((listener,), server, log, Metrics())
        self.server.reload_routes((service.door(),))
        self.reload()

    @property
    def origin(self) -> str:
        """Where it listens."""
        return origin_url("https", self._listen, self.server.port(LISTENER))

    def reload(self) -> None:
        """Read the certificate files again, for connections from now on. Raises OSError; then nothing changes."""
        tls = self._tls
        try:
            anchors = x509.load_pem_x509_certificates(Path(tls.ca_file).read_bytes())
            certificate = Path(tls.certificate_file).read_bytes()
            self.server.replace_certificate(certificate, Path(tls.key_file).read_bytes())
            self.server.replace_anchors(LISTENER, [one.public_bytes(Encoding.DER) for one in anchors])
        except (OSError, ValueError) as exc:
            raise OSError(f"{tls} cannot be used: {exc}") from exc
