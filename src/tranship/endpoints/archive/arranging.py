"""An archive of images before its first byte: which members, in which order, where each begins.

An OCI layout in a tar, with docker's `manifest.json` beside it: what every engine loads. The order is fixed (`oci-layout`,
`index.json`, `manifest.json`, then documents, configs and layers, each group by digest), so the same images give the same
bytes, and a reader of a pipe knows from the first kilobytes what will come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tranship.formats import docker_archive, layout
from tranship.formats.tar import Arrangement, Entry, Placed, arrange
from tranship.model import naming
from tranship.model.manifest import Manifest
from tranship.model.platform import default_strict, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tranship.engine.plan import Plan
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


Known = dict["Digest", Manifest | None]  # what docker gets of each document


@dataclass(frozen=True, slots=True)
class Arranged:
    """The whole archive: its layout, the members whose bytes are known, the places of the blobs, and their order."""

    arrangement: Arrangement
    known: Mapping[str, bytes]
    places: Mapping[Digest, Placed]
    order: tuple[Descriptor, ...]


def arrange_images(
    plan: Plan, roots: Sequence[Root], *, docker_manifest: bool, origins: Mapping[Digest, Mapping[str, str]] | None
) -> Arranged:
    """Lay out an archive of the plan's objects under the names of `roots`.

    docker_manifest  write `manifest.json`, which docker before 25 and docker's graph drivers need
    origins          as containerd writes it: labels of the roots' blobs, of which those that tell a registry become
                     annotations, and familiar names in `manifest.json`
    """
    known = {
        layout.MARKER: layout.MARKER_BYTES,
        layout.INDEX: layout.index_json([_entry(r, (origins or {}).get(r.descriptor.digest)) for r in roots]),
    }
    if docker_manifest:
        known[layout.DOCKER_MANIFEST] = docker_archive.manifest_json(
            docker_entries(plan, roots, familiar=origins is not None)
        )
    order = in_order(plan)
    entries = [
        Entry(layout.MARKER, len(known[layout.MARKER]), 0o444),
        *(Entry(name, len(data)) for name, data in known.items() if name != layout.MARKER),
        Entry("blobs", mode=0o755, kind="directory"),
        *(Entry(f"blobs/{a}", mode=0o755, kind="directory") for a in sorted({d.digest.algorithm for d in order})),
        *(Entry(layout.blob_path(d.digest), d.size, 0o444) for d in order),
    ]
    arrangement = arrange(entries)
    by_name = {placed.entry.name: placed for placed in arrangement.members}
    places = {d.digest: by_name[layout.blob_path(d.digest)] for d in order}
    return Arranged(arrangement, known, places, order)


def _entry(root: Root, labels: Mapping[str, str] | None) -> Descriptor:
    """The root as index.json lists it: without a platform, which some ends know and others do not, so that the same image
    gives the same bytes (containerd's exporter writes none either).
    """
    return replace(layout.entry(root, labels), platform=None)


def in_order(plan: Plan) -> tuple[Descriptor, ...]:
    """Documents, configs, other blobs: each group by digest."""
    configs = {
        node.document.config.digest
        for node in plan.nodes.values()
        if isinstance(node.document, Manifest) and node.document.config is not None
    }

    def by_digest(descriptors: Iterable[Descriptor]) -> list[Descriptor]:
        return sorted(descriptors, key=lambda d: d.digest)

    return (
        *by_digest(node.descriptor for node in plan.nodes.values()),
        *by_digest(d for d in plan.blobs if d.digest in configs),
        *by_digest(d for d in plan.blobs if d.digest not in configs),
    )


def docker_entries(plan: Plan, roots: Sequence[Root], *, familiar: bool) -> list[docker_archive.ManifestEntry]:
    """An entry of docker's `manifest.json` for each image that docker can load, with all its names."""
    names: dict[Digest, list[str]] = {}
    known: Known = {}
    for root in roots:
        if root.subject is not None:
            continue
        manifest = docker_image(plan, root.descriptor, known)
        if manifest is not None:
            names.setdefault(manifest.descriptor.digest, []).extend([root.name] if root.name else [])
    entries = []
    for digest, called in names.items():
        document = plan.nodes[digest].document
        if isinstance(document, Manifest) and document.config is not None:
            tags = (naming.repo_tag(name, familiar=familiar) for name in called)
            entries.append(
                docker_archive.ManifestEntry(
                    layout.blob_path(document.config.digest),
                    tuple(tag for tag in tags if tag is not None),
                    tuple(layout.blob_path(layer.digest) for layer in document.layers),
                )
            )
    return entries


def docker_image(plan: Plan, root: Descriptor, known: Known) -> Manifest | None:
    """The one image of a root that docker gets: the manifest itself, or of an index the host's or else the first image.

    `known` remembers, for the next root of the plan: an index may be reached in more ways than anybody can go.
    """
    if root.digest in known:
        return known[root.digest]
    node = plan.nodes.get(root.digest)
    found = None
    if node is not None and isinstance(node.document, Manifest):
        found = node.document if _is_image(node.document) else None
    elif node is not None:
        found = _best(plan, node.selected, known)
    known[root.digest] = found
    return found


def _best(plan: Plan, selected: Sequence[Descriptor], known: Known) -> Manifest | None:
    host = default_strict()
    candidates = [d for d in selected if d.is_document]
    ranked = host.best_first(candidates, lambda d: d.platform) if candidates else []
    first = {id(d) for d in ranked}
    others = [d for d in candidates if id(d) not in first and str(d.platform) != "unknown/unknown"]
    others.sort(key=lambda d: not (d.platform and ordered(d.platform).match(d.platform)))
    for descriptor in (*ranked, *others):
        manifest = docker_image(plan, descriptor, known)
        if manifest is not None:
            return manifest
    return None


def _is_image(manifest: Manifest) -> bool:
    """Has it a config and layers that an engine can load? Artifacts and attestations have not."""
    kinds = {layer.kind for layer in manifest.layers}
    return manifest.config is not None and manifest.config.kind == "config" and kinds <= {"layer"}
