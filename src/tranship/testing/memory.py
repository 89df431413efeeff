"""An end that is a dictionary: the smallest endpoint there is, a source and a destination for tests, and a model for authors.

images = Memory()
transfer(Layout("dir"), images)
images.blobs[digest]           # bytes
images.names["app:1"]          # Descriptor
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tranship.engine.memory import MemoryBlob
from tranship.errors import NotFound
from tranship.model.descriptor import Root
from tranship.pump import pump

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence

    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest


@dataclass(slots=True)
class Memory:
    """Images in memory.

    blobs  bytes by digest. Nothing checks them here: tests put wrong bytes in to see them refused elsewhere
    names  images by name
    """

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    names: dict[str, Descriptor] = field(default_factory=dict)

    kind: ClassVar[str] = "memory"

    def __str__(self) -> str:
        return f"memory ({len(self.names)} images)"

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[MemorySource]:
        """Open for reading."""
        del run
        yield MemorySource(self)

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[MemoryDestination]:
        """Open for writing."""
        del run
        yield MemoryDestination(self)


class MemorySource:
    """The readable side."""

    def __init__(self, images: Memory) -> None:
        """Of these images."""
        self._images = images

    def roots(self) -> Sequence[Root]:
        """All images, by name."""
        return [Root(self._images.names[name], name) for name in sorted(self._images.names)]

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there?"""
        return descriptor.digest in self._images.blobs

    def blob(self, descriptor: Descriptor) -> Blob:
        """The blob of a descriptor."""
        raw = self._images.blobs.get(descriptor.digest)
        return MemoryBlob(descriptor, raw) if raw is not None else _Absent(descriptor)


@dataclass(frozen=True, slots=True)
class _Absent:
    descriptor: Descriptor

    def open(self, _offset: int = 0, /) -> contextlib.AbstractContextManager[io.BytesIO]:
        raise NotFound(f"{self.descriptor} is not in memory", descriptor=self.descriptor, side="source")


class MemoryDestination:
    """The writable side."""

    workers = 4

    def __init__(self, images: Memory) -> None:
        """Of these images."""
        self._images = images

    def prepare(self, plan: Plan) -> None:
        """Nothing needs preparation."""

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there?"""
        return descriptor.digest in self._images.blobs

    def write(self, blob: Blob) -> None:
        """Take the bytes, all of them or none."""
        taken = bytearray()
        with blob.open() as reader:
            pump(reader, taken.extend)
        self._images.blobs[blob.descriptor.digest] = bytes(taken)

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Take the names; an image without one is known by its digest."""
        for root in roots:
            self._images.names[root.name or root.descriptor.digest] = root.descriptor
        return roots
