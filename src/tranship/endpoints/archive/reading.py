"""Reading an archive: the images that an OCI layout or docker's manifests in it describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.endpoints.archive.contents import Contents, read
from tranship.endpoints.files import FileBlob
from tranship.endpoints.referrers import Referrers
from tranship.engine.verify import check_size
from tranship.errors import InvalidArgument, NotFound
from tranship.formats import layout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tranship.endpoints.archive import Format
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root


def open_images(contents: Contents, where: str, run: Run, *, wanted: Format) -> ArchiveSource:
    """Find out what kind of archive it is, and read what it says of its images.

    `wanted` says that it has to be a layout ("oci"), or docker's ("docker"), even where it holds both.
    """
    names = set(contents.members)
    if wanted == "docker":
        names.discard(layout.MARKER)
    generation = layout.recognise(names)
    if wanted == "oci" and generation != "layout":
        raise InvalidArgument(f"{where} is an archive of docker's, and an OCI layout was asked for")
    if generation == "layout":
        return ArchiveSource(contents, where)
    from tranship.endpoints.archive.docker_reading import open_docker_images

    return open_docker_images(contents, where, run, legacy=generation == "docker-legacy")


class ArchiveSource:
    """The readable side of an archive with a layout inside: blobs are members by the names of their digests."""

    def __init__(self, contents: Contents, where: str, roots: Sequence[Root] | None = None) -> None:
        self._contents = contents
        self._where = where
        if roots is None:
            layout.check_marker(read(contents, layout.MARKER, layout.MAX_MARKER))
            roots = layout.parse_index(read(contents, layout.INDEX, layout.MAX_INDEX))
        self.all_roots = self._chosen = roots
        self._referrers = Referrers(self, roots)

    def choose(self, roots: Sequence[Root]) -> None:
        """Take these roots alone."""
        self._chosen = roots

    def roots(self) -> Sequence[Root]:
        """The chosen images, in the order of the index."""
        return self._chosen

    def index(self) -> bytes:
        """The index of all images."""
        return read(self._contents, layout.INDEX, layout.MAX_INDEX)

    def has(self, descriptor: Descriptor) -> bool:
        """Is there anything of that name? DataLoss when it has another size: it was cut, or is not what it is called."""
        member = self._contents.members.get(layout.blob_path(descriptor.digest))
        if member is not None and member.kind == "file":
            check_size(descriptor, member.size, self._where)
        return member is not None

    def blob(self, descriptor: Descriptor) -> Blob:
        """A member of the archive."""
        return FileBlob(descriptor, lambda: self._open(descriptor))

    def _open(self, descriptor: Descriptor) -> AbstractContextManager[FileSpan]:
        name = layout.blob_path(descriptor.digest)
        try:
            return self._contents.span(name)
        except NotFound:
            raise NotFound(
                f"{descriptor} is not in {self._where}: it has no file {name}",
                descriptor=descriptor,
                side="source",
                hint="the archive may be incomplete, or hold some of its platforms only",
            ) from None

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """Manifests listed in the index that name `subject`."""
        return self._referrers.of(subject, artifact_type)
