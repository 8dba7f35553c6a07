"""Mounts that one program sees and nobody else, for clients that insist on files of the system."""

from __future__ import annotations

import functools
import shutil
import subprocess

import pytest


@functools.cache
def _words() -> tuple[str, ...] | None:
    """The words before a command that may mount for itself; root in name only, where that is possible."""
    for words in (("unshare", "--map-root-user", "--mount"), ("unshare", "--mount")):
        if shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            return words
    return None


def with_mounts(why: str, *mounts: str) -> tuple[str, ...]:
    """The words before a command that runs with these mounts; skips where this user may not mount."""
    words = _words()
    if words is None:
        pytest.skip(f"{why}, and this user may not mount anything for it (unshare --map-root-user --mount)")
    return (*words, "sh", "-c", " && ".join((*(f"mount {one}" for one in mounts), 'exec "$0" "$@"')))
