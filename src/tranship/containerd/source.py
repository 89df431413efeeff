"""A containerd as a source: images by name, and content by digest, over its Images and Content services."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship._api.services.content.v1 import content_pb2 as content
from tranship._api.services.images.v1 import images_pb2 as images
from tranship.containerd.leasing import hold
from tranship.containerd.methods import Content, Images
from tranship.containerd.records import from_image
from tranship.errors import NotFound, printable
from tranship.model import naming
from tranship.model.descriptor import Root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tranship.containerd.channel import Channel
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest


class ContainerdSource:
    """The readable side. `channel` has a lease, which holds the images from the moment that they are looked up."""

    readers = 4

    def __init__(self, channel: Channel, names: Sequence[str], where: str) -> None:
        self._channel = channel
        self._names = names
        self._where = where
        self._infos: dict[Digest, content.Info | None] = {}

    def roots(self) -> Sequence[Root]:
        """The chosen images: all, or exactly by name, as docker would complete it, or by a glob."""
        listed = self._channel.unary(Images.LIST, images.ListImagesRequest()).images
        found = {image.name: image for image in listed}
        chosen = list(found)
        if self._names:
            try:
                chosen = [one.name for one in naming.select(found, self._names)]
            except NotFound as error:
                raise NotFound(f"{error.message} in {printable(self._where)}", hint=error.hint, side="source") from None
        roots = [Root(from_image(found[name]).target, name) for name in chosen]
        for digest in {root.descriptor.digest for root in roots}:
            hold(self._channel, digest)
        return roots

    def has(self, descriptor: Descriptor) -> bool:
        """Does the namespace record it?"""
        return self._info(descriptor) is not None

    def blob(self, descriptor: Descriptor) -> ContainerdBlob:
        """A blob of the namespace."""
        return ContainerdBlob(descriptor, self)

    def repositories(self, descriptor: Descriptor) -> Sequence[str]:
        """The registry repositories that its labels name."""
        info = self._info(descriptor)
        labels: Mapping[str, str] = info.labels if info is not None else {}
        return naming.repositories(labels)

    @contextlib.contextmanager
    def open(self, descriptor: Descriptor, offset: int, count: int) -> Iterator[_Reading]:
        """Read `count` bytes from `offset` on; 0 is all that there are."""
        request = content.ReadContentRequest(digest=descriptor.digest, offset=offset, size=count)
        with self._channel.server_stream(Content.READ, request) as answers:
            yield _Reading(answer.data for answer in answers)

    def _info(self, descriptor: Descriptor) -> content.Info | None:
        digest = descriptor.digest
        if digest not in self._infos:
            try:
                self._infos[digest] = self._channel.unary(Content.INFO, content.InfoRequest(digest=digest)).info
            except NotFound:
                self._infos[digest] = None
        return self._infos[digest]


class ContainerdBlob:
    """A blob of a containerd."""

    __slots__ = ("_source", "descriptor")

    def __init__(self, descriptor: Descriptor, source: ContainerdSource) -> None:
        self.descriptor = descriptor
        self._source = source

    @property
    def repositories(self) -> Sequence[str]:
        """`host/path` of each registry repository known to hold it."""
        return self._source.repositories(self.descriptor)

    def open(self, offset: int = 0) -> contextlib.AbstractContextManager[_Reading]:
        """Open for reading from byte `offset`."""
        if offset >= self.descriptor.size > 0:
            return contextlib.nullcontext(_Reading(iter(())))
        return self._source.open(self.descriptor, offset, 0)


class _Reading:
    """Pieces that come one after another, as a Reader."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count
