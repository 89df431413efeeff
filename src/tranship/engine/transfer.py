"""transfer(): the one operation. Plan, move, publish."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tranship.engine.moving import Mover
from tranship.engine.planning import make_plan
from tranship.engine.progress import Outcome, Progress, Reporter, Stage
from tranship.engine.protocols import (
    Delegates,
    HasScratch,
    HoldsDocuments,
    HostOnly,
    NeedsClosure,
    PromisesClosure,
    Readable,
    Rehearses,
    SingleImages,
    Writable,
)
from tranship.engine.run import CancelToken, Limits, Run, Verification
from tranship.engine.selection import Selection
from tranship.errors import InvalidArgument, NotFound, blamed_on, printable
from tranship.model.platform import default_strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from tranship.engine.plan import Partial, Plan
    from tranship.engine.protocols import Destination, Source
    from tranship.model.descriptor import Descriptor, Root

    Done = tuple[tuple[Root, ...], Sequence[tuple[Descriptor, Outcome]], Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a transfer did.

    roots    the images as they are named at the destination
    counts   objects by outcome;  sizes: their bytes by outcome
    partial  indexes that arrived with some of their platforms only
    seconds  wall time of the whole
    """

    roots: tuple[Root, ...]
    counts: Mapping[Outcome, int]
    sizes: Mapping[Outcome, int]
    partial: tuple[Partial, ...]
    seconds: float

    @property
    def bytes(self) -> int:
        """Everything that the images consist of, in bytes."""
        return sum(self.sizes.values())

    @property
    def moved(self) -> int:
        """Bytes that had to move: adopted or copied."""
        return self.sizes.get(Outcome.ADOPTED, 0) + self.sizes.get(Outcome.COPIED, 0)

    @property
    def rate(self) -> float:
        """Bytes a second, of everything."""
        return self.bytes / self.seconds if self.seconds else 0.0


def transfer(
    source: Readable,
    destination: Writable,
    *,
    selection: Selection | None = None,
    reporter: Reporter | None = None,
    limits: Limits | None = None,
    verification: Verification = "parallel",
    cancel: CancelToken | None = None,
) -> Summary:
    """Move images from `source` to `destination`, whole and verified, or raise and leave nothing half-made visible.

    Leaves first, documents after, children before parents, names last: nothing ever refers to what is not there. What an
    interrupted transfer has moved stays at the destination unreferenced, and the next run finds it present.

    Raises a TranshipError: NotFound (which object, at which end), DigestMismatch, Truncated, NoSpace, Cancelled, …; or the
    OSError by which a file or a pipe that is no object of a transfer failed (BrokenPipeError, PermissionError, …).
    """
    started = time.monotonic()
    _check_ends(source, destination)
    run = Run(
        source=source.kind,
        destination=destination.kind,
        reporter=reporter,
        limits=limits,
        verification=verification,
        cancel=cancel,
    )
    wished = selection or Selection()
    with run.reporting(f"{source} → {destination}"):
        done = _delegated(source, destination, wished, run) or _moved(source, destination, wished, run)
        roots, outcomes, todo = done
        for root in roots:
            run.report(
                Progress(
                    stage=Stage.IMAGE,
                    event="saved",
                    name=root.name or root.descriptor.digest,
                    descriptor=root.descriptor,
                )
            )
    return _summary(roots, outcomes, todo, time.monotonic() - started)


def _delegated(source: Readable, destination: Writable, selection: Selection, run: Run) -> Done | None:
    """Have a service at either end do it all; None when there is none that can."""
    for end in (destination, source):
        todo = end.delegate(source, destination, selection, run) if isinstance(end, Delegates) else None
        if todo is not None:
            outcomes = [
                (d, Outcome.PRESENT if d.digest in todo.present else Outcome.COPIED)
                for d in (*todo.blobs, *todo.documents)
            ]
            return todo.roots, outcomes, todo
    return None


