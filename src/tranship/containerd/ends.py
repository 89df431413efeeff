"""The two ends of a transfer as they travel: containerd's transfer messages as values, and back.

One table holds the kinds that travel. Whatever else a client names is refused with its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship._api.services.transfer.v1 import transfer_pb2
from tranship._api.types.transfer import imagestore_pb2, importexport_pb2, registry_pb2
from tranship.containerd.codec import few, pack, parse, string_map, text, type_name, url
from tranship.containerd.values import from_platform, to_platform
from tranship.containerd.wire import (
    HTTPDebug,
    WireEnd,
    WireExportStream,
    WireImageStore,
    WireImportStream,
    WireRegistry,
    WireUnpack,
)
from tranship.errors import InvalidArgument, Unsupported
from tranship.model.naming import ExtraName

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from tranship._api.wellknown import Any


def decode_end(wrapped: Any, side: str) -> WireEnd:
    """Read the source or destination of a TransferRequest; `side` names it in errors.

    Raises InvalidArgument for what cannot be read, Unsupported for a type that is none of our ends.
    """
    name = type_name(wrapped)
    if not name:
        raise InvalidArgument(f"the transfer has no {side}")
    if name not in _ENDS:
        raise Unsupported(f"{side}: type with url {url(wrapped)} is no end of a transfer here")
    message_class, decode = _ENDS[name]
    try:
        return decode(parse(wrapped, message_class))
    except InvalidArgument as error:
        raise InvalidArgument(f"{side} {name.rpartition('.')[2]}: {error}") from None


def encode_end(end: WireEnd) -> Any:
    """Write an end of a transfer."""
    match end:
        case WireImageStore():
            return pack(_encode_store(end))
        case WireRegistry():
            return pack(_encode_registry(end))
        case WireImportStream():
            return pack(
                importexport_pb2.ImageImportStream(
                    stream=end.stream, media_type=end.media_type, force_compress=end.force_compress
                )
            )
        case WireExportStream():
            return pack(
                importexport_pb2.ImageExportStream(
                    stream=end.stream,
                    media_type=end.media_type,
                    platforms=map(to_platform, end.platforms),
                    all_platforms=end.all_platforms,
                    skip_compatibility_manifest=end.skip_compatibility_manifest,
                    skip_non_distributable=end.skip_non_distributable,
                )
            )


def transfer_request(source: WireEnd, destination: WireEnd, progress_stream: str = "") -> transfer_pb2.TransferRequest:
    """The request of one transfer."""
    return transfer_pb2.TransferRequest(
        source=encode_end(source),
        destination=encode_end(destination),
        options=transfer_pb2.TransferOptions(progress_stream=progress_stream),
    )


def _decode_store(m: imagestore_pb2.ImageStore) -> WireImageStore:
    return WireImageStore(
        name=text(m.name, "name"),
        labels=string_map(m.labels, "labels"),
        platforms=tuple(map(from_platform, few(m.platforms, "platforms"))),
        all_metadata=m.all_metadata,
        manifest_limit=m.manifest_limit,
        extra_references=tuple(
            ExtraName(
                name=text(r.name, "extra_references.name"),
                is_prefix=r.is_prefix,
                allow_overwrite=r.allow_overwrite,
                add_digest=r.add_digest,
                skip_named_digest=r.skip_named_digest,
            )
            for r in few(m.extra_references, "extra_references")
        ),
        unpacks=tuple(
            WireUnpack(
                platform=from_platform(u.platform) if u.HasField("platform") else None,
                snapshotter=text(u.snapshotter, "unpacks.snapshotter"),
            )
            for u in few(m.unpacks, "unpacks")
        ),
    )


def _encode_store(end: WireImageStore) -> imagestore_pb2.ImageStore:
    return imagestore_pb2.ImageStore(
        name=end.name,
        labels=end.labels,
        platforms=map(to_platform, end.platforms),
        all_metadata=end.all_metadata,
        manifest_limit=end.manifest_limit,
        extra_references=(
            imagestore_pb2.ImageReference(
                name=r.name,
                is_prefix=r.is_prefix,
                allow_overwrite=r.allow_overwrite,
                add_digest=r.add_digest,
                skip_named_digest=r.skip_named_digest,
            )
            for r in end.extra_references
        ),
        unpacks=(
            imagestore_pb2.UnpackConfiguration(
                platform=to_platform(u.platform) if u.platform else None, snapshotter=u.snapshotter
            )
            for u in end.unpacks
        ),
    )


def _decode_registry(m: registry_pb2.OCIRegistry) -> WireRegistry:
    r = m.resolver
    try:
        http_debug = HTTPDebug(r.http_debug)
    except ValueError:
        raise InvalidArgument(f"resolver.http_debug must be 0 to 3, found {r.http_debug}") from None
    return WireRegistry(
        reference=text(m.reference, "reference"),
        auth_stream=text(r.auth_stream, "resolver.auth_stream"),
        headers=string_map(r.headers, "resolver.headers"),
        host_dir=text(r.host_dir, "resolver.host_dir"),
        default_scheme=text(r.default_scheme, "resolver.default_scheme"),
        http_debug=http_debug,
        logs_stream=text(r.logs_stream, "resolver.logs_stream"),
    )


def _encode_registry(end: WireRegistry) -> registry_pb2.OCIRegistry:
    return registry_pb2.OCIRegistry(
        reference=end.reference,
        resolver=registry_pb2.RegistryResolver(
            auth_stream=end.auth_stream,
            headers=end.headers,
            host_dir=end.host_dir,
            default_scheme=end.default_scheme,
            http_debug=end.http_debug.name,
            logs_stream=end.logs_stream,
        ),
    )


def _decode_import(m: importexport_pb2.ImageImportStream) -> WireImportStream:
    return WireImportStream(
        stream=text(m.stream, "stream"),
        media_type=text(m.media_type, "media_type"),
        force_compress=m.force_compress,
    )


def _decode_export(m: importexport_pb2.ImageExportStream) -> WireExportStream:
    return WireExportStream(
        stream=text(m.stream, "stream"),
        media_type=text(m.media_type, "media_type"),
        platforms=tuple(map(from_platform, few(m.platforms, "platforms"))),
        all_platforms=m.all_platforms,
        skip_compatibility_manifest=m.skip_compatibility_manifest,
        skip_non_distributable=m.skip_non_distributable,
    )


# type name -> message class, decoder. A new kind of end that travels is one row here and one case in `encode_end`.
_ENDS: dict[str, tuple[type[Message], Callable[..., WireEnd]]] = {
    message.DESCRIPTOR.full_name: (message, decode)
    for message, decode in (
        (imagestore_pb2.ImageStore, _decode_store),
        (registry_pb2.OCIRegistry, _decode_registry),
        (importexport_pb2.ImageImportStream, _decode_import),
        (importexport_pb2.ImageExportStream, _decode_export),
    )
}
