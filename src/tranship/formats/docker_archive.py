"""Docker's archives: `manifest.json`, read from archives of every age and written beside a layout's index.

What `docker save` has written over the years:

    v1.0  before 1.10   `repositories`, and for each layer `ID/json`, `ID/layer.tar`, `ID/VERSION`        docker_legacy
    v1.1  since 1.10    also `manifest.json`, which names `HEX.json` and the `ID/layer.tar` of each image
    v1.2  since 17.x    the same with `LayerSources`; a layer used twice is a symbolic link
    v25   since 25.0    a layout, with `manifest.json` naming its `blobs/sha256/HEX`; the layout counts

Such an archive has no manifest and names its layers by files, so reading it is: `saved_images` finds the parts, the caller
reads the config and hashes the layers, `synthesise` makes the manifest, the same bytes as containerd's importer does.
Names and links are looked up in the archive's own table and never touch a file system:

    images = saved_images(parse_manifest(raw), table(members))
    for image in images:
        raw_config = …                              # the bytes of image.config
        config = read_config(raw_config, len(image.layers))
        layers = [describe_layer(digest, member.size, head) for member in image.layers]        # read and hashed
        check_layer(member, config.diff_ids[n], digest)                                        # of the unpacked bytes
        manifest = synthesise(describe_config(raw_config), layers)
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tranship.errors import DigestMismatch, InvalidArgument, InvalidReference, NotFound, printable
from tranship.formats import compression
from tranship.formats.layout import DOCKER_MANIFEST
from tranship.formats.tar import clean
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.naming import from_repo_tag
from tranship.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tranship.formats.tar import Member

MAX_MANIFEST = 20 << 20  # bytes of `manifest.json`; containerd's importer reads as many
MAX_CONFIG = 4 << 20  # bytes of an image's config
MAX_LINKS = 16  # from link to link
_ENTRY_KEYS = frozenset({"Config", "RepoTags", "Layers", "LayerSources", "Parent"})
_CONFIG_KEYS = frozenset({"architecture", "os", "os.version", "os.features", "variant", "rootfs", "config", "history"})
_ROOTFS_KEYS = frozenset({"type", "diff_ids"})
_PLATFORM_KEYS = ("architecture", "os", "os.version", "os.features", "variant")
_LAYER_TYPES = {
    None: mediatypes.DOCKER_LAYER,
    "gzip": mediatypes.DOCKER_LAYER_GZIP,
    "zstd": mediatypes.DOCKER_LAYER_ZSTD,  # containerd says gzip here, and its unpacker looks at the bytes
}


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """An image in `manifest.json`, as it stands there: paths of its config and layers, and docker's names for it."""

    config: str
    tags: tuple[str, ...]
    layers: tuple[str, ...]
    layer_sources: Mapping[Digest, Descriptor] = field(default_factory=dict)  # by diff ID


@dataclass(frozen=True, slots=True)
class SavedImage:
    """An image in an archive without a manifest: the members that it is made of, base layer first.

    `config` is None in the oldest archives; `docker_legacy.image_config` makes it from `history`, once the layers' diff
    IDs are known.
    """

    names: tuple[str, ...]  # full references
    config: Member | None
    layers: tuple[Member, ...]
    history: tuple[Mapping[str, Any], ...] = ()  # the `json` of each layer of an image of the oldest kind


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What we need to know of an image's config."""

    platform: Platform | None  # None where it says none
    diff_ids: tuple[Digest, ...]  # digests of the uncompressed layers, base first


# --- manifest.json ----------------------------------------------------------------------------------------------------


def parse_manifest(raw: bytes) -> tuple[ManifestEntry, ...]:
    """Read `manifest.json`. Raises InvalidArgument."""
    if len(raw) > MAX_MANIFEST:
        raise InvalidArgument(f"{DOCKER_MANIFEST} has {len(raw)} bytes; at most {MAX_MANIFEST} are read")
    value = strict_json.loads(raw, DOCKER_MANIFEST, strict_json.room(raw))
    if not isinstance(value, list):
        raise InvalidArgument(f"{DOCKER_MANIFEST}: expected a list of images, found {type(value).__name__}")
    return tuple(_entry(item, f"{DOCKER_MANIFEST}[{n}]") for n, item in enumerate(value))


def _entry(item: Any, where: str) -> ManifestEntry:
    item = strict_json.fields(item, _ENTRY_KEYS, where)
    config = item.get("Config")
    if not isinstance(config, str) or not config:
        raise InvalidArgument(f"{where}: Config must name a file, found {printable(repr(config))}")
    sources = item.get("LayerSources")
    if sources is not None and not isinstance(sources, dict):
        raise InvalidArgument(f"{where}: LayerSources must be an object, found {type(sources).__name__}")
    return ManifestEntry(
        config,
        _strings(item.get("RepoTags"), f"{where}: RepoTags"),
        _strings(item.get("Layers"), f"{where}: Layers"),
        {
            _digest(key, f"{where}: LayerSources"): Descriptor.from_json(source, f"{where}: LayerSources")
            for key, source in (sources or {}).items()
        },
    )


