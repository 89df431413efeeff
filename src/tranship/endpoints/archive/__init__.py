"""Archives: images in a tar, as a file or as any readable or writable object, seekable or a pipe, plain, gzip or zstd."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast, get_args

from tranship import files, pump
from tranship.endpoints.choosing import chosen, patterns
from tranship.endpoints.files import FileReader, about
from tranship.errors import InvalidArgument, NotFound, printable
from tranship.model import choices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tranship.endpoints.archive.contents import Contents
    from tranship.endpoints.archive.reading import ArchiveSource
    from tranship.endpoints.archive.writing import FileDestination, Sink, StreamDestination
    from tranship.engine.protocols import Destination, Source
    from tranship.engine.run import Run
    from tranship.formats.compression import Compression
    from tranship.model.descriptor import Descriptor

Format = Literal["auto", "oci", "docker"]
_LINGERS = 1.0  # seconds without a byte, after which the writer of a pipe has said all


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive of images.

    file             a path, or an open binary object: anything with `readinto` or `read` as a source, with `write` as a
                     destination (an HTTP response, an upload, a socket's file). Objects are neither sought nor closed
    names            as a source: which images (none: all of them; a tag, a full name, a digest or a glob picks).
                     As a destination: what the image is called there (none: as at the source)
    format           "auto": detected on reading; on writing an OCI layout with docker's manifest.json beside it.
                     "oci": a layout alone. "docker": the format of docker before 25 alone, one image or several
    compression      of the whole archive when it is written: None (every reader takes it), "gzip" or "zstd"
    docker_manifest  write docker's manifest.json beside the layout
    recompress       "docker" only: turn zstd layers, which docker before 23 cannot read, into gzip
    durability       of a file: "full" (survives a power cut) or "process"
    clobber          may an existing file be replaced?
    compress_layers  as a source: of an archive of docker's, turn uncompressed layers into gzip
    index_names      as a source: names for the archive's own index, which then is an image of all images
    origins          as a destination: gives the labels of an image's blob; those that tell of a registry become annotations,
                     as in containerd's archives. None: no such annotations, so that the same image gives the same bytes
    """

    file: str | os.PathLike[str] | Any
    names: str | tuple[str, ...] = ()
    format: Format = "auto"
    compression: Compression | None = None
    docker_manifest: bool = True
    recompress: bool = False
    durability: files.Durability = "full"
    clobber: bool = True
    compress_layers: bool = False
    index_names: tuple[str, ...] = ()
    origins: Callable[[Descriptor], Mapping[str, str]] | None = field(default=None, repr=False)

    kind: ClassVar[str] = "archive"

    def __post_init__(self) -> None:
        choices.check("format of an archive", self.format, get_args(Format))
        choices.check("compression of an archive", self.compression, (None, "gzip", "zstd"))
        choices.check("durability of an archive", self.durability, get_args(files.Durability))

    def __str__(self) -> str:
        where = self._path() or getattr(self.file, "name", None)
        if not isinstance(where, str):  # a pipe's name is the number of its descriptor
            where = f"a {type(self.file).__name__}"
        scheme = "archive" if self.format == "auto" else f"{self.format}-archive"
        return ":".join(map(printable, (scheme, where, *patterns(self.names))))

    def _path(self) -> str | None:
        return os.fspath(self.file) if isinstance(self.file, str | os.PathLike) else None

    # ---------------------------------------------------------------------------------------------------------- reading

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[Source]:
        """Open for reading: a plain file is indexed by its headers; anything else is received whole, into scratch."""
        from tranship.endpoints.archive.reading import open_images

        with contextlib.ExitStack() as stack:
            with about(str(self)):
                contents, drain = self._contents(run, stack)
                if self.compress_layers:
                    from tranship.endpoints.archive.docker_gzip import packing

                    contents = stack.enter_context(packing(contents, run))
                source = open_images(contents, str(self), run, wanted=self.format)
                source.choose(chosen(source, source.all_roots, patterns(self.names), str(self)))
            yield self._with_index(source) if self.index_names else source
            if drain is not None:
                drain()

    def _with_index(self, source: ArchiveSource) -> Source:
        from tranship.endpoints.archive.indexed import WithIndex

        return WithIndex(source, self.index_names)

    def _contents(self, run: Run, stack: contextlib.ExitStack) -> tuple[Contents, Callable[[], None] | None]:
        """The archive's members; and where they came forwards, what reads to the end of what follows them."""
        from tranship.endpoints.archive.contents import IndexedFile, received
        from tranship.formats import compression

        path = self._path()
        if path is not None:
            fd, base = _open_path(path), 0
            stack.callback(os.close, fd)
        else:
            fd, base = _plain_file(self.file)
        regular = fd >= 0 and stat.S_ISREG(os.fstat(fd).st_mode)
        if regular and compression.detect(os.pread(fd, compression.HEAD, base)) is None:
            return IndexedFile(fd, base, run), None
        reader: pump.Reader = FileReader(fd) if path is not None else _Reading(self.file)
        contents = stack.enter_context(received(compression.opened(reader)[1], run))
        return contents, lambda: _drain(reader, fd if path is not None else _descriptor(self.file))

    @contextlib.contextmanager
    def raw(self) -> Iterator[pump.Reader]:
        """Open for reading the archive's bytes as they are, for somebody else who takes them apart."""
        path = self._path()
        if path is None:
            yield _Reading(self.file)
            return
        fd = _open_path(path)
        try:
            yield FileReader(fd)
        finally:
            os.close(fd)

    # ---------------------------------------------------------------------------------------------------------- writing

    @contextlib.contextmanager
    def taking(self) -> Iterator[Callable[[memoryview], object]]:
        """Open for writing an archive that somebody else has put together: what takes its bytes.

        As always a file appears whole, when the block ends well, or not at all.
        """
        from tranship.endpoints.archive.writing import write_all
        from tranship.formats.compression import Compressing

        path = self._path()
        self._check_place(path)
        with contextlib.ExitStack() as stack:
            sink = cast("Sink", self.file)
            if path is not None:
                stack.enter_context(files.no_space_as_error(path))
                sink = stack.enter_context(_opened_sink(self, path))
            put: Callable[[memoryview], object] = lambda chunk: write_all(sink, chunk)  # noqa: E731
            if self.compression is None:
                yield put
                return
            compressing = Compressing(put, self.compression)
            yield compressing.write
            compressing.finish()

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[Destination]:
        """Open for writing. A file is made beside its place when the plan is known, and takes its place at the end."""
        path = self._path()
        self._check_place(path)
        with self._opened_destination(run, path) as destination:
            if self.format == "docker" and self.recompress:
                from tranship.endpoints.archive.docker_writing import recompressing

                with recompressing(destination, run) as converting:
                    yield converting
            else:
                yield destination

    def _check_place(self, path: str | None) -> None:
        if path is not None and not self.clobber and os.path.lexists(path):  # and again when the file gets its name
            raise files.exists_already(path)
        if path is not None and os.path.isdir(path):
            raise InvalidArgument(f"{printable(path)} is a directory", hint=f"an OCI layout is written oci:{path}")

    @contextlib.contextmanager
    def _opened_destination(self, run: Run, path: str | None) -> Iterator[FileDestination | StreamDestination]:
        from tranship.endpoints.archive.writing import FileDestination, StreamDestination

        if path is None:
            yield StreamDestination(self, run, cast("Sink", self.file))
        elif self.compression is None and not files.is_special(path):
            with _abandoned_on_error(FileDestination(self, run, path)) as destination, files.no_space_as_error(path):
                yield destination
        else:
            with files.no_space_as_error(path), _opened_sink(self, path) as sink:
                yield StreamDestination(self, run, sink, done=sink.close)


