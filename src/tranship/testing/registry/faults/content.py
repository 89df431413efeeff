"""Faults of content: other bytes than were asked for, other headers than belong to them, and answers to ranges that lie."""

from __future__ import annotations

import json
import re
import zlib
from typing import TYPE_CHECKING, Literal

from tranship.model.digest import Digest
from tranship.testing.registry.faults.confusion import CONFUSIONS, Bend
from tranship.testing.registry.faults.kinds import Strike, fault
from tranship.testing.registry.messages import Body, Chunk, Response
from tranship.testing.registry.protocol import is_tag
from tranship.testing.registry.state import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.testing.registry.state import State


@fault("wrong-bytes", aim=("blob.get", "manifest.get"), times=1)
def wrong_bytes(strike: Strike, *, at: int = 0) -> Response | None:
    """Byte `at` of the body (from the end, if negative) is another one; length and headers are as they should be."""
    response = strike.proceed()
    size = response.body.size
    if response.status not in (200, 206) or not -size <= at < size:
        return None
    place, chunks = at % size, response.body.chunks

    def flip() -> Iterator[Chunk]:
        passed = 0
        for chunk in chunks():
            if passed <= place < passed + len(chunk):
                changed = bytearray(chunk)
                changed[place - passed] ^= 0x01
                yield bytes(changed)
            else:
                yield chunk
            passed += len(chunk)

    response.body = Body(size, flip)
    return response


@fault("wrong-digest-header", aim=("blob", "manifest", "upload.finish", "upload.single", "upload.mount"), times=1)
def wrong_digest_header(strike: Strike, *, value: str = "sha256:" + "0" * 64) -> Response | None:
    """Docker-Content-Digest is this value, whatever the content."""
    response = strike.proceed()
    if "Docker-Content-Digest" not in response.headers:
        return None
    response.headers.set("Docker-Content-Digest", value)
    return response


@fault("wrong-content-type", aim=("manifest.get", "manifest.head"), times=1)
def wrong_content_type(strike: Strike, *, value: str | None = "text/html") -> Response | None:
    """Content-Type is this value, or absent (None)."""
    response = strike.proceed()
    if response.status != 200:
        return None
    response.headers.remove("Content-Type")
    if value is not None:
        response.headers.set("Content-Type", value)
    return response


@fault("wrong-size-header", aim=("blob.head", "manifest.head"), times=1)
def wrong_size_header(strike: Strike, *, value: str = "1") -> Response | None:
    """The answer to HEAD has this Content-Length."""
    response = strike.proceed()
    if response.status != 200:
        return None
    response.headers.set("Content-Length", value)
    return response


@fault("huge-manifest", aim=("manifest.get",), times=1)
def huge_manifest(strike: Strike, *, size: int = 16 << 20) -> Response | None:
    """The manifest has `size` bytes: the true one, and spaces behind it."""
    response = strike.proceed()
    if response.status != 200:
        return None
    chunks, padding = response.body.chunks, max(0, size - response.body.size)

    def pad() -> Iterator[Chunk]:
        yield from chunks()
        spaces = b" " * (64 * 1024)
        for place in range(0, padding, len(spaces)):
            yield spaces[: padding - place]

    response.body = Body(response.body.size + padding, pad)
    return response


@fault("gzip", aim=("blob.get", "manifest.get"))
def gzip(strike: Strike, *, bomb: int = 0, only_say: bool = False) -> Response | None:
    """The body is gzip-encoded and says so (Content-Encoding), though nobody asked for it; `bomb` zeros follow the content.
    With `only_say` the bytes are as they were, as where a server names what a layer is rather than how it travels.
    """
    response = strike.proceed()
    if response.status != 200:
        return None
    response.headers.set("Content-Encoding", "gzip")
    if only_say:
        return response
    chunks = response.body.chunks

    def encode() -> Iterator[Chunk]:
        encoder = zlib.compressobj(wbits=31)
        for chunk in chunks():
            yield encoder.compress(chunk)
        zeros = bytes(1 << 20)
        for place in range(0, bomb, len(zeros)):
            yield encoder.compress(zeros[: bomb - place])
        yield encoder.flush()

    response.body = Body(0, encode)
    response.framing = "chunked"
    return response


@fault("substitute", aim=("blob.get", "manifest.get", "manifest.head"))
def substitute(strike: Strike, *, to: str) -> Response | None:
    """Whatever was asked for, the content of the digest `to` comes, with all the headers that belong to it."""
    repository = _named(strike)[0]
    digest, state = Digest.parse(to), _state(strike)
    response = strike.proceed()
    if response.status != 200:
        return None
    stored = state.repositories[repository].manifests.get(digest)
    media_type = stored.media_type if stored is not None else "application/octet-stream"
    _describe(response, digest, media_type)
    response.body = state.storage.body(digest)
    return response


@fault("ignore-range", aim=("blob.get",))
def ignore_range(strike: Strike) -> Response | None:
    """A request for a range is answered with the whole (200), as servers may."""
    headers = strike.request.headers
    asked = headers.get("Range")
    if asked is None:
        return None
    headers.remove("Range")
    try:
        response = strike.proceed()
    finally:
        headers.set("Range", asked)
    response.headers.remove("Accept-Ranges")
    return response


