"""Encrypted key files: written once, read back, refused when they are not what they should be."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ca_core.algorithms import KEY_TYPES, signature_algorithm_for, verify
from ca_core.keys import KeyExists, KeyNotFound, KeyUnusable
from ca_core.keystores import software
from ca_core.keystores.software import SoftwareKey, SoftwareKeyStore
from ca_core.problems import Unavailable

PASSPHRASE = b"derived from a master key"


@pytest.fixture
def store(tmp_path: Path) -> SoftwareKeyStore:
    return SoftwareKeyStore(tmp_path / "keys", PASSPHRASE)


# rsa-4096 takes seconds to make and differs from rsa-3072 in its size only.
@pytest.mark.parametrize("key_type", sorted(set(KEY_TYPES) - {"rsa-4096"}))
async def test_key_of_each_type_signs_and_is_found_again(tmp_path: Path, key_type: str) -> None:
    """A key made by one store signs the same way when another store loads it."""
    created = await SoftwareKeyStore(tmp_path, PASSPHRASE).create("issuing", key_type)
    loaded = await SoftwareKeyStore(tmp_path, PASSPHRASE).load("issuing")
    assert (loaded.key_type, loaded.spki) == (key_type, created.spki)
    assert loaded.algorithm == signature_algorithm_for(key_type)
    public_key = load_der_public_key(created.spki)
    verify(public_key, loaded.algorithm, await loaded.sign(b"data"), b"data")


async def test_signature_of_ecdsa_is_deterministic(store: SoftwareKeyStore) -> None:
    """RFC 6979: what a crash interrupted is finished with the identical signature."""
    signer = await store.create("issuing", "ec-p256")
    assert await signer.sign(b"data") == await signer.sign(b"data")


async def test_file_is_encrypted_and_for_its_owner_only(
    store: SoftwareKeyStore, tmp_path: Path, openssl: Callable[..., str]
) -> None:
    """PKCS#8 under PBES2 with AES-256 (RFC 8018), mode 0600, and nothing else left in the directory."""
    await store.create("issuing", "ec-p256")
    (path,) = (tmp_path / "keys").iterdir()
    assert path.name == "issuing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    structure = openssl("asn1parse", "-in", path)
    assert "PBES2" in structure
    assert "aes-256-cbc" in structure


async def test_create_never_overwrites(store: SoftwareKeyStore, tmp_path: Path) -> None:
    """A second key of the same label is refused, also when another process made the first one."""
    first = await store.create("issuing", "ec-p256")
    with pytest.raises(KeyExists):
        await store.create("issuing", "ec-p256")
    with pytest.raises(KeyExists):
        software._write_new(tmp_path / "keys" / "issuing.pem", b"another")
    other = SoftwareKeyStore(tmp_path / "keys", PASSPHRASE)
    assert (await other.load("issuing")).spki == first.spki


async def test_load_is_cached(store: SoftwareKeyStore) -> None:
    """Two tasks that load at once get the same key, and the file is read no more after that."""
    await store.create("issuing", "ec-p256")
    fresh = SoftwareKeyStore(store._directory, PASSPHRASE)
    one, two = await asyncio.gather(fresh.load("issuing"), fresh.load("issuing"))
    assert one is two
    (store._directory / "issuing.pem").unlink()
    assert await fresh.load("issuing") is one


async def test_labels_are_those_of_the_files(store: SoftwareKeyStore) -> None:
    """Drafts and foreign files are not keys."""
    assert store.labels() == ()
    await store.create("ocsp", "ec-p256")
    await store.create("issuing", "ec-p256")
    (store._directory / "issuing.123-abc.new").touch()
    (store._directory / "README").touch()
    assert store.labels() == ("issuing", "ocsp")


async def test_deleted_key_is_gone(store: SoftwareKeyStore) -> None:
    """From the directory and from memory; deleting it again is no mistake."""
    await store.create("ocsp", "ec-p256")
    await store.delete("ocsp")
    await store.delete("ocsp")
    assert store.labels() == ()
    with pytest.raises(KeyNotFound):
        await store.load("ocsp")
    with pytest.raises(ValueError, match="not a key label"):
        await store.delete("../root")


@pytest.mark.parametrize("label", ["", "../root", "a/b", ".hidden", "Upper", "a" * 101, "a\n"])
async def test_label_cannot_leave_the_directory(store: SoftwareKeyStore, label: str) -> None:
    """A label is a file name and nothing more."""
    with pytest.raises(ValueError, match="not a key label"):
        await store.create(label, "ec-p256")
    with pytest.raises(ValueError, match="not a key label"):
        await store.load(label)


