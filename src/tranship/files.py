"""Careful file operations: what is written appears whole under its name or not at all, and stays.

Linux first, with a fallback where another system lacks the call (cloning by FICLONERANGE, preallocation, early write-back), and
with the call that it needs instead (F_FULLFSYNC).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from typing import TYPE_CHECKING, Literal

from tranship.errors import AlreadyExists, InvalidArgument, NoSpace, NotFound, printable
from tranship.failpoints import hit

if TYPE_CHECKING:
    from collections.abc import Iterator

Durability = Literal["full", "process"]  # full: survives a power cut on return; process: survives kill -9

_FICLONERANGE = 0x4020940D  # linux/fs.h
_NOT_CLONABLE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.ETXTBSY}
_NOT_LINKABLE = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}
_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK


def open_regular(path: str, *, dir_fd: int | None = None, follow: bool = False) -> int:
    """Open a regular file for reading and return its descriptor; links, FIFOs and devices are refused.

    O_NONBLOCK keeps a FIFO from hanging the call, and has no effect on regular files.
    """
    flags = _READ_FLAGS & ~getattr(os, "O_NOFOLLOW", 0) if follow else _READ_FLAGS
    try:
        fd = os.open(path, flags, dir_fd=dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"no such file: {printable(path)}") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise InvalidArgument(f"{printable(path)} is not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidArgument(f"{printable(path)} is not a regular file")
    return fd


def sync(fd: int) -> None:
    """Bring a file's bytes, or a directory's names, to the disk: they survive a power cut when this returns."""
    import fcntl

    command = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync(2) leaves them in the drive's cache
    if command is not None:
        with contextlib.suppress(OSError):  # some file systems have only the other
            fcntl.fcntl(fd, command)
            return
    os.fsync(fd)


def fsync_directory(path: str, *, dir_fd: int | None = None) -> None:
    """Make the names in a directory durable: a rename is not, before this."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0), dir_fd=dir_fd)
    try:
        sync(fd)
    finally:
        os.close(fd)


def make_directory(path: str, *, durability: Durability = "full") -> None:
    """Make a directory and those above it, where they are missing; FileExistsError when there is something else."""
    from pathlib import Path  # needed here alone, and by no command that only looks

    above = Path(path)
    missing = [folder for folder in (above, *above.parents) if not os.path.exists(folder)]
    os.makedirs(path, exist_ok=True)
    for folder in missing if durability == "full" else ():
        fsync_directory(str(folder.parent))


@contextlib.contextmanager
def replacing(
    path: str,
    *,
    durability: Durability = "full",
    mode: int = 0o666,
    dir_fd: int | None = None,
    clobber: bool = True,
) -> Iterator[int]:
    """Give the descriptor of a new file that takes `path`'s place when the block ends well, and vanishes when it does not.

    The new file stands beside the old one under a hidden name until then, locked by its writer: what writers have left that
    were killed is removed by the next one. An existing file's permissions are kept. With `dir_fd`, `path` is a bare name in
    that directory, wherever somebody may move it meanwhile. Without `clobber` what is at `path` by then stays: AlreadyExists.
    """
    folder, name = os.path.split(path)
    prefix = f".{os.fsdecode(os.fsencode(name)[:200])}."  # 255 bytes is what a name may have
    try:
        _remove_abandoned(folder, prefix, dir_fd)
        fd, temporary = _open_locked(folder, prefix, mode, dir_fd)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"there is no directory {printable(folder)}") from None
    try:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(fd, stat.S_IMODE(os.stat(path, dir_fd=dir_fd).st_mode))
            yield fd
            hit("file.written")
            if durability == "full":
                sync(fd)
            hit("file.synced")
            if clobber or not _link(temporary, path, dir_fd):
                os.replace(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        finally:
            os.close(fd)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=dir_fd)
        raise
    hit("file.renamed")
    if durability == "full":
        fsync_directory(folder or ".", dir_fd=dir_fd)


def exists_already(path: str) -> AlreadyExists:
    """The error of what must not be replaced."""
    return AlreadyExists(f"{printable(path)} exists already")


