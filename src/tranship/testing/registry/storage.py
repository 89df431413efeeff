"""Where the registry keeps bytes: in memory, or as files of a folder.

    part = storage.begin()      part.write(chunk) …      part.commit(digest)   or   part.abort()

Nothing is durable here; a folder serves big blobs, and looking at them.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from tranship.pump import write_all
from tranship.testing.registry.messages import Body

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tranship.model.digest import Digest

CHUNK = 1 << 20  # bytes handed to a socket at once


class Part(Protocol):
    """Bytes that have no name yet."""

    @property
    def size(self) -> int:
        """Bytes so far."""
        ...

    def write(self, chunk: memoryview) -> None:
        """Append; the chunk is copied."""
        ...

    def chunks(self) -> Iterator[memoryview]:
        """What was written so far."""
        ...

    def commit(self, digest: Digest) -> None:
        """Keep the bytes under their digest; the part is used up."""
        ...

    def abort(self) -> None:
        """Throw the bytes away."""
        ...


class Storage(Protocol):
    """Bytes by digest."""

    def begin(self) -> Part:
        """A new, empty part."""
        ...

    def size(self, digest: Digest) -> int | None:
        """Bytes of that content; None: it is not here."""
        ...

    def body(self, digest: Digest, start: int = 0, count: int | None = None) -> Body:
        """A range of the content, as the body of a response. KeyError when it is not here."""
        ...

    def remove(self, digest: Digest) -> None:
        """Forget the content, if it is here."""
        ...


class MemoryStorage:
    """Everything in memory."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, memoryview] = {}

    def begin(self) -> Part:
        return _MemoryPart(self._blobs)

    def size(self, digest: Digest) -> int | None:
        view = self._blobs.get(digest)
        return None if view is None else len(view)

    def body(self, digest: Digest, start: int = 0, count: int | None = None) -> Body:
        view = self._blobs[digest]
        stop = len(view) if count is None else start + count
        return Body(stop - start, lambda: (view[at : min(at + CHUNK, stop)] for at in range(start, stop, CHUNK)))

    def remove(self, digest: Digest) -> None:
        self._blobs.pop(digest, None)


class _MemoryPart:
    def __init__(self, blobs: dict[Digest, memoryview]) -> None:
        self._blobs = blobs
        self._data = bytearray()

    @property
    def size(self) -> int:
        return len(self._data)

    def write(self, chunk: memoryview) -> None:
        self._data += chunk

    def chunks(self) -> Iterator[memoryview]:
        yield memoryview(bytes(self._data))

    def commit(self, digest: Digest) -> None:
        self._blobs.setdefault(digest, memoryview(self._data).toreadonly())

    def abort(self) -> None:
        self._data = bytearray()


class FolderStorage:
    """Files named `blobs/ALGORITHM/HEX` below a folder, as in an OCI layout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "uploads").mkdir(parents=True, exist_ok=True)

    def begin(self) -> Part:
        return _FilePart(self, self._folder / "uploads" / secrets.token_hex(16))

    def size(self, digest: Digest) -> int | None:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def body(self, digest: Digest, start: int = 0, count: int | None = None) -> Body:
        path, size = self.path(digest), self.size(digest)
        if size is None:
            raise KeyError(digest)
        stop = size if count is None else start + count
        return Body(stop - start, lambda: _read(path, start, stop), (str(path), start))

    def remove(self, digest: Digest) -> None:
        self.path(digest).unlink(missing_ok=True)

    def path(self, digest: Digest) -> Path:
        """The file of that content."""
        return self._folder / "blobs" / digest.algorithm / digest.hex


class _FilePart:
    def __init__(self, storage: FolderStorage, path: Path) -> None:
        self._storage = storage
        self._path = path
        self.size = 0
        path.touch()

    def write(self, chunk: memoryview) -> None:
        with open(self._path, "ab", buffering=0) as file:  # opened each time: an abandoned upload holds no descriptor
            write_all(file.fileno(), chunk)
        self.size += len(chunk)

    def chunks(self) -> Iterator[memoryview]:
        return _read(self._path, 0, self.size)

    def commit(self, digest: Digest) -> None:
        target = self._storage.path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path, target)

    def abort(self) -> None:
        with suppress(FileNotFoundError):
            self._path.unlink()


def _read(path: Path, start: int, stop: int) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK))
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while start < stop:
            got = file.readinto(buffer[: min(CHUNK, stop - start)])
            if not got:
                return
            yield buffer[:got]
            start += got
