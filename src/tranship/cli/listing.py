"""What a list shows of images: sizes and platforms, of a store's thousands too.

`images.graph` takes a second for 3,000 images. Of a store one query tells which blobs are there; each document is read with
one call and looked at as decoded JSON, without values made of it. An image that is not plain (one of many or large documents,
or of one that is not sound) is left to `images.graph`, which has bounds and says what is wrong.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from tranship.cli import images
from tranship.endpoints.store import StoreSource
from tranship.errors import TranshipError
from tranship.model import mediatypes
from tranship.model.digest import Digest
from tranship.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Descriptor, Root
    from tranship.store.content import Content

MANY = 50  # images from which on one look at all digests of the store is cheaper than a question for each
PLAIN = 512 * 1024  # bytes of an image's documents together; their objects are fewer than any limit then
DEEP = 4  # indexes within indexes


_decode = json.JSONDecoder().raw_decode  # json.loads looks for an encoding first, and for spaces around


class Shown(NamedTuple):
    """What a list shows of an image."""

    bytes: int  # of what is there, each object once
    platforms: list[str]  # of which everything is there


def shown(source: Source, roots: Sequence[Root]) -> Iterator[Shown]:
    """What is shown of each of the roots, in their order."""
    if not isinstance(source, StoreSource):
        yield from (_by_graph(source, root) for root in roots)
        return
    content = source.content
    there: Callable[[Digest], bool] = content.digests().__contains__ if len(roots) > MANY else content.has
    for root in roots:
        yield _Look(content, there).at(root.descriptor) or _by_graph(source, root)


def _by_graph(source: Source, root: Root) -> Shown:
    top = images.graph(source, root)
    return Shown(top.size, images.platforms_of(source, top))


class _NotPlain(Exception):  # no error: a case for images.graph
    """The image is not as nearly all are."""


class _Look:
    """One image: what is there of it is found as its documents are read, from the root down, as in `images.Node.walk`."""

    def __init__(self, content: Content, there: Callable[[Digest], bool]) -> None:
        self._content = content
        self._there = there
        self._sizes: dict[str, int] = {}  # of all objects, by digest; 0 of those that are not there
        self._platforms: dict[str, None] = {}
        self._left = PLAIN

    def at(self, target: Descriptor) -> Shown | None:
        """Look; None when the image is not plain."""
        try:
            platform = str(target.platform) if target.platform is not None else None
            self._document(target.media_type, target.digest, target.size, platform, DEEP)
        except (_NotPlain, TranshipError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        self._platforms.pop("unknown/unknown", None)  # attestations
        return Shown(sum(self._sizes.values()), list(self._platforms))

    def _document(self, media_type: str, digest: Digest, size: int, platform: str | None, deep: int) -> None:
        if media_type not in mediatypes.DOCUMENTS or not deep:
            raise _NotPlain
        if not self._has(digest, size):
            return
        value = self._read(digest, size)
        if value.get("mediaType") not in (None, "", media_type) or value["schemaVersion"] != 2:
            raise _NotPlain
        if ("manifests" in value) != (media_type in mediatypes.INDEXES):
            raise _NotPlain
        if media_type in mediatypes.INDEXES:
            self._index(value, deep)
        else:
            self._manifest(value, platform)

    def _index(self, value: dict[str, Any], deep: int) -> None:
        for child in value["manifests"]:
            if child["digest"] in self._sizes:
                continue
            if child["mediaType"] in mediatypes.DOCUMENTS:
                said = child.get("platform")
                platform = None if said is None else _platform(said) or "unknown"
                self._document(child["mediaType"], child["digest"], child["size"], platform, deep - 1)
            else:
                self._has(child["digest"], child["size"])

    def _manifest(self, value: dict[str, Any], platform: str | None) -> None:
        config, layers = value.get("config"), value["layers"]
        children = layers if config is None else [config, *layers]
        complete, there, sizes = True, self._there, self._sizes
        for child in children:  # as `_has` does it, which is called for each of a hundred thousand otherwise
            digest, size = child["digest"], child["size"]
            if type(size) is not int or size < 0:
                raise _NotPlain
            if not there(digest):
                complete, size = False, 0
            sizes.setdefault(digest, size)
        if complete and platform is None and config is not None:
            platform = _platform(self._read(config["digest"], config["size"], checked=False))
        if complete and platform is not None:
            self._platforms[platform] = None

    def _has(self, digest: Digest, size: int) -> bool:
        if type(size) is not int or size < 0:
            raise _NotPlain
        there = self._there(digest)
        self._sizes.setdefault(digest, size if there else 0)
        return there

    def _read(self, digest: Digest, size: int, *, checked: bool = True) -> Any:
        self._left -= size
        if self._left < 0:
            raise _NotPlain
        digest = Digest(digest)  # which the store's records have confirmed
        raw = self._content.peek(digest, size + 1)
        if len(raw) != size or (checked and Digest.of(raw, digest.algorithm) != digest):
            raise _NotPlain
        text = raw.decode()
        value, end = _decode(text)
        if end != len(text):
            raise _NotPlain
        return value


def _platform(value: dict[str, Any]) -> str | None:
    """The platform that an object says, as people write it; None when it says none."""
    get = value.get
    features = tuple(get("os.features") or ())
    return _spelled(get("os"), get("architecture"), get("variant"), get("os.version"), features)


@functools.lru_cache(maxsize=256)
def _spelled(system: Any, architecture: Any, variant: Any, version: Any, features: tuple[Any, ...]) -> str | None:
    said = {"os": system, "architecture": architecture, "variant": variant, "os.version": version}
    platform = Platform.from_json({**said, "os.features": list(features)}, "platform")
    return str(platform) if platform.os or platform.architecture else None
