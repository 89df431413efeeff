"""Endpoint values as the ends that travel: what our own client sends. None: containerd's messages cannot say it.

The other direction, and what the messages mean, is `mapping`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream, WireRegistry
from tranship.endpoints.choosing import patterns
from tranship.engine.selection import Selection
from tranship.model.naming import ExtraName, Naming

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.endpoints.archive import Archive
    from tranship.endpoints.registry import Registry
    from tranship.model.platform import Platform


@dataclass(frozen=True, slots=True)
class Wish:
    """What of a Selection can travel."""

    platforms: tuple[Platform, ...] = ()  # none: all
    all_metadata: bool = False
    manifest_limit: int = 0
    skip_non_distributable: bool = False


def wish(selection: Selection) -> Wish | None:
    """The selection, where it asks for nothing else than platforms, by our own ranking, in an index that stays as it is."""
    plain = Selection(
        platforms=selection.platforms,
        all_platforms=selection.all_platforms,
        index=selection.index,
        all_metadata=selection.all_metadata,
        manifest_limit=selection.manifest_limit,
        skip_non_distributable=selection.skip_non_distributable,
    )
    if selection != plain or selection.index not in (None, "keep"):
        return None
    return Wish(selection.platforms, selection.all_metadata, selection.manifest_limit, selection.skip_non_distributable)


def registry(value: Registry) -> WireRegistry | None:
    """One image at a registry, still without an auth stream. Certificates of one's own cannot travel."""
    names = patterns(value.names)
    headers = dict(value.headers)
    unsaid = (value.insecure, value.ca_file, value.cert_file, value.key_file, value.foreign_urls, value.chunk)
    if len(names) != 1 or any(unsaid) or len(headers) != len(value.headers):
        return None
    # Where we look by ourselves; containerd does not, unless it is told.
    hosts_dir = next((os.path.abspath(folder) for folder in value.hosts_dirs() if os.path.isdir(folder)), "")
    return WireRegistry(
        reference=str(value.references[0]) if value.prefix is None else f"{value.prefix}/",
        headers=headers,
        host_dir=hosts_dir,
        default_scheme="http" if value.plain_http else "",
    )


def images(names: tuple[str, ...]) -> WireImageStore:
    """Images to read, by their exact names."""
    if len(names) == 1:
        return WireImageStore(name=names[0])
    return WireImageStore(extra_references=tuple(ExtraName(name=name) for name in names))


def image(names: tuple[str, ...], labels: Mapping[str, str], wished: Wish) -> WireImageStore:
    """A place for one image under these names. Nothing is unpacked: a daemon that cannot would refuse the whole."""
    return WireImageStore(
        name=names[0],
        labels=labels,
        platforms=wished.platforms,
        all_metadata=wished.all_metadata,
        manifest_limit=wished.manifest_limit,
        extra_references=tuple(ExtraName(name=name) for name in names[1:]),
    )


def imported(naming: Naming | None, labels: Mapping[str, str], wished: Wish) -> WireImageStore | None:
    """A place for the images of an archive, by rules. Without any an image that has no name is called as we call it."""
    if naming is None:
        from datetime import UTC, datetime

        rules = Naming.of_import(datetime.now(UTC).date(), add_digest=True, skip_named_digest=True)
    elif naming.nameless is None:
        rules = naming
    else:
        return None
    return WireImageStore(
        name=rules.name or "",
        labels=labels,
        platforms=wished.platforms,
        all_metadata=wished.all_metadata,
        manifest_limit=wished.manifest_limit,
        extra_references=rules.extra,
    )


def incoming(archive: Archive) -> WireImportStream | None:
    """An archive that we send, still without a stream: all of it, since containerd does not choose."""
    if archive.format != "auto" or patterns(archive.names):
        return None
    return WireImportStream(force_compress=archive.compress_layers)


def outgoing(archive: Archive, wished: Wish) -> WireExportStream | None:
    """An archive that we receive, still without a stream; compressed, where that is asked for, by ourselves."""
    if archive.format != "auto" or patterns(archive.names) or wished.all_metadata or wished.manifest_limit:
        return None
    return WireExportStream(
        platforms=wished.platforms,
        all_platforms=not wished.platforms,
        skip_compatibility_manifest=not archive.docker_manifest,
        skip_non_distributable=wished.skip_non_distributable,
    )
