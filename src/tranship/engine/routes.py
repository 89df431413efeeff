"""How one blob gets to its destination: a ladder of attempts, the cheapest first. The last one always works.

A route changes the cost of a transfer and never its content; a property test says so for every subset of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tranship.engine.progress import Outcome
from tranship.engine.protocols import (
    AdoptsFiles,
    Distrusted,
    FileBacked,
    InRepository,
    KnowsRepositories,
    Mounts,
    Sequential,
)
from tranship.engine.verify import CheckedBlob
from tranship.errors import DigestMismatch

if TYPE_CHECKING:
    from tranship.engine.protocols import Blob, Destination
    from tranship.engine.run import Run

Route = Callable[["Blob", "Destination", "Run"], Outcome | None]  # None: declined, try the next


def present(blob: Blob, destination: Destination, _run: Run) -> Outcome | None:
    """It is there already."""
    return Outcome.PRESENT if destination.has(blob.descriptor) else None


def mount(blob: Blob, destination: Destination, _run: Run) -> Outcome | None:
    """The destination's registry has it in another repository. No bytes move."""
    if isinstance(destination, Mounts) and isinstance(blob, InRepository):
        for repository in blob.repositories:
            if destination.mount(blob.descriptor, repository):
                return Outcome.MOUNTED
    return None


def adopt(blob: Blob, destination: Destination, _run: Run) -> Outcome | None:
    """The bytes are in a file here: the destination clones, links, moves or copies them by position."""
    if isinstance(destination, AdoptsFiles) and isinstance(blob, FileBacked):
        with blob.span() as span:
            if destination.adopt(blob.descriptor, span):
                return Outcome.ADOPTED
    return None


def stream(blob: Blob, destination: Destination, run: Run) -> Outcome | None:
    """Read at the one end, write at the other, hashing what passes; once more where wrong bytes came over a network."""
    checked = CheckedBlob(blob, run.meter(blob.descriptor))
    try:
        destination.write(checked)
    except DigestMismatch as error:
        sent = isinstance(destination, Sequential)  # nothing is taken back from a pipe
        if sent or error.side != "source" or not isinstance(blob, Distrusted) or not blob.distrust():
            raise
        destination.write(checked)
    return Outcome.COPIED


# A registry answers a mount and a question with one request each, and a mount that it declines has opened an upload already:
# so mounting comes first where there is a repository to mount from. It costs other destinations nothing.
ROUTES: tuple[Route, ...] = (mount, present, adopt, stream)


def note_origin(blob: Blob, destination: Destination) -> None:
    """Let a destination that keeps such notes know from which repository a blob comes, before it does."""
    if isinstance(destination, KnowsRepositories) and isinstance(blob, InRepository):
        for repository in blob.repositories:
            destination.came_from(blob.descriptor, repository)
