"""Images that nobody should trust: bundles of files, made wrong in one place, as archives of every form and as layouts.

    bundle = sound()                                   # a small image that every reader takes
    bundle.files["index.json"] = b"{"                  # made wrong
    with presented(bundle, "pipe", tmp_path) as end: transfer(end, …)

and what a failed transfer must leave as it was: `Untouched` takes a picture of every destination before, and compares after.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import socket
import sqlite3
import stat
import sys
import threading
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from support import raw_tar
from tranship import Archive, Layout, Store, TranshipError, transfer
from tranship.errors import NoSpace

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

OCI = "application/vnd.oci.image."
MANIFEST, INDEX, CONFIG, LAYER = (
    OCI + "manifest.v1+json",
    OCI + "index.v1+json",
    OCI + "config.v1+json",
    OCI + "layer.v1.tar",
)
NAME = "localhost/evil:1"
KINDS = {"fifo": b"6", "device": b"3", "directory": b"5", "symlink": b"2", "hardlink": b"1"}  # -> the tar's letter
FORMS = ("file", "pipe", "gzip", "zstd")  # of an archive


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def described(data: bytes, media_type: str, algorithm: str = "sha256", **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data), **more}


@dataclass
class Bundle:
    """What an archive or a layout holds: files by their names, in order; and what is no file: (kind, target)."""

    files: dict[str, bytes] = field(default_factory=dict)
    special: dict[str, tuple[str, str]] = field(default_factory=dict)
    roots: list[dict[str, Any]] = field(default_factory=list)

    def put(self, data: bytes, media_type: str, algorithm: str = "sha256", **more: Any) -> dict[str, Any]:
        """Add a blob; gives its descriptor."""
        found = described(data, media_type, algorithm, **more)
        self.files["blobs/" + found["digest"].replace(":", "/")] = data
        return found

    def document(self, value: Mapping[str, Any], media_type: str, **more: Any) -> dict[str, Any]:
        return self.put(dumps(value), media_type, **more)

    def image(self, count: int = 1, label: str = "", **changes: Any) -> dict[str, Any]:
        """Add an image of small layers, with these fields of its manifest changed; gives the manifest's descriptor."""
        contents = [raw_tar.member(b"file", f"{label}{n}".encode()) + raw_tar.END for n in range(count)]
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest_of(content) for content in contents]},
        }
        body = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.document(config, CONFIG),
            "layers": [self.put(content, LAYER) for content in contents],
            **changes,
        }
        return self.document({k: v for k, v in body.items() if v is not DROP}, MANIFEST)

    def index(self, manifests: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
        return self.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, **changes}, INDEX)

    def root(self, descriptor: dict[str, Any], name: str | None = NAME, **annotations: str) -> Bundle:
        """List a descriptor in index.json under a full name."""
        if name is not None:
            annotations = {"io.containerd.image.name": name, **annotations}
        self.roots.append({**descriptor, "annotations": annotations})
        return self.close()

    def close(self, **changes: Any) -> Bundle:
        """Write `oci-layout` and `index.json`, with these fields changed."""
        self.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'
        self.files["index.json"] = dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.roots, **changes})
        return self

    def path(self, descriptor: Mapping[str, Any]) -> str:
        return "blobs/" + descriptor["digest"].replace(":", "/")

    # ------------------------------------------------------------------------------------------------- as bytes and files

    def tar(self) -> bytes:
        return b"".join(self.members()) + raw_tar.END

    def members(self) -> Iterator[bytes]:
        """Each member's header and data."""
        for name, data in self.files.items():
            encoded = name.encode("utf-8", "surrogateescape")
            if len(encoded) > 100:
                yield raw_tar.pax(raw_tar.record(b"path", encoded))
            yield raw_tar.member(encoded[:100], data)
        for name, (kind, target) in self.special.items():
            yield raw_tar.member(name.encode(), b"", KINDS[kind], linkname=target.encode())

    def write(self, folder: Path) -> Path:
        """As a layout directory."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        for name, (kind, target) in self.special.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            _make[kind](path, target)
        return folder


DROP = object()  # as a value: leave the field out


def _bind(path: Path, _target: str) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as unix:  # a socket's path is short
        unix.bind(path.name)


_make: dict[str, Callable[[Path, str], object]] = {
    "fifo": lambda path, _target: os.mkfifo(path),
    "device": lambda path, _target: os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5)),  # /dev/zero: endless
    "directory": lambda path, _target: path.mkdir(),
    "symlink": lambda path, target: path.symlink_to(target),
    "socket": _bind,
}


def sound(count: int = 1, name: str | None = NAME) -> Bundle:
    """A small image that every reader takes."""
    bundle = Bundle()
    return bundle.root(bundle.image(count), name)


# ------------------------------------------------------------------------------------------------------------ as an end


class OnlyReads:
    """A source that can do nothing but `read`."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, count: int) -> bytes:
        return self._file.read(count)


