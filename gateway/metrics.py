"""Counters, gauges and timings, in the Prometheus text form. Few labels: never a name, account or serial.

Every server has a registry of its own, so that two may live in one process. On the hot path only children
that are bound already are touched.
"""

from __future__ import annotations

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from gateway import __version__

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# From a cached OCSP answer (0.2 ms) to a challenge whose target hangs (seconds).
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class RequestTiming:
    """The bound children of one operation: a duration, and a count for each status code seen."""

    __slots__ = ("_codes", "_observe", "_operation", "_protocol", "_requests")

    def __init__(self, metrics: Metrics, protocol: str, operation: str) -> None:
        self._protocol = protocol
        self._operation = operation
        self._requests = metrics.http_requests
        self._observe = metrics.http_request_duration.labels(protocol, operation).observe
        self._codes: dict[int, Counter] = {}

    def done(self, status: int, seconds: float) -> None:
        """Count one answered request."""
        counter = self._codes.get(status)
        if counter is None:
            counter = self._requests.labels(self._protocol, self._operation, str(status))
            self._codes[status] = counter
        counter.inc()
        self._observe(seconds)


class Metrics:
    """Every metric of the product, under the names that docs/operations describes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"certgate_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"certgate_{name}", text, labels, registry=registry)

        def timing(name: str, text: str, *labels: str) -> Histogram:
            return Histogram(f"certgate_{name}", text, labels, registry=registry, buckets=_SECONDS)

        self.build_info = gauge("build_info", "What runs here.", "version", "python")
        self.build_info.labels(__version__, platform.python_version()).set(1)

        self.http_requests = counter("http_requests", "Requests answered.", "protocol", "operation", "code")
        self.http_request_duration = timing(
            "http_request_duration_seconds",
            "Time from the head of a request to its answer.",
            "protocol",
            "operation",
        )
        self.http_inflight = gauge("http_inflight", "Requests being served.")
        self.http_connections = gauge("http_connections", "Open connections, handshakes included.")
        self.http_rejected = counter("http_rejected", "Requests and connections refused before any door.", "reason")

        self.orders = counter("orders", "Orders that ended.", "protocol", "product", "outcome")
        self.certificates_issued = counter(
            "certificates_issued", "Certificates issued.", "protocol", "issuer", "product", "key_type"
        )
        self.certificates_revoked = counter("certificates_revoked", "Certificates revoked.", "issuer", "reason")
        self.certificates_expiring = gauge("certificates_expiring", "Certificates soon to expire.", "issuer", "bucket")
        self.issuance_duration = timing("issuance_duration_seconds", "Time of a stage.", "protocol", "stage")
        self.validation_duration = timing("validation_duration_seconds", "Time of a try.", "method", "outcome")
        self.validation_attempts = counter(
            "validation_attempts", "Validations tried.", "method", "perspective", "outcome"
        )
        self.auth_failures = counter("auth_failures", "Authentications that failed.", "protocol", "reason")
        self.acme_nonces = counter("acme_nonces", "ACME nonces.", "op")
        self.lint_findings = counter("lint_findings", "Findings of lints.", "linter", "severity")

        self.crl_size_bytes = gauge("crl_size_bytes", "Size of the newest CRL.", "issuer")
        self.crl_next_update = gauge("crl_next_update_timestamp_seconds", "nextUpdate of the newest CRL.", "issuer")
        self.ca_not_after = gauge("ca_not_after_timestamp_seconds", "End of an issuer's certificate.", "issuer")
        self.tls_not_after = gauge("tls_not_after_timestamp_seconds", "End of the server's TLS certificate.")
        self.signer_operations = counter("signer_operations", "Signatures made.", "backend", "outcome")
        self.signer_up = gauge("signer_up", "Whether the keys can sign.", "backend")

        self.db_pool = gauge("db_pool", "Connections to the database.", "state")
        self.db_commit = timing("db_commit_seconds", "Time of a commit.")
        self.jobs = gauge("jobs", "Background jobs.", "queue", "state")
        self.job_oldest_age = gauge("job_oldest_age_seconds", "Age of the oldest job that is due.", "queue")
        self.webhook_deliveries = counter("webhook_deliveries", "Webhooks delivered.", "outcome")
        self.webhook_lag = gauge("webhook_lag_seconds", "Age of the oldest message that is not delivered.")
        self.audit_tree_size = gauge("audit_tree_size", "Events in the audit log.")
        self.audit_last_checkpoint = gauge("audit_last_checkpoint_timestamp_seconds", "Time of the newest checkpoint.")
        self.config_last_reload_successful = gauge("config_last_reload_successful", "1 when the last reload was taken.")
        self.config_last_reload_successful.set(1)

    def timing(self, protocol: str, operation: str) -> RequestTiming:
        """Bind the children of one operation, once."""
        return RequestTiming(self, protocol, operation)

    def render(self) -> bytes:
        """The whole registry, as `/metrics` answers it."""
        return generate_latest(self.registry)