@contextlib.contextmanager
def _opened_sink(value: Archive, path: str) -> Iterator[_LazyFile]:
    """A path as something to be written forwards: a new file that takes its place in the end, or a FIFO or device as it is."""
    with contextlib.ExitStack() as stack:
        if files.is_special(path):
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
        else:
            fd = -1
        yield _LazyFile(value, path, fd, stack)


class _LazyFile:
    """Opens the new file at the first byte, so that a plan that fails leaves nothing, not even for a moment."""

    def __init__(self, value: Archive, path: str, fd: int, stack: contextlib.ExitStack) -> None:
        self._value = value
        self._path = path
        self._fd = fd
        self._stack = stack

    def write(self, chunk: memoryview, /) -> int:
        if self._fd < 0:
            value = self._value
            self._fd = self._stack.enter_context(
                files.replacing(self._path, durability=value.durability, clobber=value.clobber)
            )
        return os.write(self._fd, chunk)

    def close(self) -> None:
        """Give the file its name."""
        self._stack.close()


@contextlib.contextmanager
def _abandoned_on_error(destination: FileDestination) -> Iterator[FileDestination]:
    try:
        yield destination
    except BaseException as error:
        destination.abandon(error)
        raise


class _Reading:
    """Reads any binary object forwards, by `readinto` where it has that, else by `read`."""

    def __init__(self, file: Any) -> None:
        self._name = type(file).__name__
        # A buffered reader's own `readinto` copies through its 8 KiB buffer for small requests only.
        self._readinto = getattr(file, "readinto", None)
        self._read = getattr(file, "read", None)
        if self._readinto is None and self._read is None:
            raise InvalidArgument(f"a {self._name} cannot be read: it has neither `readinto` nor `read`")

    def readinto(self, view: memoryview, /) -> int:
        count = self._readinto(view) if self._readinto is not None else self._through_read(view)
        if count is None:
            raise InvalidArgument(f"a {self._name} has no bytes at this moment", hint="give one that waits for them")
        if not 0 <= count <= len(view):
            raise InvalidArgument(f"a {self._name} gave {count} bytes where {len(view)} were asked for")
        return int(count)

    def _through_read(self, view: memoryview) -> int | None:
        assert self._read is not None  # noqa: S101  # checked when this was made
        data = self._read(len(view))
        if data is None:
            return None
        if not isinstance(data, bytes | bytearray | memoryview):
            raise InvalidArgument(f"a {self._name} gave {type(data).__name__} for bytes", hint="open it in binary mode")
        if len(data) <= len(view):
            view[: len(data)] = data
        return len(data)


