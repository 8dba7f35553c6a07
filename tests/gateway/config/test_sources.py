"""gateway.config.sources: which source wins, what is refused, and how it is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.config import Config, ConfigError, Rate, SecretStr, load
from gateway.config.sources import origin_url
from protocols.endpoint import ProtocolDescription


@dataclass(frozen=True)
class DoorSettings:
    """What a door's section may look like."""

    page_size: int = field(default=50, metadata={"help": "Entries on a page."})
    suffixes: tuple[str, ...] = field(default=(), metadata={"help": "Suffixes."})
    token: str = field(default="", repr=False, metadata={"help": "A token.", "secret": True})

    def __post_init__(self) -> None:
        if self.page_size > 1000:
            raise ValueError("page_size: at most 1000")


DOOR = ProtocolDescription("door", (), DoorSettings, lambda services: None, {})  # type: ignore[arg-type,return-value]


def read(
    state: Path,
    text: str = "",
    environ: dict[str, str] | None = None,
    overrides: Sequence[tuple[str, str]] = (),
) -> Config:
    file = None
    if text:
        file = state / "test.toml"
        file.write_text(text)
    return load(state, file, environ or {}, overrides, protocols=(DOOR,))


def mistakes(state: Path, *args: object, **kwargs: object) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(state, *args, **kwargs)  # type: ignore[arg-type]
    assert str(error.value).splitlines() == [str(one) for one in error.value.mistakes]
    return [str(one) for one in error.value.mistakes]


def test_later_source_wins(tmp_path: Path) -> None:
    """Defaults, file, environment, command line; each value knows where it came from."""
    text = "[server]\nhttps_port = 1001\nmtls_port = 1002\n\nhttp_port = 1003\n"
    environ = {
        "CERTGATE_SERVER__MTLS_PORT": "2002",
        "CERTGATE_SERVER__HTTP_PORT": "2003",
        "CERTGATE_STATE": "/x",
    }
    config = read(tmp_path, text, environ, [("server.http_port", "3003")])
    server = config.server
    assert (server.https_port, server.mtls_port, server.http_port, server.management_port) == (
        1001,
        2002,
        3003,
        9090,
    )
    assert config.origin("server.https_port") == f"{tmp_path}/test.toml:2"
    assert config.origin("server.mtls_port") == "environment variable CERTGATE_SERVER__MTLS_PORT"
    assert config.origin("server.http_port") == "command line"
    assert config.origin("server.management_port") == "default"


def test_file_of_the_state_folder(tmp_path: Path) -> None:
    """Read when no other is named."""
    (tmp_path / "certgate.toml").write_text('[log]\nlevel = "debug"\n')
    assert read(tmp_path).log.level == "debug"


