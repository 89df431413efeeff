"""Images: names of a namespace, each pointing at a target. The target need not be here as content (containerd's rule)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tranship.errors import AlreadyExists, InvalidArgument, NotFound, printable
from tranship.failpoints import hit
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.store import labels as label_rules
from tranship.store.placing import hold, sync_others
from tranship.store.values import Image, dumps, loads, microseconds, moment, now

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from tranship.store.core import Scope

_COLUMNS = "name, media_type, digest, size, more, labels, created_at, updated_at"


class Images:
    """The Images service of one namespace: `store.namespace(name).images`."""

    def __init__(self, scope: Scope) -> None:
        """Of one namespace, perhaps in a batch."""
        self._scope = scope

    def get(self, name: str) -> Image:
        """The image of a name; NotFound."""
        with self._scope.read() as connection:
            return self._get(connection, name)

    def list(self, filters: Sequence[str] = ()) -> list[Image]:
        """The images that one of the filters lets pass, by name."""
        with self._scope.read() as connection:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM images WHERE namespace = ? ORDER BY name",  # noqa: S608  # a constant of ours
                (self._scope.namespace,),
            ).fetchall()
        images = [_decode(row) for row in rows]
        if not any(filters):
            return images
        from tranship.formats import filters as grammar

        wanted = grammar.parse(filters)
        return [image for image in images if wanted.matches(grammar.adaptor(*_fields(image)))]

    def create(self, image: Image, *, lease: str | None = None, at: datetime | None = None) -> Image:
        """Make a name; AlreadyExists when it is taken. `at` sets both times (containerd's source_date_epoch)."""
        _check(image)
        with self._naming() as connection:
            if self._find(connection, image.name) is not None:
                raise AlreadyExists(f'image "{printable(image.name)}": already exists')
            self._write(connection, image, microseconds(at) if at is not None else now(), None)
            if label_rules.GC_EXPIRE in image.labels:
                hold(connection, self._scope.namespace, lease, image.name, "images")
            return self._get(connection, image.name)

    def update(self, image: Image, fieldpaths: Sequence[str] | None = None, *, at: datetime | None = None) -> Image:
        """Change an image by a field mask: `labels`, `labels.KEY`, `target`, `annotations`, `annotations.KEY`; none replaces
        everything. NotFound; InvalidArgument for other paths. `created_at` stays.
        """  # fmt: skip
        with self._naming() as connection:
            old = self._get(connection, image.name)
            new = _masked(old, image, fieldpaths) if fieldpaths else image
            _check(new)
            self._write(connection, new, microseconds(old.created_at), microseconds(at) if at is not None else now())
            return self._get(connection, image.name)

    def put(self, image: Image) -> Image:
        """Make the name, or move it: from one moment to the next, old or new. Labels are replaced, `created_at` stays."""
        return self.put_all((image,))[0]

    def put_all(self, images: Iterable[Image], *, clobber: bool = True) -> tuple[Image, ...]:
        """`put` many, all of them or none. With clobber=False AlreadyExists where a name would move to another target."""
        images = tuple(images)
        for image in images:
            _check(image)
        with self._naming() as connection:
            for image in images:
                old = self._find(connection, image.name)
                if old is not None and not clobber:
                    check_free(old, image.target.digest)
                time = now()
                self._write(connection, image, time if old is None else microseconds(old.created_at), time)
            hit("image.recorded")
            return tuple(self._get(connection, image.name) for image in images)

    @contextlib.contextmanager
    def _naming(self) -> Iterator[sqlite3.Connection]:
        """A transaction that gives names: to what is on the disk, of whomever it came. (A batch sees to that at its end.)"""
        if self._scope.batch is None:
            sync_others(self._scope.core)
        with self._scope.write() as connection:
            yield connection

    def delete(self, name: str, *, target: Digest | None = None) -> None:
        """Remove a name; NotFound when it is absent, or when it points at something else than `target`."""
        with self._scope.write() as connection:
            image = self._get(connection, name)
            if target is not None and image.target.digest != target:
                raise NotFound(f'image "{printable(name)}" has target {image.target.digest}, not {target}: not found')
            connection.execute("DELETE FROM images WHERE namespace = ? AND name = ?", (self._scope.namespace, name))

    def _get(self, connection: sqlite3.Connection, name: str) -> Image:
        image = self._find(connection, name)
        if image is None:
            raise NotFound(f'image "{printable(name)}": not found')
        return image

    def _find(self, connection: sqlite3.Connection, name: str) -> Image | None:
        row = connection.execute(
            f"SELECT {_COLUMNS} FROM images WHERE namespace = ? AND name = ?",  # noqa: S608  # a constant of ours
            (self._scope.namespace, name),
        ).fetchone()
        return _decode(row) if row is not None else None

    def _write(self, connection: sqlite3.Connection, image: Image, created: int, updated: int | None) -> None:
        target = image.target
        connection.execute("INSERT OR IGNORE INTO namespaces(name) VALUES (?)", (self._scope.namespace,))
        connection.execute(
            "INSERT OR REPLACE INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._scope.namespace,
                image.name,
                target.media_type,
                target.digest,
                target.size,
                _more(target),
                dumps(label_rules.merged({}, image.labels)),
                created,
                created if updated is None else updated,
            ),
        )


