"""Writing one blob through Content/Write: an ingest that is found again, messages that say where they belong, one commit.

Every message carries its offset: a containerd that is told 0 begins again, and commits an empty blob without complaint.
"""

from __future__ import annotations

import secrets
from collections import deque
from typing import TYPE_CHECKING

from tranship._api.services.content.v1 import content_pb2 as pb
from tranship.containerd.leasing import hold
from tranship.containerd.methods import Content
from tranship.engine.progress import key
from tranship.errors import (
    AlreadyExists,
    DigestMismatch,
    FailedPrecondition,
    NotFound,
    OutOfRange,
    Unavailable,
    Unsupported,
)
from tranship.pump import pump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.containerd.channel import Call, Channel
    from tranship.engine.protocols import Blob

    Writing = Call[pb.WriteContentRequest, pb.WriteContentResponse]

RESUMABLE = 1 << 20  # bytes; what is smaller is sooner sent again than resumed
UNDER_WAY = 4  # messages of pump.CHUNK that may be without an answer


def write(channel: Channel, blob: Blob, labels: Mapping[str, str]) -> bool:
    """Write it under the channel's lease; False when it was there before, or came from somebody else meanwhile.

    The ingest of a large blob is not the lease's, since it would go with it and could not be resumed: it lives for a day. The
    lease holds the digest from the start instead, and so the blob from its commit on.
    """
    ref = key(blob.descriptor.plain)
    if blob.descriptor.size >= RESUMABLE:
        hold(channel, blob.descriptor.digest)
        channel = channel.with_lease(None)
    for last in (False, False, True):
        try:
            with channel.stream(Content.WRITE) as call:
                try:
                    _write(call, blob, labels, ref)
                except (_Stale, DigestMismatch):
                    call.finish()  # containerd 1 cannot drop an ingest that it is still writing
                    raise
        except AlreadyExists:
            return False
        except Unavailable:  # another client writes the same blob now: each does, and the first one wins
            if last:
                raise
            ref = f"{key(blob.descriptor.plain)}-{secrets.token_hex(4)}"
        except _Stale:
            abort(channel, ref)
        except DigestMismatch:
            abort(channel, ref)
            raise
        else:
            return True
    raise Unavailable(f"{blob.descriptor} cannot be written: what is left of earlier attempts comes back")


class _Stale(Exception):  # no error: a step on the way
    """What an earlier transfer has left is of no use."""


def _write(call: Writing, blob: Blob, labels: Mapping[str, str], ref: str) -> None:
    descriptor = blob.descriptor
    total, expected = descriptor.size, descriptor.digest
    call.send(pb.WriteContentRequest(action=pb.STAT, ref=ref, total=total, expected=expected))
    at = resumed = next(call).offset
    if at > descriptor.size:
        raise _Stale
    try:
        if at < descriptor.size:
            at = _send(call, blob, ref, at)
        call.send(
            pb.WriteContentRequest(action=pb.COMMIT, ref=ref, offset=at, total=total, expected=expected, labels=labels)
        )
        for _ in call:  # one answer, or two of the same
            pass
    except (FailedPrecondition, OutOfRange) as error:
        if resumed:
            raise _Stale from None
        if descriptor.digest.algorithm != "sha256" and isinstance(error, FailedPrecondition):
            raise Unsupported(
                f"{descriptor} cannot be stored: this containerd keeps content by sha256 alone",
                descriptor=descriptor,
                side="destination",
            ) from error
        raise


def _send(call: Writing, blob: Blob, ref: str, offset: int) -> int:
    """Send the blob's bytes from `offset` on; where they end."""
    unanswered: deque[int] = deque()  # the offset behind each message
    at = offset

    def send(chunk: memoryview) -> None:
        nonlocal at
        call.send(pb.WriteContentRequest(action=pb.WRITE, ref=ref, offset=at, data=bytes(chunk)))
        at += len(chunk)
        unanswered.append(at)
        if len(unanswered) >= UNDER_WAY:
            _answered(call, unanswered)

    try:
        with blob.open(offset) as reader:
            pump(reader, send)
    finally:  # after a failure, too: what has been sent is to stay
        while unanswered:
            _answered(call, unanswered)
    return at


def _answered(call: Writing, unanswered: deque[int]) -> None:
    expected, answer = unanswered.popleft(), next(call)
    if answer.offset != expected:
        raise OutOfRange(f"the daemon has {answer.offset} bytes of an ingest that should have {expected}")


def abort(channel: Channel, ref: str) -> None:
    """Drop an ingest, if it is there."""
    try:
        channel.unary(Content.ABORT, pb.AbortRequest(ref=ref))
    except NotFound:
        pass
