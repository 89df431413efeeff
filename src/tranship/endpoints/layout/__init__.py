"""OCI layout directories: several images, read and written in place, safe for two writers.

A layout is anybody's: whatever stands in it is hashed before it gets a name elsewhere, and a blob that is there already is
hashed before it counts as present (unless the run trusts). Files are opened without following links and only when regular;
what is written stays below the directory, whatever links somebody has put there.

    source       the images that are there, and their blobs
    destination  blobs under their names one by one, then the index
    folder       the directory itself: opened, locked, made
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, get_args

from tranship import files
from tranship.endpoints.choosing import chosen, patterns
from tranship.endpoints.files import about
from tranship.endpoints.layout.folder import directory, read_index
from tranship.errors import printable
from tranship.formats.layout import parse_index
from tranship.model import choices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.endpoints.layout.destination import LayoutDestination
    from tranship.endpoints.layout.source import LayoutSource
    from tranship.engine.run import Run


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
        from tranship.endpoints.layout.source import LayoutSource

        with directory(os.fspath(self.path)) as folder:
            with about(str(self)):
                source = LayoutSource(str(self), folder, parse_index(read_index(folder)))
                source.choose(chosen(source, source.all_roots, patterns(self.names), str(self)))
            yield source

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[LayoutDestination]:
        """Open for writing; nothing is made before the transfer has been planned."""
        from tranship.endpoints.layout.destination import LayoutDestination

        destination = LayoutDestination(self, run)
        try:
            with files.no_space_as_error(os.fspath(self.path)):
                yield destination
        finally:
            destination.close()
