"""Uploading a blob, without a socket (distribution-spec, "Pushing blobs" and "Mounting a blob from another repository").

`upload` and `mount` are flows. A request with a `span` is to be sent with that stretch of the blob as its body; a connection
that breaks is raised inside the flow, which then asks the registry how much has arrived and goes on from there:

    POST uploads/ ──> session ──> PUT the rest ──> 201
                         ^           │ broken, 416, 409, short: GET the session's state
                         ├───────────┤ it holds something: PATCH the rest; nothing: POST another session
                         └───────────┘ 404: the session is lost, start again (once)

An upload is whole in one PUT unless `chunk` is given; then in PATCHes of that size, and a PUT without a body at the end. After
a break the rest goes as one PATCH, since some registries would take a PUT without Content-Range for the whole blob.
A session that is left for another is cancelled first, so that the registry need not keep what it holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import quote

from tranship.errors import (
    Cancelled,
    DataLoss,
    DigestMismatch,
    PermissionDenied,
    TranshipError,
    Unauthenticated,
    Unavailable,
    printable,
)
from tranship.formats import scopes as scoping
from tranship.formats.distribution import Repository, expect
from tranship.formats.messages import OCTETS, Flow, Request, Response, join
from tranship.formats.refusals import codes, refusal, registry_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tranship.model.descriptor import Descriptor

_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,19})")
_BROKEN = frozenset({408, 409, 416, 425, 429, 500, 502, 503, 504})  # the session may live on
# Of a mount: no such source, no right to it, no such feature, or one that fails or takes too long for a proxy.
_DECLINED = frozenset({400, 401, 403, 404, 405, 500, 501, 502, 503, 504})
_RESTARTS = 1  # after a refusal, which may well come again
# After breaks. docker's registry 2.x drops an upload that breaks in the middle of a request: its state holds the offset that it
# expects, and the bytes that did arrive contradict it (404 BLOB_UPLOAD_INVALID).
_RESTARTS_BROKEN = 3
_STALLS = 1  # breaks in a row without a byte of progress, before the session counts as lost
# Bytes, where one request is too large (413): content networks stop at 100 MB and more, proxies at some MB, nginx at 1 MB
# unless it is told otherwise.
SMALLER_CHUNKS = (64 << 20, 8 << 20, 1_000_000)


@dataclass(frozen=True, slots=True)
class Session:
    """An upload that the registry has open: where to send, how much it has, and the least chunk it takes (bytes).

    It may be written down and given to a later `upload` of the same blob, which asks first how much is there.
    """

    url: str = field(repr=False)  # holds the registry's own signed state
    offset: int = 0
    least_chunk: int = 0


def mount(repository: Repository, blob: Descriptor, source: str) -> Flow[Session | bool]:
    """Ask the registry to take a blob from its repository `source`.

    True: it did. False: it declines, or may not read there. A Session: it would rather have the bytes, and has opened an upload
    for them; give it to `upload`, or `cancel` it.
    """
    request = _post(repository, blob, [("mount", str(blob.digest)), ("from", source)], scoping.pull(source))
    try:
        response = yield request
    except (Unauthenticated, PermissionDenied):  # no token for both repositories
        return False
    if response.status == 201:
        return True
    return False if response.status in _DECLINED else _opened(request, response)


def upload(
    repository: Repository,
    blob: Descriptor,
    *,
    session: Session | None = None,
    fresh: bool = False,
    chunk: int | None = None,
    opened: Callable[[Session], object] | None = None,
) -> Flow[None]:
    """Bring the blob into the repository.

    session  one that is open already (from a mount that became an upload, or from an interrupted run)
    fresh    that session was opened just now and is empty, so that the registry need not be asked for its state
    chunk    bytes of a PATCH; raised to what the registry wants at least
    opened   told of the session whenever it changes, for whoever wants to write it down
    """
    yield from _Upload(repository, blob, chunk, opened or (lambda _session: None)).run(session, fresh=fresh)


def cancel(repository: Repository, session: Session) -> Flow[None]:
    """Give an upload up; the registry drops what it has. That it does not know the session any more is fine."""
    yield Request(
        method="DELETE",
        url=session.url,
        repository=repository.name,
        scopes=scoping.push(repository.name),
        object="an upload",
        retry=False,
    )


class _Restart(Exception):  # no error: a step of the machine
    """The session is of no use; `cause` is what to raise when there may be no other one.

    `left` is the session, unless the registry has dropped it already.
    """

    def __init__(self, cause: TranshipError, left: Session | None) -> None:
        super().__init__()
        self.cause = cause
        self.left = left


class _Smaller(_Restart):  # likewise
    """The session is of no use for requests of that size."""


class _Upload:
    """One blob on its way."""

    def __init__(
        self, repository: Repository, blob: Descriptor, chunk: int | None, opened: Callable[[Session], object]
    ) -> None:
        self.repository = repository
        self.blob = blob
        self.chunk = chunk
        self.opened = opened
        self.mended = False  # has the session gone on after a break?

    def run(self, session: Session | None, *, fresh: bool) -> Flow[None]:
        """Send it, with another session when one comes to nothing."""
        restarts = 0
        earlier = session is not None and not fresh
        while True:
            try:
                if session is None:
                    session = yield from self._start()
                elif earlier:
                    session = yield from self._state(session)
                yield from self._send(session)
                return
            except _Restart as restart:
                if (yield from self._is_there()):  # all went well, and its answer was lost
                    return
                # That a session of an earlier run has expired costs no attempt, and smaller chunks come to an end.
                restarts += 0 if earlier or isinstance(restart, _Smaller) else 1
                if restarts > (_RESTARTS_BROKEN if restart.cause.retryable else _RESTARTS):
                    raise restart.cause from None
                if restart.left is not None:
                    yield from self._give_up(restart.left)
                session, earlier = None, False

    def _start(self) -> Flow[Session]:
        request = _post(self.repository, self.blob)
        return self._keep(_opened(request, (yield request)))

    def _give_up(self, session: Session) -> Flow[None]:
        """Let the registry drop a session before there is another; that it cannot does not end the upload."""
        try:
            yield from cancel(self.repository, session)
        except Cancelled:
            raise
        except TranshipError:
            pass

    def _is_there(self) -> Flow[bool]:
        response = yield self.repository.head_blob(self.blob.digest)
        return response.status == 200

    def _send(self, session: Session) -> Flow[None]:
        """Send what is missing, then the digest. After a break, see what is there and go on."""
        furthest, stalls = session.offset, 0
        self.mended = session.offset > 0
        while True:
            cause: TranshipError | None = None
            try:
                whole = session.offset == 0 and self.chunk is None
                if whole or session.offset == self.blob.size:
                    yield from self._put(session)
                    return
                session = yield from self._patch(session)
            except TranshipError as error:
                if not error.retryable or error.side == "source":  # it is not the registry that failed
                    raise
                cause = error
                self.mended = True
                session = yield from self._state(session, error)
                if session.offset == 0:
                    if furthest or stalls >= _STALLS:  # a loss, which may come again as often, or the second in a row
                        raise _Restart(error, session) from None
                    # Nothing is lost with it, and a busy registry may yet read into it what the broken request has brought.
                    yield from self._give_up(session)
                    session = yield from self._start()
            if session.offset > furthest:
                furthest, stalls = session.offset, 0
                continue
            stalls += 1
            if stalls > _STALLS:
                nothing = Unavailable(f"the upload of {self.blob} makes no progress: chunks are not accepted")
                raise _Restart(cause or nothing, session)

    def _put(self, session: Session) -> Flow[None]:
        """End the upload, with what is missing as the body."""
        separator = "&" if "?" in session.url else "?"
        url = f"{session.url}{separator}digest={quote(self.blob.digest, safe='')}"
        request = self._request("PUT", url, (session.offset, self.blob.size - session.offset))
        response = yield request
        if response.status not in (200, 201, 202, 204):
            raise self._judged(request, response, session)

    def _patch(self, session: Session) -> Flow[Session]:
        """Send the next chunk; return the session with what the registry says it has then."""
        count = self.blob.size - session.offset
        if self.chunk is not None:
            count = min(count, max(self.chunk, session.least_chunk))
        end = session.offset + count
        request = self._request("PATCH", session.url, (session.offset, count))
        request = replace(request, headers={**request.headers, "Content-Range": f"{session.offset}-{end - 1}"})
        response = yield request
        if response.status not in (200, 201, 202, 204):
            raise self._judged(request, response, session)
        return self._keep(_continued(request, response, session, default=end, limit=end))

    def _state(self, session: Session, why: TranshipError | None = None) -> Flow[Session]:
        """Ask how much of the upload has arrived."""
        request = self._request("GET", session.url, None)
        response = yield request
        if response.status not in (200, 202, 204):
            raise _Restart(why or refusal(request, response), None if response.status == 404 else session)
        return self._keep(_continued(request, response, session, default=0, limit=self.blob.size))

    def _judged(self, request: Request, response: Response, session: Session) -> TranshipError | _Restart:
        """What a refusal of bytes means: a retryable error where the session may go on, a restart, or the end."""
        cause = refusal(request, response)
        if response.status == 404 or "BLOB_UPLOAD_UNKNOWN" in codes(response):
            return _Restart(cause, None)
        if response.status in _BROKEN:
            return cause if cause.retryable else Unavailable(str(cause))
        if response.status in (401, 403):
            return cause
        if response.status == 413:
            sent = request.span[1] if request.span else 0
            below = min(sent, self.chunk or sent)  # the registry's least chunk may be larger than ours
            self.chunk = next((size for size in SMALLER_CHUNKS if size < below), None)
            return cause if self.chunk is None else _Smaller(cause, session)
        pieced = self.mended or request.span != (0, self.blob.size)
        if request.method == "PATCH" or (isinstance(cause, DigestMismatch) and pieced):
            # A registry that takes no chunks, or one that has put them together wrongly: all over, in one.
            self.chunk = None
            return _Restart(cause, session)
        return cause

    def _request(self, method: str, url: str, span: tuple[int, int] | None) -> Request:
        return Request(
            method=method,
            url=url,
            headers={"Content-Type": OCTETS} if span else {},
            span=span,
            repository=self.repository.name,
            scopes=scoping.push(self.repository.name),
            object=str(self.blob),
            retry=span is None,
        )

    def _keep(self, session: Session) -> Session:
        self.opened(session)
        return session


def _post(
    repository: Repository,
    blob: Descriptor,
    query: Sequence[tuple[str, str]] = (),
    further: scoping.Scopes = frozenset(),
) -> Request:
    scopes = scoping.push(repository.name) | further
    if blob.digest.algorithm != "sha256":  # what a registry hashes with, unless it is told
        query = [*query, ("digest-algorithm", blob.digest.algorithm)]
    return repository.request("POST", "blobs/uploads/", str(blob), scopes=scopes, query=query, body=b"")


def _opened(request: Request, response: Response) -> Session:
    """The session that a POST has opened."""
    expect(request, response, 202)
    least = response.headers.get("oci-chunk-min-length") or ""
    least_chunk = int(least) if least.isascii() and least.isdecimal() and len(least) < 12 else 0
    return Session(_location(request, response, None), 0, least_chunk)


def _continued(request: Request, response: Response, before: Session, *, default: int, limit: int) -> Session:
    """The session after a PATCH or a GET: its Location, and its Range as the number of bytes that the registry has.

    `0-0` counts as nothing: registries say it of an empty upload, and an upload of one byte is soon repeated.
    """
    said = response.headers.get("range")
    match = _RANGE.fullmatch(said.strip()) if said and len(said) < 64 else None
    offset = default
    if match is not None:
        offset = 0 if match[1] == "0" else int(match[1]) + 1
    if offset > limit:
        raise DataLoss(
            f"registry {registry_name(request)} says that it has {offset} bytes of {request.object}; only {limit} were sent"
        )
    return replace(before, url=_location(request, response, before), offset=offset)


def _location(request: Request, response: Response, before: Session | None) -> str:
    location = response.headers.get("location")
    if location is None and before is not None and request.method == "GET":
        return before.url  # registries leave it out of the state
    what = f"registry {registry_name(request)} sends the upload of {request.object} to {printable(request.repository)}"
    return join(response.url, location, what)