def test_door_has_its_section(tmp_path: Path) -> None:
    """Taken from PROTOCOL.settings; checked by the door itself."""
    config = read(tmp_path, "[door]\npage_size = 20\n", overrides=[("door.suffixes", "a.example, b.example")])
    assert config.doors["door"] == DoorSettings(20, ("a.example", "b.example"))
    assert mistakes(tmp_path, "[door]\npage_size = 2000\n") == ["configuration: door: page_size: at most 1000"]


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("validation.allow_private_targets", "true", True),
        ("validation.allow_private_targets", "10.0.0.0/8", ("10.0.0.0/8",)),
        ("validation.allow_private_targets", "10.0.0.0/8, 127.0.0.0/8", ("10.0.0.0/8", "127.0.0.0/8")),
        ("validation.allow_private_targets", '["127.0.0.1"]', ("127.0.0.1",)),
        ("validation.timeout_seconds", "3", 3.0),
        ("validation.resolver", "127.0.0.1:5353", "127.0.0.1:5353"),
        ("limits.new_orders_per_account", "10/m", Rate(10, 60)),
        ("store.url", "sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_text_of_the_command_line(tmp_path: Path, key: str, text: str, value: object) -> None:
    """Text becomes what the key takes, for `--set` as tests and client runs use it."""
    section, name = key.split(".")
    assert getattr(getattr(read(tmp_path, overrides=[(key, text)]), section), name) == value


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    """Of every source, with the place and what would be right."""
    text = "\n".join(
        [
            "stray = 1",
            "[server]",
            'https_port = "8443"',
            "max_conections = 5",
            "workers = 2",
            "[serve]",
            "http_port = 1",
            "[log]",
            'level = "loud"',
        ]
    )
    environ = {"CERTGATE_LIMITS__NEW_ORDERS_PER_ACCOUNT": "5 a day", "CERTGATE_NOTHING__AT_ALL": "1"}
    file = tmp_path / "test.toml"
    assert mistakes(tmp_path, text, environ, [("server.https_port.x", "1"), ("server.http_port", "70000")]) == [
        f"{file}: stray: stands outside of a section, such as [server]",
        f"{file}:4: server.max_conections: unknown key; did you mean server.max_connections?",
        f"{file}:7: serve.http_port: unknown key; did you mean server.http_port?",
        "environment variable CERTGATE_NOTHING__AT_ALL: nothing.at_all: unknown key",
        "command line: server.https_port.x: unknown key; did you mean server.https_port?",
        f'{file}:3: server.https_port: "8443" is not a whole number from 0 to 65535',
        'command line: server.http_port: "70000" is not a whole number from 0 to 65535',
        f"{file}:5: server.workers: several worker processes need the store process, which this version "
        "does not have yet; set workers = 1",
        f'{file}:9: log.level: "loud" is not one of "debug", "info", "warning", "error"',
        "environment variable CERTGATE_LIMITS__NEW_ORDERS_PER_ACCOUNT: limits.new_orders_per_account: "
        'a rate is "none" or a number per period, such as "300/3h" (periods: s, m, h, d)',
    ]


@pytest.mark.parametrize(
    ("key", "text", "sentence"),
    [
        ("server.base_url", "http://a", "is not an origin, which is https://host"),
        ("server.base_url", "https://a/", "is not an origin"),
        ("server.base_url", "https://a/path", "is not an origin"),
        ("server.base_url", "https://a:b", "is not an origin"),
        ("server.status_url", "https://a", "is not an origin, which is http://host"),
        ("server.listen", "localhost", "is not an IP address"),
        ("server.listen", "10.0.0.0/8", "is not an IP address"),
        ("server.trusted_proxies", "10.0.0.1/8", "is not an address or a network"),
        ("server.client_certificate_header", "true", "needs trusted_proxies"),
        ("server.tls_key_file", "/key.pem", "need each other"),
        ("server.https_port", "8444", "each listener needs its own port; more than one has 8444"),
        ("server.header_timeout_seconds", "0", "is not a number above 0"),
        ("server.https_port", "true", "is not a whole number"),
        ("server.max_connections", "1.5", "is not a whole number from 1"),
        ("store.url", "mysql://x", "begins with sqlite:/// or postgresql://"),
        ("validation.resolver", "127.0.0.1", "is not host:port"),
        ("validation.allow_private_targets", "maybe", "is not an address or a network"),
        ("store.password", "hunter2", 'a secret is given by reference: "file:/path" or "env:NAME"'),
        ("store.password", "file:nothing", "cannot be read"),
        ("store.password", "env:NOTHING", "there is no environment variable NOTHING"),
    ],
)
def test_mistakes(tmp_path: Path, key: str, text: str, sentence: str) -> None:
    """One sentence, with the value and what would be right."""
    [said] = mistakes(tmp_path, overrides=[(key, text)])
    assert sentence in said


def test_tls_versions_must_meet(tmp_path: Path) -> None:
    """A listener whose lowest version is above its highest one would refuse everybody."""
    overrides = [("server.tls_minimum_version", "1.3"), ("server.mtls_maximum_version", "1.2")]
    assert mistakes(tmp_path, overrides=overrides) == [
        "command line: server.mtls_maximum_version: is below tls_minimum_version, 1.3"
    ]


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, or not TOML."""
    assert "is not TOML" in mistakes(tmp_path, "[server\n")[0]
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, tmp_path / "missing.toml", {}, (), protocols=())


def test_secrets_are_references(tmp_path: Path) -> None:
    """Read from a file (below the state folder unless absolute) or, with a warning, from the environment."""
    (tmp_path / "password").write_text("hunter2\n")
    text = '[store]\npassword = "file:password"\n[door]\ntoken = "env:TOKEN"\n'
    config = read(tmp_path, text, {"TOKEN": "hunter3"})
    assert config.store.password == SecretStr("hunter2")
    assert config.doors["door"].token == "hunter3"
    assert config.warnings == ("door.token: the secret is in the environment; a file (file:/path) protects it better",)
    assert "hunter" not in repr(config)
    assert "hunter" not in "".join(entry.value for entry in config.entries())


def test_what_follows_from_other_keys(tmp_path: Path) -> None:
    """Origins, names and files, each with the reason as its origin."""
    config = read(tmp_path, overrides=[("server.names", "ca.example")])
    assert config.server.base_url == "https://127.0.0.1:8443"
    assert config.server.mtls_url == "https://127.0.0.1:8444"
    assert config.server.status_url == "http://127.0.0.1:8080"
    assert config.server.names == ("ca.example", "127.0.0.1", "localhost")
    assert config.store.url == f"sqlite:///{tmp_path}/certgate.db"
    assert config.keys.master_key_file == f"{tmp_path}/master.key"
    assert config.origin("server.base_url") == "from server.listen and server.https_port"
    assert config.origin("store.url") == "from the state folder"


@pytest.mark.parametrize(
    ("listen", "port", "url"),
    [
        ("::1", "8443", "https://[::1]:8443"),
        ("192.0.2.1", "443", "https://192.0.2.1"),
        ("0.0.0.0", "8443", "https://ca.example:8443"),
    ],
)
def test_origin_from_the_address(tmp_path: Path, listen: str, port: str, url: str) -> None:
    """A wildcard address is nobody's name: the first configured one is taken."""
    overrides = [("server.listen", listen), ("server.https_port", port), ("server.names", "ca.example")]
    assert read(tmp_path, overrides=overrides).server.base_url == url
    assert origin_url("http", "a", 80) == "http://a"


def test_two_sections_of_one_name(tmp_path: Path) -> None:
    """A door cannot hide another section."""
    with pytest.raises(ValueError, match="has the name of another section"):
        load(tmp_path, None, {}, (), protocols=(DOOR, DOOR))
