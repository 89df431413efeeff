"""Progress events as containerd sends and words them (core/transfer/local, core/transfer/progress.go).

The engine tells of every transfer in the same words; containerd's clients expect some to depend on the operation and to name
the registry's reference. Events of blobs and images are the same on both sides, and a failure, which containerd keeps to
itself, is told too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tranship._api.types.transfer import progress_pb2
from tranship.containerd.codec import MAX_ITEMS, MAX_TEXT, pack, unpack
from tranship.containerd.values import to_descriptor
from tranship.engine.progress import Progress, Stage, key
from tranship.errors import InvalidReference, printable
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship._api.wellknown import Any
    from tranship.engine.plan import Plan

_STARTED = {
    "pull": ("Resolving from OCI Registry ({})", "Pulling from OCI Registry ({})"),
    "push": ("Pushing to OCI Registry ({})",),
    "import": ("Importing",),
    "export": ("Exporting",),
    "tag": (),
}
_SHORT = {"import", "export"}  # of their blobs containerd tells nothing, and ctr would print a tree for each event
_BEGINS = {"pull": "fetching image content", "push": "pushing content"}
_COMPLETED = {
    "pull": "Completed pull from OCI Registry ({})",
    "push": "Completed push to OCI Registry ({})",
    "import": "Completed import",
    "export": "Completed export",
}


@dataclass(frozen=True, slots=True)
class Wording:
    """How containerd tells of one transfer: by its operation, the reference of its registry, and the image in its store."""

    operation: str  # of tranship.engine.progress.OPERATIONS, or "copy"
    reference: str = ""
    image: str = ""

    def planned(self, plan: Plan) -> Iterator[Progress]:
        """The images that are about to move, and everything that waits for its turn, parents first."""
        if self.operation in _SHORT:
            return
        if self.operation in _BEGINS:
            for root in plan.roots:
                yield Progress(
                    stage=Stage.IMAGE,
                    event=_BEGINS[self.operation],
                    name=self.image or root.name or "",
                    descriptor=root.descriptor,
                )
        names = {root.descriptor.digest: self.image or root.name or "" for root in plan.roots}
        for descriptor in (*reversed(plan.documents), *plan.blobs):
            parent = plan.parents.get(descriptor.digest)
            name = key(plan.nodes[parent].descriptor) if parent is not None else names.get(descriptor.digest)
            yield Progress(
                stage=Stage.BLOB,
                event="waiting",
                name=key(descriptor),
                parents=(name,) if name else (),
                total=descriptor.size,
                descriptor=descriptor,
            )

    def __call__(self, event: Progress) -> tuple[Progress, ...]:
        """What containerd's clients are sent for an event of the engine's; nothing for what only the engine knows."""
        words: tuple[str, ...]
        match event.stage:
            case Stage.STARTED:
                words = _STARTED.get(self.operation, (event.event,))
            case Stage.COMPLETED if self.operation == "tag":
                words = ()
            case Stage.COMPLETED:
                words = (_COMPLETED.get(self.operation, event.event),)
            case Stage.FAILED | Stage.CANCELLED:
                words = (f"{event.event}: {event.reason}" if event.reason else event.event,)
                return (replace(event, event=words[0], name=""),)
            case Stage.IMAGE if self.operation == "push":
                return (replace(event, event="pushed content", name=self.image or event.name),)
            case Stage.IMAGE if self.operation == "export":
                words = ()
            case Stage.BLOB if self.operation in _SHORT:
                words = ()
            case Stage.PLANNED | Stage.RECEIVING | Stage.HASHING:
                words = ()
            case _:
                return (event,)
        return tuple(replace(event, event=word.format(self.reference), name="") for word in words)


def encode(event: Progress) -> Any:
    """Write a progress event, as containerd's clients draw it."""
    return pack(
        progress_pb2.Progress(
            event=event.event,
            name=event.name,
            parents=event.parents,
            progress=event.progress,
            total=event.total,
            desc=to_descriptor(event.descriptor) if event.descriptor is not None else None,
        )
    )


def decode(wrapped: Any) -> Progress:
    """Read a progress event of a containerd. A descriptor that is not sound is left out: an event is only news."""
    m = unpack(wrapped, progress_pb2.Progress)
    return Progress(
        stage=_stage(m.event, m.name),
        event=printable(m.event, MAX_TEXT),
        name=printable(m.name, MAX_TEXT),
        parents=tuple(printable(p, MAX_TEXT) for p in m.parents[:MAX_ITEMS]),
        progress=max(0, m.progress),
        total=max(0, m.total),
        descriptor=_descriptor(m) if m.HasField("desc") else None,
    )


def _stage(event: str, name: str) -> Stage:
    """What an event of containerd's speaks of, by its words (core/transfer/local)."""
    if event.startswith("Completed "):
        return Stage.COMPLETED
    if event.startswith("Failed "):
        return Stage.FAILED
    if event.startswith("Cancelled "):
        return Stage.CANCELLED
    if not name:
        return Stage.STARTED if event in {"Importing", "Exporting"} or event.startswith(_STARTS) else Stage.NOTICE
    return Stage.IMAGE if event in _OF_IMAGES else Stage.BLOB


_STARTS = ("Resolving ", "Pushing ")
_OF_IMAGES = {"saved", "fetching image content", "pushing content", "pushed content"}


def _descriptor(m: progress_pb2.Progress) -> Descriptor | None:
    try:
        digest = Digest.parse(m.desc.digest)
    except InvalidReference:
        return None
    return Descriptor(
        media_type=m.desc.media_type, digest=digest, size=max(0, m.desc.size), annotations=dict(m.desc.annotations)
    )