class ByName(Mapping[str, Image]):
    """The images of a namespace by name. One of them costs a look; all are read when somebody goes through them, once."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._all: dict[str, Image] | None = None

    def __getitem__(self, name: str) -> Image:
        if self._all is not None:
            return self._all[name]
        try:
            return self._images.get(name)
        except NotFound:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[str, Image]:
        if self._all is None:
            self._all = {image.name: image for image in self._images.list()}
        return self._all


def check_free(there: Image, digest: Digest) -> None:
    """AlreadyExists when a name that must not move points at something else than this."""
    if there.target.digest != digest:
        raise AlreadyExists(f"image {printable(there.name)} is in the store already, with digest {there.target.digest}")


def _check(image: Image) -> None:
    if not image.name:
        raise InvalidArgument("image name must not be empty: invalid argument")
    if image.target.size <= 0:
        raise InvalidArgument("target.Size must be greater than zero: invalid argument")
    if not image.target.media_type:
        raise InvalidArgument("target.MediaType must be set: invalid argument")
    label_rules.checked(image.labels)


def _masked(old: Image, new: Image, fieldpaths: Sequence[str]) -> Image:
    """`old` with the fields of `new` that the mask names (containerd, core/metadata/images.go, Update)."""
    target, labels = old.target, dict(old.labels)
    for path in fieldpaths:
        field, _, key = path.partition(".")
        if field == "labels":
            labels = label_rules.updated(labels, new.labels, [path], f'image "{printable(old.name)}"')
        elif path == "target":
            target = new.target
        elif path == "annotations":
            target = target.annotated({**dict.fromkeys(target.annotations), **new.target.annotations})
        elif field == "annotations":
            target = target.annotated({key: new.target.annotations.get(key) or None})
        else:
            raise InvalidArgument(
                f'cannot update "{printable(path)}" field on image "{printable(old.name)}": invalid argument'
            )
    return Image(old.name, target, labels)


def _more(target: Descriptor) -> str | None:
    """The target's fields beyond media type, digest and size; None when it has none, as nearly all have."""
    if target.platform is None and not target.annotations and not target.extra:
        return None
    return json.dumps(target.to_json(), ensure_ascii=False)


_json = json.JSONDecoder().raw_decode  # json.loads looks for an encoding first, and for spaces around


def _decode(row: tuple[Any, ...]) -> Image:
    name, media_type, digest, size, more, labels, created, updated = row
    if more is None:
        target = Descriptor(media_type=media_type, digest=Digest(digest), size=size)
    else:
        target = Descriptor.again(_json(more)[0])
    made = moment(created)
    return Image(name, target, loads(labels), made, made if updated == created else moment(updated))


def _fields(image: Image) -> tuple[Mapping[str, str], Mapping[str, Mapping[str, str]]]:
    """What filters can ask of an image (containerd, core/metadata/adaptors.go)."""
    target = image.target
    plain = {"name": image.name, "target.digest": target.digest, "target.mediatype": target.media_type}
    return plain, {"labels": image.labels, "annotations": target.annotations}
