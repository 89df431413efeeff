"""Taking a stretch of a file into another file: by clone where the file system can, else by copying and hashing at once.

What must be hashed is decided here alone. Bytes that we wrote and verified ourselves (`span.trusted`) are trusted by the
run's policy; all others are hashed, whatever the policy says, but for those that the user vouches for and a store marks:

    parallel  the buffer that is copied is hashed; of a clone the clone is hashed, before it gets its name
    trusted   no hash
    strict    the source is hashed first, and again while it is copied: it may change in between
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tranship import files, pump
from tranship.engine.verify import check_digest, check_size, truncated
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

    from tranship.engine.protocols import FileSpan
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor

BLOCK = 4096  # bytes; ranges are cloned in multiples of it, which suits nearly every file system
_LARGE = 1 << 20  # bytes; below, a plain copy is as quick as anything. Our archives align what is as large


def take(
    span: FileSpan,
    descriptor: Descriptor,
    fd: int,
    at: int,
    run: Run,
    *,
    alone: bool,
    behind: bool = True,
    vouched: bool = False,
) -> None:
    """Bring the bytes of `span` to offset `at` of the open file `fd`, verified, and report their progress.

    `alone` says that they are to be the file's whole content, which makes cloning possible whatever their length.
    `behind` lets the disk begin with what has been copied, for a file that will be synced. `vouched` leaves the hash to a
    later day, for a destination that marks what nobody has hashed.
    Raises Truncated or DigestMismatch; what has been written then is worth nothing.
    """
    meter = run.meter(descriptor)
    meter.done = 0
    check_size(descriptor, span.size, "the source")
    hashed = not (vouched or (span.trusted and run.verification == "trusted"))
    if hashed and run.verification == "strict":
        check(span.fd, span.offset, descriptor, run)
        meter.restart()
    if span.size >= _LARGE and _clone(span, fd, at, alone=alone):
        if hashed:
            check(fd, at, descriptor, run)
        else:
            meter.advance(descriptor.size)
        return
    if span.size >= _LARGE:  # writing to reserved space costs a third less
        files.preallocate(fd, descriptor.size, at)
    hasher = descriptor.digest.hasher() if hashed else None
    count = pump.copy_range(
        span.fd, span.offset, span.size, fd, at, hasher=hasher, advance=meter.advance, behind=behind
    )
    _verdict(descriptor, count, hasher)


def check(fd: int, offset: int, descriptor: Descriptor, run: Run) -> None:
    """Hash the descriptor's bytes at `offset` of an open file; raise Truncated or DigestMismatch."""
    meter = run.meter(descriptor)
    meter.done = 0
    hasher = descriptor.digest.hasher()
    count = pump.hash_range(fd, offset, descriptor.size, hasher, advance=meter.advance)
    _verdict(descriptor, count, hasher)


def _verdict(descriptor: Descriptor, count: int, hasher: Hash | None) -> None:
    if count != descriptor.size:
        raise truncated(descriptor, count)
    if hasher is not None:
        check_digest(descriptor, Digest.from_hash(descriptor.digest.algorithm, hasher))


def _clone(span: FileSpan, fd: int, at: int, *, alone: bool) -> bool:
    """Share blocks between the files; False when the file system or the offsets do not allow it.

    The length is the other half of the trap: an unaligned one is EINVAL in mid-file. Into a file of its own we clone whole
    blocks and cut the file; into the middle of another we clone the whole blocks and copy the tail.
    """
    if span.offset % BLOCK or at % BLOCK:
        return False
    end = os.fstat(span.fd).st_size
    if span.offset + span.size > end:
        return False  # the copy will say what is missing
    if alone:
        rounded = min(-(-span.size // BLOCK) * BLOCK, end - span.offset)
        if not files.clone_range(span.fd, span.offset, rounded, fd, at):
            return False
        os.ftruncate(fd, span.size)
        return True
    whole = span.size // BLOCK * BLOCK
    if not files.clone_range(span.fd, span.offset, whole, fd, at):
        return False
    pump.copy_range(span.fd, span.offset + whole, span.size - whole, fd, at + whole)
    return True
