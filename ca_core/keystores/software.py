"""Private keys in encrypted PKCS#8 files, one per label, signed with in this process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

from ca_core.algorithms import SignatureAlgorithm, key_type, sign, signature_algorithm_for
from ca_core.keys import Decrypter, DecryptionScheme, KeyExists, KeyNotFound, KeyUnusable, Signer
from ca_core.problems import Unavailable

_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.ASCII)
# An inline signature holds up every other request. These take 0.02 to 0.25 ms each; RSA-3072 already takes
# 0.66 ms and ML-DSA-44 0.47 ms on average but, as it tries until a candidate fits, several times that at
# worst.
_INLINE: Final = frozenset({"ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448", "rsa-2048"})
# Two threads keep two slow keys from waiting for each other; more would only take the interpreter from the
# loop.
_THREADS: Final = 2
# 64 waiting signatures of 1.5 ms are a tenth of a second: later than that a client is better told to come
# again.
_MAX_WAITING: Final = 64

GENERATED: Final[dict[str, Callable[[], CertificateIssuerPrivateKeyTypes]]] = {
    "ec-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ec-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ec-p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa-2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa-4096": lambda: rsa.generate_private_key(65537, 4096),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ed448": ed448.Ed448PrivateKey.generate,
    "ml-dsa-44": mldsa.MLDSA44PrivateKey.generate,
    "ml-dsa-65": mldsa.MLDSA65PrivateKey.generate,
    "ml-dsa-87": mldsa.MLDSA87PrivateKey.generate,
}
"""How a key of each type is made."""


def generate_private_key(key_type: str) -> CertificateIssuerPrivateKeyTypes:
    """A new private key. Raises KeyError for an unknown type."""
    return GENERATED[key_type]()


_PADDINGS: Final[dict[str, padding.AsymmetricPadding]] = {
    DecryptionScheme.RSA_PKCS1: padding.PKCS1v15(),
    DecryptionScheme.RSA_OAEP_SHA1: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),  # noqa: S303
    DecryptionScheme.RSA_OAEP_SHA256: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
}


class _Bench:
    """A few threads for slow private-key operations, and a limit to how many may wait for them."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "private-key")
        self._waiting = 0

    async def run(self, operation: Callable[..., bytes], *arguments: Any) -> bytes:
        """Run in a thread. Raises Unavailable when too many are waiting already."""
        if self._waiting >= _MAX_WAITING:
            raise Unavailable("too many signatures are waiting for a slow key", retry_after=1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, operation, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        self._threads.shutdown(wait=True)


class SoftwareKey:
    """A private key in this process: a Signer, and a Decrypter when it is an RSA key."""

    def __init__(self, private_key: CertificateIssuerPrivateKeyTypes, bench: _Bench | None = None) -> None:
        """Without a bench every operation is done inline, which is for tests and short-lived programs."""
        self._private_key = private_key
        self._bench = bench
        public_key = private_key.public_key()
        self._key_type = key_type(public_key)
        self._algorithm = signature_algorithm_for(self._key_type)
        self._spki = public_key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __repr__(self) -> str:
        return f"<{self._key_type} private key>"

    @property
    def key_type(self) -> str:
        """The type of the key in the words of `ca_core.algorithms`."""
        return self._key_type

    @property
    def spki(self) -> bytes:
        """The DER SubjectPublicKeyInfo."""
        return self._spki

    @property
    def algorithm(self) -> SignatureAlgorithm:
        """The algorithm that `sign` uses: the default one of the key type."""
        return self._algorithm

    async def sign(self, data: bytes) -> bytes:
        """Sign, inline when the key is fast. Raises Unavailable when too many wait for a slow one."""
        if self._bench is None or self._key_type in _INLINE:
            return sign(self._private_key, self._algorithm, data)
        return await self._bench.run(sign, self._private_key, self._algorithm, data)

    async def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Decrypt under a DecryptionScheme. Raises ValueError, and KeyUnusable when it is no RSA key."""
        private_key = self._private_key
        if not isinstance(private_key, rsa.RSAPrivateKey):
            raise KeyUnusable(f"a key of type {self._key_type} does not decrypt")
        if scheme not in _PADDINGS:
            raise KeyUnusable(f'"{scheme}" is not a known encryption scheme')
        if self._bench is None or self._key_type in _INLINE:
            return private_key.decrypt(ciphertext, _PADDINGS[scheme])
        return await self._bench.run(private_key.decrypt, ciphertext, _PADDINGS[scheme])

    def private_pem(self) -> bytes:
        """The key as PKCS#8 PEM in the clear."""
        return self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class SoftwareKeyStore:
    """Encrypted PKCS#8 files `<label>.pem` in one directory, readable by their owner only.

    The passphrase is derived by the caller from a key of full strength; the few PBKDF2 rounds of these files
    would not protect a word that a person has chosen.
    """

    def __init__(self, directory: Path, passphrase: bytes) -> None:
        if not passphrase:
            raise ValueError("the passphrase of a key store is empty")
        self._directory = directory
        self._passphrase = passphrase
        self._bench = _Bench()
        self._keys: dict[str, SoftwareKey] = {}

    def __repr__(self) -> str:
        return f"<software key store in {self._directory}>"

    def close(self) -> None:
        """Wait for the signatures that are being made, and end the threads."""
        self._bench.close()

    async def create(self, label: str, key_type: str) -> Signer:
        """Make a new key and write it. Raises KeyExists, and ValueError for a bad key type or label."""
        path = self._path(label)
        if key_type not in GENERATED:
            raise ValueError(f'"{key_type}" is not a key type that is made here; known are {", ".join(GENERATED)}')
        key = await asyncio.to_thread(self._create, path, key_type)
        self._keys[label] = key
        return key

    async def load(self, label: str) -> Signer:
        """The key with this label, read once and kept. Raises KeyNotFound, KeyUnusable."""
        return await self._load(label)

    async def load_decrypter(self, label: str) -> Decrypter:
        """The key with this label as a Decrypter. Raises KeyNotFound, KeyUnusable."""
        key = await self._load(label)
        if not key.key_type.startswith("rsa-"):
            raise KeyUnusable(f'the key "{label}" is of type {key.key_type} and does not decrypt')
        return key

    async def delete(self, label: str) -> None:
        """Remove the file of a key, if there is one. Raises OSError when it cannot be removed."""
        path = self._path(label)
        self._keys.pop(label, None)
        await asyncio.to_thread(_remove, path)

    async def tls_key_pem(self, label: str) -> bytes:
        """The private key as PKCS#8 PEM in the clear: the TLS library takes keys no other way.

        Never for a CA key. Raises KeyNotFound, KeyUnusable.
        """
        return (await self._load(label)).private_pem()

    def labels(self) -> tuple[str, ...]:
        """The labels of all keys in the directory, sorted."""
        if not self._directory.is_dir():
            return ()
        return tuple(sorted(path.stem for path in self._directory.glob("*.pem") if _LABEL.fullmatch(path.stem)))

    async def _load(self, label: str) -> SoftwareKey:
        key = self._keys.get(label)
        if key is None:
            key = await asyncio.to_thread(self._read, self._path(label))
            # Another task may have been faster; everybody gets the same object.
            key = self._keys.setdefault(label, key)
        return key

    def _path(self, label: str) -> Path:
        if not _LABEL.fullmatch(label):
            raise ValueError(f'"{label}" is not a key label: lower-case letters, digits, "." "_" "-", 100 at most')
        return self._directory / f"{label}.pem"

    def _create(self, path: Path, key_type: str) -> SoftwareKey:
        if path.exists():
            raise KeyExists(f"{path} exists")
        private_key = GENERATED[key_type]()
        pem = private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(self._passphrase),
        )
        _write_new(path, pem)
        return SoftwareKey(private_key, self._bench)

    def _read(self, path: Path) -> SoftwareKey:
        try:
            pem = path.read_bytes()
        except FileNotFoundError as exc:
            raise KeyNotFound(f"there is no key file {path}") from exc
        try:
            private_key: Any = serialization.load_pem_private_key(pem, self._passphrase)
            return SoftwareKey(private_key, self._bench)
        except (ValueError, TypeError, UnsupportedAlgorithm) as exc:
            # TypeError is what the library says of a file that is not encrypted at all: refused as well.
            raise KeyUnusable(f"the key file {path} cannot be opened: wrong master key, or damaged") from exc


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that is either complete under its name or not there, and never replaces another one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}-{os.urandom(4).hex()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            # link() and not rename(): it fails when another process has made a key of this label meanwhile.
            os.link(draft, path)
        except FileExistsError as exc:
            raise KeyExists(f"{path} exists") from exc
        _sync_directory(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
