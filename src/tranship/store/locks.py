"""Locks between processes: `flock` on files, which end with the process that holds them, whatever ended it.

POSIX record locks are not used: closing any descriptor of the file in the process would drop them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def try_lock(fd: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting; False when another open file of it is locked, by this process or another."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_locked(path: str) -> bool:
    """Does some open file hold an exclusive lock on `path`? An absent file is not locked."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


def open_locked(path: str) -> int | None:
    """Open or create a file and lock it; its descriptor, or None when another holds it.

    The file may be renamed or removed by its holder. So the lock counts only while the path still leads to the file that
    was locked, which is checked after locking.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not try_lock(fd):
            os.close(fd)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return fd
        os.close(fd)


@contextlib.contextmanager
def waiting(path: str) -> Iterator[None]:
    """Hold an exclusive lock on a file that is never removed, waiting for it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
