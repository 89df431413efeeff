"""The writer of an ingest: appends, or fills from several threads at once, and commits."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from tranship import files, pump
from tranship.errors import AlreadyExists, CommitMismatch, FailedPrecondition, InvalidArgument, printable
from tranship.failpoints import hit
from tranship.model.digest import Digest, new_hash
from tranship.store import ingests
from tranship.store import labels as label_rules
from tranship.store.placing import Placement, place
from tranship.store.values import moment, now

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from datetime import datetime

    from tranship.store.core import Scope


class Writer:
    """Made by `Content.writer`; leaving its context closes it, and keeps what was written for another attempt.

    Append with `write`; or fill from several threads with `write_at`, or through `fd` followed by `wrote`. Do not mix the two.
    """

    def __init__(
        self,
        scope: Scope,
        ref: str,
        *,
        total: int,
        expected: Digest | None,
        labels: Mapping[str, str] | None,
        lease: str | None,
    ) -> None:
        """Take up or begin the ingest; see `ingests.open_ingest` for what it raises."""
        self.ref = ref
        self._scope = scope
        self._expected = expected
        self._labels = label_rules.checked(labels)
        self._lease = lease
        self._ingest = ingests.open_ingest(scope, ref, total, expected, lease)
        self._lock = threading.Lock()
        self._ahead: list[tuple[int, int]] = []  # what was written beyond the offset: (start, end), in order
        self._hasher = new_hash(expected.algorithm if expected else "sha256")
        self._hashed = 0
        self._closed = False
        self._claimed = 0
        self.offset = self._ingest.offset  # bytes there without a gap
        self.updated_at = moment(now())
        try:
            if self._ingest.ghost and expected is not None:
                self.offset = os.stat(scope.core.layout.blob(expected)).st_size
            else:
                self._claim(max(self.total, self.offset))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def total(self) -> int:
        """Bytes announced; 0: unknown."""
        return self._ingest.total

    @property
    def started_at(self) -> datetime:
        """When the ingest began, perhaps in another process."""
        return moment(self._ingest.started_at)

    @property
    def fd(self) -> int:
        """The file of the data, for reading and for writing at any place; tell what was written with `wrote`."""
        self._materialise()
        return self._ingest.data_fd

    @property
    def digest_so_far(self) -> Digest:
        """The digest of the bytes up to `offset`. What this writer has not hashed while writing is read again."""
        return self._digest_so_far(pump.nothing)

    # ------------------------------------------------------------------------------------------------- writing

    def write(self, chunk: memoryview | bytes) -> int:
        """Append; returns the count. NoSpace leaves what was written before."""
        self._materialise()
        view = memoryview(chunk)
        self._claim(self.offset + len(view))
        with self._room():
            pump.write_all_at(self._ingest.data_fd, view, self.offset)
        hit("ingest.written")
        if self._hashed == self.offset:
            self._hasher.update(view)
            self._hashed += len(view)
        self.wrote(self.offset, len(view))
        return len(view)

    def write_at(self, chunk: memoryview | bytes, offset: int) -> int:
        """Write at a place of one's own; several threads may."""
        self._materialise()
        view = memoryview(chunk)
        self._claim(offset + len(view))
        with self._room():
            pump.write_all_at(self._ingest.data_fd, view, offset)
        self.wrote(offset, len(view))
        return len(view)

    def wrote(self, offset: int, count: int) -> None:
        """Note that `count` bytes at `offset` are in the file; what is there without a gap can be resumed."""
        with self._lock, self._room():
            self._ahead.append((offset, offset + count))
            if offset <= self.offset:
                self._ahead.sort()
                end = self.offset
                while self._ahead and self._ahead[0][0] <= end:
                    end = max(end, self._ahead.pop(0)[1])
                self.offset = end
                ingests.write_offset(self._ingest.offset_fd, end)
            self.updated_at = moment(now())

    def truncate(self, size: int = 0) -> None:
        """Begin again; no other size than 0 can be had."""
        if size != 0:
            raise InvalidArgument(f"cannot truncate an ingest to {size} bytes, only to 0: invalid argument")
        with self._lock:
            self._ingest.ghost = False
            self._ahead.clear()
            self.offset = self._hashed = 0
            ingests.write_offset(self._ingest.offset_fd, 0)
            os.ftruncate(self._ingest.data_fd, 0)
            self._hasher = new_hash(self._hasher.name)

    # ------------------------------------------------------------------------------------------------- ending

    def commit(
        self,
        size: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        actual: Digest | None = None,
        lease: str | None = None,
        advance: pump.Advance = pump.nothing,
    ) -> Digest:
        """Make the bytes up to `offset` a blob of the namespace, with these labels, durably; returns its digest.

        size, expected  what they must have; 0 and None: whatever they have (then what the writer was opened with counts)
        actual          the digest, where the caller has computed it over the buffers that it wrote; otherwise what has not
                        been hashed by `write` is read again
        lease           what holds the blob from now on; None: the lease that the writer was opened with. An ingest that is
                        opened without a lease outlives a failed transfer, and is there for the next one to resume
        advance         told of the bytes that are read again; what it raises leaves the ingest to be resumed

        Raises CommitMismatch when they are not as expected (the ingest survives, and can be resumed, begun again or
        aborted), and AlreadyExists when the namespace had the blob (then it is held by the lease, its labels are as they
        were, and the ingest is gone). The writer is closed in any case.
        """
        try:
            self._lease = lease or self._lease
            self._check_size(size)
            actual = self._checked(expected or self._expected, actual, advance)
            return self._commit(actual, label_rules.checked(labels) or self._labels)
        finally:
            self.close()

    def _check_size(self, size: int) -> None:
        if self._closed:
            raise FailedPrecondition(f"writer of ref {printable(self.ref)} is closed: failed precondition")
        if size > 0 and size != self.offset:
            raise CommitMismatch(
                f'"{printable(self.ref)}" failed size validation: {self.offset} != {size}: failed precondition'
            )

    def _checked(self, expected: Digest | None, actual: Digest | None, advance: pump.Advance) -> Digest:
        if actual is None:
            if expected is not None and expected.algorithm != self._hasher.name:
                self._hasher, self._hashed = expected.hasher(), 0
            actual = self._digest_so_far(advance)
        if expected is not None and actual != expected:
            raise CommitMismatch(
                f"unexpected commit digest {actual}, expected {expected}: failed precondition", actual=actual
            )
        return actual

    def _commit(self, actual: Digest, labels: Mapping[str, str]) -> Digest:
        placement = Placement(
            self._scope.namespace,
            actual,
            self.offset,
            f"{self._ingest.folder}/data",
            labels,
            self._lease,
            ref=self.ref,
            fd=self._ingest.data_fd,
        )
        if not self._ingest.ghost:
            os.ftruncate(self._ingest.data_fd, self.offset)
        self._scope.flush()
        try:
            place(self._scope.core, [placement], durable=self._scope.batch is None)
        finally:
            if placement.lost:
                self.truncate()
            self._ingest.ghost |= placement.named  # the file is the blob's from now on, and no more the ingest's
        ingests.remove_folder(self._ingest.folder)
        self._let_go()
        if not placement.created:
            raise AlreadyExists(f"content {actual}: already exists")
        return actual

    def abort(self) -> None:
        """Drop the ingest and close."""
        if not self._closed:
            with self._scope.core.database.write(durable=False) as connection:
                ingests.remove(connection, self._ingest.folder, self._scope.namespace, self.ref)
            self._let_go()

    def close(self) -> None:
        """Let go of the ref; what was written waits for another writer."""
        if self._closed:
            return
        try:
            if self._scope.core.full and self.offset and not self._ingest.ghost:
                self._sync()
            ingests.note_length(self._scope, self.ref, 0 if self._ingest.ghost else self.offset)
        finally:
            self._let_go()

    def _sync(self) -> None:
        try:
            hit("sync.file")
            files.sync(self._ingest.data_fd)
        except OSError:  # what is in the file now may not be on the disk, and asking again would not tell
            self.truncate()

    def _let_go(self) -> None:
        if not self._closed:
            self._closed = True
            self._ingest.close()
            self._scope.core.space.free(self._claimed)

    # ------------------------------------------------------------------------------------------------- within

    def _room(self) -> AbstractContextManager[None]:
        return files.no_space_as_error(self._scope.core.layout.root)

    def _claim(self, end: int) -> None:
        with self._lock:
            if end > self._claimed:
                self._scope.core.space.claim(end - self._claimed)
                self._claimed = end

    def _digest_so_far(self, advance: pump.Advance) -> Digest:
        if self._ingest.ghost and self._expected is not None:
            return self._expected

        def note(count: int) -> None:
            self._hashed += count
            advance(count)

        pump.hash_range(self._ingest.data_fd, self._hashed, self.offset - self._hashed, self._hasher, advance=note)
        return Digest.from_hash(self._hasher.name, self._hasher)

    def _materialise(self) -> None:
        """Bring the bytes of a blob of another namespace, when somebody writes after all instead of committing."""
        if self._closed:
            raise FailedPrecondition(f"writer of ref {printable(self.ref)} is closed: failed precondition")
        if not self._ingest.ghost or self._expected is None:
            return
        source = os.open(self._scope.core.layout.blob(self._expected), os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._claim(self.offset)
            pump.copy_range(source, 0, self.offset, self._ingest.data_fd, 0, hasher=self._hasher)
        finally:
            os.close(source)
        self._hashed = self.offset
        self._ingest.ghost = False
        ingests.write_offset(self._ingest.offset_fd, self.offset)
