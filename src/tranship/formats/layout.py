"""OCI image layouts: the marker file, `index.json`, and the names of blobs (OCI image specification, "Image Layout").

A directory and a tar hold the same: `oci-layout`, `index.json` and `blobs/ALGORITHM/HEX`. Nothing here opens a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tranship.errors import InvalidArgument, InvalidReference, Unsupported, printable
from tranship.model import strict_json
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest
from tranship.model.mediatypes import OCI_INDEX
from tranship.model.naming import in_archive, stated_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

MARKER = "oci-layout"
INDEX = "index.json"
DOCKER_MANIFEST = "manifest.json"
DOCKER_REPOSITORIES = "repositories"
MARKER_BYTES = b'{"imageLayoutVersion":"1.0.0"}'
MAX_MARKER = 4096  # bytes
MAX_INDEX = 20 << 20  # bytes of `index.json`; containerd's importer reads as many
SUBJECT = "io.containerd.manifest.subject"  # annotation: the root is here because it refers to that manifest

# What an archive means hangs on these files, so they are read whole and may not contradict each other.
DECISIVE = frozenset({MARKER, INDEX, DOCKER_MANIFEST, DOCKER_REPOSITORIES})

_VERSION = "1.0.0"
_MARKER_KEYS = frozenset({"imageLayoutVersion"})
_INDEX_KEYS = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations", "config", "layers"}
)
_GO_ORDER = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")

Generation = Literal["layout", "docker", "docker-legacy"]


def recognise(names: Collection[str]) -> Generation:
    """Say what kind of image archive holds these files; a layout inside wins, then docker's newer manifest.

    Raises InvalidArgument for none, which names what was found.
    """
    if MARKER in names:
        if INDEX not in names:
            raise InvalidArgument(f"an OCI layout without {INDEX}", hint="the download may be incomplete")
        return "layout"
    if DOCKER_MANIFEST in names:
        return "docker"
    if DOCKER_REPOSITORIES in names:
        return "docker-legacy"
    found = ", ".join(printable(name, 40) for name, _ in zip(names, range(4), strict=False)) or "nothing"
    raise InvalidArgument(
        f"this is no image: expected {MARKER}, {DOCKER_MANIFEST} or {DOCKER_REPOSITORIES}, found {found}",
        hint="`tranship pack FILE NAME` makes an image of the tar of a root file system",
    )


def keep_decisive(documents: dict[str, bytes], name: str, data: bytes) -> None:
    """Note one of the DECISIVE files; a second one of the same name and other bytes is refused.

    Readers differ on whether the first or the last one counts, so a scanner and a runtime would see different images.
    """
    if documents.setdefault(name, data) != data:
        raise InvalidArgument(f"the archive holds two different files {name}, and readers differ on which one counts")


# --- names of blobs ---------------------------------------------------------------------------------------------------


def blob_path(digest: Digest) -> str:
    """`blobs/sha256/HEX`."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


def digest_of_path(path: str) -> Digest | None:
    """The digest that a blob's path names; None for every other path."""
    folder, _, rest = path.partition("/")
    algorithm, _, digits = rest.partition("/")
    if folder != "blobs":
        return None
    try:
        return Digest.parse(f"{algorithm}:{digits}")
    except InvalidReference:
        return None


# --- documents --------------------------------------------------------------------------------------------------------


def check_marker(raw: bytes) -> None:
    """Check the bytes of `oci-layout`: Unsupported for another version than 1.0.0, InvalidArgument for no layout."""
    if len(raw) > MAX_MARKER:
        raise InvalidArgument(f"{MARKER} has {len(raw)} bytes; at most {MAX_MARKER} are read")
    value = strict_json.fields(strict_json.loads(raw, MARKER), _MARKER_KEYS, MARKER)
    version = value.get("imageLayoutVersion")
    if not isinstance(version, str):
        raise InvalidArgument(f"{MARKER} says no imageLayoutVersion")
    if version != _VERSION:
        raise Unsupported(f"OCI layout of version {printable(repr(version))}; only {_VERSION} is known")


def parse_index(raw: bytes) -> tuple[Root, ...]:
    """Read `index.json`: a root for each entry, in order, with the name that its annotations say.

    Two names of one image are two entries. Raises InvalidArgument.
    """
    if len(raw) > MAX_INDEX:
        raise InvalidArgument(f"{INDEX} has {len(raw)} bytes; at most {MAX_INDEX} are read")
    value = strict_json.fields(strict_json.loads(raw, INDEX, strict_json.room(raw)), _INDEX_KEYS, INDEX)
    version, media_type, manifests = value.get("schemaVersion"), value.get("mediaType"), value.get("manifests")
    if version != 2 or isinstance(version, bool):
        raise InvalidArgument(f"{INDEX} has schemaVersion {printable(repr(version))}, expected 2")
    if media_type not in (None, "", OCI_INDEX):
        raise InvalidArgument(f"{INDEX} says mediaType {printable(repr(media_type))}, expected {OCI_INDEX}")
    if value.get("config") is not None or value.get("layers") is not None:
        raise InvalidArgument(f"{INDEX} can be read as a manifest and as an index; such a document is refused")
    if manifests is not None and not isinstance(manifests, list):
        raise InvalidArgument(f"{INDEX}: manifests must be a list, found {type(manifests).__name__}")
    return tuple(_root(item, f"{INDEX}: manifests[{n}]") for n, item in enumerate(manifests or ()))


def _root(item: Any, where: str) -> Root:
    descriptor = Descriptor.from_json(item, where)
    if not descriptor.media_type:
        raise InvalidArgument(f"{where} has no mediaType")
    name, subject = stated_name(descriptor), descriptor.annotations.get(SUBJECT)
    try:
        refers_to = Digest.parse(subject) if subject else None
        return Root(descriptor, name, None if name else refers_to)  # what has a name is there for itself
    except InvalidReference as error:
        raise InvalidArgument(f"{where}: annotation {SUBJECT}: {error}") from None


def entry(root: Root, labels: Mapping[str, str] | None = None) -> Descriptor:
    """The root as `index.json` lists it: `naming.in_archive`, and what it refers to if it is here for that."""
    return in_archive(root, labels).annotated({SUBJECT: root.subject})


def index_json(entries: Iterable[Descriptor], *, before: bytes | None = None) -> bytes:
    """Write `index.json`, byte for byte as containerd's exporter does; entries of our own are made by `entry`.

    before  the sound `index.json` that it takes the place of: its other fields are kept

    Raises InvalidArgument for more than anybody would read.
    """
    value: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_INDEX}
    if before is not None:
        held = strict_json.loads(before, INDEX, strict_json.room(before))
        value |= {k: v for k, v in held.items() if k not in ("mediaType", "manifests")}
    value["manifests"] = [_ordered(descriptor.to_json()) for descriptor in entries]
    raw = strict_json.dumps_as_go(value)
    if len(raw) > MAX_INDEX:
        raise InvalidArgument(f"{INDEX} of so many images would have {len(raw)} bytes; readers take {MAX_INDEX}")
    return raw


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    """The fields in the order of Go's struct, and annotations by their keys."""
    if "annotations" in value:
        value["annotations"] = dict(sorted(value["annotations"].items()))
    known = {key: value[key] for key in _GO_ORDER if key in value}
    return {**known, **value}
