"""What travels through one transfer: the cancel token, the limits, the reporter, the meters, and a place for scratch."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from tranship.engine.progress import Outcome, Progress, Reporter, Stage, gerund, key, moving, operation
from tranship.errors import Cancelled, InvalidArgument, TranshipError, printable
from tranship.model import choices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tranship.engine.plan import Plan
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

# How bytes of files are checked that we wrote and verified ourselves; any other file is always hashed.
#   parallel  the buffer that is copied is hashed, and publication waits for the verdict
#   trusted   unchanged since it was verified, by size and times
#   strict    hashed before anything is copied
Verification = Literal["parallel", "trusted", "strict"]

T = TypeVar("T")
_INTERVAL = 0.1  # seconds between two events of one blob


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that a user may set on a transfer.

    jobs         blobs in flight at once; None: what the destination can take, which is the most anyway (4; 1 of a pipe)
    ranges       connections for one large blob of a registry, at most. More than one are made where the first turns out to be
                 slow, since a registry may throttle each; elsewhere they would lose: the blob is read again to be hashed
    max_scratch  bytes that may lie in scratch (an archive on a pipe, layers that become gzip); None: the free space
    rate         bytes a second over all connections of registries; None: as fast as it goes
    retries      attempts after the first of a request that may be repeated
    timeout      seconds without a byte before a connection is given up
    """

    jobs: int | None = None
    ranges: int = 1
    max_scratch: int | None = None
    rate: int | None = None
    retries: int = 4
    timeout: float = 60.0

    def __post_init__(self) -> None:
        for name, least in (("jobs", 1), ("ranges", 1), ("max_scratch", 0), ("rate", 1), ("retries", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidArgument(f"limit {name} must be at least {least}, found {value}")
        if not self.timeout > 0:
            raise InvalidArgument(f"limit timeout must be more than 0 seconds, found {self.timeout}")


class CancelToken:
    """Ask a transfer to stop: `cancel()` may be called from any thread or signal handler."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop at the next chunk. The first reason stays."""
        if self._reason is None:
            self._reason = reason

    @property
    def reason(self) -> str | None:
        """Why, or None while nobody asked."""
        return self._reason


class Meter:
    """Counts the bytes of one blob, tells the reporter now and then, and stops the transfer when asked to."""

    __slots__ = ("_due", "_run", "descriptor", "done", "parents")

    def __init__(self, run: Run, descriptor: Descriptor, parents: tuple[str, ...]) -> None:
        self._run = run
        self._due = time.monotonic() + _INTERVAL
        self.descriptor = descriptor
        self.parents = parents
        self.done = 0

    def advance(self, count: int) -> None:
        """Note `count` more bytes; raise Cancelled when the transfer is to stop."""
        self._run.check()
        self.done += count
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _INTERVAL
            self.tell(self._run.verb)

    def restart(self) -> None:
        """Count from nothing again: the bytes so far were lost and come once more."""
        self.done = 0

    def tell(self, event: str, outcome: Outcome | None = None) -> None:
        """Report the blob's state."""
        self._run.report(
            Progress(
                stage=Stage.BLOB,
                event=event,
                name=key(self.descriptor),
                parents=self.parents if outcome is not Outcome.PRESENT else (),
                progress=self.done,
                total=self.descriptor.size,
                descriptor=self.descriptor,
                outcome=outcome,
            )
        )


class Run:
    """One transfer while it runs. Endpoints get it when they are opened."""

    def __init__(
        self,
        *,
        source: str = "",
        destination: str = "",
        reporter: Reporter | None = None,
        limits: Limits | None = None,
        verification: Verification = "parallel",
        cancel: CancelToken | None = None,
        dry: bool = False,
    ) -> None:
        self.dry = dry  # only a plan is wanted: nothing may be written, not even an upload opened
        self.limits = limits or Limits()
        choices.check("verification", verification, get_args(Verification))
        self.verification: Verification = verification
        self.operation = operation(source, destination)
        self.verb = moving(destination)
        self.scratch_folder: Path | None = None  # on the destination's file system, where it has one
        self._reporter = reporter or Reporter()
        self._cancel = cancel or CancelToken()
        self._failed = False
        self._lock = threading.Lock()
        self._meters: dict[Digest, Meter] = {}
        self._shared: dict[type, Any] = {}

    def check(self) -> None:
        """Raise Cancelled when the transfer is to stop, by the user's wish or since another part of it failed."""
        if self._cancel.reason is not None:
            raise Cancelled(self._cancel.reason)
        if self._failed:
            raise Cancelled("another part of the transfer failed")

    def give_up(self) -> None:
        """Stop all workers: one of them has failed."""
        self._failed = True

    def report(self, event: Progress) -> None:
        """Pass an event to the reporter, one at a time."""
        with self._lock:
            self._reporter.report(event)

    def planned(self, plan: Plan) -> None:
        """Pass the plan to the reporter: from here on the totals hold."""
        with self._lock:
            self._reporter.planned(plan)
        self.report(Progress(stage=Stage.PLANNED, event="planned", total=plan.bytes))

    def notice(self, text: str) -> None:
        """Say something that the user should hear even without a progress bar."""
        self.report(Progress(stage=Stage.NOTICE, event=text))

    def meter(self, descriptor: Descriptor, parents: tuple[str, ...] = ()) -> Meter:
        """The blob's meter; the same one for the engine and for the endpoint that moves the bytes."""
        meter = self._meters.get(descriptor.digest)
        if meter is None:
            meter = self._meters.setdefault(descriptor.digest, Meter(self, descriptor, parents))
        return meter

    def forget(self, descriptor: Descriptor) -> None:
        """Let go of a blob's meter."""
        self._meters.pop(descriptor.digest, None)

    def shared(self, kind: type[T], make: Callable[[], T]) -> T:
        """The one thing of a kind that both ends use, such as a limit on what they move; made for the first who asks."""
        with self._lock:
            found: T | None = self._shared.get(kind)
            if found is None:
                found = self._shared[kind] = make()
            return found

    @contextlib.contextmanager
    def reporting(self, between: str) -> Iterator[None]:
        """Report the start of the operation, and its one end: completed, failed or cancelled, with the reason."""
        word = self.operation
        self.report(Progress(stage=Stage.STARTED, event=gerund(word), name=between))
        try:
            self.check()
            yield
        except (Cancelled, KeyboardInterrupt) as error:
            self._end(Stage.CANCELLED, f"Cancelled {word}", between, str(error) or "interrupted")
            raise
        except BaseException as error:
            if isinstance(error, TranshipError):
                error.add_note(f"while {gerund(word).lower()} {printable(between)}")
            reason = error.message if isinstance(error, TranshipError) else f"{type(error).__name__}: {error}"
            self._end(Stage.FAILED, f"Failed {word}", between, reason)
            raise
        self.report(Progress(stage=Stage.COMPLETED, event=f"Completed {word}", name=between))

    def _end(self, stage: Stage, event: str, between: str, reason: str) -> None:
        with contextlib.suppress(Exception):  # a reporter that cannot hear it must not hide what went wrong
            self.report(Progress(stage=stage, event=event, name=between, reason=reason))
