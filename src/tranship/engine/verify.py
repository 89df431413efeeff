"""A blob whose reader cannot be drained of wrong bytes.

The reader hashes what passes, and raises *instead of* handing over the last chunk: a destination that reads exactly `size`
bytes never asks once more, so an error at the end of file would not be heard.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship.errors import DataLoss, DigestMismatch, Truncated
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.engine.protocols import Blob
    from tranship.engine.run import Meter
    from tranship.model.descriptor import Descriptor
    from tranship.pump import Reader


class CheckedReader:
    """Counts, hashes and reports the bytes of one blob on their way."""

    __slots__ = ("_hasher", "_left", "_meter", "_reader", "descriptor")

    def __init__(self, reader: Reader, descriptor: Descriptor, meter: Meter, offset: int) -> None:
        self._reader = reader
        self._left = descriptor.size - offset
        self._hasher = descriptor.digest.hasher() if not offset else None
        self._meter = meter
        self.descriptor = descriptor

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer`; the last chunk comes only when the digest is right."""
        if not self._left:
            return 0
        got = self._reader.readinto(buffer[: min(len(buffer), self._left)])
        if not got:
            raise truncated(self.descriptor, self.descriptor.size - self._left)
        self._left -= got
        if self._hasher is not None:
            self._hasher.update(buffer[:got])
            if not self._left:
                check_digest(self.descriptor, Digest.from_hash(self.descriptor.digest.algorithm, self._hasher))
        self._meter.advance(got)
        return got


class CheckedBlob:
    """A source's blob as a destination sees it: sized, hashed and metered.

    Opened at an offset (an upload is resumed) its bytes cannot be hashed: only destinations that check digests themselves
    do that.
    """

    __slots__ = ("_blob", "_meter", "inner")

    def __init__(self, blob: Blob, meter: Meter) -> None:
        self._blob = blob
        self._meter = meter
        self.inner = blob

    @property
    def meter(self) -> Meter:
        """Where its bytes are counted."""
        return self._meter

    @property
    def descriptor(self) -> Descriptor:
        """What it is."""
        return self._blob.descriptor

    @contextlib.contextmanager
    def open(self, offset: int = 0) -> Iterator[CheckedReader]:
        """Open the source's blob, checked."""
        descriptor = self._blob.descriptor
        self._meter.done = offset
        if not descriptor.size:
            check_digest(descriptor, Digest.of(b"", descriptor.digest.algorithm))
        with self._blob.open(offset) as reader:
            yield CheckedReader(reader, descriptor, self._meter, offset)


def check_digest(descriptor: Descriptor, actual: Digest) -> None:
    """Raise DigestMismatch unless the content has the digest that its descriptor names."""
    if actual != descriptor.digest:
        raise DigestMismatch(
            f"{descriptor} is corrupt: expected digest {descriptor.digest}, found {actual}",
            descriptor=descriptor,
            actual=actual,
            side="source",
        )


def check_size(descriptor: Descriptor, found: int, where: str) -> None:
    """Raise DataLoss unless a file that is there for the descriptor is as long as it says."""
    if found != descriptor.size:
        raise DataLoss(
            f"{descriptor} has {found} bytes in {where}, its descriptor says {descriptor.size}",
            descriptor=descriptor,
            side="source",
        )


def truncated(descriptor: Descriptor, count: int) -> Truncated:
    """The error for content that ends before its declared size."""
    return Truncated(
        f"{descriptor} ends after {count} of {descriptor.size} bytes", descriptor=descriptor, count=count, side="source"
    )