def _moved(source: Readable, destination: Writable, selection: Selection, run: Run) -> Done:
    """Do it: plan, move, publish."""
    with _opened(source, destination, run) as (src, dst):
        todo = _plan(src, dst, selection, run, f"{source}")
        run.planned(todo)
        with blamed_on("destination"):
            dst.prepare(todo)
        mover = Mover(todo, src, dst, run)
        outcomes = mover.move()
        run.check()
        with blamed_on("destination"):
            roots = tuple(mover.recovering(lambda: dst.publish(todo.roots))) + todo.complete
        return roots, outcomes, todo


def plan(
    source: Readable,
    destination: Writable,
    *,
    selection: Selection | None = None,
    reporter: Reporter | None = None,
    limits: Limits | None = None,
) -> Plan:
    """What `transfer` would do, with what the destination holds already and the names it would give; nothing is written."""
    _check_ends(source, destination)
    run = Run(source=source.kind, destination=destination.kind, reporter=reporter, limits=limits, dry=True)
    with _opened(source, destination, run) as (src, dst):
        todo = _plan(src, dst, selection or Selection(), run, f"{source}")
        named: Sequence[Root] = todo.roots
        if isinstance(dst, Rehearses):
            with blamed_on("destination"):
                named = dst.rehearse(todo)
        everything = (*todo.documents, *todo.blobs)
        return replace(todo, roots=tuple(named), present=frozenset(d.digest for d in everything if dst.has(d)))


def _check_ends(source: object, destination: object) -> None:
    """Tell a name from a value that has an end's methods."""
    for end, kind, side in ((source, Readable, "source"), (destination, Writable, "destination")):
        if not isinstance(end, kind):
            raise InvalidArgument(
                f"{printable(repr(end))} is no {side} of a transfer", hint="an end is a value, as Store('app:1') is one"
            )


@contextlib.contextmanager
def _opened(source: Readable, destination: Writable, run: Run) -> Iterator[tuple[Source, Destination]]:
    """Both ends. The destination comes first: it lends its scratch, and still hears of what fails when the source closes."""
    with contextlib.ExitStack() as stack:
        with blamed_on("destination"):
            dst = stack.enter_context(destination.open_destination(run))
            if isinstance(dst, HasScratch):
                run.scratch_folder = dst.scratch()
        with blamed_on("source"):
            src = stack.enter_context(source.open_source(run))
        yield src, dst


def _plan(src: Source, dst: Destination, selection: Selection, run: Run, source: str) -> Plan:
    with blamed_on("source"):
        roots = src.roots()
        if not roots:
            raise NotFound(f"there is no image in {source}")
        if all(root.subject is not None for root in roots):  # where nothing else is, referrers are what is wanted
            roots = [replace(root, subject=None) for root in roots]
    if isinstance(dst, SingleImages) and dst.single_images:
        selection = replace(selection, index="single", matcher=selection.wanted or default_strict(), manifest_limit=1)
    elif isinstance(dst, HostOnly) and dst.host_only and not (selection.filters or selection.all_platforms):
        selection = replace(selection, matcher=default_strict())
    complete: list[Root] = []
    rest = list(roots)
    if isinstance(dst, PromisesClosure) and selection.referrers is None and not selection.index:
        there = dst.closures(roots)
        complete = [root for root in there if root is not None]
        rest = [root for root, found in zip(roots, there, strict=True) if found is None]
    return make_plan(
        rest,
        src,
        selection,
        run,
        needs_closure=isinstance(dst, NeedsClosure) and dst.needs_closure,
        held=dst.document if isinstance(dst, HoldsDocuments) else None,
        complete=complete,
    )


def _summary(
    roots: tuple[Root, ...], outcomes: Iterable[tuple[Descriptor, Outcome]], todo: Plan, seconds: float
) -> Summary:
    counts: dict[Outcome, int] = {}
    sizes: dict[Outcome, int] = {}
    for descriptor, outcome in outcomes:
        counts[outcome] = counts.get(outcome, 0) + 1
        sizes[outcome] = sizes.get(outcome, 0) + descriptor.size
    return Summary(roots=roots, counts=counts, sizes=sizes, partial=todo.partial, seconds=seconds)
