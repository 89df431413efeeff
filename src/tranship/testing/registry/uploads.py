"""Uploads: sessions, chunks, single requests and mounts (distribution specification, "Pushing blobs").

What a request that broke off had delivered stays in its session, as in the common registries, so that a client can ask for the
status and go on from there. `Range: 0-0` says nothing or one byte: the field has no form for "nothing".
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tranship.errors import printable
from tranship.model.digest import ALGORITHMS
from tranship.testing.registry.messages import Headers, Refusal, Request, Response
from tranship.testing.registry.protocol import Call, check_name, read_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.model.digest import Digest
    from tranship.testing.registry.state import Upload

_COURTESY = 0.05  # seconds that a request lets another one of its session go on, before it ends it
_PATIENCE = 5.0  # seconds that it waits for that end
_BUFFER = 512 * 1024  # bytes
_CONTENT_RANGE = re.compile(r"([0-9]{1,19})-([0-9]{1,19})")


def start(call: Call) -> Response:
    """POST: open a session, or mount a blob, or take a whole blob at once."""
    query = call.request.query
    if "mount" in query and (response := _mount(call, query["mount"], query.get("from"))):
        return response
    if "digest" in query and call.options.single_post:
        return _single(call, read_digest(query["digest"]))
    if call.options.strict and "digest" not in query and call.request.headers.get("Content-Length") != "0":
        raise Refusal(411, "SIZE_INVALID", "an upload is opened with Content-Length: 0")
    algorithm = query.get("digest-algorithm", "sha256")
    if algorithm not in ALGORITHMS:
        raise Refusal(400, "DIGEST_INVALID", f"unknown digest algorithm {printable(algorithm)}")
    return _progress(202, call.state.begin(call.name, algorithm))


def chunk(call: Call) -> Response:
    """PATCH: append the body. Without a Content-Range it is docker's streamed upload, which every registry takes."""
    with _session(call) as upload:
        _check_range(call, upload)
        _receive(call.request, upload)
        return _progress(202, upload)


def finish(call: Call) -> Response:
    """PUT: append the body, if there is one, and close the session with the digest of it all."""
    text = call.request.query.get("digest")
    with _session(call) as upload:
        if text is None:
            raise Refusal(400, "DIGEST_INVALID", "the closing PUT needs a digest parameter")
        digest = read_digest(text)
        _check_range(call, upload)
        _receive(call.request, upload)
        return _commit(call, upload, digest)


def status(call: Call) -> Response:
    """GET: how far the session has come."""
    with _session(call) as upload:
        return _progress(204, upload)


def cancel(call: Call) -> Response:
    """DELETE: end the session."""
    with _session(call) as upload:
        call.state.cancel(upload)
        return Response(204)


def _mount(call: Call, text: str, source: str | None) -> Response | None:
    """201 when the blob can be had from another repository, from any when none is named; None: start an upload instead."""
    digest = read_digest(text)
    if source is None:
        source = call.state.holder(digest)
    else:
        check_name(source)
    held = call.state.repository(source) if source is not None else None
    if held is None or digest not in held.blobs:
        return None
    call.state.link(call.name, digest)
    return _created(call, digest)


def _single(call: Call, digest: Digest) -> Response:
    upload = call.state.begin(call.name, digest.algorithm)
    try:
        _receive(call.request, upload)
    except BaseException:
        call.state.cancel(upload)
        raise
    return _commit(call, upload, digest)


def _commit(call: Call, upload: Upload, digest: Digest) -> Response:
    actual = upload.digest(digest.algorithm)
    if actual != digest:
        call.state.cancel(upload)
        raise Refusal(
            400,
            "DIGEST_INVALID",
            f"the uploaded bytes have digest {actual}, not {digest}",
            detail={"digest": digest, "actual": actual},
        )
    call.state.finish(upload, digest)
    return _created(call, digest)


@contextmanager
def _session(call: Call) -> Iterator[Upload]:
    """The session that the path names, with its lock held.

    A request that still holds it is ended: its client has gone on, and the kernel may not be able to tell us so, while what
    that client has sent fills our window.
    """
    upload = call.state.uploads.get(call.argument)
    if upload is None or upload.repository != call.name:
        raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", f"no upload {printable(call.argument)} in {call.name}")
    if not upload.lock.acquire(timeout=_COURTESY):
        upload.abandon()
        if not upload.lock.acquire(timeout=_PATIENCE):
            raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request of this upload is still under way")
    upload.abandon = call.request.abandon
    try:
        yield upload
    finally:
        upload.lock.release()


def _check_range(call: Call, upload: Upload) -> None:
    """Check that a Content-Range continues where the session stands; 416 tells the client where that is."""
    text = call.request.headers.get("Content-Range")
    if text is None:
        return
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise Refusal(400, "BLOB_UPLOAD_INVALID", f"Content-Range must be FIRST-LAST, found {printable(text)}")
    first, last = int(match[1]), int(match[2])
    length = call.request.length
    if length is not None and last - first + 1 != length:
        raise Refusal(400, "SIZE_INVALID", f"Content-Range {text} does not fit a Content-Length of {length}")
    if first != upload.part.size:
        refusal = Refusal(416, "BLOB_UPLOAD_INVALID", f"expected a chunk at {upload.part.size}, found {text}")
        refusal.headers = _progress(416, upload).headers.pairs
        raise refusal


def _receive(request: Request, upload: Upload) -> None:
    view = memoryview(bytearray(min(_BUFFER, request.length if request.length is not None else _BUFFER)))
    while got := request.body.readinto(view):
        upload.write(view[:got])


def _progress(status: int, upload: Upload) -> Response:
    headers = Headers(
        [
            ("Location", f"/v2/{upload.repository}/blobs/uploads/{upload.identity}"),
            ("Range", f"0-{max(0, upload.part.size - 1)}"),
            ("Docker-Upload-UUID", upload.identity),
        ]
    )
    return Response(status, headers)


def _created(call: Call, digest: Digest) -> Response:
    return Response(201, Headers([("Location", f"/v2/{call.name}/blobs/{digest}"), ("Docker-Content-Digest", digest)]))