def manifest_json(entries: Iterable[ManifestEntry]) -> bytes:
    """Write `manifest.json`, in containerd's form; sorted, so that the same images give the same bytes."""
    sorted_tags = ((sorted(entry.tags), entry) for entry in entries)
    ordered = sorted(sorted_tags, key=lambda pair: (pair[0], pair[1].config, pair[1].layers))
    return strict_json.dumps_as_go(
        [{"Config": entry.config, "RepoTags": tags or None, "Layers": list(entry.layers)} for tags, entry in ordered]
    )


# --- finding an image's parts -----------------------------------------------------------------------------------------


def table(members: Iterable[Member]) -> dict[str, Member]:
    """The members by name; of several with one name the last counts, as when an archive is unpacked."""
    return {member.name: member for member in members}


def saved_images(entries: Sequence[ManifestEntry], members: Mapping[str, Member]) -> tuple[SavedImage, ...]:
    """Find the parts of each image in the archive's table.

    Raises NotFound for a part that is absent or behind a broken link, InvalidArgument for a name that docker would refuse.
    """
    return tuple(
        SavedImage(
            tuple(dict.fromkeys(_full_name(tag) for tag in entry.tags)),
            resolve(members, entry.config, "image config"),
            tuple(resolve(members, layer, "layer") for layer in entry.layers),
        )
        for entry in entries
    )


def resolve(members: Mapping[str, Member], path: str, what: str) -> Member:
    """The file of this path, through links within the archive; `what` says in errors what it is wanted as."""
    name = clean(path)
    for _ in range(MAX_LINKS + 1):
        member = members.get(name)
        if member is None:
            through = "" if name == clean(path) else f": it links to {printable(repr(name))}, which is absent"
            raise NotFound(
                f"{what} {printable(repr(path))} is not in the archive{through}", hint="the download may be incomplete"
            )
        if member.kind == "file":
            return member
        if member.kind == "symlink":
            name = clean(posixpath.join(posixpath.dirname(name), member.linkname))
        elif member.kind == "hardlink":
            name = clean(member.linkname)
        else:
            raise InvalidArgument(f"{what} {printable(repr(path))} is a {member.kind} in the archive, expected a file")
        if name.startswith(("/", "../")) or name == "..":
            raise InvalidArgument(
                f"{what} {printable(repr(path))} links to {printable(repr(member.linkname))}, outside the archive"
            )
    raise InvalidArgument(f"{what} {printable(repr(path))} leads through more than {MAX_LINKS} links")


def _full_name(tag: str) -> str:
    try:
        return from_repo_tag(tag)
    except InvalidReference as error:
        raise InvalidArgument(f"{DOCKER_MANIFEST}: RepoTags: {error}") from None


# --- making the manifest ----------------------------------------------------------------------------------------------


def read_config(raw: bytes, layers: int) -> ImageConfig:
    """Check that these bytes are the config of an image of so many layers. Raises InvalidArgument."""
    if len(raw) > MAX_CONFIG:
        raise InvalidArgument(f"image config has {len(raw)} bytes; at most {MAX_CONFIG} are read")
    value = strict_json.fields(strict_json.loads(raw, "image config"), _CONFIG_KEYS, "image config")
    rootfs = strict_json.fields(value.get("rootfs"), _ROOTFS_KEYS, "image config: rootfs")
    if rootfs.get("type") != "layers":
        raise InvalidArgument(f"image config: rootfs has type {printable(repr(rootfs.get('type')))}, expected 'layers'")
    diff_ids = _strings(rootfs.get("diff_ids"), "image config: rootfs: diff_ids")
    if len(diff_ids) != layers:
        raise InvalidArgument(f"image config lists {len(diff_ids)} layers, and the archive gives the image {layers}")
    said = {key: value[key] for key in _PLATFORM_KEYS if key in value}
    return ImageConfig(
        Platform.from_json(said, "image config") if said.get("os") and said.get("architecture") else None,
        tuple(_digest(diff_id, "image config: rootfs: diff_ids") for diff_id in diff_ids),
    )


def describe_config(raw: bytes) -> Descriptor:
    """The descriptor of a config in a synthesised manifest."""
    return Descriptor(media_type=mediatypes.DOCKER_CONFIG, digest=Digest.of(raw), size=len(raw))


def describe_layer(digest: Digest, size: int, head: bytes) -> Descriptor:
    """The descriptor of a layer in a synthesised manifest, by its first `compression.HEAD` bytes."""
    return Descriptor(media_type=_LAYER_TYPES[compression.detect(head)], digest=digest, size=size)


def check_layer(layer: Member, diff_id: Digest, actual: Digest) -> None:
    """Compare a layer's uncompressed digest with what the config says: nothing else in such an archive vouches for it."""
    if actual != diff_id:
        raise DigestMismatch(
            f"layer {printable(repr(layer.name))}: uncompressed it has digest {actual}, the image's config says {diff_id}",
            actual=actual,
        )


def synthesise(config: Descriptor, layers: Sequence[Descriptor]) -> bytes:
    """Write the manifest of an image that came without one: Docker schema 2, the bytes that containerd's importer writes."""
    return strict_json.dumps_as_go(
        {
            "schemaVersion": 2,
            "mediaType": mediatypes.DOCKER_MANIFEST,
            "config": config.plain.to_json(),
            "layers": [layer.plain.to_json() for layer in layers],
        }
    )


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{where} must be a list of strings")
    return tuple(value)


def _digest(text: str, where: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidReference as error:
        raise InvalidArgument(f"{where}: {error}") from None
