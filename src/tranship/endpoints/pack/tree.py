"""Walking a directory so that nothing in it can lead the walk astray.

Every step is relative to an open directory and follows no link. What is found is told as it is; the order is that of the
names' bytes, a directory before what is in it, so that the same tree is walked alike on every machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING

from tranship import files
from tranship.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, TranshipError, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

MAX_DEPTH = 500  # directories within directories; each is held open on the way down
_FOLDER = os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
CAPABILITY = "security.capability"  # the one extended attribute that is content and not this machine's own affair


@dataclass(frozen=True, slots=True)
class Node:
    """Something in the tree. `folder` is open until the walk goes on, and `name` is relative to it."""

    path: bytes  # below the top
    name: bytes
    folder: int
    status: os.stat_result

    def __str__(self) -> str:
        return shown(self.path)

    def target(self) -> bytes:
        """The target of a symbolic link."""
        with _speaking_of(self.path):
            return os.readlink(self.name, dir_fd=self.folder)

    def open(self) -> int:
        """Open a regular file for reading. FailedPrecondition when another one stands there by now."""
        with _speaking_of(self.path):
            fd = files.open_regular(os.fsdecode(self.name), dir_fd=self.folder)
        if not self.is_unchanged(fd):
            os.close(fd)
            raise changed(self)
        return fd

    def is_unchanged(self, fd: int) -> bool:
        """Is the open file still what the walk saw?"""
        now = os.fstat(fd)
        return all(
            getattr(now, field) == getattr(self.status, field)
            for field in ("st_dev", "st_ino", "st_size", "st_mtime_ns")
        )


def walk(top: int, excluded: Callable[[bytes], bool]) -> Generator[Node]:
    """Yield everything below the open directory `top`, but for what is excluded and what is below that."""
    stack = [(b"", os.dup(top), iter(_names(top)))]
    try:
        while stack:
            path, folder, names = stack[-1]
            name = next(names, None)
            if name is None:
                os.close(stack.pop()[1])
                continue
            below = path + b"/" + name if path else name
            if excluded(below):
                continue
            with _speaking_of(below):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            yield Node(below, name, folder, status)
            if stat.S_ISDIR(status.st_mode):
                if len(stack) >= MAX_DEPTH:
                    raise InvalidArgument(f"{shown(below)} lies more than {MAX_DEPTH} directories deep")
                with _speaking_of(below):
                    fd = os.open(name, _FOLDER, dir_fd=folder)
                    stack.append((below, fd, iter(_names(fd))))
    finally:
        for _, fd, _ in stack:
            os.close(fd)


def excluder(patterns: Sequence[str]) -> Callable[[bytes], bool]:
    """Say of a path whether a pattern excludes it.

    `*.pyc` and `.git` are held against the last name of a path, `docs/*.md` and `/build`, which have a slash, against all of
    it from the top. `*`, `?` and `[…]` as in the shell, but that `*` passes over slashes too.
    """
    names = [translate(p.rstrip("/")) for p in patterns if "/" not in p.rstrip("/")]
    paths = [translate(p.strip("/")) for p in patterns if "/" in p.rstrip("/")]
    by_name, by_path = (re.compile("|".join(some)).match if some else None for some in (names, paths))

    def is_excluded(path: bytes) -> bool:
        text = path.decode("utf-8", "surrogateescape")
        return bool((by_name and by_name(text.rpartition("/")[2])) or (by_path and by_path(text)))

    return is_excluded


def capability(path: int | str) -> dict[bytes, bytes]:
    """The file capabilities of an open file, as extended attributes; none where there are none or none can be."""
    if not hasattr(os, "getxattr"):
        return {}
    try:
        return {CAPABILITY.encode(): os.getxattr(path, CAPABILITY)}
    except OSError:
        return {}


def changed(node: Node) -> FailedPrecondition:
    """The error for a file that another process writes to meanwhile."""
    return FailedPrecondition(
        f"{node} changed while it was read (it had {node.status.st_size} bytes)",
        hint="pack when nobody writes there, or leave it out with --exclude",
        side="source",
    )


def shown(path: bytes) -> str:
    """A path for people."""
    return printable(path.decode("utf-8", "backslashreplace"))


def _names(folder: int) -> list[bytes]:
    return sorted(map(os.fsencode, os.listdir(folder)))


@contextlib.contextmanager
def _speaking_of(path: bytes) -> Iterator[None]:
    """Let errors name the path from the top, not the last step alone."""
    try:
        yield
    except PermissionError as error:
        raise PermissionDenied(
            f"{shown(path)} cannot be read: {error.strerror}", hint="leave it out with --exclude", side="source"
        ) from None
    except (FileNotFoundError, NotADirectoryError, NotFound, InvalidArgument):
        raise FailedPrecondition(f"{shown(path)} was replaced while the tree was read", side="source") from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMFILE):
            why = "it became a link" if error.errno == errno.ELOOP else "too many directories are open"
            raise FailedPrecondition(f"{shown(path)} cannot be read: {why}", side="source") from None
        raise TranshipError(f"{shown(path)} cannot be read: {error.strerror}", side="source") from error
