"""What the engine asks of an endpoint: four small protocols, and the optional abilities that make a pair fast.

An *endpoint* is a plain frozen value that a user writes down. It opens as a readable Source, a writable Destination, or both.
Every endpoint is content by descriptor, plus names. The life of a transfer, seen from the two ends:

    with destination.open_destination(run) as dst, source.open_source(run) as src:
        roots = src.roots()                  # the names and where their graphs begin; documents are read while planning
        dst.prepare(plan)                    # once, before any write: room, offsets, what cannot work is refused now
        for each blob, documents last:       # in parallel up to dst.workers
            dst.has(d) or dst.mount(d, …) or dst.adopt(d, span) or dst.write(blob)
        dst.publish(plan.roots)              # names become visible, last
    # leaving a context with an exception abandons the work: nothing half-made stays visible

An ability is a Protocol of one method: have it and implement it, or lack it and do nothing. There is no `supports_x()`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    from abc import ABCMeta as ProtocolMeta
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tranship.engine.plan import Plan
    from tranship.engine.run import Run
    from tranship.engine.selection import Selection
    from tranship.model.descriptor import Descriptor, Root
    from tranship.pump import Reader
else:
    ProtocolMeta = type(Protocol)

_KNOWN: dict[tuple[type, type], bool] = {}


class _Ability(ProtocolMeta):
    """What an end or a blob can do depends on its class alone, so the first instance of each is looked at, and no other.

    A check of a Protocol takes Python 3.11 some 10 µs, and a blob is asked five times.
    """

    def __instancecheck__(self, instance: object) -> bool:
        asked = (self, type(instance))
        known = _KNOWN.get(asked)
        if known is None:
            known = _KNOWN[asked] = super().__instancecheck__(instance)
        return known


class Blob(Protocol):
    """Content at a source that has not been opened yet. Opening may happen again: a retry or a resume does."""

    @property
    def descriptor(self) -> Descriptor:
        """What it is; the size is the declared one."""
        ...

    def open(self, offset: int = 0) -> AbstractContextManager[Reader]:
        """Open for reading from byte `offset`. NotFound when it is not there."""
        ...


class Source(Protocol):
    """The readable side of an endpoint."""

    def roots(self) -> Sequence[Root]:
        """The images here that the endpoint's value selects, in its order; NotFound when a name it gives is absent."""
        ...

    def blob(self, descriptor: Descriptor) -> Blob:
        """The blob of a descriptor. No I/O: what is absent is found out on opening it."""
        ...

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there? A cheap look; a source that cannot know without fetching says True."""
        ...


class Destination(Protocol):
    """The writable side of an endpoint."""

    @property
    def workers(self) -> int:
        """Blobs it can take at once: 1 for a pipe, 4 for a file, the host's limit for a registry."""
        ...

    def prepare(self, plan: Plan) -> None:
        """Take notice of everything that will come, once, before any write."""
        ...

    def has(self, descriptor: Descriptor) -> bool:
        """Is it there already, whole? What it answers True for is not written again."""
        ...

    def write(self, blob: Blob) -> None:
        """Read the blob to its end and keep it.

        The engine hands over blobs whose readers raise DigestMismatch or Truncated instead of giving the last chunk of
        wrong bytes, so a destination never hashes. Nothing is visible before the last byte has come.
        """
        ...

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Make the names visible, after everything they refer to is there and durable; return them as they are there."""
        ...


@runtime_checkable
class Readable(Protocol, metaclass=_Ability):
    """An endpoint that can be a source."""

    kind: ClassVar[str]  # "registry", "archive", …: a word for people and for the names of progress events

    def open_source(self, run: Run) -> AbstractContextManager[Source]:
        """Open for reading; leaving the context releases everything."""
        ...


@runtime_checkable
class Writable(Protocol, metaclass=_Ability):
    """An endpoint that can be a destination."""

    kind: ClassVar[str]

    def open_destination(self, run: Run) -> AbstractContextManager[Destination]:
        """Open for writing; leaving the context with an exception abandons what was not published."""
        ...


# ------------------------------------------------------------------------------------------------------------- abilities


@runtime_checkable
class CountsReading(Protocol, metaclass=_Ability):
    """Of a Readable: reading costs requests, of which there may be a limit."""

    def requests_to_read(self, plan: Plan) -> int:
        """About how many reading what the plan moves will take."""
        ...


@runtime_checkable
class CountsWriting(Protocol, metaclass=_Ability):
    """Of a Writable: as CountsReading."""

    def requests_to_write(self, plan: Plan) -> int:
        """About how many writing what the plan moves will take."""
        ...


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Bytes of an open regular file: `size` bytes at `offset` of descriptor `fd`, valid while the span's context is open.

    trusted  we wrote and verified these bytes and they are unchanged since; other files are always hashed
    path     where the file itself is the blob and may be linked to
    owned    the file is scratch of this transfer, already verified: a destination may move `path` away
    """

    fd: int
    offset: int
    size: int
    trusted: bool = False
    path: Path | None = None
    owned: bool = False


@runtime_checkable
class FileBacked(Protocol, metaclass=_Ability):
    """Of a Blob: its bytes are a stretch of a regular file."""

    def span(self) -> AbstractContextManager[FileSpan]:
        """Open the file; NotFound when the blob is not there."""
        ...


