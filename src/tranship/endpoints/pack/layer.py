"""A layer on its way into a file: hashed as it is and as it gets compressed, on all cores, in flat memory.

The stream is cut into parts of PART bytes. Each is compressed by itself into a gzip member or zstd frame, and their
concatenation is a valid stream (RFC 1952, 2.2; RFC 8878, 3.1), which every engine reads: estargz layers are made so. The
cuts depend on the content alone, so the number of threads does not show in the digest.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from tranship import files, pump
from tranship.errors import InvalidArgument
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

Compression = Literal["gzip", "zstd", "none"]

PART = 2 << 20  # bytes; starting anew costs under 1 % of the compression from 1 MiB on
MAX_WORKERS = 8  # hashing, which is not divided, is as fast as eight
_LEVELS = {"gzip": range(1, 10), "zstd": range(1, 23), "none": range(0)}
_MEDIA_TYPES = {
    "gzip": mediatypes.OCI_LAYER_GZIP,
    "zstd": mediatypes.OCI_LAYER_ZSTD,
    "none": mediatypes.OCI_LAYER,
}


class LayerFile:
    """Takes the tar of a layer in `write`, and knows both digests after `finish`. The context ends its threads."""

    def __init__(self, fd: int, path: str, compression: Compression, level: int | None) -> None:
        self._fd = fd
        self._path = path
        self._compression = compression
        self._encode = encoder(compression, level)
        self._pool = None if compression == "none" else ThreadPoolExecutor(_workers(), "tranship-pack")
        self._ahead: deque[Future[bytes]] = deque()
        self._part = memoryview(bytearray(PART))
        self._filled = 0
        self._plain = hashlib.sha256()
        self._packed = hashlib.sha256() if self._pool else self._plain
        self._size = 0  # bytes in the file

    def __enter__(self) -> LayerFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def write(self, chunk: bytes | memoryview) -> None:
        """Take all of the chunk, which may be used again at once."""
        view = memoryview(chunk)
        while view:
            count = min(len(view), PART - self._filled)
            self._part[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == PART:
                self._end_part()

    def finish(self) -> tuple[Digest, Descriptor]:
        """Bring everything into the file; return the diff_id and what the layer is."""
        if self._filled or not self._size:
            self._end_part()
        while self._ahead:
            self._keep(self._ahead.popleft().result())
        return Digest.from_hash("sha256", self._plain), Descriptor(
            media_type=_MEDIA_TYPES[self._compression],
            digest=Digest.from_hash("sha256", self._packed),
            size=self._size,
        )

    def _end_part(self) -> None:
        part = self._part[: self._filled]
        self._plain.update(part)
        if self._pool is None:
            self._put(part)
        else:
            self._ahead.append(self._pool.submit(self._encode, bytes(part)))
            while self._ahead and (self._ahead[0].done() or len(self._ahead) > _workers() + 1):
                self._keep(self._ahead.popleft().result())
        self._filled = 0

    def _keep(self, packed: bytes) -> None:
        self._packed.update(packed)
        self._put(memoryview(packed))

    def _put(self, chunk: memoryview) -> None:
        with files.no_space_as_error(self._path):
            pump.write_all(self._fd, chunk)
        self._size += len(chunk)


def encoder(compression: Compression, level: int | None) -> Callable[[bytes], bytes]:
    """The function that compresses one part; InvalidArgument for a level that is none.

    level  gzip 1-9, zlib's; zstd 1-22; None: isal's fastest that is worth it, and zstd's 3
    """
    if compression not in _LEVELS:
        raise InvalidArgument(f"a layer's compression is gzip, zstd or none, found {compression!r}")
    levels = _LEVELS[compression]
    if level is not None and level not in levels:
        raise InvalidArgument(
            f"{compression} has levels {levels[0]} to {levels[-1]}, found {level}"
            if levels
            else "a layer that is not compressed has no level"
        )
    if compression == "zstd":
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        return lambda part: zstd.compress(part, level=3 if level is None else level)
    if compression == "none":
        return bytes
    if level is not None:
        return lambda part: zlib.compress(part, level, wbits=31)
    from isal import isal_zlib

    # as fast as level 1, and 2 % smaller
    return lambda part: bytes(isal_zlib.compress(part, 2, wbits=31))


def _workers() -> int:
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(count or 1, MAX_WORKERS)
