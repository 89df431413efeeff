"""Documents that two readers may understand differently, or that ask for what must not be given.

Each form takes a sound document and its media type and returns a bent one. They serve the fault "confusion", and tests of
anything else that reads manifests: an archive, a layout, a daemon.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tranship.model import mediatypes

Bend = Callable[[bytes, str], tuple[bytes, str]]
_DIGEST = "sha256:" + "0" * 64
_CHILD = {"mediaType": mediatypes.OCI_MANIFEST, "digest": _DIGEST, "size": 2}
_LAYER = {"mediaType": mediatypes.OCI_LAYER, "digest": _DIGEST, "size": 2}


def _fields(change: Callable[[dict[str, Any]], object]) -> Bend:
    """Decode, change, encode."""

    def bend(raw: bytes, media_type: str) -> tuple[bytes, str]:
        value = json.loads(raw)
        change(value)
        return json.dumps(value).encode(), media_type

    return bend


def _bytes(change: Callable[[bytes], bytes]) -> Bend:
    return lambda raw, media_type: (change(raw), media_type)


def _first_child(**fields: Any) -> Bend:
    """Change the first layer, or the first manifest of an index."""
    return _fields(lambda value: (value.get("layers") or value.get("manifests") or [value["config"]])[0].update(fields))


def _both(value: dict[str, Any]) -> None:
    value.setdefault("manifests", [_CHILD])
    value.setdefault("layers", [_LAYER])


def _insert(text: bytes) -> Bend:
    """Put a member in front of the first one."""
    return _bytes(lambda raw: b"{" + text + b"," + raw.lstrip()[1:])


CONFUSIONS: dict[str, Bend] = {
    "both": _fields(_both),  # CVE-2021-41190
    "other-media-type": _fields(lambda value: value.update(mediaType="application/vnd.example.other+json")),
    "index-as-manifest": lambda raw, media_type: (
        raw,
        mediatypes.OCI_INDEX if media_type in mediatypes.MANIFESTS else mediatypes.OCI_MANIFEST,
    ),
    "schema1": lambda raw, _: (
        json.dumps({**json.loads(raw), "schemaVersion": 1, "fsLayers": [], "mediaType": None}).encode(),
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ),
    "duplicate-key": _insert(b'"layers":[],"manifests":[]'),
    "case-variant": _insert(b'"Layers":[],"Manifests":[]'),
    "byte-order-mark": _bytes(lambda raw: b"\xef\xbb\xbf" + raw),
    "utf-16": _bytes(lambda raw: raw.decode().encode("utf-16")),
    "latin-1": _insert(b'"x":"caf\xe9"'),
    "nan": _insert(b'"x":NaN'),
    "trailing": _bytes(lambda raw: raw + b"{}"),
    "surrogate": _insert(b'"x":"\\ud800"'),
    "nested": _insert(b'"x":' + b"[" * 5000 + b"]" * 5000),
    "long-number": _insert(b'"x":' + b"9" * 5000),
    "array": _bytes(lambda raw: b"[" + raw + b"]"),
    "null": _bytes(lambda _: b"null"),
    "empty": _bytes(lambda _: b""),
    "html": _bytes(lambda _: b"<html><body>please log in</body></html>"),
    "climbing-digest": _first_child(digest="sha256:../../../../etc/passwd"),
    "short-digest": _first_child(digest="sha256:abc"),
    "upper-digest": _first_child(digest="sha256:" + "A" * 64),
    "newline-digest": _first_child(digest=_DIGEST + "\n"),
    "md5-digest": _first_child(digest="md5:" + "0" * 32),
    "negative-size": _first_child(size=-1),
    "huge-size": _first_child(size=1 << 62),
    "float-size": _first_child(size=1.5),
    "small-size": _first_child(size=1),
    "wrong-data": _first_child(data="AAAA"),
    "children-object": _fields(
        lambda value: value.update({"layers" if "layers" in value else "manifests": {"0": _LAYER}})
    ),
    "control-media-type": _first_child(mediaType="\x1b[2J\r\nX: y"),
}