@runtime_checkable
class Ranged(Protocol, metaclass=_Ability):
    """Of a Blob: several stretches of it can be read at once, each over a connection of its own."""

    def open_range(self, offset: int, count: int) -> AbstractContextManager[Reader]:
        """Open `count` bytes from `offset` on."""
        ...


@runtime_checkable
class Distrusted(Protocol, metaclass=_Ability):
    """Of a Blob: it came over a network and can be had again, perhaps from another place."""

    def distrust(self) -> bool:
        """Hear that its bytes were wrong; True when it is worth while to read it once more."""
        ...


@runtime_checkable
class Delegates(Protocol, metaclass=_Ability):
    """Of an endpoint, on either side: a service that holds it can do some transfers as a whole."""

    def delegate(self, source: Readable, destination: Writable, selection: Selection, run: Run) -> Plan | None:
        """Have it done: the plan of what was, its roots as they are named at the destination, and what was `present` there.

        None declines, before anything has been done.
        """
        ...


@runtime_checkable
class AdoptsFiles(Protocol, metaclass=_Ability):
    """Of a Destination: it can take bytes from an open file by clone, link, move or positional copy."""

    def adopt(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Take the bytes, verified by the run's policy, or decline with False. DigestMismatch when they are wrong."""
        ...


@runtime_checkable
class InRepository(Protocol, metaclass=_Ability):
    """Of a Blob: it lies in a repository of a registry, from which another repository there may mount it."""

    @property
    def repositories(self) -> Sequence[str]:
        """`host/path` of each repository known to hold it, best first."""
        ...


@runtime_checkable
class Mounts(Protocol, metaclass=_Ability):
    """Of a Destination: it can take a blob from another repository of the same registry without moving bytes."""

    def mount(self, descriptor: Descriptor, repository: str) -> bool:
        """Mount from `host/path`; False when the registry declines or it is another registry."""
        ...


@runtime_checkable
class KnowsRepositories(Protocol, metaclass=_Ability):
    """Of a Destination: it keeps the note from which registry repository a blob came (`distribution.source` labels)."""

    def came_from(self, descriptor: Descriptor, repository: str) -> None:
        """Note that `host/path` holds this blob."""
        ...


@runtime_checkable
class PromisesClosure(Protocol, metaclass=_Ability):
    """Of a Destination: it may hold a whole root already, name and all, so that nothing needs a look or a request."""

    def closures(self, roots: Sequence[Root]) -> Sequence[Root | None]:
        """Of each root, as it is named there, when it is there with everything below it; None otherwise."""
        ...


@runtime_checkable
class Rehearses(Protocol, metaclass=_Ability):
    """Of a Destination: it can take notice of a plan that is only to be shown, so that it refuses what it would refuse."""

    def rehearse(self, plan: Plan) -> Sequence[Root]:
        """Do what `prepare` does, but for what it writes; the roots as they would be named."""
        ...


@runtime_checkable
class HoldsDocuments(Protocol, metaclass=_Ability):
    """Of a Destination: it can show documents that it holds, so that planning does not fetch them from the source."""

    def document(self, descriptor: Descriptor) -> bytes | None:
        """The bytes of a manifest or index, or None when it is not there; it will stay until `publish`."""
        ...


@runtime_checkable
class Forgets(Protocol, metaclass=_Ability):
    """Of a Destination: it may have been told wrongly that content is there (MissingContent), and can look again."""

    def forget(self, descriptor: Descriptor) -> None:
        """Do not believe any more that the blob is there."""
        ...


@runtime_checkable
class NeedsClosure(Protocol, metaclass=_Ability):
    """Of a Destination: it refuses an index of which a child is absent (a registry), so such an index never gets there."""

    needs_closure: ClassVar[bool]


@runtime_checkable
class SingleImages(Protocol, metaclass=_Ability):
    """Of a Destination: it holds single images and no indexes, so of an index one manifest is taken (the host's platform)."""

    @property
    def single_images(self) -> bool:
        """Is it so?"""
        ...


@runtime_checkable
class HostOnly(Protocol, metaclass=_Ability):
    """Of a Destination: unless a user says otherwise, it gets the host's platform alone, as an engine pulls."""

    @property
    def host_only(self) -> bool:
        """Is it so?"""
        ...


@runtime_checkable
class Sequential(Protocol, metaclass=_Ability):
    """Of a Destination: it takes everything, documents too, one after another in an order of its own (a pipe)."""

    def sequence(self) -> Sequence[Descriptor]:
        """The order, known after `prepare`."""
        ...


@runtime_checkable
class HasScratch(Protocol, metaclass=_Ability):
    """Of a Destination: a folder on its own file system, for bytes that arrive before it is known what they are."""

    def scratch(self) -> Path:
        """The folder; files put there are removed by whoever puts them, and after a crash by the destination."""
        ...


@runtime_checkable
class ReadsInParallel(Protocol, metaclass=_Ability):
    """Of a Source: several documents can be read at once, and it gains by that (a registry)."""

    @property
    def readers(self) -> int:
        """How many at once."""
        ...


@runtime_checkable
class LooksUp(Protocol, metaclass=_Ability):
    """Of a Source: it can look up what `has` takes on trust, by a request each (a registry)."""

    def holds(self, descriptor: Descriptor) -> bool:
        """Is it there, in earnest?"""
        ...


@runtime_checkable
class ListsReferrers(Protocol, metaclass=_Ability):
    """Of a Source: it can list the manifests that name another as their subject (signatures, SBOMs)."""

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """Descriptors of the referrers, in order of their digests."""
        ...
