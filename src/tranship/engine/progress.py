"""What a transfer tells while it runs: typed events whose words follow containerd's (core/transfer/local/progress.go).

Every transfer begins with a STARTED event and ends with exactly one of COMPLETED, FAILED or CANCELLED, which gives the reason.
Events of blobs carry bytes and a total. Totals are known before the first byte (PLANNED) for everything but a foreign archive
on a pipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tranship.model.naming import REF_NAME

if TYPE_CHECKING:
    from tranship.engine.plan import Plan
    from tranship.model.descriptor import Descriptor


class Stage(StrEnum):
    """What an event speaks of."""

    STARTED = "started"
    RECEIVING = "receiving"  # bytes that arrive before it is known which of them are wanted (an archive on a pipe)
    HASHING = "hashing"  # bytes that must be hashed before they have a name (an archive of docker's)
    PLANNED = "planned"  # from here on the totals hold
    BLOB = "blob"
    IMAGE = "image"
    NOTICE = "notice"  # something that the user should hear, in `event`
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How one blob got to its destination."""

    PRESENT = "present"  # it was there
    MOUNTED = "mounted"  # the registry took it from another of its repositories
    ADOPTED = "adopted"  # the file was cloned, linked, moved or copied as a file
    COPIED = "copied"  # the bytes were streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One event.

    event     containerd's words where it has them: "waiting", "downloading", "uploading", "already exists", "complete",
              "saved"; and of the whole: "Exporting", "Completed export", "Failed export", …
    name      an ingest key ("layer-sha256:…") for blobs, an image's name for images
    parents   the keys of what refers to it; for a root the image's name
    progress, total   bytes of this object, or of the whole transfer at the stages that speak of it; total 0: not known
    reason    why it failed or was cancelled
    """

    stage: Stage
    event: str
    name: str = ""
    parents: tuple[str, ...] = ()
    progress: int = 0
    total: int = 0
    descriptor: Descriptor | None = None
    outcome: Outcome | None = None
    reason: str | None = None


class Reporter:
    """Hears the events of a transfer. Subclass it and override `report`, and `planned` perhaps; the base hears nothing.

    Calls come from several threads, one at a time. An exception raised here ends the transfer as a failure.
    """

    def planned(self, plan: Plan) -> None:
        """Take notice of everything that will move, once, before the PLANNED event."""

    def report(self, event: Progress) -> None:
        """Take notice of one event. Return soon: the transfer waits."""


def key(descriptor: Descriptor) -> str:
    """The ingest key by which containerd names a blob in its events (core/remotes/handlers.go, MakeRefKey)."""
    kind = "unknown" if descriptor.kind == "blob" else descriptor.kind
    ref = descriptor.annotations.get(REF_NAME)
    return f"{kind}-{ref}@{descriptor.digest}" if ref else f"{kind}-{descriptor.digest}"


OPERATIONS = {  # (source, destination) -> containerd's word; any other pair is a copy
    ("registry", "store"): "pull",
    ("store", "registry"): "push",
    ("archive", "store"): "import",
    ("store", "archive"): "export",
    ("store", "store"): "tag",
    ("registry", "containerd"): "pull",
    ("containerd", "registry"): "push",
    ("archive", "containerd"): "import",
    ("containerd", "archive"): "export",
}
_GERUNDS = {"pull": "Pulling", "push": "Pushing", "import": "Importing", "export": "Exporting", "tag": "Tagging"}


def operation(source: str, destination: str) -> str:
    """pull, push, import, export, tag or copy, by the kinds of the two ends."""
    return OPERATIONS.get((source, destination), "copy")


def gerund(word: str) -> str:
    """`Exporting` of `export`."""
    return _GERUNDS.get(word, "Copying")


def moving(destination: str) -> str:
    """The word for a blob on its way, by the kind of the destination."""
    return "uploading" if destination == "registry" else "downloading"