@contextlib.contextmanager
def piped(data: bytes) -> Iterator[Any]:
    """A real pipe that gives these bytes and ends; its writer does not mind being cut off."""
    out, into = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), open(into, "wb", buffering=0) as pipe:
            view = memoryview(data)
            while view:
                view = view[pipe.write(view) :]

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with open(out, "rb", buffering=0) as pipe:
            yield pipe
    finally:
        thread.join()


@contextlib.contextmanager
def presented(content: Bundle | bytes, form: str, folder: Path, **options: Any) -> Iterator[Any]:
    """An end to read from: an archive of one of FORMS, or a layout."""
    if form == "layout":
        assert isinstance(content, Bundle)
        yield Layout(content.write(folder / "layout"), **options)
        return
    data = content.tar() if isinstance(content, Bundle) else content
    if form == "pipe":
        with piped(data) as pipe:
            yield Archive(pipe, **options)
        return
    packed = {"file": bytes, "gzip": lambda raw: gzip.compress(raw, 1), "zstd": zstd.compress}[form](data)
    path = folder / f"evil.{form}"
    path.write_bytes(packed)
    yield Archive(path, **options)


# ------------------------------------------------------------------------------------------------ what must stay the same


def tree(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    """Every name below a folder: its mode, and its bytes' digest or its link's target."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, folder)
            mode = os.lstat(path).st_mode
            if relative in skip:
                continue
            what = ""
            if stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    what = hashlib.file_digest(file, "sha256").hexdigest()
            elif stat.S_ISLNK(mode):
                what = os.readlink(path)
            found[relative] = (mode, what)
    return found


_DATABASE = ("state.db", "state.db-wal", "state.db-shm")


def rows(root: Path) -> dict[str, list[Any]]:
    """Every row of a store's database, but those of `meta`."""
    with contextlib.closing(sqlite3.connect(root / "state.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(connection.execute(f"SELECT * FROM {table}")) for table in tables if table != "meta"}


class Untouched:
    """A store, an archive and a layout that each hold a good image, a folder for temporary files, and one to stand in.

    One serves many tests, as long as each of them finds it unchanged in the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sound = True
        self.store = Store(root=folder / "store", durability="process")
        self.archive = Archive(folder / "out" / "good.tar", durability="process")
        self.layout = Layout(folder / "out" / "good", durability="process")
        for name in ("out", "tmp", "cwd"):
            (folder / name).mkdir()
        good = Layout(sound(2, "localhost/good:1").write(folder / "good-source"))
        for end in (self.store, self.archive, self.layout):
            transfer(good, end)
        self._before = self._picture()

    def enter(self, monkeypatch: Any) -> None:
        """Stand in a folder of our own, and put temporary files into another."""
        monkeypatch.chdir(self.folder / "cwd")
        monkeypatch.setenv("TMPDIR", str(self.folder / "tmp"))
        monkeypatch.setattr("tempfile.tempdir", None)  # it remembers
        self.sound = False

    def _picture(self) -> Any:
        root = self.folder / "store"
        outside = {name: tree(self.folder / name) for name in ("out", "tmp", "cwd")}
        return rows(root), tree(root, (*_DATABASE, "run", "run/gate", "lock")), outside

    def check(self, *, moved: bool = False) -> None:
        """Everything is as it was. `moved`: unreferenced blobs may have stayed in the store, until they are collected."""
        assert rows(self.folder / "store")["images"] == self._before[0]["images"]
        if moved:
            with self.store.open() as store:
                report = store.fsck(deep=True)
                assert report.ok, report.problems
                store.gc()
        assert self._picture() == self._before
        self.sound = True


def check_store(store: Store) -> int:
    """Every blob of the store has the digest that it is named by, and every image is whole; gives the number of images."""
    with store.open() as opened:
        report = opened.fsck(deep=True)
        assert report.ok, report.problems
        assert not report.incomplete, report.incomplete
        return len(opened.namespace("default").images.list())


def refuses(end: Any, ends: Untouched, error: type[TranshipError], says: str, *, moved: bool = False) -> None:
    """The store takes nothing of this end, and says why."""
    with pytest.raises(error, match=says) as caught:
        transfer(end, ends.store)
    assert_readable(caught.value)
    assert caught.value.side == "source" or isinstance(caught.value, NoSpace)
    ends.check(moved=moved)


def assert_readable(error: TranshipError) -> None:
    """The message, the hint and the notes say something, in characters that a terminal shows."""
    for text in (str(error), error.hint or "-", *getattr(error, "__notes__", ())):
        assert text.strip()
        assert len(text) < 2000, len(text)
        strange = [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
        assert not strange, repr(text)
