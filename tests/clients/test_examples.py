"""examples/: what can run here runs as it is shipped, but for addresses and paths; the rest is parsed."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml  # type: ignore[import-untyped]  # its stubs would be one more package
from cryptography import x509

from tests.clients.acme.inventory import PATH, located
from tests.clients.acme.responders import running, shown
from tests.clients.acme.test_mod_md import LOADED, MODULES, USER
from tests.clients.gate import Gate, Said, certificates_of, names_of, run, wait_until

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RUN = ("apache", "caddy", "haproxy", "nginx", "rest")
PARSED = ("cert-manager", "terraform", "traefik")
NAME = "www.example.com"


class Example:
    """A folder of examples/, copied with what is particular to a machine replaced."""

    def __init__(self, gate: Gate, name: str, folder: Path) -> None:
        self.gate = gate
        self.folder = folder
        self._source = EXAMPLES / name

    def place(self, file: str, replaced: Mapping[str, object], to: str = "") -> Path:
        """Copy a file; every text to replace has to be there, so that a test notices when the example changes."""
        acme = self.gate.told["acme"]
        common = {
            "https://gate.example.com:8443/acme/default/directory": acme["directory"],
            "/etc/certgate/root.pem": shutil.copy(self.gate.root, self.folder / "root.pem"),
            "KEY-IDENTIFIER": acme["kid"],
            "HMAC-KEY": acme["hmac_key"],
        }
        text = (self._source / file).read_text()
        for old, new in replaced.items():
            assert old in text, f'{self._source / file} does not say "{old}" any more'
            text = text.replace(old, str(new))
        for old, new in common.items():
            text = text.replace(old, str(new))
        path = self.folder / (to or file)
        path.write_text(text)
        path.chmod((self._source / file).stat().st_mode & 0o777)
        return path

    def certbot(self, *words: object, **environment: str) -> Said:
        """Run certbot with the example's cli.ini, its folders here."""
        folders = ("--config-dir", self.folder / "c", "--work-dir", self.folder / "w", "--logs-dir", self.folder / "l")
        return run(
            *(located("certbot"), "--config", self.folder / "cli.ini", *words, *folders),
            folder=self.folder,
            environment={"REQUESTS_CA_BUNDLE": self.gate.root, "PATH": PATH, **environment},
            timeout=120,
        )

    def hook(self, path: Path) -> None:
        """Put a deploy hook where certbot looks for it."""
        hooks = self.folder / "c/renewal-hooks/deploy"
        hooks.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, hooks)

    @property
    def issued(self) -> x509.Certificate:
        """The newest certificate that certbot has."""
        return certificates_of(self.folder / "c/live/www/cert.pem")[0]

    def served(self) -> x509.Certificate | None:
        """What the server shows, checked up to the root; None while it shows nothing that is good."""
        try:
            return x509.load_der_x509_certificate(shown(self.gate.tlsalpn01_port, NAME, self.gate.root))
        except OSError:
            return None

    def log(self) -> str:
        """The end of what the server said."""
        return (self.folder / "server.log").read_text()[-3000:]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user may enter, as servers that root starts become one; its path is short, for sockets."""
    with tempfile.TemporaryDirectory(prefix="certgate-example-") as made:
        Path(made).chmod(0o711)
        yield Path(made)


@pytest.mark.client
@pytest.mark.usefixtures("names")
def test_nginx(gate: Gate, folder: Path) -> None:
    """certbot proves the name through nginx; after a renewal the hook has reloaded it."""
    nginx = located("nginx")
    example = Example(gate, "nginx", folder)
    # root's workers stay root: they read this folder, which only root may.
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"{user} pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} include {folder}/sites/*.conf; }}\n"
    )
    (folder / "sites").mkdir()
    (folder / "www").mkdir()
    example.place("cli.ini", {"/var/www/acme": folder / "www"})
    example.place(
        "acme.conf",
        {"listen 80": f"listen 127.0.0.1:{gate.http01_port}", "/var/www/acme": folder / "www"},
        "sites/acme.conf",
    )
    command = f"{shlex.quote(nginx)} -c {shlex.quote(str(configuration))}"
    reload = example.place("reload-nginx", {"nginx -t": f"{command} -t", "nginx -s": f"{command} -s"})
    with running(nginx, "-c", configuration, folder=folder, port=gate.http01_port):
        said = example.certbot("certonly", "--cert-name", "www", "-d", NAME)
        assert said.status == 0, said.text
        listen = {"listen 443": f"listen 127.0.0.1:{gate.tlsalpn01_port}", "/etc/letsencrypt": folder / "c"}
        example.place("www.conf", listen, "sites/www.conf")
        example.hook(reload)
        said = run(reload, folder=folder)
        assert said.status == 0, said.text
        first = example.issued
        assert wait_until(lambda: example.served() == first, 20), example.log()
        said = example.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew")
        assert said.status == 0, said.text
        assert example.issued != first
        assert wait_until(lambda: example.served() == example.issued, 20), example.log()


@pytest.mark.client
@pytest.mark.usefixtures("names")
def test_haproxy(gate: Gate, folder: Path) -> None:
    """The hook brings the first certificate and its successor into the running HAProxy, which is never reloaded."""
    haproxy = located("HAProxy")
    located("socat")
    example = Example(gate, "haproxy", folder)
    (folder / "certs").mkdir()
    port = gate.base + 8
    example.place("cli.ini", {"http-01-port = 8888": f"http-01-port = {port}"})
    configuration = example.place(
        "haproxy.cfg",
        {
            "/run/haproxy/admin.sock": folder / "admin.sock",
            "bind :80": f"bind 127.0.0.1:{gate.http01_port}",
            "bind :443": f"bind 127.0.0.1:{gate.tlsalpn01_port}",
            "/etc/haproxy/certs/": f"{folder}/certs/",
            "127.0.0.1:8888": f"127.0.0.1:{port}",
        },
    )
    example.hook(example.place("deploy-haproxy", {"/etc/haproxy/certs": folder / "certs"}))
    socket = {"HAPROXY_SOCKET": str(folder / "admin.sock")}
    with running(haproxy, "-db", "-f", configuration, folder=folder, port=gate.tlsalpn01_port) as process:
        assert example.served() is None
        said = example.certbot("certonly", "--cert-name", "www", "-d", NAME, **socket)
        assert said.status == 0, said.text
        first = example.issued
        assert wait_until(lambda: example.served() == first, 20), said.text + example.log()
        said = example.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew", **socket)
        assert said.status == 0, said.text
        assert example.issued != first
        assert wait_until(lambda: example.served() == example.issued, 20), said.text + example.log()
        assert process.poll() is None
    # What is on disk is what the next start needs.
    with running(haproxy, "-db", "-f", configuration, folder=folder, port=gate.tlsalpn01_port):
        assert wait_until(lambda: example.served() == example.issued, 20), example.log()


@pytest.mark.client
@pytest.mark.usefixtures("names")
def test_apache(gate: Gate, folder: Path) -> None:
    """mod_md gets the certificate; a graceful restart makes it active."""
    apache = located("Apache mod_md")
    example = Example(gate, "apache", folder)
    (folder / "html").mkdir()
    example.place("md.conf", {})
    port = {"*:443": f"127.0.0.1:{gate.tlsalpn01_port}", "/var/www/html": folder / "html"}
    example.place("www.conf", port)
    modules = "".join(
        f"LoadModule {one}_module {MODULES}/mod_{one}.so\n" for one in LOADED if (MODULES / f"mod_{one}.so").exists()
    )
    (folder / "httpd.conf").write_text(
        f"ServerName {NAME}\nServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/server.log\n"
        f"{USER}\nLogLevel warn md:info\nMutex file:{folder} default\n{modules}"
        f"Listen 127.0.0.1:{gate.http01_port}\nListen 127.0.0.1:{gate.tlsalpn01_port}\n"
        f"MDStoreDir {folder}/md\nMDPortMap http:{gate.http01_port} https:{gate.tlsalpn01_port}\n"
        f"Include {folder}/md.conf\nInclude {folder}/www.conf\n"
    )
    command = (apache, "-f", folder / "httpd.conf")
    with running(*command, "-D", "FOREGROUND", folder=folder, port=gate.tlsalpn01_port):
        # "The Managed Domain … has been setup and changes will be activated on next (graceful) server restart."
        assert wait_until(lambda: "AH10059" in example.log(), 60), example.log()
        said = run(*command, "-k", "graceful", folder=folder)
        assert said.status == 0, said.text
        assert wait_until(lambda: example.served() is not None, 30), example.log()
        served = example.served()
        assert served is not None
        assert names_of(served) == {NAME}


@pytest.mark.client
@pytest.mark.usefixtures("names")
def test_caddy(gate: Gate, folder: Path) -> None:
    """Caddy gets the certificate by itself."""
    caddy = located("Caddy")
    example = Example(gate, "caddy", folder)
    # Ports, storage and the admin listener belong to the machine: one more line after the first.
    machine = f"{{\n    admin off\n    default_bind 127.0.0.1\n    http_port {gate.http01_port}\n"
    machine += f"    https_port {gate.tlsalpn01_port}\n    storage file_system {folder}/data\n    email "
    configuration = example.place("Caddyfile", {"{\n    email ": machine})
    command = (caddy, "run", "--adapter", "caddyfile", "--config", configuration)
    environment = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")}
    with running(*command, folder=folder, port=gate.tlsalpn01_port, environment=environment):
        assert wait_until(lambda: example.served() is not None, 60), example.log()
        served = example.served()
        assert served is not None
        assert names_of(served) == {NAME}


# --------------------------------------------------------------------------- what cannot run here


def test_cert_manager_is_yaml() -> None:
    """Untested sample: its documents are read, and refer to each other."""
    issuer = _yaml("issuer.yaml")
    certificate = _yaml("certificate.yaml")
    assert (issuer["apiVersion"], issuer["kind"]) == ("cert-manager.io/v1", "ClusterIssuer")
    acme = issuer["spec"]["acme"]
    assert acme["server"].endswith("/acme/default/directory")
    assert {"keyID", "keySecretRef"} <= acme["externalAccountBinding"].keys()
    assert certificate["spec"]["issuerRef"] == {"kind": issuer["kind"], "name": issuer["metadata"]["name"]}


def _yaml(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((EXAMPLES / "cert-manager" / name).read_text())
    return read


def test_traefik_is_toml() -> None:
    """Untested sample: both files are read, and the router's resolver is the one that is configured."""
    static = tomllib.loads((EXAMPLES / "traefik/traefik.toml").read_text())
    dynamic = tomllib.loads((EXAMPLES / "traefik/routers.toml").read_text())
    (resolver,) = static["certificatesResolvers"]
    router = dynamic["http"]["routers"]["www"]
    assert router["tls"]["certResolver"] == resolver
    assert router["service"] in dynamic["http"]["services"]
    assert set(router["entryPoints"]) <= set(static["entryPoints"])
    assert {"kid", "hmacEncoded"} == static["certificatesResolvers"][resolver]["acme"]["eab"].keys()


def test_terraform_is_hcl() -> None:
    """Untested sample: it is read, and has a registration and a certificate."""
    with (EXAMPLES / "terraform/main.tf").open() as file:
        read = hcl2.load(file)
    kinds = {kind.strip('"') for resource in read["resource"] for kind in resource}
    assert kinds == {"acme_registration", "acme_certificate"}


@pytest.mark.parametrize("name", RUN + PARSED)
def test_readme_says_what_it_needs_and_names_its_files(name: str) -> None:
    """What, prerequisites, steps; files that no test runs are called untested, there and in the list of all."""
    folder = EXAMPLES / name
    text = (folder / "README.md").read_text()
    assert "**Prerequisites:**" in text
    assert "\n1. " in text
    assert ("(untested sample)" in text) == (name in PARSED)
    for file in folder.iterdir():
        assert file.name == "README.md" or f"`{file.name}`" in text, f"{file.name} is not in {folder / 'README.md'}"
    listed = next(line for line in (EXAMPLES / "README.md").read_text().splitlines() if f"[{name}]" in line)
    assert ("**untested**" in listed) == (name in PARSED)


def test_every_example_is_known_here() -> None:
    """A new folder is run or parsed here."""
    assert {folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()} == {*RUN, *PARSED}
