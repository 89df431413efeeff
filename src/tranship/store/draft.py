"""A blob being written in one go: a file of this process' own, which gets its name when it is whole, or vanishes.

There is no ref and nothing to resume: for that there are ingests. A draft costs two system calls more than its bytes do.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Self

from tranship import files, pump
from tranship.errors import CommitMismatch, InvalidArgument, printable
from tranship.model.digest import Digest
from tranship.store.placing import Placement, place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.store.core import Scope


class Draft:
    """Made by `Content.draft`; leaving its context without `commit` discards it.

    with content.draft(digest, size, lease=lease.id) as draft:
        hasher = digest.hasher()
        pump.copy_range(source, 0, size, draft.fd, 0, hasher=hasher)       # or files.clone_range, or pwrite from threads
        draft.commit(Digest.from_hash(digest.algorithm, hasher))
    """

    def __init__(
        self, scope: Scope, digest: Digest, size: int, labels: Mapping[str, str] | None, lease: str | None
    ) -> None:
        """Open a new file. NoSpace when the quota does not allow `size` bytes."""
        core = scope.core
        core.space.claim(size)
        self._scope = scope
        self._placement = Placement(scope.namespace, digest, size, core.process.staging(), labels or {}, lease)
        self._open = True
        self.fd = -1
        try:
            with files.no_space_as_error(core.layout.root):
                # The mode is the blob's final one; whoever creates a file may write it all the same.
                self.fd = os.open(self._placement.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        except BaseException:
            core.space.free(size)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def fill(self, source: pump.Reader | bytes, *, verified: bool, advance: pump.Advance) -> bool:
        """Write everything that the source gives, and commit; see `Content.put`."""
        digest, size, fd = self._placement.digest, self._placement.size, self.fd
        with files.no_space_as_error(self._scope.core.layout.root):
            if isinstance(source, bytes):
                pump.write_all(fd, memoryview(source))
                return self._commit_exactly(len(source), digest if verified else Digest.of(source, digest.algorithm))
            if size > pump.CHUNK:
                files.preallocate(fd, size)
            hasher = None if verified else digest.hasher()
            done = pump.pump(
                source, lambda chunk: pump.write_all(fd, chunk), limit=size, hasher=hasher, advance=advance
            )
            done += source.readinto(memoryview(bytearray(1))) or 0  # is there more?
            return self._commit_exactly(done, digest if hasher is None else Digest.from_hash(digest.algorithm, hasher))

    def _commit_exactly(self, count: int, actual: Digest) -> bool:
        placement = self._placement
        if count != placement.size:
            found = "more" if count > placement.size else str(count)
            raise CommitMismatch(f"blob {placement.digest.short} should have {placement.size} bytes, found {found}")
        return self.commit(actual)

    def commit(self, actual: Digest | None = None, *, vouched: bool = False) -> bool:
        """Give the file its name: in a batch when the batch does, otherwise now and for good.

        actual   the digest that the caller has computed over the bytes that it wrote. Without it the file is read again
        vouched  nobody has: the user's word stands for the bytes. The blob is marked, until it is verified

        Bytes beyond the size are cut off: cloning works in whole blocks. Raises CommitMismatch when there are fewer, or when
        they have another digest. False when the namespace had the blob already (then it has the labels and the lease too).
        """
        placement = self._placement
        length = os.fstat(self.fd).st_size
        if length > placement.size:
            os.ftruncate(self.fd, placement.size)
        elif length < placement.size:
            raise CommitMismatch(
                f"blob {placement.digest.short} should have {placement.size} bytes, {length} were written"
            )
        if vouched:
            placement.vouched, actual = True, placement.digest
        if actual is None:
            hasher = placement.digest.hasher()
            pump.hash_range(self.fd, 0, placement.size, hasher)
            actual = Digest.from_hash(placement.digest.algorithm, hasher)
        if actual != placement.digest:
            raise CommitMismatch(
                f"unexpected commit digest {actual}, expected {placement.digest}: failed precondition", actual=actual
            )
        self._open = False
        os.close(self.fd)
        return settle(self._scope, placement)

    def discard(self) -> None:
        """Throw the bytes away, unless they were committed."""
        if self._open:
            self._open = False
            os.close(self.fd)
            self._placement.drop()
            self._scope.core.space.free(self._placement.size)


def settle(scope: Scope, placement: Placement) -> bool:
    """Hand a whole file, and its claim of space, over to the batch, or place it now; was it new?"""
    if scope.batch is not None:
        scope.batch.add(placement)
        return True
    try:
        place(scope.core, [placement])
    except BaseException:
        with contextlib.suppress(OSError):
            placement.drop()
        raise
    finally:
        scope.core.space.free(placement.size)
    return placement.created


def adopt(scope: Scope, path: str, placement: Placement) -> bool:
    """Move the file at `path` in; see `Content.adopt_file`."""
    core, found = scope.core, os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise InvalidArgument(f"{printable(path)} is not a regular file of its own, so it cannot become a blob")
    if found.st_dev != os.fstat(core.root_fd).st_dev:
        raise InvalidArgument(f"{printable(path)} is on another file system than the store: it cannot be moved into it")
    if found.st_size != placement.size:
        raise CommitMismatch(
            f"blob {placement.digest.short} should have {placement.size} bytes, its file has {found.st_size}"
        )
    core.space.claim(placement.size)
    try:
        os.chmod(path, 0o400)
        os.rename(path, placement.path)
    except BaseException:
        core.space.free(placement.size)
        raise
    return settle(scope, placement)
