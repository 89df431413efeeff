"""Receiving a large blob into the store so that a cut costs only what had not arrived yet, across restarts too.

The bytes go into an ingest whose ref is the blob's key, which no lease of this transfer holds: it outlives a failure by a day.
The next transfer finds it, asks the source for the rest, and the whole is hashed before it becomes a blob.

Where a user allows several connections for one blob, its first stretch tells whether they would gain anything: what one
connection brings fast enough goes on as it is, hashed as it comes; after a slow one the rest is fetched by all of them, each at
its own offset, and the whole is read again for its hash.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from tranship import files
from tranship.engine.parallel import in_parallel
from tranship.engine.progress import key
from tranship.engine.protocols import Ranged
from tranship.engine.verify import CheckedBlob, check_digest
from tranship.errors import AlreadyExists, CommitMismatch, DigestMismatch, NotFound, OutOfRange, Unavailable
from tranship.pump import WriteBehind, pump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.engine.protocols import Blob
    from tranship.engine.run import Meter, Run
    from tranship.pump import Advance
    from tranship.store.content import Content
    from tranship.store.writer import Writer

RESUMABLE = 8 << 20  # bytes; what is smaller is sooner fetched again than resumed
_STRETCH = 16 << 20  # bytes that one connection asks for at a time
# Bytes a second of one connection that nobody throttles, most likely: registries that do so give some 20 to 80 MB/s, and
# faster ones are soon held back by hashing and by the disk.
_ENOUGH = 100e6


class _Throttled(Exception):  # no error: a step on the way
    """One connection is slow: several may be faster."""


class RefTaken(Exception):  # no error: a step on the way
    """Another transfer is receiving the same blob."""


def receive(blob: Blob, content: Content, labels: Mapping[str, str] | None, lease: str | None, run: Run) -> None:
    """Receive the blob, from where an earlier transfer was cut. DigestMismatch drops what is there."""
    descriptor = blob.descriptor
    ref, meter = key(descriptor.plain), run.meter(descriptor)
    try:
        writer = content.writer(ref, total=descriptor.size, expected=descriptor.digest)
    except AlreadyExists:
        if content.ensure(descriptor.digest, labels=labels, lease=lease):
            return
        raise
    except Unavailable:
        raise RefTaken from None
    with writer:
        resumed = writer.offset > 0
        try:
            inner = blob.inner if isinstance(blob, CheckedBlob) else blob
            several = inner if run.limits.ranges > 1 and isinstance(inner, Ranged) else None
            try:
                _append(blob, writer, several is not None)
            except _Throttled:
                assert several is not None  # noqa: S101  # as was just said
                _in_ranges(several, writer, run, meter)
                _append(blob, writer)
                resumed = True  # not all has been hashed on the way
            actual = None if resumed else descriptor.digest  # the reader raises rather than give wrong bytes
            if resumed:
                meter.restart()
            writer.commit(descriptor.size, descriptor.digest, labels, actual=actual, lease=lease, advance=meter.advance)
        except AlreadyExists:
            content.ensure(descriptor.digest, labels=labels, lease=lease)
        except CommitMismatch as mismatch:
            with contextlib.suppress(NotFound):  # which of its bytes came wrong cannot be told: all of them go
                content.abort(ref)
            if mismatch.actual is not None:
                check_digest(descriptor, mismatch.actual)
            raise
        except DigestMismatch:
            writer.abort()
            raise


def _append(blob: Blob, writer: Writer, may_be_throttled: bool = False) -> None:
    """Receive what is missing in one stream. Raises _Throttled after a slow first stretch, if that is to be looked at."""
    at = began = writer.offset
    if at == blob.descriptor.size:
        return
    started: float | None = time.monotonic() if may_be_throttled else None
    behind = WriteBehind(writer.fd, at)
    with blob.open(at) as reader:
        files.preallocate(writer.fd, blob.descriptor.size)

        def write(chunk: memoryview) -> None:
            nonlocal at, started
            at += writer.write_at(chunk, at)
            behind.wrote(len(chunk))
            if started is not None and at - began >= _STRETCH:
                if at - began < _ENOUGH * (time.monotonic() - started):
                    raise _Throttled
                started = None

        pump(reader, write)


def _in_ranges(blob: Ranged, writer: Writer, run: Run, meter: Meter) -> None:
    """Fill the ingest by several connections, each taking the next stretch when it has done one.

    A registry may turn out to give no ranges: then something is left.
    """
    size = meter.descriptor.size
    meter.done = writer.offset
    lock = threading.Lock()
    refused: list[OutOfRange] = []

    def advance(count: int) -> None:
        with lock:
            meter.advance(count)

    def fill(at: int) -> None:
        if refused:
            return
        try:
            _one_range(blob, writer, at, min(_STRETCH, size - at), advance)
        except OutOfRange as error:
            refused.append(error)

    stretches = range(writer.offset, size, _STRETCH)
    in_parallel(fill, stretches, min(run.limits.ranges, len(stretches)), run)


def _one_range(blob: Ranged, writer: Writer, at: int, count: int, advance: Advance) -> None:
    with blob.open_range(at, count) as reader:

        def write(chunk: memoryview) -> None:
            nonlocal at
            at += writer.write_at(chunk, at)

        pump(reader, write, advance=advance)
