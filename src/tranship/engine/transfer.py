"""transfer(): the one operation. Plan, move, publish."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from tranship.engine.planning import make_plan
from tranship.engine.progress import Outcome, Progress, Reporter, Stage, key
from tranship.engine.protocols import (
    Forgets,
    HasScratch,
    HoldsDocuments,
    NeedsClosure,
    PromisesClosure,
    Rehearses,
    Sequential,
    SingleImages,
)
from tranship.engine.routes import ROUTES, note_origin
from tranship.engine.run import CancelToken, Limits, Run, Verification
from tranship.engine.selection import Selection
from tranship.errors import Cancelled, MissingContent, NotFound, TranshipError, blamed_on
from tranship.model.platform import default_strict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from tranship.engine.plan import Partial, Plan
    from tranship.engine.protocols import Blob, Destination, Readable, Source, Writable
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest
    from tranship.pump import Reader

    MoveOne = Callable[[Descriptor], "tuple[Descriptor, Outcome]"]


T = TypeVar("T")


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
    run = Run(
        source=source.kind,
        destination=destination.kind,
        reporter=reporter,
        limits=limits,
        verification=verification,
        cancel=cancel,
    )
    with run.reporting(f"{source} → {destination}"), _opened(source, destination, run) as (src, dst):
        todo = _plan(src, dst, selection or Selection(), run, f"{source}")
        run.planned(todo)
        with blamed_on("destination"):
            dst.prepare(todo)
        mover = _Mover(todo, src, dst, run)
        outcomes = mover.move()
        run.check()
        with blamed_on("destination"):
            roots = tuple(mover.recovering(lambda: dst.publish(todo.roots))) + todo.complete
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


def plan(
    source: Readable,
    destination: Writable,
    *,
    selection: Selection | None = None,
    reporter: Reporter | None = None,
    limits: Limits | None = None,
) -> Plan:
    """What `transfer` would do, with what the destination holds already; nothing is written."""
    run = Run(source=source.kind, destination=destination.kind, reporter=reporter, limits=limits, dry=True)
    with _opened(source, destination, run) as (src, dst):
        todo = _plan(src, dst, selection or Selection(), run, f"{source}")
        if isinstance(dst, Rehearses):
            with blamed_on("destination"):
                dst.rehearse(todo)
        everything = (*todo.documents, *todo.blobs)
        return replace(todo, present=frozenset(d.digest for d in everything if dst.has(d)))


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
    if isinstance(dst, SingleImages) and dst.single_images:
        selection = replace(selection, index="single", matcher=selection.matcher or default_strict(), manifest_limit=1)
    complete: list[Root] = []
    rest = list(roots)
    if isinstance(dst, PromisesClosure) and selection.referrers is None and not selection.index:
        rest = []
        for root in roots:
            there = dst.closure(root)
            if there is not None:
                complete.append(there)
            else:
                rest.append(root)
    return make_plan(
        rest,
        src,
        selection,
        run,
        needs_closure=isinstance(dst, NeedsClosure) and dst.needs_closure,
        held=dst.document if isinstance(dst, HoldsDocuments) else None,
        complete=complete,
    )


class _Mover:
    """Moves the objects of one plan and collects how each got there."""

    def __init__(self, plan: Plan, src: Source, dst: Destination, run: Run) -> None:
        self._plan = plan
        self._src = src
        self._dst = dst
        self._run = run
        self._names: dict[Digest, list[str]] = {}  # of the roots
        for root in plan.roots:
            if root.name:
                self._names.setdefault(root.descriptor.digest, []).append(root.name)

    def move(self) -> list[tuple[Descriptor, Outcome]]:
        """Leaves in parallel, then the documents wave by wave; or one after another where the destination is a pipe."""
        if isinstance(self._dst, Sequential):
            return [self._move_one(d) for d in self._dst.sequence()]
        outcomes = self._move_all(self._plan.blobs)
        for wave in self._plan.waves:
            outcomes += self._move_all(wave)
        return outcomes

    def recovering(self, act: Callable[[], T]) -> T:
        """Do it, and once more after bringing again what the destination turns out to lack.

        A registry may say that a blob is there and refuse the manifest that names it: its answer was stale, or the blob was
        collected meanwhile. Once is enough to mend that; a second refusal is an error.
        """
        try:
            return act()
        except MissingContent as error:
            if not isinstance(self._dst, Forgets) or error.descriptor is None:
                raise
            lacking = self._plan.nodes[error.descriptor.digest].selected
            named = [d for d in lacking if d.digest in error.digests] or lacking
            for descriptor in named:
                self._dst.forget(descriptor)
                self._move_one(descriptor)
        return act()

    def _move_all(self, descriptors: Sequence[Descriptor]) -> list[tuple[Descriptor, Outcome]]:
        workers = min(self._run.limits.jobs or self._dst.workers, self._dst.workers, len(descriptors))
        if workers <= 1:
            return [self._move_one(d) for d in descriptors]
        return _in_parallel(self._move_one, descriptors, workers, self._run)

    def _move_one(self, descriptor: Descriptor) -> tuple[Descriptor, Outcome]:
        self._run.check()
        blob = self._blob(descriptor)
        meter = self._run.meter(descriptor, self._parents(descriptor))
        try:
            outcome = self.recovering(lambda: self._try_routes(blob))
            note_origin(self._src.blob(descriptor), self._dst)
        except Cancelled:
            raise
        except (TranshipError, OSError) as error:
            error.add_note(f"while moving {descriptor} ({meter.done} of {descriptor.size} bytes)")
            if isinstance(error, TranshipError):
                error.descriptor = error.descriptor or descriptor
            raise
        meter.done = descriptor.size
        meter.tell("already exists" if outcome is Outcome.PRESENT else "complete", outcome)
        self._run.forget(descriptor)
        return descriptor, outcome

    def _try_routes(self, blob: Blob) -> Outcome:
        for route in ROUTES:
            outcome = route(blob, self._dst, self._run)
            if outcome is not None:
                return outcome
        raise RuntimeError("no route took the blob; the last one must")

    def _blob(self, descriptor: Descriptor) -> Blob:
        node = self._plan.nodes.get(descriptor.digest)
        if node is not None and node.raw is not None:
            return MemoryBlob(descriptor, node.raw)
        return self._src.blob(descriptor)

    def _parents(self, descriptor: Descriptor) -> tuple[str, ...]:
        parent = self._plan.parents.get(descriptor.digest)
        if parent is not None:
            return (key(self._plan.nodes[parent].descriptor),)
        return tuple(self._names.get(descriptor.digest, ()))


class MemoryBlob:
    """A document whose bytes are at hand."""

    __slots__ = ("_raw", "descriptor")

    def __init__(self, descriptor: Descriptor, raw: bytes) -> None:
        self.descriptor = descriptor
        self._raw = raw

    def open(self, offset: int = 0) -> AbstractContextManager[Reader]:
        """Open the bytes in memory."""
        import io

        reader = io.BytesIO(self._raw)
        reader.seek(offset)
        return reader


def _in_parallel(
    function: MoveOne, descriptors: Sequence[Descriptor], workers: int, run: Run
) -> list[tuple[Descriptor, Outcome]]:
    """Run `function` over the descriptors in threads; on a failure stop them all and raise its first cause.

    Threads of our own rather than an executor's: a queue of futures cannot be stopped in the middle of its items, and a
    Ctrl-C in the main thread must reach the workers before it is waited for.
    """
    queue: Iterator[Descriptor] = iter(descriptors)
    outcomes: list[tuple[Descriptor, Outcome]] = []
    failures: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while not failures:
            with lock:
                descriptor = next(queue, None)
            if descriptor is None:
                return
            try:
                outcomes.append(function(descriptor))
            except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, whatever it is
                failures.append(error)
                run.give_up()

    threads: list[threading.Thread] = []
    try:
        for n in range(workers):
            thread = threading.Thread(target=work, name=f"tranship-{n}", daemon=True)
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C, or no thread to be had: what the workers use is about to be closed
        run.give_up()
        for thread in threads:
            thread.join()
        raise
    if failures:
        raise next((e for e in failures if not isinstance(e, Cancelled)), failures[0])
    return outcomes


def _summary(
    roots: tuple[Root, ...], outcomes: Iterable[tuple[Descriptor, Outcome]], todo: Plan, seconds: float
) -> Summary:
    counts: dict[Outcome, int] = {}
    sizes: dict[Outcome, int] = {}
    for descriptor, outcome in outcomes:
        counts[outcome] = counts.get(outcome, 0) + 1
        sizes[outcome] = sizes.get(outcome, 0) + descriptor.size
    return Summary(roots=roots, counts=counts, sizes=sizes, partial=todo.partial, seconds=seconds)