@fault("range-refused", aim=("blob.get",), times=1)
def range_refused(strike: Strike) -> Response | None:
    """A request for a range that is there is refused with 416."""
    response = strike.proceed()
    total = (response.headers.get("Content-Range") or "").partition("/")[2]
    if response.status != 206:
        return None
    refused = Response(416)
    refused.headers.set("Content-Range", f"bytes */{total}")
    return refused


@fault("lying-range", aim=("blob.get",), times=1)
def lying_range(
    strike: Strike, *, form: Literal["offset", "start", "total", "missing", "junk", "short"] = "offset", by: int = 1
) -> Response | None:
    """The answer to a range lies: Content-Range is right and the bytes are those `by` further on (`"offset"`), the bytes are
    right and it says another `"start"` or `"total"`, it is `"missing"` or `"junk"`, or the answer is `by` bytes `"short"` of
    what was asked for, and says so.
    """
    response = strike.proceed()
    if response.status != 206:
        return None
    given = response.headers.get("Content-Range") or ""
    first, last, total = (int(number) for number in given.removeprefix("bytes ").replace("/", "-").split("-"))
    response.headers.remove("Content-Range")
    if form == "offset":
        digest = Digest.parse(strike.request.path.rpartition("/")[2])
        moved = max(0, first + by)
        response.body = _state(strike).storage.body(digest, moved, min(response.body.size, total - moved))
        response.headers.set("Content-Range", given)
    elif form == "short":
        digest = Digest.parse(strike.request.path.rpartition("/")[2])
        count = max(1, response.body.size - by)
        response.body = _state(strike).storage.body(digest, first, count)
        response.headers.set("Content-Range", f"bytes {first}-{first + count - 1}/{total}")
    elif form != "missing":
        said = {
            "start": f"bytes {first + by}-{last + by}/{total}",
            "total": f"bytes {first}-{last}/{total + by}",
            "junk": "bytes of some kind",
        }
        response.headers.set("Content-Range", said[form])
    return response


@fault("tag-moves", aim=("manifest.head", "manifest.get"), times=1)
def tag_moves(strike: Strike, *, to: str) -> Response | None:
    """When a tag has been read (HEAD or GET), it moves to the digest `to`, which must be in the repository."""
    response = strike.proceed()
    repository, tag = _named(strike)
    if response.status != 200 or not is_tag(tag):
        return None
    state = _state(strike)
    with state.lock:
        state.repositories[repository].tags[tag] = Digest.parse(to)
    return response


@fault("confusion", aim=("manifest.head", "manifest.get"))
def confusion(strike: Strike, *, form: str = "both") -> Response | None:
    """A tag gives a document bent in one of the forms of CONFUSIONS, with the digest that belongs to it."""
    return _bent(strike, CONFUSIONS[form])


@fault("foreign-urls", aim=("manifest.head", "manifest.get"))
def foreign_urls(strike: Strike) -> Response | None:
    """A tag gives a manifest whose layers say that they can also be had at `urls` elsewhere: no credentials must go there."""

    def bend(raw: bytes, media_type: str) -> tuple[bytes, str]:
        value = json.loads(raw)
        for layer in value.get("layers", ()):
            layer["urls"] = [f"{strike.server.elsewhere.url}/v2/{_named(strike)[0]}/blobs/{layer['digest']}"]
        return json.dumps(value).encode(), media_type

    return _bent(strike, bend)


def _bent(strike: Strike, bend: Bend) -> Response | None:
    """Serve another document for a tag, in HEAD and GET alike, and let it be there by its digest too."""
    repository, tag = _named(strike)
    response = strike.proceed()
    if response.status != 200 or not is_tag(tag):
        return None
    key = f"{repository}:{tag}"
    if key not in strike.memory:
        sound = b"".join(bytes(chunk) for chunk in response.body.chunks())
        strike.memory[key] = bend(sound, response.headers.get("Content-Type") or "")
    raw, media_type = strike.memory[key]
    digest, state = Digest.of(raw), _state(strike)
    if digest not in state.repositories[repository].manifests:
        state.put_manifest(repository, digest, raw, Stored(media_type, len(raw)), ())
    _describe(response, digest, media_type)
    response.body = Body.of(raw)
    return response


def _describe(response: Response, digest: Digest, media_type: str) -> None:
    response.headers.set("Docker-Content-Digest", digest)
    response.headers.set("ETag", f'"{digest}"')
    response.headers.set("Content-Type", media_type)


def _named(strike: Strike) -> tuple[str, str]:
    """The repository, and the tag or digest, that the request's path names."""
    _, repository, _, reference = re.split(r"^/v2/(.+)/(blobs|manifests)/", strike.request.path)
    return repository, reference


def _state(strike: Strike) -> State:
    state: State = strike.server.state  # type: ignore[attr-defined]  # these are aimed at what only a registry answers
    return state
