"""Content/Write: one RPC is one locked writer of an ingest (plugins/services/content/contentserver).

The first message names the ref; each message is answered. STAT asks how far the ingest is; WRITE appends; COMMIT appends and
makes a blob of it, which ends the RPC. An offset of 0 begins the ingest again, with COMMIT too: clients that do not say where
they are lose what they wrote, with containerd as with us. Whatever fails, what was written stays and can be resumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship._api.services.content.v1 import content_pb2 as pb
from tranship.containerd.codec import labels, text
from tranship.containerd.values import to_timestamp
from tranship.errors import AlreadyExists, InvalidArgument, InvalidReference, OutOfRange, printable
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.store.content import Content
    from tranship.store.writer import Writer


def write(
    content: Content, requests: Iterator[pb.WriteContentRequest], lease: str | None
) -> Iterator[pb.WriteContentResponse]:
    """Serve one RPC: an answer to each request, until the client has no more or one of them commits."""
    first = next(requests, None)
    if first is None:
        return
    if not text(first.ref, "ref"):
        raise InvalidArgument("first message must have a reference")
    total, expected = _total(first), _expected(first)
    with content.writer(first.ref, total=total, expected=expected, lease=lease) as writer:
        request: pb.WriteContentRequest | None = first
        while request is not None:
            total = _total(request) or total
            if request is not first and request.expected:
                expected = _expected(request)
                _refuse_present(content, writer, expected)
            if request.action != pb.STAT:
                _append(writer, request)
            if request.action == pb.COMMIT:
                yield _commit(writer, request, total, expected)
                return
            yield _answer(writer, request.action, total)
            request = next(requests, None)


def _refuse_present(content: Content, writer: Writer, expected: Digest | None) -> None:
    """A digest that is only now said to be expected, and that the namespace has: there is nothing to write."""
    if expected is not None and content.has(expected):
        writer.abort()
        raise AlreadyExists(f"blob with expected digest {expected} exists: already exists")


def _append(writer: Writer, request: pb.WriteContentRequest) -> None:
    if request.action not in (pb.WRITE, pb.COMMIT):
        raise InvalidArgument(f"unknown action {request.action} of a write")
    if request.offset and request.offset != writer.offset:
        raise OutOfRange(f"write @{request.offset} must occur at current offset {writer.offset}")
    if not request.offset and writer.offset:
        writer.truncate(0)
    if request.data:
        writer.write(request.data)


def _commit(
    writer: Writer, request: pb.WriteContentRequest, total: int, expected: Digest | None
) -> pb.WriteContentResponse:
    offset, started_at, updated_at = writer.offset, writer.started_at, writer.updated_at
    digest = writer.commit(total, expected, labels(request.labels))
    return pb.WriteContentResponse(
        action=pb.COMMIT,
        offset=offset,
        digest=digest,
        started_at=to_timestamp(started_at),
        updated_at=to_timestamp(updated_at),
    )


def _answer(writer: Writer, action: pb.WriteAction, total: int) -> pb.WriteContentResponse:
    return pb.WriteContentResponse(
        action=action,
        offset=writer.offset,
        total=total if action == pb.STAT else 0,
        digest=writer.digest_so_far,
        started_at=to_timestamp(writer.started_at),
        updated_at=to_timestamp(writer.updated_at),
    )


def _total(request: pb.WriteContentRequest) -> int:
    if request.total < 0:
        raise InvalidArgument(f"a total must not be negative, found {request.total}")
    return request.total


def _expected(request: pb.WriteContentRequest) -> Digest | None:
    if not request.expected:
        return None
    try:
        return Digest.parse(request.expected)
    except InvalidReference as error:
        raise InvalidArgument(f'"{printable(request.expected)}" failed validation: {error.reason}') from None
