"""Faults of pushing: uploads that get lost, move or take less than was sent, mounts and answers that are not true."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tranship.testing.registry.faults.kinds import Strike, fault
from tranship.testing.registry.messages import Headers, Refusal, RequestBody, Response
from tranship.testing.registry.protocol import read_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tranship.testing.registry.messages import Hangup
    from tranship.testing.registry.state import State, Upload


@fault("upload-lost", aim=("upload.chunk", "upload.finish", "upload.status"), times=1)
def upload_lost(strike: Strike) -> Response | None:
    """The session is gone, with all that was sent (404 BLOB_UPLOAD_UNKNOWN)."""
    found = _upload(strike)
    if found is None:
        return None
    found[0].cancel(found[1])
    return strike.proceed()


@fault("short-accept", aim=("upload.chunk",), times=1)
def short_accept(strike: Strike, *, keep: int = 1) -> Response | None:
    """Of a chunk only `keep` bytes are kept, and the answer's Range says so."""
    length = strike.request.length
    if length is not None and length <= keep:
        return None
    body = strike.request.body
    strike.request.body = _Short(body, keep)
    response = strike.proceed()
    view = memoryview(bytearray(64 * 1024))
    while body.readinto(view):
        pass
    return response


@fault("upload-moves", aim=("upload.start", "upload.mount", "upload.chunk", "upload.status"))
def upload_moves(strike: Strike) -> Response | None:
    """Each answer gives the session a new Location, and the old one is unknown from then on."""
    response = strike.proceed()
    state, path = _state(strike), response.headers.get("Location")
    upload = state.uploads.get((path or "").rpartition("/")[2])
    if upload is None or path is None:
        return None
    with state.lock:
        del state.uploads[upload.identity]
        upload.identity = secrets.token_hex(16)
        state.uploads[upload.identity] = upload
    response.headers.set("Location", f"{path.rpartition('/')[0]}/{upload.identity}")
    response.headers.set("Docker-Upload-UUID", upload.identity)
    return response


@fault("chunk-refused", aim=("upload.chunk",), times=1)
def chunk_refused(strike: Strike) -> Response | None:
    """A chunk that fits is refused with 416; Range and the upload's status tell where to go on."""
    found = _upload(strike)
    if found is None:
        return None
    upload = found[1]
    headers = Headers([("Location", strike.request.path), ("Range", f"0-{max(0, upload.part.size - 1)}")])
    return Response(416, headers)


@fault("chunk-min-length", aim=("upload.start", "upload.mount", "upload.chunk"))
def chunk_min_length(strike: Strike, *, size: int = 1 << 20) -> Response | None:
    """Sessions ask for chunks of at least `size` bytes (OCI-Chunk-Min-Length); one after a shorter one is refused (400)."""
    request, seen = strike.request, strike.memory
    if request.kind == "upload.chunk":
        session = request.path.rpartition("/")[2]
        if session in seen:
            return Refusal(
                400, "BLOB_UPLOAD_INVALID", f"the chunk before this one has less than {size} bytes"
            ).response()
        response = strike.proceed()
        if request.exchange.received < size:
            seen[session] = True
        return response
    response = strike.proceed()
    if response.status != 202:
        return None
    response.headers.set("OCI-Chunk-Min-Length", str(size))
    return response


@fault("exists-lies", aim=("blob.head",), times=1)
def exists_lies(strike: Strike, *, size: int = 0) -> Response | None:
    """HEAD of a blob that is absent says 200 (and `size` bytes); the manifest that needs it is refused later."""
    response = strike.proceed()
    if response.status != 404:
        return None
    digest = strike.request.path.rpartition("/")[2]
    return Response(200, Headers([("Content-Length", str(size)), ("Docker-Content-Digest", digest)]))


@fault("commit-lies", aim=("upload.finish", "upload.single"), times=1)
def commit_lies(strike: Strike) -> Response | None:
    """An upload is confirmed (201), and the blob is not there afterwards."""
    response = strike.proceed()
    if response.status != 201:
        return None
    _state(strike).remove_blob(_repository(strike), read_digest(strike.request.query["digest"]))
    return response


@fault("mount-ignored", aim=("upload.mount",))
def mount_ignored(strike: Strike) -> Response | None:
    """A mount opens an upload instead (202), as the specification allows."""
    session = _state(strike).begin(_repository(strike)).identity
    return Response(202, Headers([("Location", f"{strike.request.path}{session}"), ("Range", "0-0")]))


@fault("mount-refused", aim=("upload.mount",))
def mount_refused(_strike: Strike, *, code: int = 405) -> Response | None:
    """A mount is an error with this code."""
    return Refusal(code, "UNSUPPORTED", "no mounts here").response()


@fault("mount-lies", aim=("upload.mount",), times=1)
def mount_lies(strike: Strike) -> Response | None:
    """A mount is confirmed (201), and the blob is not there afterwards."""
    digest = read_digest(strike.request.query["mount"])
    path = f"{strike.request.path.removesuffix('uploads/')}{digest}"
    return Response(201, Headers([("Location", path), ("Docker-Content-Digest", digest)]))


@fault("manifest-refused", aim=("manifest.put",), times=1)
def manifest_refused(
    strike: Strike,
    *,
    code: Literal["MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN"] = "MANIFEST_BLOB_UNKNOWN",
) -> Response | None:
    """A manifest is refused with this code, and no detail, though everything is there."""
    strike.request.read(1 << 24)
    return Refusal(404 if code == "MANIFEST_UNKNOWN" else 400, code, "refused").response()


@dataclass(slots=True)
class _Short:
    """A request's body that ends early."""

    body: RequestBody
    left: int

    @property
    def received(self) -> int:
        return self.body.received

    @received.setter
    def received(self, count: int) -> None:
        self.body.received = count

    @property
    def stop(self) -> tuple[int, Callable[[], Hangup]] | None:
        return self.body.stop

    @stop.setter
    def stop(self, value: tuple[int, Callable[[], Hangup]] | None) -> None:
        self.body.stop = value

    def readinto(self, buffer: memoryview, /) -> int:
        got = self.body.readinto(buffer[: self.left]) if self.left else 0
        self.left -= got
        return got


def _state(strike: Strike) -> State:
    state: State = strike.server.state  # type: ignore[attr-defined]  # these are aimed at what only a registry answers
    return state


def _repository(strike: Strike) -> str:
    return strike.request.path.removeprefix("/v2/").partition("/blobs/")[0]


def _upload(strike: Strike) -> tuple[State, Upload] | None:
    state = _state(strike)
    upload = state.uploads.get(strike.request.path.rpartition("/")[2])
    return (state, upload) if upload is not None else None