def _open_path(path: str) -> int:
    """Open what a user named: a file, through a link too, a FIFO or a device."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no file {printable(path)}") from None
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise InvalidArgument(
            f"{printable(path)} is a directory, not an archive", hint=f"an OCI layout directory is written oci:{path}"
        )
    return fd


def _plain_file(file: Any) -> tuple[int, int]:
    """The descriptor and position of an object that is an ordinary open file; (-1, 0) of any other."""
    import io

    raw = getattr(file, "raw", file)
    if not isinstance(raw, io.FileIO) or not raw.readable():
        return -1, 0
    try:
        return raw.fileno(), file.tell()
    except (OSError, ValueError):
        return -1, 0


def _descriptor(file: Any) -> int:
    """The number of the open file behind an object; -1 where there is none."""
    try:
        return int(file.fileno())
    except (AttributeError, OSError, ValueError, TypeError):
        return -1


def _drain(reader: pump.Reader, fd: int) -> None:
    """Read a pipe to its end, so that its writer is not killed by a closed pipe just before it is done.

    Everything has arrived by now, so nothing that the reader does still matters; and a writer that has no more to say, and
    keeps its end open nevertheless, is not waited for.
    """
    import select

    poll = select.poll()
    if fd >= 0:
        poll.register(fd, select.POLLIN)
    view = pump.buffer()
    with contextlib.suppress(Exception):
        for _ in range(1024):  # at most 512 MiB of what follows an archive
            if (fd >= 0 and not poll.poll(_LINGERS * 1000)) or not reader.readinto(view):
                return
