"""Content: the blobs that a namespace records, with containerd's rules.

Reading and writing bytes needs no lock and no transaction but the short ones that look up or add a record. A blob, once there,
never changes; an open one can be read to its end even when it is collected meanwhile.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from tranship import pump
from tranship.errors import DataLoss, InvalidArgument, NotFound, OutOfRange
from tranship.model.digest import Digest
from tranship.store import ingests, placing
from tranship.store import labels as label_rules
from tranship.store.draft import Draft, adopt
from tranship.store.placing import Placement
from tranship.store.values import ContentInfo, dumps, loads, moment, now
from tranship.store.writer import Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tranship.store.core import Scope
    from tranship.store.values import IngestStatus

PAGE = 1000  # records that a walk takes at once; no transaction is open between pages
READ_CHUNK = 1 << 20  # bytes; what containerd's Read answers with

_COLUMNS = "digest, size, content.created_at, updated_at, labels, verified_at"


class Content:
    """The Content service of one namespace: `store.namespace(name).content`."""

    def __init__(self, scope: Scope) -> None:
        """Of one namespace, perhaps in a batch."""
        self._scope = scope

    # ------------------------------------------------------------------------------------------------- looking

    def has(self, digest: Digest) -> bool:
        """Does the namespace record the blob? A look only: a collection may come before it is used; see `ensure`."""
        return self._in_batch(digest) is not None or self._size(digest) is not None

    def digests(self) -> set[str]:
        """All that the namespace records, for whoever has many questions: one query, 150 bytes of memory for each."""
        with self._scope.read() as connection:
            rows = connection.execute("SELECT digest FROM content WHERE namespace = ?", (self._scope.namespace,))
            return {digest for (digest,) in rows}

    def info(self, digest: Digest) -> ContentInfo:
        """The namespace's record of a blob; NotFound."""
        if self._in_batch(digest) is not None:
            self._scope.flush()
        with self._scope.core.database.read() as connection:
            return self._info(connection, digest)

    def walk(self, filters: Sequence[str] = ()) -> Iterator[ContentInfo]:
        """Every blob of the namespace that one of the filters lets pass, by digest."""
        passes = _passing(filters)
        last = ""
        while True:
            with self._scope.read() as connection:
                rows = connection.execute(
                    f"SELECT {_COLUMNS} FROM content JOIN blobs USING(digest) "  # noqa: S608  # a constant of ours
                    "WHERE namespace = ? AND digest > ? ORDER BY digest LIMIT ?",
                    (self._scope.namespace, last, PAGE),
                ).fetchall()
            for row in rows:
                info = _decode(row)
                if passes is None or passes(info):
                    yield info
            if len(rows) < PAGE:
                return
            last = rows[-1][0]

    # ------------------------------------------------------------------------------------------------- reading

    def open(self, digest: Digest) -> int:
        """Open a blob for reading; the caller closes the descriptor. NotFound when the namespace does not record it.

        DataLoss when it is recorded and its file is missing or has another size.
        """
        placement = self._in_batch(digest)
        if placement is not None:
            try:
                return os.open(placement.path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # it has got its name just now
                self._scope.flush()
        size = self._size(digest)
        if size is None:
            raise _absent(digest)
        try:
            fd = os.open(self._scope.core.layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if self._size(digest) is None:  # collected between the two looks
                raise _absent(digest) from None
            raise _damaged(digest, "its file is missing") from None
        found = os.fstat(fd)
        if found.st_size != size or not stat.S_ISREG(found.st_mode):
            os.close(fd)
            raise _damaged(digest, f"its file has {found.st_size} bytes instead of {size}")
        return fd

    def read(self, digest: Digest, offset: int = 0, size: int = 0) -> Iterator[bytes]:
        """The bytes of a blob in pieces, `size` of them from `offset`; a size of 0 means to the end, as does one beyond it."""
        fd = self.open(digest)
        try:
            length, offset = os.fstat(fd).st_size, max(offset, 0)
            if offset > length:
                raise OutOfRange(f"read past object length {length} bytes")
            end = length if size <= 0 else min(offset + size, length)
            while offset < end:
                piece = os.pread(fd, min(READ_CHUNK, end - offset), offset)
                if not piece:
                    raise _damaged(digest, "its file ends early")
                offset += len(piece)
                yield piece
        finally:
            os.close(fd)

    def read_bytes(self, digest: Digest, limit: int) -> bytes:
        """A small blob whole, unverified; InvalidArgument when it has more than `limit` bytes."""
        fd = self.open(digest)
        with os.fdopen(fd, "rb", buffering=0) as file:
            length = os.fstat(fd).st_size
            if length > limit:
                raise InvalidArgument(f"blob {digest.short} has {length} bytes; at most {limit} are read at once")
            data = bytearray(length)
            if pump.read_exactly(file, memoryview(data)) != length:
                raise _damaged(digest, "its file ends early")
            return bytes(data)

    def peek(self, digest: Digest, limit: int) -> bytes:
        """The first `limit` bytes of a blob's file, in one read and whoever records it: for a list of thousands. OSError."""
        fd = os.open(self._scope.core.layout.blob(digest), os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, limit)
        finally:
            os.close(fd)

    # ------------------------------------------------------------------------------------------------- changing

    def vouched(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of the blobs that were taken at a user's word, and not hashed since."""
        with self._scope.read() as connection:
            return {digest for digest in digests if placing.is_vouched(connection, digest)}

    def update(
        self, digest: Digest, labels: Mapping[str, str] | None, fieldpaths: Sequence[str] | None = None
    ) -> ContentInfo:
        """Change labels by a field mask (`labels`, `labels.KEY`; none replaces all) and return the new record; NotFound."""
        with self._scope.write() as connection:
            old = self._info(connection, digest)
            new = label_rules.updated(old.labels, labels, fieldpaths, f'content info "{digest}"')
            connection.execute(
                "UPDATE content SET labels = ?, updated_at = ? WHERE namespace = ? AND digest = ?",
                (dumps(new), now(), self._scope.namespace, digest),
            )
            return self._info(connection, digest)

    def delete(self, digest: Digest) -> None:
        """Forget the blob in this namespace, whoever refers to it; its file goes with the next collection. NotFound."""
        with self._scope.write() as connection:
            gone = connection.execute(
                "DELETE FROM content WHERE namespace = ? AND digest = ?", (self._scope.namespace, digest)
            ).rowcount
        if not gone:
            raise _absent(digest)

    # ------------------------------------------------------------------------------------------------- adding

    def ensure(self, digest: Digest, *, labels: Mapping[str, str] | None = None, lease: str | None = None) -> bool:
        """Is the blob here? If so, let the lease hold it from now on, and add the labels to those there.

        With the shared policy a blob of another namespace counts, and becomes one of this namespace. This is how a transfer
        says "present": look and hold are one transaction, so that no collection comes between.
        """
        return bool(self.ensure_all({digest: labels or {}}, lease=lease))

    def ensure_all(self, wanted: Mapping[Digest, Mapping[str, str]], *, lease: str | None = None) -> set[Digest]:
        """`ensure` for many blobs (digest → labels to add) in one transaction: those that are here."""
        scope, here = self._scope, set()
        for digest, labels in wanted.items():
            placement = self._in_batch(digest)
            if placement is not None and (labels or placement.lease != lease):
                self._scope.flush()
            elif placement is not None:
                here.add(digest)
        rest = {digest: label_rules.checked(labels) for digest, labels in wanted.items() if digest not in here}
        if not rest:
            return here
        with scope.core.database.write(durable=False) as connection:
            lasting = any(rest.values()) or placing.is_lasting(connection, scope.namespace, lease)
            for digest, labels in rest.items():
                allowed = placing.may_take(connection, scope.core, scope.namespace, digest)
                if allowed and placing.is_whole(connection, scope.core.layout, digest):
                    lasting |= placing.add_record(connection, scope.namespace, digest, labels, now())
                    placing.hold(connection, scope.namespace, lease, digest)
                    here.add(digest)
        found = not here.isdisjoint(rest)
        if scope.batch is not None:
            scope.batch.leans |= found
        elif lasting:
            if found:
                placing.sync_others(scope.core)
            scope.core.database.settle()
        return here

    def put(
        self,
        source: pump.Reader | bytes,
        digest: Digest,
        size: int,
        *,
        labels: Mapping[str, str] | None = None,
        lease: str | None = None,
        verified: bool = False,
        advance: pump.Advance = pump.nothing,
    ) -> bool:
        """Write a blob in one go; False when the namespace had it already. Its bytes are read to the end all the same.

        verified  the reader raises by itself rather than give the last chunk of wrong bytes, so they are not hashed again.

        Raises CommitMismatch when there are not `size` bytes, or they have another digest.
        """
        with self.draft(digest, size, labels=labels, lease=lease) as draft:
            return draft.fill(source, verified=verified, advance=advance)

    def draft(
        self, digest: Digest, size: int, *, labels: Mapping[str, str] | None = None, lease: str | None = None
    ) -> Draft:
        """A new file for a blob whose bytes the caller writes, clones or copies itself; see Draft."""
        return Draft(self._scope, digest, size, label_rules.checked(labels), lease)

    def adopt_file(
        self,
        path: str | os.PathLike[str],
        digest: Digest,
        size: int,
        *,
        labels: Mapping[str, str] | None = None,
        lease: str | None = None,
    ) -> bool:
        """Move a file of this file system in as a blob. The caller has verified its bytes and lets go of it.

        False when the namespace had the blob already. CommitMismatch when the file has another size.
        """
        staging = self._scope.core.process.staging()
        placement = Placement(self._scope.namespace, digest, size, staging, label_rules.checked(labels), lease)
        return adopt(self._scope, os.fspath(path), placement)

    # ------------------------------------------------------------------------------------------------- ingests

    def writer(
        self,
        ref: str,
        *,
        total: int = 0,
        expected: Digest | None = None,
        labels: Mapping[str, str] | None = None,
        lease: str | None = None,
    ) -> Writer:
        """Take up the ingest of a ref where it was left, or begin one; nobody else can have it meanwhile.

        total and expected are what the commit will find, where they are known. AlreadyExists when the namespace has
        `expected` already (then the lease holds it); Unavailable while another writer, of any process, has the ref;
        NotFound when there is no such lease. With the shared policy a blob of another namespace need not be brought
        again: the writer's offset is at its end at once, and it can be committed.
        """
        return Writer(self._scope, ref, total=total, expected=expected, labels=labels, lease=lease)

    def status(self, ref: str) -> IngestStatus:
        """What is known of an ingest; NotFound. It costs a look at a small file, also while it is being written."""
        return ingests.status(self._scope, ref)

    def statuses(self, filters: Sequence[str] = ()) -> list[IngestStatus]:
        """The ingests that one of the filters lets pass (field `ref`), by ref."""
        return ingests.statuses(self._scope, filters)

    def abort(self, ref: str) -> None:
        """Drop an ingest; NotFound. A writer that has it cannot commit any more."""
        ingests.abort(self._scope, ref)

    # ------------------------------------------------------------------------------------------------- within

    def _in_batch(self, digest: Digest) -> Placement | None:
        batch = self._scope.batch
        return batch.find(self._scope.namespace, digest) if batch is not None else None

    def _size(self, digest: Digest) -> int | None:
        with self._scope.core.database.read() as connection:
            row = connection.execute(
                "SELECT size FROM content JOIN blobs USING(digest) WHERE namespace = ? AND digest = ?",
                (self._scope.namespace, digest),
            ).fetchone()
        return row[0] if row else None

    def _info(self, connection: sqlite3.Connection, digest: Digest) -> ContentInfo:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM content JOIN blobs USING(digest) WHERE namespace = ? AND digest = ?",  # noqa: S608  # ours
            (self._scope.namespace, digest),
        ).fetchone()
        if row is None:
            raise _absent(digest)
        return _decode(row)


def _decode(row: tuple[Any, ...]) -> ContentInfo:
    digest, size, created_at, updated_at, labels, verified_at = row
    return ContentInfo(
        Digest(digest),
        size,
        moment(created_at),
        moment(updated_at),
        loads(labels),
        moment(verified_at) if verified_at is not None else None,
    )


def _passing(filters: Sequence[str]) -> Callable[[ContentInfo], bool] | None:
    if not any(filters):
        return None
    from tranship.formats import filters as grammar

    wanted = grammar.parse(filters)
    return lambda info: wanted.matches(grammar.adaptor({"digest": info.digest}, {"labels": info.labels}))


def _absent(digest: Digest) -> NotFound:
    return NotFound(f"content digest {digest}: not found")


def _damaged(digest: Digest, how: str) -> DataLoss:
    return DataLoss(
        f"blob {digest} of the store is damaged: {how}", hint="`tranship fsck --repair` forgets it; then fetch it again"
    )
