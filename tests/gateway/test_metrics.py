"""gateway.metrics: names, labels, and that two servers do not share them."""

from __future__ import annotations

from gateway import __version__
from gateway.metrics import Metrics
from tests.gateway.conftest import Start


def test_names() -> None:
    """Every metric begins with certgate_ or is the process's; counters end in _total."""
    text = Metrics().render().decode()
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(name.startswith(("certgate_", "process_")) for name in names)
    assert {"certgate_http_requests_total", "certgate_db_commit_seconds", "certgate_signer_up"} <= names
    assert 'certgate_build_info{python="3.' in text
    assert f'version="{__version__}"' in text


def test_no_label_that_grows() -> None:
    """Never a domain, an account or a serial (spec: label cardinality)."""
    metrics = Metrics()
    for collector in metrics.registry._collector_to_names:
        for label in getattr(collector, "_labelnames", ()):
            assert label not in {"domain", "account", "serial", "order", "credential", "address", "path"}


def test_registries_are_apart() -> None:
    """Two servers in one process count for themselves."""
    first, second = Metrics(), Metrics()
    first.timing("acme", "new-order").done(201, 0.004)
    first.timing("acme", "new-order").done(201, 0.004)
    labels = {"protocol": "acme", "operation": "new-order", "code": "201"}
    assert first.registry.get_sample_value("certgate_http_requests_total", labels) == 2
    assert second.registry.get_sample_value("certgate_http_requests_total", labels) is None


async def test_requests_are_counted(start: Start) -> None:
    """By protocol, operation and code; refusals by their status. Rows: A12."""
    gate = await start()
    await gate.ask(b"GET /echo/none HTTP/1.1\r\nHost: a\r\n\r\n")
    await gate.ask(b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n")
    assert gate.count("http_requests_total", protocol="echo", operation="none", code="204") == 1
    assert gate.count("http_request_duration_seconds_count", protocol="echo", operation="none") == 1
    assert gate.count("http_requests_total", protocol="server", operation="none", code="404") == 1
    assert gate.count("http_rejected_total", reason="404") == 1
