"""OCI layout directories: several images, read and written in place, safe for two writers.

A layout is anybody's: whatever stands in it is hashed before it gets a name elsewhere, and a blob that is there already is
hashed before it counts as present (unless the run trusts). Files are opened without following links and only when regular.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tranship import files
from tranship.endpoints.choosing import choose, patterns
from tranship.endpoints.files import FileBlob, read_small, whole_file
from tranship.engine import spans
from tranship.errors import InvalidArgument, NotFound, TranshipError, printable
from tranship.formats import layout
from tranship.model import naming
from tranship.pump import pump, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan, Source
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout directory, and the names in it that are meant.

    path        the directory; made when it is written to and is not there
    names       as a source: which images (none: all of them; a tag, a full name, a digest or a glob picks).
                As a destination: what the image is called there (none: as at the source)
    link        as a destination: hard-link blobs of our own store instead of copying them. The files are then shared:
                whoever changes one in place changes both
    durability  "full" (survives a power cut) or "process"
    """

    path: str | os.PathLike[str]
    names: str | tuple[str, ...] = ()
    link: bool = False
    durability: files.Durability = "full"

    kind: ClassVar[str] = "layout"

    def __str__(self) -> str:
        return ":".join(("oci", os.fspath(self.path), *patterns(self.names)))

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[LayoutSource]:
        """Open for reading. NotFound when it is not there, InvalidArgument when it is no layout."""
        del run
        path = os.fspath(self.path)
        with _directory(path) as folder:
            yield LayoutSource(path, folder, choose(_read_roots(path, folder), patterns(self.names), str(self)))

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[LayoutDestination]:
        """Open for writing; nothing is made before the transfer has been planned."""
        destination = LayoutDestination(self, run)
        try:
            with files.no_space_as_error(os.fspath(self.path)):
                yield destination
        finally:
            destination.close()


class LayoutSource:
    """The readable side of a layout."""

    readers = 1

    def __init__(self, path: str, folder: int, roots: Sequence[Root]) -> None:
        self._path = path
        self._folder = folder
        self._roots = roots

    def roots(self) -> Sequence[Root]:
        """The chosen images, in the order of the index."""
        return self._roots

    def has(self, descriptor: Descriptor) -> bool:
        """Is there a file of that name and size?"""
        return _has_file(self._folder, descriptor)

    def blob(self, descriptor: Descriptor) -> FileBlob:
        """A file of the layout."""
        return FileBlob(descriptor, lambda: self._open(descriptor))

    def _open(self, descriptor: Descriptor) -> AbstractContextManager[FileSpan]:
        try:
            fd = files.open_regular(layout.blob_path(descriptor.digest), dir_fd=self._folder)
        except NotFound:
            raise NotFound(
                f"{descriptor} is not in layout {printable(self._path)}", descriptor=descriptor, side="source"
            ) from None
        return whole_file(fd)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """Manifests listed in the index that name `subject`."""
        return find_referrers(self, _read_roots(self._path, self._folder), subject, artifact_type)


