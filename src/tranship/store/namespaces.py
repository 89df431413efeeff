"""Namespaces, with containerd's rules: they appear with the first thing written into them, and go only when empty."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tranship.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, printable
from tranship.store import labels as label_rules
from tranship.store.values import NOTHING, Namespace, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tranship.store.core import Core

MAX_NAME = 76  # characters (containerd, pkg/identifiers)
_NAME = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")


def check_name(name: str) -> str:
    """The name, or InvalidArgument in containerd's words."""
    if not name:
        raise InvalidArgument("identifier must not be empty: invalid argument")
    if len(name) > MAX_NAME:
        raise InvalidArgument(
            f'identifier "{printable(name)}" greater than maximum length ({MAX_NAME} characters): invalid argument'
        )
    if not _NAME.fullmatch(name):
        raise InvalidArgument(f'identifier "{printable(name)}" must match ^{_NAME.pattern}$: invalid argument')
    return name


class Namespaces:
    """The Namespaces service: `Store.namespaces`."""

    def __init__(self, core: Core) -> None:
        """Of one store."""
        self._core = core

    def create(self, name: str, labels: Mapping[str, str] | None = None) -> Namespace:
        """Make a namespace; AlreadyExists when it is there."""
        kept = label_rules.merged({}, label_rules.checked(labels))
        with self._core.database.write() as connection:
            if connection.execute("SELECT 1 FROM namespaces WHERE name = ?", (check_name(name),)).fetchone():
                raise AlreadyExists(f'namespace "{name}": already exists')
            connection.execute("INSERT INTO namespaces VALUES (?, ?)", (name, dumps(kept)))
        return Namespace(name, kept)

    def get(self, name: str) -> Namespace:
        """The namespace; one that nobody has made yet has no labels, as in containerd."""
        with self._core.database.read() as connection:
            row = connection.execute("SELECT labels FROM namespaces WHERE name = ?", (check_name(name),)).fetchone()
        return Namespace(name, loads(row[0]) if row else NOTHING)

    def list(self) -> list[Namespace]:
        """All of them, by name."""
        with self._core.database.read() as connection:
            rows = connection.execute("SELECT name, labels FROM namespaces ORDER BY name").fetchall()
        return [Namespace(name, loads(labels)) for name, labels in rows]

    def update(self, name: str, labels: Mapping[str, str] | None, fieldpaths: Sequence[str] | None = None) -> Namespace:
        """Change labels: `labels.KEY` each, or all without a mask; an empty value removes. Makes the namespace if needed."""
        if any(not path.startswith("labels.") for path in fieldpaths or ()):
            raise InvalidArgument(f'cannot update fields of namespace "{name}" other than labels: invalid argument')
        with self._core.database.write() as connection:
            row = connection.execute("SELECT labels FROM namespaces WHERE name = ?", (check_name(name),)).fetchone()
            kept = label_rules.updated(loads(row[0]) if row else NOTHING, labels, fieldpaths, f'namespace "{name}"')
            connection.execute(
                "INSERT INTO namespaces VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET labels = excluded.labels",
                (name, dumps(kept)),
            )
        return Namespace(name, kept)

    def delete(self, name: str) -> None:
        """Remove an empty namespace; leases and ingests do not keep it. FailedPrecondition when it has images or blobs."""
        with self._core.database.write() as connection:
            if not connection.execute("SELECT 1 FROM namespaces WHERE name = ?", (check_name(name),)).fetchone():
                raise NotFound(f'namespace "{name}": not found')
            kinds = [
                kind
                for kind, table in (("images", "images"), ("blobs", "content"))
                if connection.execute(f"SELECT 1 FROM {table} WHERE namespace = ? LIMIT 1", (name,)).fetchone()  # noqa: S608  # ours
            ]
            if kinds:
                raise FailedPrecondition(
                    f'namespace "{name}" must be empty, but it still has {", ".join(kinds)}: failed precondition'
                )
            connection.execute("DELETE FROM namespaces WHERE name = ?", (name,))
