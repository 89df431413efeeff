"""Leases: what keeps content, ingests and images from collection while somebody works with them."""

from __future__ import annotations

import base64
import contextlib
import os
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tranship.errors import AlreadyExists, InvalidArgument, InvalidReference, NotFound, Unsupported, printable
from tranship.model.digest import Digest
from tranship.store import labels as label_rules
from tranship.store.placing import hold
from tranship.store.values import Lease, Resource, dumps, loads, moment, now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence

    from tranship.store.core import Scope

HOLDING = timedelta(hours=24)  # how long a transfer's lease outlives its process; containerd's default


class Leases:
    """The Leases service of one namespace: `store.namespace(name).leases`."""

    def __init__(self, scope: Scope) -> None:
        """Of one namespace, perhaps in a batch."""
        self._scope = scope

    def create(
        self,
        id: str | None = None,  # noqa: A002  # the field's name
        *,
        labels: Mapping[str, str] | None = None,
        expires: timedelta | None = None,
    ) -> Lease:
        """Make a lease that holds nothing yet; without an id it gets one. AlreadyExists.

        After `expires` from now (or the time in its label gc.expire) it holds nothing any more, and the next collection
        removes it.
        """
        return self._create(id, labels, expires, holder=None)

    @contextlib.contextmanager
    def holding(self, *, labels: Mapping[str, str] | None = None, expires: timedelta = HOLDING) -> Iterator[Lease]:
        """A lease for the work of a block, removed at its end.

        It holds while this process has the store open, whatever the clock says; should the process die, until it expires.
        """
        lease = self._create(None, labels, expires, holder=self._scope.core.process.id)
        try:
            yield lease
            self._scope.flush()  # what the batch has taken in names the lease
        except BaseException:
            with contextlib.suppress(Exception):  # of two errors the first is the one to tell of, here and below
                self._scope.flush()  # so that another attempt finds what is whole
            with contextlib.suppress(Exception):
                self._end(lease.id)
            raise
        self._end(lease.id)

    def get(self, id: str) -> Lease:  # noqa: A002  # the field's name
        """The lease of an id; NotFound."""
        with self._scope.read() as connection:
            row = connection.execute(
                "SELECT id, labels, created_at FROM leases WHERE namespace = ? AND id = ?", (self._scope.namespace, id)
            ).fetchone()
        if row is None:
            raise _absent(id)
        return Lease(row[0], moment(row[2]), loads(row[1]))

    def list(self, filters: Sequence[str] = ()) -> list[Lease]:
        """The leases that one of the filters lets pass, by id; expired ones too, until a collection."""
        with self._scope.read() as connection:
            rows = connection.execute(
                "SELECT id, labels, created_at FROM leases WHERE namespace = ? ORDER BY id", (self._scope.namespace,)
            ).fetchall()
        leases = [Lease(id, moment(created_at), loads(labels)) for id, labels, created_at in rows]  # noqa: A001
        if not any(filters):
            return leases
        from tranship.formats import filters as grammar

        wanted = grammar.parse(filters)
        return [
            lease for lease in leases if wanted.matches(grammar.adaptor({"id": lease.id}, {"labels": lease.labels}))
        ]

    def delete(self, id: str) -> None:  # noqa: A002  # the field's name
        """Remove a lease; what it held alone goes with the next collection. NotFound."""
        with self._scope.write() as connection:
            gone = connection.execute(
                "DELETE FROM leases WHERE namespace = ? AND id = ?", (self._scope.namespace, id)
            ).rowcount
        if not gone:
            raise _absent(id)

    def add_resource(self, id: str, resource: Resource) -> None:  # noqa: A002  # the field's name
        """Let a lease hold something, which need not be here. NotFound when there is no such lease."""
        kind = _check(resource)
        with self._scope.write() as connection:
            self._exists(connection, id)
            hold(connection, self._scope.namespace, id, resource.id, kind)

    def delete_resource(self, id: str, resource: Resource) -> None:  # noqa: A002  # the field's name
        """Let a lease drop something; nothing happens when it does not hold it. NotFound when there is no such lease."""
        kind = _check(resource)
        with self._scope.write() as connection:
            self._exists(connection, id)
            connection.execute(
                "DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?",
                (self._scope.namespace, id, kind, resource.id),
            )

    def list_resources(self, id: str) -> tuple[Resource, ...]:  # noqa: A002  # the field's name
        """What a lease holds, by type and id. NotFound when there is no such lease."""
        with self._scope.read() as connection:
            self._exists(connection, id)
            rows = connection.execute(
                "SELECT id, type FROM lease_resources WHERE namespace = ? AND lease = ? ORDER BY type, id",
                (self._scope.namespace, id),
            ).fetchall()
        return tuple(Resource(*row) for row in rows)

    def _create(
        self,
        id: str | None,  # noqa: A002  # the field's name
        labels: Mapping[str, str] | None,
        expires: timedelta | None,
        holder: str | None,
    ) -> Lease:
        kept = label_rules.merged({}, label_rules.checked(labels))
        if expires is not None:
            kept |= label_rules.expires(datetime.now(UTC) + expires)
        id, created = id or random_id(), now()  # noqa: A001
        with self._scope.write(durable=holder is None) as connection:
            if connection.execute(
                "SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (self._scope.namespace, id)
            ).fetchone():
                raise AlreadyExists(f'lease "{printable(id)}": already exists')
            connection.execute("INSERT OR IGNORE INTO namespaces(name) VALUES (?)", (self._scope.namespace,))
            connection.execute(
                "INSERT INTO leases VALUES (?, ?, ?, ?, ?)", (self._scope.namespace, id, dumps(kept), created, holder)
            )
        return Lease(id, moment(created), kept)

    def _end(self, id: str) -> None:  # noqa: A002  # the field's name
        """Remove the lease of a transfer, even where its batch is of no more use."""
        with self._scope.core.database.write(durable=False) as connection:
            connection.execute("DELETE FROM leases WHERE namespace = ? AND id = ?", (self._scope.namespace, id))

    def _exists(self, connection: sqlite3.Connection, id: str) -> None:  # noqa: A002  # the field's name
        if not connection.execute(
            "SELECT 1 FROM leases WHERE namespace = ? AND id = ?", (self._scope.namespace, id)
        ).fetchone():
            raise _absent(id)


def random_id() -> str:
    """An id as Go clients make them: nanoseconds within the second, and three random bytes (containerd, pkg/leases)."""
    return f"{time.time_ns() % 1_000_000_000}-{base64.urlsafe_b64encode(os.urandom(3)).decode()}"


def _absent(id: str) -> NotFound:  # noqa: A002  # the field's name
    return NotFound(f'lease "{printable(id)}": not found')


def _check(resource: Resource) -> str:
    """The resource's type, if it is one that containerd knows (core/metadata/leases.go, parseLeaseResource)."""
    kind, slash, rest = resource.type.partition("/")
    shown = printable(resource.type)
    if kind in ("content", "ingests", "images"):
        if slash:
            raise InvalidArgument(f"invalid resource type {shown}: invalid argument")
        if kind == "content":
            try:
                Digest.parse(resource.id)
            except InvalidReference:
                raise InvalidArgument(
                    f"invalid content resource id {printable(resource.id)}: invalid argument"
                ) from None
    elif kind == "snapshots":
        if not rest or "/" in rest:
            raise InvalidArgument(f"invalid snapshot resource type {shown}: invalid argument")
    else:
        raise Unsupported(f"resource type {shown} not supported yet: not implemented")
    return resource.type
