"""The command line's side of the admin socket (gateway/admin.py has the server's and the form of messages).

Nothing is imported here that a short command does not need: no event loop, no log, no codec but the standard
library's, so that `certgate cert show` answers in a moment.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any


class AdminRefused(Exception):
    """The server answered with an error; `kind` is a problem's kind or "unknown-command" and the like."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail


class NotRunning(Exception):
    """No server listens at this state's admin socket."""


def socket_path(state: Path) -> Path:
    """Where the admin socket of a state folder is."""
    return state / "run" / "admin.sock"


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """The path, or another name of it that fits into a socket address (108 bytes, unix(7))."""
    if len(os.fsencode(path)) < 100:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def call_sync(
    path: Path,
    command: str,
    arguments: Mapping[str, object] | None = None,
    on_progress: Callable[[Any], None] | None = None,
) -> Any:
    """Run one command of the server at this socket and return its result; waits for as long as it takes.

    Raises NotRunning when nobody listens, AdminRefused when the server says no, Unavailable when it goes away
    before it has answered, PermissionError when the socket is somebody else's.
    """
    from policy.problems import Unavailable

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            with short_path(path) as short:
                sock.connect(short)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NotRunning(f"no server is running (nothing listens at {path})") from exc
        request = {"command": command, "arguments": dict(arguments or {})}
        try:
            with contextlib.suppress(ConnectionError):  # who is refused is told so before he has spoken
                sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as answers:
                for line in answers:
                    if not line.endswith(b"\n"):
                        break  # the server died in the middle of its answer
                    message = json.loads(line)
                    if "progress" in message:
                        if on_progress is not None:
                            on_progress(message["progress"])
                    elif "error" in message:
                        raise AdminRefused(message["error"]["kind"], message["error"]["detail"])
                    else:
                        return message["result"]
        except ConnectionError as exc:
            raise Unavailable("the server went away before it had answered") from exc
    raise Unavailable("the server went away before it had answered")
