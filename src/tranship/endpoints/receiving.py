"""Receiving a large blob into the store so that a cut costs only what had not arrived yet, across restarts too.

The bytes go into an ingest whose ref is the blob's key, which no lease of this transfer holds: it outlives a failure by a day.
The next transfer finds it, asks the source for the rest, and the whole is hashed before it becomes a blob. Where a user allows
several connections for one blob, they fill the ingest at their own offsets.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING

from tranship.engine.progress import key
from tranship.engine.protocols import Ranged
from tranship.engine.verify import CheckedBlob, check_digest
from tranship.errors import AlreadyExists, CommitMismatch, DigestMismatch, NotFound, OutOfRange, Unavailable
from tranship.pump import pump

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.engine.protocols import Blob
    from tranship.engine.run import Run
    from tranship.pump import Advance
    from tranship.store.content import Content
    from tranship.store.writer import Writer

RESUMABLE = 8 << 20  # bytes; what is smaller is sooner fetched again than resumed
_STRETCH = 16 << 20  # bytes that one connection asks for at a time


class RefTaken(Exception):  # no error: a step on the way
    """Another transfer is receiving the same blob."""


def receive(blob: Blob, content: Content, labels: Mapping[str, str] | None, lease: str, run: Run) -> None:
    """Receive the blob, from where an earlier transfer was cut. DigestMismatch drops what is there."""
    descriptor = blob.descriptor
    ref = key(descriptor.plain)
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
            if run.limits.ranges > 1 and isinstance(inner, Ranged):
                with contextlib.suppress(OutOfRange):  # a registry that gives no ranges gives the rest in one stream
                    _in_ranges(inner, writer, descriptor.size, run, blob)
                resumed = True  # nothing has been hashed on the way
            if writer.offset < descriptor.size:
                _append(blob, writer)
            actual = None if resumed else descriptor.digest  # the reader raises rather than give wrong bytes
            meter = run.meter(descriptor)
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


def _append(blob: Blob, writer: Writer) -> None:
    at = writer.offset
    with blob.open(at) as reader:

        def write(chunk: memoryview) -> None:
            nonlocal at
            at += writer.write_at(chunk, at)

        pump(reader, write)


def _in_ranges(blob: Ranged, writer: Writer, size: int, run: Run, checked: Blob) -> None:
    """Fill the ingest by several connections, each taking the next stretch when it has done one."""
    stretches = itertools.count(writer.offset, _STRETCH)
    meter = run.meter(checked.descriptor)
    meter.done = writer.offset
    lock = threading.Lock()
    failures: list[BaseException] = []

    def advance(count: int) -> None:
        with lock:
            meter.advance(count)

    def work() -> None:
        while not failures:
            with lock:
                at = next(stretches)
            if at >= size:
                return
            try:
                _one_range(blob, writer, at, min(_STRETCH, size - at), advance)
            except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, whatever it is
                failures.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(run.limits.ranges)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _one_range(blob: Ranged, writer: Writer, at: int, count: int, advance: Advance) -> None:
    with blob.open_range(at, count) as reader:

        def write(chunk: memoryview) -> None:
            nonlocal at
            at += writer.write_at(chunk, at)

        pump(reader, write, advance=advance)
