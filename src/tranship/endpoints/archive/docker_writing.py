"""Docker's own archive format, for engines that read nothing else: `manifest.json`, `HEX.json` and `HEX.tar…`.

It holds single images and no manifests of theirs: an engine that loads it makes its own, with another digest; the image ID
stays. Layers go in as they are. Docker before 23 cannot read zstd, so such layers are turned into gzip when that is asked for:
the image ID does not change, since a config names layers by their uncompressed digests.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tranship import files
from tranship.endpoints.archive import scratch
from tranship.endpoints.archive.arranging import Arranged, Known, docker_image
from tranship.endpoints.archive.docker_gzip import gzipped
from tranship.endpoints.files import FileBlob, whole_file
from tranship.errors import InvalidArgument, printable
from tranship.formats import compression, docker_archive, layout
from tranship.formats.tar import Entry, arrange
from tranship.model import mediatypes, naming
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tranship.endpoints.archive.scratch import Scratch
    from tranship.endpoints.archive.writing import FileDestination, StreamDestination
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.model.descriptor import Root

_ENDINGS = {None: ".tar", "gzip": ".tar.gz", "zstd": ".tar.zst"}


def arrange_docker(plan: Plan, roots: Sequence[Root]) -> Arranged:
    """Lay out an archive of the images' configs and layers, each once."""
    names: dict[Digest, list[str]] = {}
    images: dict[Digest, Manifest] = {}
    found: Known = {}
    for root in roots:
        manifest = docker_image(plan, root.descriptor, found)
        if manifest is None:
            raise InvalidArgument(
                f"{printable(root.name or root.descriptor.digest.short)} is no image that docker can load"
            )
        images[manifest.descriptor.digest] = manifest
        names.setdefault(manifest.descriptor.digest, []).extend([root.name] if root.name else [])
    parts: dict[Digest, tuple[Descriptor, str]] = {}
    entries = []
    for digest, manifest in images.items():
        config = _config(manifest)
        parts.setdefault(config.digest, (config, f"{config.digest.hex}.json"))
        for layer in manifest.layers:
            parts.setdefault(
                layer.digest, (layer, layer.digest.hex + _ENDINGS[mediatypes.compression(layer.media_type)])
            )
        tags = (naming.repo_tag(name, familiar=False) for name in names[digest])
        layers = tuple(parts[layer.digest][1] for layer in manifest.layers)
        entries.append(
            docker_archive.ManifestEntry(parts[config.digest][1], tuple(t for t in tags if t is not None), layers)
        )
    known = {layout.DOCKER_MANIFEST: docker_archive.manifest_json(entries)}
    order = sorted(parts.values(), key=lambda part: (not part[1].endswith(".json"), part[0].digest))
    arrangement = arrange(
        [
            Entry(layout.DOCKER_MANIFEST, len(known[layout.DOCKER_MANIFEST])),
            *(Entry(name, descriptor.size, 0o444) for descriptor, name in order),
        ]
    )
    by_name = {placed.entry.name: placed for placed in arrangement.members}
    return Arranged(
        arrangement,
        known,
        {descriptor.digest: by_name[name] for descriptor, name in order},
        tuple(descriptor for descriptor, _ in order),
    )


def _config(manifest: Manifest) -> Descriptor:
    if manifest.config is None:
        raise InvalidArgument(f"{manifest.descriptor} has no config, so docker cannot load it")
    return manifest.config


class Recompressing:
    """A destination before another one: zstd layers come first and become gzip in scratch, then the archive is laid out."""

    workers = 1
    single_images = True

    def __init__(self, inner: FileDestination | StreamDestination, run: Run, folder: Scratch) -> None:
        self._inner = inner
        self._run = run
        self._scratch = folder
        self._plan: Plan | None = None
        self._converted: dict[Digest, tuple[Descriptor, str]] = {}
        self._laid_out = False

    def prepare(self, plan: Plan) -> None:
        """Take notice; the archive is laid out when the last zstd layer has become gzip and so has a size."""
        self._plan = plan

    def sequence(self) -> Sequence[Descriptor]:
        """Zstd layers first, then the archive's order of everything else."""
        plan = self._planned()
        zstd = [d for d in plan.blobs if _is_zstd(d)]
        rest = [d for d in (*plan.documents, *plan.blobs) if not _is_zstd(d)]
        return [*zstd, *sorted(rest, key=lambda d: (d.kind != "config", d.digest))]

    def has(self, _descriptor: Descriptor) -> bool:
        """A new archive holds nothing."""
        return False

    def write(self, blob: Blob) -> None:
        """Convert a zstd layer, or hand on anything else."""
        if _is_zstd(blob.descriptor):
            self._convert(blob)
            return
        self._lay_out()
        if not blob.descriptor.is_document:
            self._inner.write(blob)

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Write the converted layers, and finish the archive."""
        self._lay_out()
        for descriptor, path in sorted(self._converted.values(), key=lambda pair: pair[0].digest):
            self._inner.write(FileBlob(descriptor, partial(_opened, path)))
        return self._inner.publish(roots)

    def _lay_out(self) -> None:
        if not self._laid_out:
            self._laid_out = True
            self._inner.prepare(_with_layers(self._planned(), {d: c for d, (c, _) in self._converted.items()}))

    def _convert(self, blob: Blob) -> None:
        layer = blob.descriptor
        with blob.open() as reader:
            unpacked = compression.Decompressing(reader, "zstd")
            digest, size = gzipped(unpacked, self._scratch, layer.digest.hex, f"{layer}", self._run)
        made = Descriptor(media_type=mediatypes.DOCKER_LAYER_GZIP, digest=digest, size=size)
        self._converted[layer.digest] = (made, self._scratch.path(layer.digest.hex))

    def _planned(self) -> Plan:
        if self._plan is None:
            raise RuntimeError("prepare() comes first")
        return self._plan


def _opened(path: str) -> AbstractContextManager[FileSpan]:
    return whole_file(files.open_regular(path))


def _is_zstd(descriptor: Descriptor) -> bool:
    return descriptor.kind == "layer" and mediatypes.compression(descriptor.media_type) == "zstd"


def _with_layers(plan: Plan, converted: dict[Digest, Descriptor]) -> Plan:
    """The plan with other layers in the place of those that were converted."""
    nodes = dict(plan.nodes)
    for digest, node in plan.nodes.items():
        document = node.document
        if isinstance(document, Manifest):
            layers = tuple(converted.get(layer.digest, layer) for layer in document.layers)
            nodes[digest] = replace(node, document=replace(document, layers=layers))
    return replace(plan, nodes=nodes, blobs=tuple(converted.get(d.digest, d) for d in plan.blobs))


@contextlib.contextmanager
def recompressing(inner: FileDestination | StreamDestination, run: Run) -> Iterator[Recompressing]:
    """Put a Recompressing before `inner`, with scratch that is removed in the end."""
    with scratch.opened(run) as folder:
        yield Recompressing(inner, run, folder)
