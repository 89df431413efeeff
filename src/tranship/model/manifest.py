"""Documents: manifests and indexes, as the bytes that came, with their edges.

A document is parsed to find its children and is forwarded as the bytes that came; nothing here encodes one again.
Refused: a document that can be read as manifest and as index at once (CVE-2021-41190), media types that disagree, schema 1,
more children than any image has, and bytes over the limit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tranship.errors import DigestMismatch, InvalidArgument, Unsupported, printable
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor, string_map
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DOCUMENT = 4_393_216  # bytes; what the large registries accept, and containerd's importer reads
MAX_CHILDREN = 10_000  # descriptors in one document
MAX_DEPTH = 16  # indexes within indexes
_KNOWN_KEYS = frozenset(
    {
        "schemaVersion",
        "mediaType",
        "artifactType",
        "config",
        "layers",
        "manifests",
        "subject",
        "annotations",
        "fsLayers",
    }
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image (or artifact) manifest: its config and layers, in order."""

    raw: bytes
    descriptor: Descriptor
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]
    artifact_type: str | None

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """Everything that the manifest needs: its config, then its layers."""
        return (self.config, *self.layers) if self.config is not None else self.layers

    @property
    def kind_of_artifact(self) -> str | None:
        """By what a list of referrers is filtered: its artifactType, else the type of its config (distribution-spec)."""
        return self.artifact_type or (self.config.media_type if self.config is not None else None)


@dataclass(frozen=True, slots=True)
class Index:
    """An index (Docker: manifest list): manifests and further indexes, in order."""

    raw: bytes
    descriptor: Descriptor
    manifests: tuple[Descriptor, ...]
    subject: Descriptor | None
    annotations: Mapping[str, str]
    artifact_type: str | None = None

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """The manifests, as they stand."""
        return self.manifests

    @property
    def kind_of_artifact(self) -> str | None:
        """Its artifactType; an index has no config that could stand in for it."""
        return self.artifact_type or None


Document = Manifest | Index


def parse(raw: bytes, descriptor: Descriptor) -> Document:
    """Check `raw` against its descriptor (size, digest, media type) and read its edges.

    Raises DigestMismatch for other bytes than described, InvalidArgument for a document that is not sound.
    """
    what = f"{descriptor.kind} {descriptor.digest.short}"
    if len(raw) != descriptor.size:
        raise DigestMismatch(f"{what}: expected {descriptor.size} bytes, found {len(raw)}", descriptor=descriptor)
    actual = Digest.of(raw, descriptor.digest.algorithm)
    if actual != descriptor.digest:
        raise DigestMismatch(
            f"{what}: the bytes have digest {actual}, not {descriptor.digest}", descriptor=descriptor, actual=actual
        )
    value = _loads(raw, what)
    return _read(raw, value, descriptor, what)


def describe(raw: bytes, media_type: str | None = None, algorithm: str = "sha256") -> Descriptor:
    """Describe a document of which only the bytes are known, by its own `mediaType` or by its fields."""
    value = _loads(raw, "document")
    found = media_type or detect(value)
    return Descriptor(media_type=found, digest=Digest.of(raw, algorithm), size=len(raw))


def retired(what: str) -> Unsupported:
    """The error for a manifest of Docker's schema 1."""
    return Unsupported(
        f"{what} is a Docker schema 1 manifest, a format retired in 2017",
        hint="pull it with an old docker and push it again, then copy that",
    )


def detect(value: Any) -> str:
    """The media type of a decoded document: what it says, or what its fields mean."""
    if isinstance(value, dict):
        said = value.get("mediaType")
        if isinstance(said, str) and said:
            return said
        if "manifests" in value:
            return mediatypes.OCI_INDEX
        if "layers" in value or "config" in value:
            return mediatypes.OCI_MANIFEST
    raise InvalidArgument("document is neither a manifest nor an index")


def _loads(raw: bytes, what: str) -> Any:
    if len(raw) > MAX_DOCUMENT:
        raise InvalidArgument(f"{what} has {len(raw)} bytes; at most {MAX_DOCUMENT} are read")
    return strict_json.loads(raw, what)


def _read(raw: bytes, value: Any, descriptor: Descriptor, what: str) -> Document:
    value = strict_json.fields(value, _KNOWN_KEYS, what)
    if value.get("schemaVersion") == 1 or "fsLayers" in value or descriptor.media_type in mediatypes.DOCKER_SCHEMA1:
        raise retired(what)
    said = value.get("mediaType")
    if said not in (None, "", descriptor.media_type):
        raise InvalidArgument(
            f"{what}: it says mediaType {printable(repr(said))}, its descriptor says {printable(descriptor.media_type)!r}"
        )
    if value.get("manifests") is not None and (value.get("layers") is not None or value.get("config") is not None):
        raise InvalidArgument(f"{what} can be read as a manifest and as an index; such a document is refused")
    subject = value.get("subject")
    subject = Descriptor.from_json(subject, f"{what}: subject") if subject is not None else None
    annotations = string_map(value.get("annotations"), f"{what}: annotations")
    artifact_type = value.get("artifactType")
    if artifact_type is not None and not isinstance(artifact_type, str):
        raise InvalidArgument(f"{what}: artifactType must be a string, found {printable(repr(artifact_type))}")
    if descriptor.is_index:
        if value.get("layers") is not None or value.get("config") is not None:
            raise InvalidArgument(f"{what} has the fields of a manifest, and its media type says index")
        manifests = _children(value.get("manifests"), f"{what}: manifests")
        return Index(raw, descriptor, manifests, subject, annotations, artifact_type)
    if not descriptor.is_manifest:
        raise InvalidArgument(f"{what}: {printable(repr(descriptor.media_type))} is no media type of a document")
    if value.get("manifests") is not None:
        raise InvalidArgument(f"{what} has the fields of an index, and its media type says manifest")
    config = value.get("config")
    return Manifest(
        raw,
        descriptor,
        Descriptor.from_json(config, f"{what}: config") if config is not None else None,
        _children(value.get("layers"), f"{what}: layers"),
        subject,
        annotations,
        artifact_type,
    )


def _children(value: Any, where: str) -> tuple[Descriptor, ...]:
    if value is None:  # Go writes null for an empty list
        return ()
    if not isinstance(value, list):
        raise InvalidArgument(f"{where} must be a list, found {type(value).__name__}")
    if len(value) > MAX_CHILDREN:
        raise InvalidArgument(f"{where} has {len(value)} entries; at most {MAX_CHILDREN} are read")
    return tuple(Descriptor.from_json(item, f"{where}[{n}]") for n, item in enumerate(value))
