"""Descriptors: what an object is, its digest and its size; and roots, the places where a graph is entered."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tranship.errors import InvalidArgument, InvalidReference, printable
from tranship.model import mediatypes, strict_json
from tranship.model.digest import Digest
from tranship.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SIZE = (1 << 63) - 1  # bytes; Go's int64
_OWN_KEYS = frozenset({"mediaType", "digest", "size", "platform", "annotations"})
_KNOWN_KEYS = _OWN_KEYS | {"urls", "data", "artifactType"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """A pointer to content (OCI image specification, "descriptor").

    `extra` keeps the fields that we do not read (`urls`, `data`, `artifactType`, unknown ones), so that encoding a
    descriptor again loses nothing.
    """

    media_type: str
    digest: Digest
    size: int  # bytes
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def from_json(cls, value: Any, where: str) -> Descriptor:
        """Read a decoded JSON object; `where` names it in the InvalidArgument that a bad one raises."""
        value = strict_json.fields(value, _KNOWN_KEYS, where)
        media_type, size = value.get("mediaType", ""), value.get("size")
        if not isinstance(media_type, str):
            raise InvalidArgument(f"{where}: mediaType must be a string, found {printable(repr(media_type))}")
        try:
            digest = Digest.parse(value.get("digest"))
        except InvalidReference as error:
            raise InvalidArgument(f"{where}: {error}") from None
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            raise InvalidArgument(f"{where}: size must be a number of bytes, found {printable(repr(size))}")
        platform = value.get("platform")
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            platform=Platform.from_json(platform, where) if platform is not None else None,
            annotations=string_map(value.get("annotations"), f"{where}: annotations"),
            extra={k: v for k, v in value.items() if k not in _OWN_KEYS},
        )

    @classmethod
    def again(cls, value: Mapping[str, Any]) -> Descriptor:
        """Read what `to_json` made of a descriptor of ours; nothing is checked, for a list reads ten thousand."""
        platform = value.get("platform")
        return cls(
            media_type=value["mediaType"],
            digest=Digest(value["digest"]),
            size=value["size"],
            platform=Platform.from_json(platform, "platform") if platform is not None else None,
            annotations=value.get("annotations", {}),
            extra={k: v for k, v in value.items() if k not in _OWN_KEYS},
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as the specification's JSON object, with every field that was read."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform is not None:
            value["platform"] = self.platform.to_json()
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return {**value, **self.extra}

    def annotated(self, annotations: Mapping[str, str | None]) -> Descriptor:
        """The same pointer with these annotations set; None removes one."""
        merged = {**self.annotations, **annotations}
        return replace(self, annotations={k: v for k, v in merged.items() if v is not None})

    @property
    def plain(self) -> Descriptor:
        """Media type, digest and size alone: the object without what was said about it at one place."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)

    @property
    def is_manifest(self) -> bool:
        """Is it an image manifest?"""
        return self.media_type in mediatypes.MANIFESTS

    @property
    def is_index(self) -> bool:
        """Is it an index (manifest list)?"""
        return self.media_type in mediatypes.INDEXES

    @property
    def is_document(self) -> bool:
        """Has it children: is it a manifest or an index?"""
        return self.media_type in mediatypes.DOCUMENTS

    @property
    def kind(self) -> str:
        """The field's word for it: index, manifest, config, layer, attestation or blob."""
        if self.is_index:
            return "index"
        if self.is_manifest:
            return "manifest"
        if self.media_type in mediatypes.CONFIGS:
            return "config"
        if mediatypes.is_layer(self.media_type):
            return "layer"
        return "attestation" if self.media_type == "application/vnd.in-toto+json" else "blob"

    def __str__(self) -> str:
        return f"{self.kind} {self.digest.short}"


@dataclass(frozen=True, slots=True)
class Root:
    """A starting point of a graph, and the name by which an endpoint knows it (None: it has none).

    `subject` is set where the root takes part only because it refers to that object (a signature, an SBOM).
    """

    descriptor: Descriptor
    name: str | None = None
    subject: Digest | None = None


def string_map(value: Any, where: str) -> Mapping[str, str]:
    """Read a JSON object of strings; null counts as empty, as Go writes it."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise InvalidArgument(f"{where} must be an object of strings")
    return value
