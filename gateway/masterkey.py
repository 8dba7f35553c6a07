"""The file of the master key, from which every other key of the installation is derived."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from policy.sealing import MASTER_KEY_BYTES


class StateMissing(Exception):
    """The state folder has not been set up."""


def master_key(path: Path, *, create: bool = False) -> bytes:
    """The master key of this file; made when asked to and missing. Raises StateMissing, PermissionError."""
    # An empty file is what an interrupted copy leaves: nothing was ever sealed with it.
    if not path.exists() or path.stat().st_size == 0:
        if not create:
            raise StateMissing(f"there is no master key at {path}: run certgate quickstart, or restore the file")
        _make(path)
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} can be read by others: chmod 600 it")
    return path.read_bytes()


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; one that is there by now is kept."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(MASTER_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            draft.replace(path)  # the empty file
        else:
            # link() and not rename(): another process may have made the key meanwhile, and that one counts.
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
