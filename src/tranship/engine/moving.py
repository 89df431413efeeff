"""Moving what a plan names: leaves in parallel, then documents wave by wave; each object by the first route that takes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

from tranship.engine.memory import MemoryBlob
from tranship.engine.parallel import in_parallel
from tranship.engine.progress import Outcome, key
from tranship.engine.protocols import Forgets, Sequential
from tranship.engine.routes import ROUTES, note_origin
from tranship.errors import Cancelled, MissingContent, TranshipError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, Destination, Source
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

T = TypeVar("T")


class Mover:
    """Moves the objects of one plan and collects how each got there."""

    def __init__(self, plan: Plan, src: Source, dst: Destination, run: Run) -> None:
        self._plan = plan
        self._src = src
        self._dst = dst
        self._run = run
        self._mended: dict[Digest, int] = {}  # how often each was brought again
        self._mending = threading.RLock()  # by one at a time; what a document lacks may be one that lacks something
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
        collected meanwhile. Once is enough to mend that; a second refusal is an error. What several documents lack
        is brought again by the first of them.
        """
        before = dict(self._mended)
        try:
            return act()
        except MissingContent as error:
            refused = self._plan.nodes.get(error.descriptor.digest) if error.descriptor is not None else None
            if not isinstance(self._dst, Forgets) or refused is None:
                raise
            named = [d for d in refused.selected if d.digest in error.digests] or refused.selected
            with self._mending:
                for descriptor in named:
                    if self._mended.get(descriptor.digest) == before.get(descriptor.digest):
                        self._dst.forget(descriptor)
                        self._move_one(descriptor)
                        self._mended[descriptor.digest] = self._mended.get(descriptor.digest, 0) + 1
        return act()

    def _move_all(self, descriptors: Sequence[Descriptor]) -> list[tuple[Descriptor, Outcome]]:
        workers = min(self._run.limits.jobs or self._dst.workers, self._dst.workers, len(descriptors))
        if workers <= 1:
            return [self._move_one(d) for d in descriptors]
        return in_parallel(self._move_one, descriptors, workers, self._run)

    def _move_one(self, descriptor: Descriptor) -> tuple[Descriptor, Outcome]:
        self._run.check()
        blob = self._blob(descriptor)
        meter = self._run.meter(descriptor, self._parents(descriptor))
        try:
            note_origin(self._src.blob(descriptor), self._dst)
            outcome = self.recovering(lambda: self._try_routes(blob))
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
