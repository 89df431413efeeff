"""What a client's transfer means: the ends that travel as endpoints and one Selection, with containerd's defaults.

containerd has platforms on its image store and on its export stream; here they become the transfer's Selection (its own rules
are in core/transfer/image/imagestore.go and core/transfer/archive/exporter.go). What needs a daemon's own store or a client's
streams is added by whoever has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream, WireRegistry
from tranship.endpoints.registry import Registry
from tranship.engine.selection import Selection
from tranship.errors import InvalidArgument, printable
from tranship.model.naming import Naming
from tranship.model.platform import any_of, default_strict, ordered

if TYPE_CHECKING:
    from tranship.containerd.wire import WireEnd
    from tranship.endpoints.registry import Find


def selection_of(source: WireEnd, destination: WireEnd) -> Selection:
    """What takes part, by the two ends.

    Into the image store: the platforms that it names, or all, each of them demanded. An import keeps the manifests of other
    platforms, as containerd does, and their configs. Out of it as an archive: the platforms that the stream names, or the
    host's. To a registry: the platforms that the image store names, below an index that stays as it is, or all. Between other
    ends: whatever the source holds.
    """
    match source, destination:
        case _, WireExportStream(all_platforms=True):
            return Selection(all_platforms=True, skip_non_distributable=destination.skip_non_distributable)
        case _, WireExportStream():
            matcher = ordered(*destination.platforms) if destination.platforms else default_strict()
            return Selection(matcher=matcher, skip_non_distributable=destination.skip_non_distributable)
        case _, WireImageStore():
            return Selection(
                all_platforms=not destination.platforms,
                matcher=ordered(*destination.platforms) if destination.platforms else None,
                all_metadata=destination.all_metadata or isinstance(source, WireImportStream),
                manifest_limit=destination.manifest_limit,
            )
        case WireImageStore(platforms=()), WireRegistry():
            return Selection(all_platforms=True)
        case WireImageStore(), WireRegistry():
            return Selection(matcher=any_of(*source.platforms), index="keep")
    return Selection()


def naming_of(end: WireImageStore) -> Naming:
    """How the image store names what it is given; what gets no name stays unnamed."""
    return Naming(name=end.name or None, extra=end.extra_references)


def registry_of(end: WireRegistry, find: Find) -> Registry:
    """A registry, with credentials from `find`.

    Its reference must name a host, and a tag or a digest (containerd, pkg/reference); or be a place for several images,
    `HOST/PATH/`.
    """
    host, _, path = end.reference.partition("/")
    if not host or not path:
        raise InvalidArgument(f"{printable(repr(end.reference))} names no registry and image: object required")
    if not path.endswith("/") and not any(mark in path for mark in ":@"):
        raise InvalidArgument(f"{printable(repr(end.reference))} has neither a tag nor a digest: object required")
    if end.default_scheme not in ("", "http", "https"):
        raise InvalidArgument(f"resolver.default_scheme must be http or https, found {printable(end.default_scheme)}")
    return Registry(
        end.reference,
        credential=find,
        hosts_dir=end.host_dir or None,
        plain_http=end.default_scheme == "http",
        headers=tuple(end.headers.items()),
    )
