"""A containerd as a destination: blobs through its Content service, and names through its Images service.

A lease holds what arrives until it has a name. What was cut before is resumed: an ingest is found again by the blob's key.
References for its collection are labels, set as its own client sets them.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship._api.services.content.v1 import content_pb2 as content
from tranship._api.services.images.v1 import images_pb2 as images
from tranship._api.wellknown import FieldMask
from tranship.containerd.leasing import hold
from tranship.containerd.methods import Content, Images
from tranship.containerd.records import to_image
from tranship.containerd.writing import write
from tranship.endpoints.calling import called
from tranship.endpoints.choosing import patterns
from tranship.endpoints.store import GC_SUBJECT, gc_labels
from tranship.errors import AlreadyExists, NotFound, printable
from tranship.model import naming
from tranship.model.manifest import MAX_DOCUMENT
from tranship.store.values import Image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tranship.containerd.channel import Channel
    from tranship.containerd.endpoint import Containerd
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


class ContainerdDestination:
    """The writable side. `channel` has a lease."""

    workers = 4

    def __init__(self, value: Containerd, channel: Channel, run: Run) -> None:
        self._value = value
        self._channel = channel
        self._run = run
        self._labels: dict[Digest, dict[str, str]] = {}  # of documents, what they refer to
        self._origins: dict[Digest, set[str]] = {}
        self._images: list[Root] = []

    # --------------------------------------------------------------------------------------------------- before writing

    def document(self, descriptor: Descriptor) -> bytes | None:
        """A document that is here, held by the lease."""
        if descriptor.size > MAX_DOCUMENT or self._held(descriptor) is None:
            return None
        answers = self._channel.server_stream(Content.READ, content.ReadContentRequest(digest=descriptor.digest))
        return b"".join(answer.data for answer in answers)

    def prepare(self, plan: Plan) -> None:
        """Name the images, and refuse names that are taken where they may not be moved."""
        self.rehearse(plan)
        for node in plan.nodes.values():
            self._labels[node.descriptor.digest] = gc_labels(node.document)
        for root in plan.roots:
            if root.subject is not None:
                self._labels.setdefault(root.descriptor.digest, {})[GC_SUBJECT] = root.subject

    def rehearse(self, plan: Plan) -> Sequence[Root]:
        """Name the images."""
        self._images = called(plan.roots, patterns(self._value.names), self._value.naming, self._run)
        if self._value.clobber:
            return self._images
        for root in self._images:
            taken = find_image(self._channel, root.name or "")
            if taken is not None and taken.target.digest != root.descriptor.digest:
                raise AlreadyExists(
                    f"image {printable(taken.name)} is in {self._value} already, with digest {taken.target.digest}",
                    side="destination",
                )
        return self._images

    # ----------------------------------------------------------------------------------------------------------- content

    def has(self, descriptor: Descriptor) -> bool:
        """Is it here? Then the lease holds it, and it has its labels."""
        info = self._held(descriptor)
        if info is None:
            return False
        self._label(descriptor.digest, info.labels, self._labels.get(descriptor.digest, {}))
        return True

    def write(self, blob: Blob) -> None:
        """Write a blob, from where an earlier transfer was cut."""
        labels = self._labels.get(blob.descriptor.digest, {})
        if not write(self._channel, blob, labels):  # somebody was faster
            info = self._held(blob.descriptor)
            self._label(blob.descriptor.digest, info.labels if info is not None else {}, labels)

    def came_from(self, descriptor: Descriptor, repository: str) -> None:
        """Note which repository holds the blob, for cross-repository mounts later."""
        self._origins.setdefault(descriptor.digest, set()).add(repository)

    def _held(self, descriptor: Descriptor) -> content.Info | None:
        """What is known of a blob that is here: held first and then looked at, so that no collection comes between."""
        hold(self._channel, descriptor.digest)
        try:
            info = self._channel.unary(Content.INFO, content.InfoRequest(digest=descriptor.digest)).info
        except NotFound:
            return None
        return info if info.size == descriptor.size else None

    def _label(self, digest: Digest, there: Mapping[str, str], wanted: Mapping[str, str]) -> None:
        lacking = {key: value for key, value in wanted.items() if there.get(key) != value}
        if lacking:
            mask = FieldMask(paths=[f"labels.{key}" for key in lacking])
            info = content.Info(digest=digest, labels=lacking)
            self._channel.unary(Content.UPDATE, content.UpdateRequest(info=info, update_mask=mask))

    # ------------------------------------------------------------------------------------------------------------- names

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Store the names, one after another."""
        del roots  # named in prepare
        for digest, repositories in self._origins.items():
            there = self._channel.unary(Content.INFO, content.InfoRequest(digest=digest)).info.labels
            self._label(digest, there, naming.noted(there, repositories))
        for root in self._images:
            if root.subject is None:
                put_image(self._channel, Image(root.name or "", root.descriptor, self._value.labels))
        return self._images


def find_image(channel: Channel, name: str) -> images.Image | None:
    """An image's record, or None."""
    try:
        return channel.unary(Images.GET, images.GetImageRequest(name=name)).image
    except NotFound:
        return None


def remove_image(channel: Channel, name: str) -> None:
    """Remove a name, if it is there."""
    with contextlib.suppress(NotFound):
        channel.unary(Images.DELETE, images.DeleteImageRequest(name=name))


def put_image(channel: Channel, image: Image) -> None:
    """Make a name, or move it (core/transfer/image/imagestore.go, Store)."""
    message = to_image(image)
    while True:
        try:
            channel.unary(Images.CREATE, images.CreateImageRequest(image=message))
            return
        except AlreadyExists:
            pass
        try:
            channel.unary(Images.UPDATE, images.UpdateImageRequest(image=message))
            return
        except NotFound:  # it went away between the two
            continue
