"""The file of the master key: whole or not there, private, and never replaced."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from gateway.masterkey import StateMissing, master_key
from policy.sealing import MASTER_KEY_BYTES


def test_key_is_made_once(tmp_path: Path) -> None:
    """For its owner only, with nothing left beside it; later the same."""
    path = tmp_path / "state" / "master.key"
    made = master_key(path, create=True)
    assert len(made) == MASTER_KEY_BYTES
    assert master_key(path) == master_key(path, create=True) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_empty_file_is_no_key(tmp_path: Path) -> None:
    """What an interrupted copy leaves: told as missing, and made anew only where one may be made."""
    path = tmp_path / "master.key"
    path.touch(0o600)
    with pytest.raises(StateMissing, match="quickstart"):
        master_key(path)
    assert len(master_key(path, create=True)) == MASTER_KEY_BYTES
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_making_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as full:
        full.setattr("os.fsync", broken)
        with pytest.raises(OSError, match="space"):
            master_key(tmp_path / "master.key", create=True)
    assert list(tmp_path.iterdir()) == []


def test_key_of_another_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that set up one state at the same moment have one key."""
    path = tmp_path / "master.key"

    def slow(source: Path, target: Path) -> None:
        target.write_bytes(b"k" * MASTER_KEY_BYTES)
        target.chmod(0o600)
        raise FileExistsError(target)

    monkeypatch.setattr("os.link", slow)
    assert master_key(path, create=True) == b"k" * MASTER_KEY_BYTES


def test_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    master_key(path, create=True)
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="chmod"):
        master_key(path)
