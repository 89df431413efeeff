"""The readable side of a layout: its images, and their blobs as files."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from tranship import files
from tranship.endpoints.files import FileBlob, whole_file
from tranship.endpoints.layout.folder import look
from tranship.endpoints.referrers import Referrers
from tranship.engine.verify import check_size
from tranship.errors import InvalidArgument, NotFound
from tranship.formats.layout import blob_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tranship.engine.protocols import FileSpan
    from tranship.model.descriptor import Descriptor, Root


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
        found = look(self._folder, descriptor)
        if found is not None and stat.S_ISREG(found.st_mode):
            check_size(descriptor, found.st_size, self._where)
        return found is not None

    def blob(self, descriptor: Descriptor) -> FileBlob:
        """A file of the layout."""
        return FileBlob(descriptor, lambda: self._open(descriptor))

    def _open(self, descriptor: Descriptor) -> AbstractContextManager[FileSpan]:
        try:
            return whole_file(files.open_regular(blob_path(descriptor.digest), dir_fd=self._folder))
        except NotFound:
            raise NotFound(f"{descriptor} is not in {self._where}", descriptor=descriptor, side="source") from None
        except InvalidArgument as error:
            raise InvalidArgument(
                f"{descriptor} in {self._where}: {error}", descriptor=descriptor, side="source"
            ) from None

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """Manifests listed in the index that name `subject`."""
        return self._referrers.of(subject, artifact_type)
