"""The writable side of a layout: blobs come under their names one by one, and index.json is replaced last."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from tranship import files
from tranship.endpoints.choosing import patterns
from tranship.endpoints.files import about, whole_file
from tranship.endpoints.layout.folder import directory, exists, locked, look, made, present_index, roots_of, scratch
from tranship.engine import spans
from tranship.errors import AlreadyExists, InvalidArgument, TranshipError, printable
from tranship.formats import layout
from tranship.model import naming
from tranship.pump import pump, write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tranship.endpoints.layout import Layout
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


class LayoutDestination:
    """A layout that is being written to."""

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
                self._check_taken(roots_of(present_index(self._open_folder())), named)
        return named

    def prepare(self, plan: Plan) -> None:
        """Make the directory, when the names fit."""
        self.rehearse(plan)
        with contextlib.suppress(FileExistsError):  # whatever it is: opening it will tell
            files.make_directory(self._path, durability=self._value.durability)
        folder = self._open_folder()
        with about(str(self._value)):
            blobs = self._opened.enter_context(made("blobs", folder))
            for algorithm in sorted({d.digest.algorithm for d in (*plan.blobs, *plan.documents)}):
                self._blobs[algorithm] = self._opened.enter_context(made(algorithm, blobs))
            if not exists(layout.MARKER, folder) and not exists(layout.INDEX, folder):
                # so that what an interrupted transfer leaves is a layout without images, and no puzzle
                files.write_file(layout.MARKER, layout.MARKER_BYTES, durability="process", dir_fd=folder)
        self._scratch = self._opened.enter_context(scratch(folder))
        self._parents = (blobs, folder)

    def _open_folder(self) -> int:
        if self._folder < 0:
            self._folder = self._opened.enter_context(directory(self._path))
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
            found = look(folder, descriptor)
            if found is None or not stat.S_ISREG(found.st_mode) or found.st_size != descriptor.size:
                return False
            with whole_file(files.open_regular(layout.blob_path(descriptor.digest), dir_fd=folder)) as span:
                if self._run.verification != "trusted":
                    spans.check(span.fd, 0, descriptor, self._run)
                if self._value.durability == "full" and not self._run.dry:  # whoever wrote it may not have waited
                    files.sync(span.fd)
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
        with locked(self._folder):
            for directory in (*self._blobs.values(), *self._parents) if durable == "full" else ():
                files.sync(directory)
            before = present_index(self._folder)
            present = roots_of(before)
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
                    files.sync(fd)
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
            files.sync(span.fd)
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