class LayoutDestination:
    """The writable side of a layout. Blobs come under their names one by one, index.json is replaced last."""

    workers = 4

    def __init__(self, value: Layout, run: Run) -> None:
        self._value = value
        self._path = os.fspath(value.path)
        self._run = run
        self._scratch: str | None = None
        self._touched: set[str] = set()  # directories whose names must become durable
        self._checked: dict[Digest, bool] = {}

    def prepare(self, plan: Plan) -> None:
        """Make the directory, and refuse names that do not fit the plan."""
        naming.rename(plan.roots, patterns(self._value.names))
        for folder in {layout.blob_path(d.digest).rpartition("/")[0] for d in (*plan.blobs, *plan.documents)}:
            os.makedirs(os.path.join(self._path, folder), exist_ok=True)
        with _directory(self._path) as folder_fd:
            if os.path.lexists(os.path.join(self._path, layout.INDEX)):
                _read_roots(self._path, folder_fd)  # refuse a layout that we cannot add to, before the first write
        self._scratch = os.path.join(self._path, f".tranship-{secrets.token_hex(6)}")
        os.mkdir(self._scratch, 0o700)

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there, with the right bytes?"""
        known = self._checked.get(descriptor.digest)
        if known is None:
            known = self._checked[descriptor.digest] = self._is_sound(descriptor)
        return known

    def _is_sound(self, descriptor: Descriptor) -> bool:
        try:
            with _directory(self._path) as folder:
                if not _has_file(folder, descriptor):
                    return False
                if self._run.verification == "trusted":
                    return True
                with whole_file(files.open_regular(layout.blob_path(descriptor.digest), dir_fd=folder)) as span:
                    spans.check(span.fd, 0, descriptor, self._run)
        except TranshipError as error:
            if error.code in ("NOT_FOUND", "DATA_LOSS", "INVALID_ARGUMENT"):
                return False  # it will be written anew
            raise
        return True

    def write(self, blob: Blob) -> None:
        """Receive the blob into scratch, then give it its name."""
        with self._incoming(blob.descriptor) as fd, blob.open() as reader:
            files.preallocate(fd, blob.descriptor.size)
            pump(reader, lambda chunk: write_all(fd, chunk))

    def adopt(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Link (when asked for), or clone or copy a file."""
        if self._value.link and span.trusted and span.path is not None and self._link(descriptor, span):
            return True
        with self._incoming(descriptor) as fd:
            spans.take(span, descriptor, fd, 0, self._run, alone=True, behind=self._value.durability == "full")
        return True

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Add the images to index.json, in the place of those of the same name."""
        named = naming.rename(roots, patterns(self._value.names))
        durable = self._value.durability
        with _directory(self._path) as folder, _locked(folder):
            for directory in sorted(self._touched) if durable == "full" else ():
                files.fsync_directory(directory)
            marker = os.path.join(self._path, layout.MARKER)
            present: Sequence[Descriptor] = ()
            if os.path.lexists(os.path.join(self._path, layout.INDEX)):
                present = [root.descriptor for root in _read_roots(self._path, folder)]
            if not os.path.lexists(marker):
                files.write_file(marker, layout.MARKER_BYTES, durability=durable)
            entries = merged(present, named)
            files.write_file(os.path.join(self._path, layout.INDEX), layout.index_json(entries), durability=durable)
        return named

    def close(self) -> None:
        """Remove scratch."""
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)

    @contextlib.contextmanager
    def _incoming(self, descriptor: Descriptor) -> Iterator[int]:
        """A new file in scratch that gets the blob's name when the block ends well."""
        if self._scratch is None:
            raise RuntimeError("prepare() comes first")
        temporary = os.path.join(self._scratch, f"{descriptor.digest.hex}-{secrets.token_hex(4)}")
        fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            try:
                yield fd
                if self._value.durability == "full":
                    os.fsync(fd)
            finally:
                os.close(fd)
            self._place(temporary, descriptor)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise

    def _place(self, temporary: str, descriptor: Descriptor) -> None:
        final = os.path.join(self._path, layout.blob_path(descriptor.digest))
        os.replace(temporary, final)
        self._touched.add(os.path.dirname(final))

    def _link(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Hard-link a file of our store; its bytes are verified as the run's policy says."""
        if self._scratch is None or span.path is None:
            return False
        if self._run.verification != "trusted":
            spans.check(span.fd, span.offset, descriptor, self._run)
        temporary = os.path.join(self._scratch, f"{descriptor.digest.hex}-link")
        try:
            os.link(span.path, temporary)
        except OSError:  # another file system, too many links, or not allowed: copy
            return False
        if os.stat(temporary).st_ino != os.fstat(span.fd).st_ino:
            os.unlink(temporary)
            return False
        self._place(temporary, descriptor)
        return True


def merged(present: Sequence[Descriptor], roots: Sequence[Root]) -> list[Descriptor]:
    """The entries of an index after `roots` have come: a name moves to the new image, an equal entry stays single."""
    fresh = [layout.entry(root) for root in roots]
    taken = {name for entry in fresh if (name := naming.stated_name(entry))}
    same = {(entry.digest, naming.stated_name(entry)) for entry in fresh}
    kept = [
        entry
        for entry in present
        if naming.stated_name(entry) not in taken and (entry.digest, naming.stated_name(entry)) not in same
    ]
    return [*kept, *fresh]


def find_referrers(
    source: Source, roots: Sequence[Root], subject: Descriptor, artifact_type: str | None
) -> Sequence[Descriptor]:
    """Among the manifests that an index lists, those whose `subject` is the given one, in order of their digests."""
    from tranship.engine.plan import read_all
    from tranship.model.manifest import parse

    found: dict[Digest, Descriptor] = {}
    for root in roots:
        if not root.descriptor.is_document or root.descriptor.digest in found:
            continue
        with contextlib.suppress(NotFound):
            document = parse(read_all(source, root.descriptor), root.descriptor)
            kind = getattr(document, "artifact_type", None) or root.descriptor.extra.get("artifactType")
            refers = document.subject is not None and document.subject.digest == subject.digest
            if refers and artifact_type in (None, kind):
                found[root.descriptor.digest] = root.descriptor.plain
    return [found[digest] for digest in sorted(found)]


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_DIRECTORY", 0))
    except FileNotFoundError:
        raise NotFound(f"there is no directory {printable(path)}") from None
    except NotADirectoryError:
        raise InvalidArgument(f"{printable(path)} is no directory, so it is no OCI layout") from None
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _locked(folder: int) -> Iterator[None]:
    """Keep other writers out; the lock is on the directory itself and dies with the process."""
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def _read_roots(path: str, folder: int) -> tuple[Root, ...]:
    try:
        marker = read_small(files.open_regular(layout.MARKER, dir_fd=folder), layout.MAX_MARKER, layout.MARKER)
        index = read_small(files.open_regular(layout.INDEX, dir_fd=folder), layout.MAX_INDEX, layout.INDEX)
    except NotFound as error:
        raise InvalidArgument(f"{printable(path)} is no OCI layout: {error.message}") from None
    layout.check_marker(marker)
    return layout.parse_index(index)


def _has_file(folder: int, descriptor: Descriptor) -> bool:
    import stat

    try:
        found = os.stat(layout.blob_path(descriptor.digest), dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size == descriptor.size
