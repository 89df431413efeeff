"""Blobs: reading them, with ranges, and deleting them (distribution specification, "Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tranship.testing.registry.messages import Headers, Refusal, Response

if TYPE_CHECKING:
    from tranship.model.digest import Digest
    from tranship.testing.registry.protocol import Call

_RANGE = re.compile(r"bytes=([0-9]*)-([0-9]*)")


def read(call: Call) -> Response:
    """GET and HEAD of a blob. One range is honoured; several, or none that can be read, give the whole (RFC 9110, 14.2)."""
    digest, size = find(call)
    headers = Headers(
        [
            ("Content-Type", "application/octet-stream"),
            ("Docker-Content-Digest", digest),
            ("ETag", f'"{digest}"'),
            ("Accept-Ranges", "bytes"),
            ("Cache-Control", "max-age=31536000"),
        ]
    )
    asked = call.request.headers.get("Range")
    condition = call.request.headers.get("If-Range")
    match = _RANGE.fullmatch(asked or "")
    if match is None or match.groups() == ("", "") or condition not in (None, f'"{digest}"'):
        return Response(200, headers, call.state.storage.body(digest))
    start, stop = _span(match[1], match[2], size)
    if start >= stop:
        raise Refusal(
            416, "UNSUPPORTED", f"{asked} is outside of {size} bytes", headers=[("Content-Range", f"bytes */{size}")]
        )
    headers.set("Content-Range", f"bytes {start}-{stop - 1}/{size}")
    return Response(206, headers, call.state.storage.body(digest, start, stop - start))


def delete(call: Call) -> Response:
    """DELETE of a blob from this repository."""
    digest, _ = find(call)
    call.state.remove_blob(call.name, digest)
    return Response(202)


def find(call: Call) -> tuple[Digest, int]:
    """The blob's digest and size; BLOB_UNKNOWN when this repository has no such blob."""
    digest = call.digest()
    held = call.state.repository(call.name)
    size = call.state.storage.size(digest)
    if held is None or digest not in held.blobs or size is None:
        raise Refusal(404, "BLOB_UNKNOWN", f"no blob {digest} in {call.name}", detail={"digest": digest})
    return digest, size


def _span(first: str, last: str, size: int) -> tuple[int, int]:
    """The half-open span of a Range; empty when it cannot be satisfied."""
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size
