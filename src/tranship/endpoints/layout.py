"""OCI layout directories: several images, read and written in place, safe for two writers.

A layout is anybody's: whatever stands in it is hashed before it gets a name elsewhere, and a blob that is there already is
hashed before it counts as present (unless the run trusts). Files are opened without following links and only when regular;
what is written stays below the directory, whatever links somebody has put there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, get_args

from tranship import files
from tranship.endpoints.choosing import chosen, patterns
from tranship.endpoints.files import FileBlob, about, read_small, whole_file
from tranship.endpoints.referrers import Referrers
from tranship.engine import spans
from tranship.engine.verify import check_size
from tranship.errors import AlreadyExists, InvalidArgument, NotFound, TranshipError, printable
from tranship.formats import layout
from tranship.model import choices, naming
from tranship.pump import pump, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY
_SCRATCH = ".tranship-"  # begins the names of writers' scratch folders, which their writers hold locked


@dataclass(frozen=True, slots=True)
class Layout:
    """An OCI layout directory, and the names in it that are meant.

    path        the directory; made when it is written to and is not there
    names       as a source: which images (none: all of them; a tag, a full name, a digest or a glob picks).
                As a destination: what the image is called there (none: as at the source)
    link        as a destination: hard-link blobs of our own store instead of copying them. The files are then shared:
                whoever changes one in place changes both
    durability  "full" (survives a power cut) or "process"
    clobber     may a name that exists be moved to another image?
    """

    path: str | os.PathLike[str]
    names: str | tuple[str, ...] = ()
    link: bool = False
    durability: files.Durability = "full"
    clobber: bool = True

    kind: ClassVar[str] = "layout"

    def __post_init__(self) -> None:
        choices.check("durability of a layout", self.durability, get_args(files.Durability))

    def __str__(self) -> str:
        return ":".join(map(printable, ("oci", os.fspath(self.path), *patterns(self.names))))

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[LayoutSource]:
        """Open for reading. NotFound when it is not there, InvalidArgument when it is no layout."""
        del run
        with _directory(os.fspath(self.path)) as folder:
            with about(str(self)):
                source = LayoutSource(str(self), folder, layout.parse_index(_read_index(folder)))
                source.choose(chosen(source, source.all_roots, patterns(self.names), str(self)))
            yield source

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

    def __init__(self, where: str, folder: int, roots: Sequence[Root]) -> None:
        self._where = where
        self._folder = folder
        self.all_roots = self._chosen = roots
        self._referrers = Referrers(self, roots)

    def choose(self, roots: Sequence[Root]) -> None:
        """Take these roots alone."""
        self._chosen = roots

    def roots(self) -> Sequence[Root]:
        """The chosen images, in the order of the index."""
        return self._chosen

    def has(self, descriptor: Descriptor) -> bool:
        """Is there anything of that name? DataLoss when it has another size: it was cut, or is not what it is called."""
        found = _look(self._folder, descriptor)
        if found is not None and stat.S_ISREG(found.st_mode):
            check_size(descriptor, found.st_size, self._where)
        return found is not None

    def blob(self, descriptor: Descriptor) -> FileBlob:
        """A file of the layout."""
        return FileBlob(descriptor, lambda: self._open(descriptor))

    def _open(self, descriptor: Descriptor) -> AbstractContextManager[FileSpan]:
        try:
            return whole_file(files.open_regular(layout.blob_path(descriptor.digest), dir_fd=self._folder))
        except NotFound:
            raise NotFound(f"{descriptor} is not in {self._where}", descriptor=descriptor, side="source") from None
        except InvalidArgument as error:
            raise InvalidArgument(
                f"{descriptor} in {self._where}: {error}", descriptor=descriptor, side="source"
            ) from None

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """Manifests listed in the index that name `subject`."""
        return self._referrers.of(subject, artifact_type)


class LayoutDestination:
    """The writable side of a layout. Blobs come under their names one by one, index.json is replaced last."""

    workers = 4

    def __init__(self, value: Layout, run: Run) -> None:
        self._value = value
        self._path = os.fspath(value.path)
        self._run = run
        self._opened = contextlib.ExitStack()
        self._folder = -1
        self._scratch = -1
        self._blobs: dict[str, int] = {}  # algorithm -> the directory of its blobs
        self._parents: tuple[int, ...] = ()  # the directories above
        self._checked: dict[Digest, bool] = {}

    def rehearse(self, plan: Plan) -> Sequence[Root]:
        """Refuse names that do not fit the plan, and a layout that we cannot add to."""
        named = naming.rename(plan.roots, patterns(self._value.names))
        if os.path.lexists(self._path):
            with about(str(self._value)):
                self._check_taken(_roots(_present_index(self._open_folder())), named)
        return named

    def prepare(self, plan: Plan) -> None:
        """Make the directory, when the names fit."""
        self.rehearse(plan)
        with contextlib.suppress(FileExistsError):  # whatever it is: opening it will tell
            files.make_directory(self._path, durability=self._value.durability)
        folder = self._open_folder()
        with about(str(self._value)):
            blobs = self._opened.enter_context(_made("blobs", folder))
            for algorithm in sorted({d.digest.algorithm for d in (*plan.blobs, *plan.documents)}):
                self._blobs[algorithm] = self._opened.enter_context(_made(algorithm, blobs))
            if not _exists(layout.MARKER, folder) and not _exists(layout.INDEX, folder):
                # so that what an interrupted transfer leaves is a layout without images, and no puzzle
                files.write_file(layout.MARKER, layout.MARKER_BYTES, durability="process", dir_fd=folder)
        self._scratch = self._opened.enter_context(_scratch(folder))
        self._parents = (blobs, folder)

    def _open_folder(self) -> int:
        if self._folder < 0:
            self._folder = self._opened.enter_context(_directory(self._path))
        return self._folder

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there, with the right bytes?"""
        known = self._checked.get(descriptor.digest)
        if known is None:
            known = self._checked[descriptor.digest] = self._is_sound(descriptor)
        return known

    def _is_sound(self, descriptor: Descriptor) -> bool:
        try:
            folder = self._open_folder()
            found = _look(folder, descriptor)
            if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != descriptor.size:
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
        with _locked(self._folder):
            for directory in (*self._blobs.values(), *self._parents) if durable == "full" else ():
                os.fsync(directory)
            before = _present_index(self._folder)
            present = _roots(before)
            self._check_taken(present, named)
            entries = merged([root.descriptor for root in present], named)
            index = layout.index_json(entries, before=before)
            if before is None:
                files.write_file(layout.MARKER, layout.MARKER_BYTES, durability=durable, dir_fd=self._folder)
            files.write_file(layout.INDEX, index, durability=durable, dir_fd=self._folder)
        return named

    def _check_taken(self, present: Sequence[Root], named: Sequence[Root]) -> None:
        """AlreadyExists when a name would move to another image and may not."""
        if self._value.clobber:
            return
        there = {root.name: root.descriptor.digest for root in present if root.name}
        for root in named:
            if root.name and there.get(root.name, root.descriptor.digest) != root.descriptor.digest:
                raise AlreadyExists(
                    f"{printable(root.name)} is in {self._value} already, as {there[root.name]}", side="destination"
                )

    def close(self) -> None:
        """Remove scratch."""
        self._opened.close()

    @contextlib.contextmanager
    def _incoming(self, descriptor: Descriptor) -> Iterator[int]:
        """A new file in scratch that gets the blob's name when the block ends well."""
        temporary = f"{descriptor.digest.hex}-{os.urandom(4).hex()}"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o644, dir_fd=self._scratch)
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
                os.unlink(temporary, dir_fd=self._scratch)
            raise

    def _place(self, temporary: str, descriptor: Descriptor) -> None:
        blobs = self._blobs[descriptor.digest.algorithm]
        try:
            os.replace(temporary, descriptor.digest.hex, src_dir_fd=self._scratch, dst_dir_fd=blobs)
        except IsADirectoryError:
            raise InvalidArgument(
                f"{layout.blob_path(descriptor.digest)} of {self._value} is a directory",
                descriptor=descriptor,
                side="destination",
            ) from None

    def _link(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Hard-link a file of our store; its bytes are verified as the run's policy says."""
        if span.path is None:
            return False
        if self._run.verification != "trusted":
            spans.check(span.fd, span.offset, descriptor, self._run)
        temporary = f"{descriptor.digest.hex}-link"
        try:
            os.link(span.path, temporary, dst_dir_fd=self._scratch)
        except OSError:  # another file system, too many links, or not allowed: copy
            return False
        if os.stat(temporary, dir_fd=self._scratch).st_ino != os.fstat(span.fd).st_ino:
            os.unlink(temporary, dir_fd=self._scratch)
            return False
        if self._value.durability == "full":  # the store may not have waited for the disk
            os.fsync(span.fd)
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


# ------------------------------------------------------------------------------------------------- the directory itself


def _directory(path: str) -> AbstractContextManager[int]:
    try:
        return _closing(os.open(path, _DIRECTORY_FLAGS))
    except FileNotFoundError:
        raise NotFound(f"there is no directory {printable(path)}") from None
    except NotADirectoryError:
        raise InvalidArgument(f"{printable(path)} is no directory, so it is no OCI layout") from None


def _made(name: str, parent: int, mode: int = 0o777) -> AbstractContextManager[int]:
    """Open a directory of the layout, made where it is missing; InvalidArgument for a link, which may lead anywhere."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, mode, dir_fd=parent)
    try:
        return _closing(os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=parent))
    except OSError as error:
        raise InvalidArgument(f"{name} is no directory of its own: {os.strerror(error.errno or 0)}") from None


@contextlib.contextmanager
def _closing(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _scratch(folder: int) -> Iterator[int]:
    """A new folder for one writer, locked by it, and removed in the end; those of writers that have died go too."""
    import shutil  # which costs a start-up that only reads too much

    name = _SCRATCH + os.urandom(6).hex()
    with contextlib.ExitStack() as opened:
        with _locked(folder):
            for other in os.listdir(folder):
                if other.startswith(_SCRATCH):
                    with contextlib.suppress(OSError, InvalidArgument), _made(other, folder) as fd:
                        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        shutil.rmtree(other, dir_fd=folder)
            fd = opened.enter_context(_made(name, folder, 0o700))
            opened.callback(shutil.rmtree, name, ignore_errors=True, dir_fd=folder)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd


@contextlib.contextmanager
def _locked(folder: int) -> Iterator[None]:
    """Keep other writers out; the lock is on the directory itself and dies with the process."""
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def _present_index(folder: int) -> bytes | None:
    """The bytes of index.json; None where there is none yet. InvalidArgument where there is something else."""
    if _exists(layout.INDEX, folder):
        return _read_index(folder)
    if _exists(layout.MARKER, folder):  # a writer has died between the two
        _read_marker(folder)
    return None


def _roots(index: bytes | None) -> Sequence[Root]:
    return layout.parse_index(index) if index is not None else ()


def _read_index(folder: int) -> bytes:
    try:
        _read_marker(folder)
        return read_small(files.open_regular(layout.INDEX, dir_fd=folder), layout.MAX_INDEX, layout.INDEX)
    except NotFound as error:
        begun = _exists(layout.MARKER, folder)
        hint = "a transfer into it has not come to its end: run it again, what has arrived is kept" if begun else None
        raise InvalidArgument(f"it is no OCI layout: {error.message}", hint=hint) from None


def _read_marker(folder: int) -> None:
    fd = files.open_regular(layout.MARKER, dir_fd=folder)
    layout.check_marker(read_small(fd, layout.MAX_MARKER, layout.MARKER))


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _look(folder: int, descriptor: Descriptor) -> os.stat_result | None:
    """What there is under a blob's name; None for nothing."""
    try:
        return os.stat(layout.blob_path(descriptor.digest), dir_fd=folder, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
