"""What a service manager is told, and what it hands over (systemd: sd_notify(3), sd_listen_fds(3)). No library is needed."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, PermissionDenied, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = 3  # the first descriptor that is handed over (SD_LISTEN_FDS_START)


def notify(state: str, environ: Mapping[str, str]) -> bool:
    """Tell the manager that waits at `NOTIFY_SOCKET`, as `READY=1`; False when there is none, or it does not listen."""
    where = environ.get("NOTIFY_SOCKET")
    if not where:
        return False
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
        wire.sendto(state.encode(), "\0" + where[1:] if where.startswith("@") else where)
        return True
    return False


def inherited(environ: Mapping[str, str]) -> socket.socket | None:
    """The listening socket that was handed over to this process; None when there is none.

    InvalidArgument for several, or for one that is no listening unix socket; PermissionDenied for one that opens for everybody.
    """
    if environ.get("LISTEN_PID") != str(os.getpid()) or not environ.get("LISTEN_FDS"):
        return None
    if environ["LISTEN_FDS"] != "1":
        raise InvalidArgument(f"one socket is served, and LISTEN_FDS hands over {environ['LISTEN_FDS']}")
    os.set_inheritable(FIRST, False)  # its only argument
    found = socket.socket(fileno=FIRST)
    if found.family != socket.AF_UNIX or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise InvalidArgument("the socket that was handed over is no listening unix socket")
    path = found.getsockname()
    if isinstance(path, bytes) or not path:
        raise InvalidArgument("the socket that was handed over has no path: everybody may connect to it")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise InvalidArgument(
            f"the socket that was handed over is gone from {printable(path)}: {error.strerror}"
        ) from None
    if mode & stat.S_IWOTH:
        raise PermissionDenied(f"everybody may connect to {printable(path)}", hint="SocketMode=0600 in its unit")
    return found