def _link(temporary: str, path: str, dir_fd: int | None) -> bool:
    """Move a file to where nothing is, in one step; AlreadyExists. False where there are no links: then after a look."""
    try:
        os.link(temporary, path, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except FileExistsError:
        raise exists_already(path) from None
    except OSError as error:
        if error.errno not in _NOT_LINKABLE:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
            raise exists_already(path) from None
        return False
    os.unlink(temporary, dir_fd=dir_fd)
    return True


def _open_locked(folder: str, prefix: str, mode: int, dir_fd: int | None) -> tuple[int, str]:
    """A new file whose name begins with `prefix`, and that name."""
    import fcntl

    while True:
        path = os.path.join(folder, f"{prefix}{os.urandom(6).hex()}.part")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=dir_fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                return fd, path  # this file system has no locks, so nobody takes a file for abandoned
        else:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), os.stat(path, dir_fd=dir_fd)):
                    return fd, path
        os.close(fd)  # another writer took it for abandoned in the moment before it was locked


def _remove_abandoned(folder: str, prefix: str, dir_fd: int | None) -> None:
    import fcntl

    try:
        names = os.listdir(dir_fd if dir_fd is not None else folder or ".")
    except PermissionError:  # a folder may let us write and not look
        return
    for name in names:
        if name.startswith(prefix) and len(name) == len(prefix) + len("0123456789ab.part") and name.endswith(".part"):
            with contextlib.suppress(OSError, InvalidArgument, NotFound):
                path = os.path.join(folder, name)
                fd = open_regular(path, dir_fd=dir_fd)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(path, dir_fd=dir_fd)
                finally:
                    os.close(fd)


def write_file(
    path: str, data: bytes, *, durability: Durability = "full", mode: int = 0o666, dir_fd: int | None = None
) -> None:
    """Replace `path` by these bytes, atomically; see `replacing`."""
    with replacing(path, durability=durability, mode=mode, dir_fd=dir_fd) as fd:
        _write_all(fd, data)


def write_output(path: str, data: bytes) -> None:
    """Write what a user asked for to a file that he names: replaced by `write_file`, or written as it is if it `is_special`."""
    if not is_special(path):
        write_file(path, data)
        return
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)  # behind what a log at /dev/stderr holds
    try:
        _write_all(fd, data)
    finally:
        os.close(fd)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def is_special(path: str) -> bool:
    """Is it to be written as it is, forwards: a device, a FIFO, a socket, or a name of an open file (/dev/stdout)?

    Nothing may take the place of such a name, although what /dev/stdout leads to may be a regular file.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return True
    where = os.path.realpath(os.path.dirname(path))
    return os.path.islink(path) and (where == "/dev" or where.startswith("/proc/"))


def preallocate(fd: int, size: int, at: int = 0) -> None:
    """Reserve `size` bytes of a file from `at` on: a full disk is found now, and writing is cheaper. NoSpace if there are not.

    Only a hint where the system cannot (tmpfs of some kernels, macOS, network file systems).
    """
    if size <= 0 or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(fd, at, size)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"no space for {size} bytes: {os.strerror(error.errno)}", needed=size) from None
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.ENODEV, errno.EFBIG):
            raise


def clone_range(source: int, offset: int, count: int, destination: int, at: int) -> bool:
    """Share `count` bytes' blocks between two files of one file system (XFS, btrfs); False where that cannot be.

    Both offsets, and `count` unless the range ends the source, must be multiples of the file system's block (4096 nearly
    everywhere); the kernel answers EINVAL otherwise, which is False here.
    """
    if not sys.platform.startswith("linux") or count <= 0:
        return False
    import fcntl
    import struct

    try:
        fcntl.ioctl(destination, _FICLONERANGE, struct.pack("=qQQQ", source, offset, count, at))
    except OSError as error:
        if error.errno in _NOT_CLONABLE:
            return False
        raise
    return True


def free_bytes(path: str) -> int:
    """Bytes that an ordinary user may still write on the file system of `path`."""
    usage = os.statvfs(path)
    return usage.f_bavail * usage.f_frsize


@contextlib.contextmanager
def no_space_as_error(path: str) -> Iterator[None]:
    """Turn ENOSPC, EDQUOT and EFBIG within the block into NoSpace that names `path` and what is free."""
    try:
        yield
    except NoSpace as error:  # as `preallocate` found it, which knows no name
        error.path = error.path or path
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        free = None
        with contextlib.suppress(OSError):
            free = free_bytes(path if os.path.isdir(path) else os.path.dirname(path) or ".")
        raise NoSpace(
            f"{printable(path)}: {os.strerror(error.errno).lower()} ({free if free is not None else '?'} bytes free)",
            path=path,
            free=free,
        ) from error
