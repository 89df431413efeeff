"""The daemon's socket: where it may lie, whom it lets in, and when an old one may be taken away.

A pathname in a folder that others cannot write into; the socket itself opens for its owner alone. One daemon at a time has an
address, by a lock beside it that ends with the process. A socket file that is left over is removed only under that lock, and
only when nobody answers on it (containerd's abstract sockets, CVE-2020-15257, are what this is careful about).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from typing import TYPE_CHECKING, Self

from tranship.errors import FailedPrecondition, InvalidArgument, PermissionDenied, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PATH = 107  # bytes; sun_path, less its final zero (macOS: 103)


class Address:
    """A socket's path that this process may bind, until `release`; a context manager."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Take the address, or raise FailedPrecondition, PermissionDenied or InvalidArgument that says why not."""
        self.path = _checked(os.fspath(path))
        _make_folder(os.path.dirname(self.path))
        self._lock_fd = _lock(self.path)
        self._made: tuple[int, int] | None = None
        try:
            _remove_stale(self.path)
        except BaseException:
            os.close(self._lock_fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    @contextlib.contextmanager
    def binding(self) -> Iterator[str]:
        """Whoever binds the path within the block makes a socket of mode 0600. The umask is the whole process's: bind early."""
        before = os.umask(0o177)
        try:
            yield self.path
        finally:
            os.umask(before)
        found = os.stat(self.path)
        self._made = (found.st_dev, found.st_ino)
        if stat.S_IMODE(found.st_mode) != 0o600:  # a system whose sockets heed no umask
            os.chmod(self.path, 0o600)

    def release(self) -> None:
        """Remove our socket, and let another daemon have the address."""
        with contextlib.suppress(FileNotFoundError):
            found = os.lstat(self.path)
            if self._made == (found.st_dev, found.st_ino):
                os.unlink(self.path)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)  # the file stays: unlinking a locked file is the classic race
            self._lock_fd = -1


def _checked(path: str) -> str:
    path = path.removeprefix("unix://")
    if not path or "\0" in path or path.startswith(("@", "unix-abstract:")):
        raise InvalidArgument(f"the address must be the path of a socket, found {printable(repr(path))}")
    path = os.path.abspath(path)
    if len(os.fsencode(path)) > MAX_PATH:
        raise InvalidArgument(
            f"a socket's path may have {MAX_PATH} bytes, {printable(path)} has {len(os.fsencode(path))}"
        )
    return path


def _make_folder(folder: str) -> None:
    if not os.path.isdir(parent := os.path.dirname(folder)):
        _make_folder(parent)  # os.makedirs would leave those to the umask
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder, mode=0o700)
    folder = os.path.realpath(folder)
    found = os.stat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise InvalidArgument(f"{printable(folder)} is not a folder")
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionDenied(
            f"the socket's folder {printable(folder)} belongs to user {found.st_uid} and has mode"
            f" {stat.S_IMODE(found.st_mode):04o}: others could replace the socket in it",
            hint="choose a folder that belongs to you and that only you can write into",
        )
    while (above := os.path.dirname(folder)) != folder:
        folder = above
        found = os.stat(folder)
        if found.st_mode & (stat.S_IWOTH | stat.S_ISVTX) == stat.S_IWOTH:
            raise PermissionDenied(
                f"everybody may write into {printable(folder)}, and could replace the socket's folder",
                hint="choose a folder below one that only its owner can write into, or that is sticky, as /tmp is",
            )


def _lock(path: str) -> int:
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip()
        os.close(fd)
        if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise FailedPrecondition(
            f"another daemon{f', process {printable(holder)},' if holder else ''} serves at {printable(path)}",
            hint="stop it, or choose another --address",
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"%d\n" % os.getpid(), 0)
    return fd


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailedPrecondition(f"{printable(path)} exists and is not a socket", hint="choose another --address")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except OSError as error:
            raise FailedPrecondition(f"cannot tell whether anybody listens at {printable(path)}: {error}") from None
    raise FailedPrecondition(f"another program listens at {printable(path)}", hint="choose another --address")
