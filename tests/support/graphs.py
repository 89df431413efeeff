"""What is really there, read without tranship: the closure of an image in a layout folder, to compare ends with."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT_TYPES = {
    *(f"application/vnd.oci.image.{kind}.v1+json" for kind in ("manifest", "index")),
    *(f"application/vnd.docker.distribution.{kind}.v2+json" for kind in ("manifest", "manifest.list")),
}


def index(layout: Path) -> list[dict[str, Any]]:
    """The entries of index.json."""
    return json.loads((layout / "index.json").read_bytes())["manifests"]


def blob(layout: Path, digest: str) -> bytes:
    """A blob's bytes, checked."""
    algorithm, _, digits = digest.partition(":")
    data = (layout / "blobs" / algorithm / digits).read_bytes()
    assert hashlib.new(algorithm, data).hexdigest() == digits
    return data


def closure(layout: Path, digest: str, *, partial: bool = False) -> set[str]:
    """The digests that a root reaches; every one is there with the right bytes, unless `partial` allows absent children."""
    found: set[str] = set()
    stack = [(digest, True)]
    while stack:
        digest, document = stack.pop()
        if digest in found:
            continue
        algorithm, _, digits = digest.partition(":")
        if partial and not (layout / "blobs" / algorithm / digits).exists():
            continue
        data = blob(layout, digest)
        found.add(digest)
        if not document:
            continue
        value = json.loads(data)
        stack.extend(
            (child["digest"], child.get("mediaType") in DOCUMENT_TYPES) for child in value.get("manifests") or []
        )
        leaves = [*(value.get("layers") or []), *([value["config"]] if value.get("config") else [])]
        stack.extend((leaf["digest"], False) for leaf in leaves)
    return found


def images(layout: Path) -> dict[str, set[str]]:
    """Root digest → closure, for every image of a layout."""
    return {entry["digest"]: closure(layout, entry["digest"]) for entry in index(layout)}
