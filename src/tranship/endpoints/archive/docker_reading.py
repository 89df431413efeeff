"""Reading docker's own archives, which carry no manifest: the images are put together from configs and layers.

Layers get their digests here: a member called `blobs/sha256/HEX` is taken at its name (and checked when it moves), any other is
hashed, with progress. What vouches for a layer is the config's list of uncompressed digests, so compressed ones are unpacked
for it. Configs and layers are read once, however many images share them, and stay where they are.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tranship import pump
from tranship.endpoints.archive.contents import Contents, read
from tranship.endpoints.archive.docker_gzip import Packing
from tranship.endpoints.archive.reading import ArchiveSource
from tranship.endpoints.files import FileBlob, SpanReader, about
from tranship.engine.memory import MemoryBlob
from tranship.engine.progress import Progress, Stage
from tranship.errors import InvalidArgument, NotFound, printable
from tranship.formats import compression, docker_archive, docker_legacy, layout
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest, new_hash
from tranship.model.manifest import MAX_CHILDREN
from tranship.model.naming import in_archive

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.formats.docker_archive import ImageConfig, SavedImage
    from tranship.formats.tar import Member

MAX_METADATA = 64 << 20  # bytes of all configs and layer descriptions of an archive, and of the manifests made for it


def open_docker_images(contents: Contents, where: str, run: Run, *, legacy: bool) -> DockerSource:
    """Find the images of a docker archive and make their manifests. `legacy`: of docker before 1.10."""
    parts = _Parts(contents, run)
    if legacy:
        repositories = read(contents, layout.DOCKER_REPOSITORIES, docker_archive.MAX_MANIFEST)
        images = docker_legacy.saved_images(
            repositories, contents.members, lambda member: parts.read(member, docker_legacy.MAX_JSON)
        )
    else:
        entries = docker_archive.parse_manifest(read(contents, layout.DOCKER_MANIFEST, docker_archive.MAX_MANIFEST))
        images = docker_archive.saved_images(entries, contents.members)
    parts.total = sum(member.size for member in {m.name: m for image in images for m in image.layers}.values())
    return DockerSource(contents, where, [_assemble(image, parts) for image in images], parts)


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
    documents: tuple[tuple[Descriptor, bytes], ...]  # the manifest, and a config that was made too


def _assemble(image: SavedImage, parts: _Parts) -> _Image:
    if len(image.layers) > MAX_CHILDREN:
        raise InvalidArgument(f"an image of {len(image.layers)} layers; at most {MAX_CHILDREN} are read")
    if image.config is not None:
        described, config = parts.config(image.config, len(image.layers))
        layers = [parts.layer(member) for member in image.layers]
        for layer, diff_id in zip(layers, config.diff_ids, strict=True):
            if layer.diff_id is not None:
                docker_archive.check_layer(layer.member, diff_id, layer.diff_id)
        made = []
    else:
        layers = [parts.layer(member) for member in image.layers]
        diff_ids = [layer.diff_id or layer.descriptor.digest for layer in layers]
        raw = docker_legacy.image_config(image.history, diff_ids)
        parts.spend(len(raw))
        described, config = docker_archive.describe_config(raw), docker_archive.read_config(raw, len(layers))
        made = [(described, raw)]
    manifest_raw = docker_archive.synthesise(described, [layer.descriptor for layer in layers])
    parts.spend(len(manifest_raw))
    manifest = Descriptor(
        media_type=mediatypes.DOCKER_MANIFEST,
        digest=Digest.of(manifest_raw),
        size=len(manifest_raw),
        platform=config.platform,
    )
    return _Image(manifest, image.names, ((manifest, manifest_raw), *made))


class _Parts:
    """The archive's configs and layers as they are asked for: each is read once, and metadata up to a limit.

    total  bytes of the layers
    """

    def __init__(self, contents: Contents, run: Run) -> None:
        self.total = 0
        self._contents = contents
        self._run = run
        self._done = 0
        self._due = time.monotonic()
        self._left = MAX_METADATA
        self._layers: dict[str, _Layer] = {}
        self._configs: dict[str, tuple[Descriptor, ImageConfig]] = {}
        self.places: dict[Digest, Member] = {}  # where each of them is

    def spend(self, count: int) -> None:
        """Count bytes of metadata; InvalidArgument when it is more than any archive holds."""
        self._left -= count
        if self._left < 0:
            raise InvalidArgument(f"the configs and manifests of the images have more than {MAX_METADATA} bytes")

    def read(self, member: Member, limit: int) -> bytes:
        """Read a member of metadata."""
        self._run.check()
        raw = read(self._contents, member.name, limit)
        self.spend(len(raw))
        return raw

    def config(self, member: Member, layers: int) -> tuple[Descriptor, ImageConfig]:
        """A config, and what it says; it must speak of so many layers."""
        known = self._configs.get(member.name)
        if known is None or len(known[1].diff_ids) != layers:
            raw = self.read(member, docker_archive.MAX_CONFIG)
            known = docker_archive.describe_config(raw), docker_archive.read_config(raw, layers)
            self._configs[member.name] = known
            self.places[known[0].digest] = member
        return known

    def layer(self, member: Member) -> _Layer:
        """A layer, hashed where that is needed."""
        known = self._layers.get(member.name)
        if known is None:
            with about(f"layer {printable(repr(member.name))}"):
                known = self._layers[member.name] = self._described(member)
            self.places[known.descriptor.digest] = known.member
        return known

    def _described(self, member: Member) -> _Layer:
        layer = self._describe(member)
        if not isinstance(self._contents, Packing) or mediatypes.compression(layer.descriptor.media_type) is not None:
            return layer
        packed, digest, diff_id = self._contents.pack(member)
        made = replace(layer.descriptor, media_type=mediatypes.DOCKER_LAYER_GZIP, digest=digest, size=packed.size)
        return _Layer(made, packed, diff_id)

    def _describe(self, member: Member) -> _Layer:
        named = layout.digest_of_path(member.name) or self._contents.digest(member.name)
        if named is not None and named.algorithm != "sha256":  # configs speak of this one alone
            named = None
        with self._contents.span(member.name) as span:
            reader = _HashingReader(SpanReader(span.fd, span.offset, span.size), new_hash("sha256"))
            head = bytearray(compression.HEAD)
            count = pump.read_exactly(SpanReader(span.fd, span.offset, span.size), memoryview(head))
            packed = compression.detect(bytes(head[:count]))
            if packed is None:
                digest = named if named is not None else self._hash(reader)
                diff_id: Digest | None = digest
            elif named is not None and layout.digest_of_path(member.name) == named:
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
            self._run.report(Progress(stage=Stage.HASHING, event="hashing", progress=self._done, total=self.total))


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

    def __init__(self, contents: Contents, where: str, images: list[_Image], parts: _Parts) -> None:
        roots = []
        for image in images:
            for name in image.names or (None,):
                root = Root(image.manifest, name)
                roots.append(replace(root, descriptor=replace(in_archive(root), platform=image.manifest.platform)))
        super().__init__(contents, where, roots)
        self._documents = {d.digest: raw for image in images for d, raw in image.documents}
        self._members = parts.places

    def index(self) -> bytes:
        """An index of all images, as containerd makes it."""
        return layout.index_json(root.descriptor for root in self.all_roots)

    def has(self, descriptor: Descriptor) -> bool:
        """Is it one of the images' parts?"""
        member = self._members.get(descriptor.digest)
        return descriptor.digest in self._documents or (member is not None and member.size == descriptor.size)

    def blob(self, descriptor: Descriptor) -> Blob:
        """A layer or config of the archive, or a document that we made."""
        raw = self._documents.get(descriptor.digest)
        if raw is not None:
            return MemoryBlob(descriptor, raw)
        return FileBlob(descriptor, lambda: self._open_part(descriptor))

    def _open_part(self, descriptor: Descriptor) -> AbstractContextManager[FileSpan]:
        member = self._members.get(descriptor.digest)
        if member is None:
            raise NotFound(f"{descriptor} is not in {self._where}", descriptor=descriptor, side="source")
        return self._contents.span(member.name)


if TYPE_CHECKING:
    from hashlib import _Hash as Hash
