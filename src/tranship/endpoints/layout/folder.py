"""A layout's directory itself: opened without following links, locked by its writers, and what its two small files say."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from tranship import files
from tranship.endpoints.files import read_small
from tranship.errors import InvalidArgument, NotFound, printable
from tranship.formats import layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tranship.model.descriptor import Descriptor, Root

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_SCRATCH = ".tranship-"  # begins the names of writers' scratch folders, which their writers hold locked


def directory(path: str) -> AbstractContextManager[int]:
    """Open the directory; NotFound, or InvalidArgument for anything else of that name."""
    try:
        return _closing(os.open(path, _DIRECTORY_FLAGS))
    except FileNotFoundError:
        raise NotFound(f"there is no directory {printable(path)}") from None
    except NotADirectoryError:
        raise InvalidArgument(f"{printable(path)} is no directory, so it is no OCI layout") from None


def made(name: str, parent: int, mode: int = 0o777) -> AbstractContextManager[int]:
    """Open a directory of the layout, made where it is missing; InvalidArgument for a link, which may lead anywhere."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
    try:
        return _closing(os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent))
    except OSError as error:
        raise InvalidArgument(f"{name} is no directory of its own: {os.strerror(error.errno or 0)}") from None


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def scratch(folder: int) -> Iterator[int]:
    """A new folder for one writer, locked by it, and removed in the end; those of writers that have died go too."""
    import shutil  # which costs a start-up that only reads too much

    name = _SCRATCH + os.urandom(6).hex()
    with contextlib.ExitStack() as opened:
        with locked(folder):
            for other in os.listdir(folder):
                if other.startswith(_SCRATCH):
                    with contextlib.suppress(OSError, InvalidArgument), made(other, folder) as fd:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        shutil.rmtree(other, dir_fd=folder)
            fd = opened.enter_context(made(name, folder, 0o700))
            opened.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=folder)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd


@contextlib.contextmanager
def locked(folder: int) -> Iterator[None]:
    """Keep other writers out; the lock is on the directory itself and dies with the process."""
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def present_index(folder: int) -> bytes | None:
    """The bytes of index.json; None where there is none yet. InvalidArgument where there is something else."""
    if exists(layout.INDEX, folder):
        return read_index(folder)
    if exists(layout.MARKER, folder):  # a writer has died between the two
        _read_marker(folder)
    return None


def roots_of(index: bytes | None) -> Sequence[Root]:
    """The images of an index; none where there is none yet."""
    return layout.parse_index(index) if index is not None else ()


def read_index(folder: int) -> bytes:
    """The bytes of index.json; InvalidArgument when this is no layout."""
    try:
        _read_marker(folder)
        return read_small(files.open_regular(layout.INDEX, dir_fd=folder), layout.MAX_INDEX, layout.INDEX)
    except NotFound as error:
        begun = exists(layout.MARKER, folder)
        hint = "a transfer into it has not come to its end: run it again, what has arrived is kept" if begun else None
        raise InvalidArgument(f"it is no OCI layout: {error.message}", hint=hint) from None


def _read_marker(folder: int) -> None:
    fd = files.open_regular(layout.MARKER, dir_fd=folder)
    layout.check_marker(read_small(fd, layout.MAX_MARKER, layout.MARKER))


def exists(name: str, folder: int) -> bool:
    """Is there anything of that name?"""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def look(folder: int, descriptor: Descriptor) -> os.stat_result | None:
    """What there is under a blob's name; None for nothing."""
    try:
        return os.stat(layout.blob_path(descriptor.digest), dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
