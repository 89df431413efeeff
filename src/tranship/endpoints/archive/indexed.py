"""An archive whose own index is taken for an image, one of all the images that it lists (`ctr images import --index-name`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.engine.memory import MemoryBlob
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest
from tranship.model.mediatypes import OCI_INDEX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.endpoints.archive.reading import ArchiveSource
    from tranship.engine.protocols import Blob


class WithIndex:
    """The readable side."""

    def __init__(self, images: ArchiveSource, names: Sequence[str]) -> None:
        self._images = images
        self._names = names
        self._raw = images.index()
        self._index = Descriptor(media_type=OCI_INDEX, digest=Digest.of(self._raw), size=len(self._raw))

    def roots(self) -> Sequence[Root]:
        """The index by each of its names, and the images."""
        return [*(Root(self._index, name) for name in self._names), *self._images.roots()]

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there?"""
        return descriptor.digest == self._index.digest or self._images.has(descriptor)

    def blob(self, descriptor: Descriptor) -> Blob:
        """The index, or what is in the archive."""
        if descriptor.digest == self._index.digest:
            return MemoryBlob(descriptor, self._raw)
        return self._images.blob(descriptor)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """As the images have them."""
        return self._images.referrers(subject, artifact_type)