async def test_create_refuses_an_unknown_key_type(store: SoftwareKeyStore) -> None:
    """The sentence lists the types that there are."""
    with pytest.raises(ValueError, match="ec-p256"):
        await store.create("issuing", "dsa-1024")


async def test_load_refuses_what_it_cannot_open(store: SoftwareKeyStore) -> None:
    """No file, wrong passphrase, damage, and a file without encryption are told apart from each other."""
    with pytest.raises(KeyNotFound):
        await store.load("issuing")
    await store.create("issuing", "ec-p256")
    with pytest.raises(KeyUnusable, match="wrong master key"):
        await SoftwareKeyStore(store._directory, b"other").load("issuing")
    (store._directory / "damaged.pem").write_bytes(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n")
    with pytest.raises(KeyUnusable):
        await store.load("damaged")
    plain = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (store._directory / "plain.pem").write_bytes(plain)
    with pytest.raises(KeyUnusable):
        await store.load("plain")


def test_empty_passphrase_is_refused(tmp_path: Path) -> None:
    """An empty passphrase would mean no encryption."""
    with pytest.raises(ValueError, match="empty"):
        SoftwareKeyStore(tmp_path, b"")


async def test_rsa_key_decrypts_in_each_scheme(store: SoftwareKeyStore) -> None:
    """RFC 8017 sections 7.1 and 7.2."""
    signer = await store.create("ra", "rsa-2048")
    decrypter = await store.load_decrypter("ra")
    public_key = load_der_public_key(signer.spki)
    assert isinstance(public_key, rsa.RSAPublicKey)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert await decrypter.decrypt(public_key.encrypt(b"key", oaep), "rsaes-oaep-sha256") == b"key"
    old = padding.PKCS1v15()
    assert await decrypter.decrypt(public_key.encrypt(b"key", old), "rsaes-pkcs1-v1_5") == b"key"
    with pytest.raises(ValueError):
        await decrypter.decrypt(b"too short", "rsaes-oaep-sha256")
    with pytest.raises(KeyUnusable, match="not a known encryption scheme"):
        await decrypter.decrypt(b"", "rot13")


async def test_elliptic_curve_key_does_not_decrypt(store: SoftwareKeyStore) -> None:
    """A key that cannot do it is refused when it is loaded for it, not at the first message."""
    await store.create("ra", "ec-p256")
    with pytest.raises(KeyUnusable, match="does not decrypt"):
        await store.load_decrypter("ra")
    key = SoftwareKey(ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(KeyUnusable, match="does not decrypt"):
        await key.decrypt(b"", "rsaes-oaep-sha256")


async def test_slow_key_does_not_hold_up_the_loop(store: SoftwareKeyStore) -> None:
    """RSA-3072 signs in a thread: other tasks run between asking and getting."""
    signer = await store.create("issuing", "rsa-3072")
    ran: list[str] = []

    async def other() -> None:
        ran.append("other")

    waiting = asyncio.create_task(other())
    await signer.sign(b"data")
    assert ran == ["other"]
    await waiting
    store.close()


async def test_too_many_waiting_are_turned_away(store: SoftwareKeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue without an end would only make every client run into its deadline."""
    monkeypatch.setattr(software, "_MAX_WAITING", 3)
    signer = await store.create("issuing", "ml-dsa-44")
    outcomes = await asyncio.gather(*(signer.sign(b"data") for _ in range(5)), return_exceptions=True)
    assert [isinstance(outcome, Unavailable) for outcome in outcomes] == [False, False, False, True, True]
    assert isinstance(await signer.sign(b"data"), bytes)
    store.close()


async def test_tls_library_gets_the_key_in_the_clear(store: SoftwareKeyStore) -> None:
    """The one way out of the store, for keys of the service: the library for TLS takes nothing else."""
    signer = await store.create("tls", "ec-p256")
    key = serialization.load_pem_private_key(await store.tls_key_pem("tls"), None)
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert spki == signer.spki


async def test_no_secret_in_repr(store: SoftwareKeyStore) -> None:
    """What ends in a log by accident says neither key nor passphrase."""
    key = await store.create("issuing", "ec-p256")
    assert repr(key) == "<ec-p256 private key>"
    assert "master" not in repr(store)
