"""Reading docker's own archives, which carry no manifest: the images are put together from configs and layers.

Layers get their digests here: a member called `blobs/sha256/HEX` is taken at its name (and checked when it moves), any other is
hashed, with progress. What vouches for a layer is the config's list of uncompressed digests, so compressed ones are unpacked
for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tranship import pump
from tranship.endpoints.archive.contents import Contents, read
from tranship.endpoints.archive.reading import ArchiveSource
from tranship.endpoints.files import FileBlob, SpanReader
from tranship.engine.progress import Progress, Stage
from tranship.engine.transfer import MemoryBlob
from tranship.errors import NotFound, printable
from tranship.formats import compression, docker_archive, docker_legacy, layout
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest, new_hash
from tranship.model.naming import in_archive

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.formats.docker_archive import SavedImage
    from tranship.formats.tar import Member


def open_docker_images(contents: Contents, where: str, run: Run, *, legacy: bool) -> DockerSource:
    """Find the images of a docker archive and make their manifests. `legacy`: of docker before 1.10."""
    if legacy:
        repositories = read(contents, layout.DOCKER_REPOSITORIES, docker_archive.MAX_MANIFEST)
        images = docker_legacy.saved_images(
            repositories, contents.members, lambda m: read(contents, m.name, docker_legacy.MAX_JSON)
        )
    else:
        entries = docker_archive.parse_manifest(read(contents, layout.DOCKER_MANIFEST, docker_archive.MAX_MANIFEST))
        images = docker_archive.saved_images(entries, contents.members)
    hashed = _Layers(contents, run, sum(m.size for m in {m.name: m for i in images for m in i.layers}.values()))
    return DockerSource(contents, where, [_assemble(image, contents, hashed) for image in images], hashed)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as it is in the archive, and the digest of its uncompressed bytes where that was computed."""

    descriptor: Descriptor
    member: Member
    diff_id: Digest | None


@dataclass(frozen=True, slots=True)
class _Image:
    """An image with the documents that were made for it."""

    manifest: Descriptor
    names: tuple[str, ...]
    documents: tuple[tuple[Descriptor, bytes], ...]  # the manifest, and the config


def _assemble(image: SavedImage, contents: Contents, hashed: _Layers) -> _Image:
    if image.config is not None:
        raw = read(contents, image.config.name, docker_archive.MAX_CONFIG)
        config = docker_archive.read_config(raw, len(image.layers))
        layers = [hashed.layer(member) for member in image.layers]
        for layer, diff_id in zip(layers, config.diff_ids, strict=True):
            if layer.diff_id is not None:
                docker_archive.check_layer(layer.member, diff_id, layer.diff_id)
        platform = config.platform
    else:
        layers = [hashed.layer(member) for member in image.layers]
        diff_ids = [layer.diff_id or layer.descriptor.digest for layer in layers]
        raw = docker_legacy.image_config(image.history, diff_ids)
        platform = docker_archive.read_config(raw, len(layers)).platform
    described = docker_archive.describe_config(raw)
    manifest_raw = docker_archive.synthesise(described, [layer.descriptor for layer in layers])
    manifest = Descriptor(
        media_type=mediatypes.DOCKER_MANIFEST,
        digest=Digest.of(manifest_raw),
        size=len(manifest_raw),
        platform=platform,
    )
    return _Image(manifest, image.names, ((manifest, manifest_raw), (described, raw)))


class _Layers:
    """The archive's layers as they are asked for: each is read once."""

    def __init__(self, contents: Contents, run: Run, total: int) -> None:
        self._contents = contents
        self._run = run
        self._total = total
        self._done = 0
        self._due = time.monotonic()
        self._known: dict[str, _Layer] = {}

    def layer(self, member: Member) -> _Layer:
        known = self._known.get(member.name)
        if known is None:
            known = self._known[member.name] = self._describe(member)
        return known

    def places(self) -> dict[Digest, Member]:
        """Where each layer is in the archive."""
        return {layer.descriptor.digest: layer.member for layer in self._known.values()}

    def _describe(self, member: Member) -> _Layer:
        named = layout.digest_of_path(member.name) or self._contents.digest(member.name)
        with self._contents.span(member.name) as span:
            reader = _HashingReader(SpanReader(span.fd, span.offset, span.size), new_hash("sha256"))
            head = bytearray(compression.HEAD)
            count = pump.read_exactly(SpanReader(span.fd, span.offset, span.size), memoryview(head))
            packed = compression.detect(bytes(head[:count]))
            if packed is None:
                digest = named if named is not None else self._hash(reader)
                diff_id: Digest | None = digest
            elif named is not None and layout.digest_of_path(member.name) is not None:
                digest, diff_id = named, None
            else:
                inner = new_hash("sha256")
                unpacked = compression.Decompressing(reader, packed)
                pump.pump(unpacked, inner.update, advance=lambda _count: self._run.check())
                self._hash(reader)  # what follows the compressed stream belongs to the blob
                digest = Digest.from_hash("sha256", reader.state)
                diff_id = Digest.from_hash("sha256", inner)
        return _Layer(docker_archive.describe_layer(digest, member.size, bytes(head[:count])), member, diff_id)

    def _hash(self, reader: _HashingReader) -> Digest:
        pump.pump(reader, lambda _chunk: None, advance=self._advance)
        return Digest.from_hash("sha256", reader.state)

    def _advance(self, count: int) -> None:
        self._run.check()
        self._done += count
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 0.1
            self._run.report(Progress(stage=Stage.HASHING, event="hashing", progress=self._done, total=self._total))


class _HashingReader:
    """Hashes what passes."""

    def __init__(self, reader: SpanReader, state: Hash) -> None:
        self._reader = reader
        self.state = state

    def readinto(self, view: memoryview, /) -> int:
        got = self._reader.readinto(view)
        self.state.update(view[:got])
        return got


class DockerSource(ArchiveSource):
    """The readable side of a docker archive: documents are ours, layers are members."""

    def __init__(self, contents: Contents, where: str, images: list[_Image], hashed: _Layers) -> None:
        roots = []
        for image in images:
            for name in image.names or (None,):
                root = Root(image.manifest, name)
                roots.append(replace(root, descriptor=replace(in_archive(root), platform=image.manifest.platform)))
        super().__init__(contents, where, roots)
        self._documents = {d.digest: raw for image in images for d, raw in image.documents}
        self._members = hashed.places()

    def has(self, descriptor: Descriptor) -> bool:
        """Is it one of the images' parts?"""
        member = self._members.get(descriptor.digest)
        return descriptor.digest in self._documents or (member is not None and member.size == descriptor.size)

    def blob(self, descriptor: Descriptor) -> Blob:
        """A layer of the archive, or a document that we made."""
        raw = self._documents.get(descriptor.digest)
        if raw is not None:
            return MemoryBlob(descriptor, raw)
        return FileBlob(descriptor, lambda: self._open_layer(descriptor))

    def _open_layer(self, descriptor: Descriptor) -> AbstractContextManager[FileSpan]:
        member = self._members.get(descriptor.digest)
        if member is None:
            raise NotFound(
                f"{descriptor} is not in archive {printable(self._where)}", descriptor=descriptor, side="source"
            )
        return self._contents.span(member.name)


if TYPE_CHECKING:
    from hashlib import _Hash as Hash
