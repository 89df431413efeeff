"""Everything that tranship raises on purpose, as one tree.

                                          gRPC status            exit code
    TranshipError
    ├── InvalidArgument                   INVALID_ARGUMENT         2
    │   └── InvalidReference              (a caret under the mistake)
    ├── NotFound                          NOT_FOUND                3
    ├── Unauthenticated                   UNAUTHENTICATED          4
    ├── PermissionDenied                  PERMISSION_DENIED        4
    ├── RateLimited                       RESOURCE_EXHAUSTED       5
    ├── Unavailable                       UNAVAILABLE              6
    ├── DeadlineExceeded                  DEADLINE_EXCEEDED        6
    ├── DataLoss                          DATA_LOSS                7
    │   ├── DigestMismatch                (bytes are not what their descriptor says)
    │   └── Truncated                     (the bytes end too early)
    ├── PolicyRefused                     PERMISSION_DENIED        8
    ├── PartialFailure                    ABORTED                  9
    ├── AlreadyExists                     ALREADY_EXISTS          10
    ├── FailedPrecondition                FAILED_PRECONDITION     10
    │   ├── CommitMismatch                (an ingest is not what was expected)
    │   └── MissingContent                (a registry lacks what a document names)
    ├── OutOfRange                        OUT_OF_RANGE            10
    ├── Aborted                           ABORTED                 10
    ├── NoSpace                           RESOURCE_EXHAUSTED      11
    ├── Unsupported                       UNIMPLEMENTED           12
    ├── Cancelled                         CANCELLED              130
    └── Internal                          INTERNAL                70

A message is one sentence that names the object, its side, what was expected and what was found. What to do about it stands
in `hint`. Text that came from outside is passed through `printable` by whoever builds the message.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

Side = Literal["source", "destination"]


def printable(text: str, limit: int = 200) -> str:
    """Escape what could fool a terminal or a log: control characters, line ends, overrides of direction, and the invisible."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    if cut.isprintable():
        return cut
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii") for c in cut
    )


class TranshipError(Exception):
    """The root of the tree: `message` for people, attributes for programs.

    side        the end of the transfer that the error speaks of, where that is known
    descriptor  the object that the error speaks of, where there is one
    hint        what the user may do about it
    """

    code: ClassVar[str] = "UNKNOWN"
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, hint: str | None = None, side: Side | None = None, descriptor: Descriptor | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.side: Side | None = side
        self.descriptor = descriptor

    def __str__(self) -> str:
        return self.message


@contextlib.contextmanager
def blamed_on(side: Side) -> Iterator[None]:
    """Give every TranshipError of the block its side, unless it knows better."""
    try:
        yield
    except TranshipError as error:
        error.side = error.side or side
        raise


class InvalidArgument(TranshipError):
    """The request itself is wrong; sending it again will not help."""

    code = "INVALID_ARGUMENT"
    exit_code = 2


class InvalidReference(InvalidArgument):
    """A reference, platform, digest or filter that does not parse: `text`, and the `span` of the mistake in it."""

    def __init__(self, reason: str, text: str, span: tuple[int, int] = (0, 0), *, kind: str = "reference") -> None:
        self.reason = reason
        self.text = text
        self.span = span
        super().__init__(f"invalid {kind}: {reason}\n{caret(text, span)}")


def caret(text: str, span: tuple[int, int]) -> str:
    """Two lines: the text, and carets under `span` of it; both safe to print."""
    start, end = max(0, span[0]), max(span[1], span[0] + 1)
    before, marked, after = printable(text[:start], 160), printable(text[start:end], 160), printable(text[end:], 160)
    return f"    {before}{marked}{after}\n    {' ' * len(before)}{'^' * max(1, len(marked))}"


class NotFound(TranshipError):
    """The named object is not at this end."""

    code = "NOT_FOUND"
    exit_code = 3


class Unauthenticated(TranshipError):
    """Credentials are missing or were not accepted."""

    code = "UNAUTHENTICATED"
    exit_code = 4


class PermissionDenied(TranshipError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"
    exit_code = 4


class RateLimited(TranshipError):
    """A server asks us to slow down; `retry_after` is in seconds, where it said so."""

    code = "RESOURCE_EXHAUSTED"
    exit_code = 5
    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class Unavailable(TranshipError):
    """A server cannot be reached or does not answer properly now; another attempt may succeed."""

    code = "UNAVAILABLE"
    exit_code = 6
    retryable = True


class DeadlineExceeded(TranshipError):
    """Nothing moved for longer than the time allowed."""

    code = "DEADLINE_EXCEEDED"
    exit_code = 6
    retryable = True


class DataLoss(TranshipError):
    """Bytes are not what they should be."""

    code = "DATA_LOSS"
    exit_code = 7


class DigestMismatch(DataLoss):
    """Content does not have the digest that its descriptor names; `actual` is the digest that was found."""

    def __init__(
        self, message: str, *, descriptor: Descriptor | None = None, actual: str | None = None, side: Side | None = None
    ) -> None:
        super().__init__(message, descriptor=descriptor, side=side)
        self.actual = actual


class Truncated(DataLoss):
    """The bytes end before they should; `count` of them were there."""

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        descriptor: Descriptor | None = None,
        count: int | None = None,
        side: Side | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, descriptor=descriptor, side=side)
        self.count = count


class PolicyRefused(TranshipError):
    """What was asked is possible and a rule of the user's or of ours forbids it."""

    code = "PERMISSION_DENIED"
    exit_code = 8


class PartialFailure(TranshipError):
    """Some of several images failed: `failures` holds (name, error) of each."""

    code = "ABORTED"
    exit_code = 9

    def __init__(self, message: str, failures: Sequence[tuple[str, TranshipError]] = ()) -> None:
        super().__init__(message)
        self.failures = tuple(failures)


class AlreadyExists(TranshipError):
    """The name is taken, or the content is there already."""

    code = "ALREADY_EXISTS"
    exit_code = 10


class FailedPrecondition(TranshipError):
    """The state of the object does not allow this now."""

    code = "FAILED_PRECONDITION"
    exit_code = 10


class CommitMismatch(FailedPrecondition):
    """An ingest's size or digest is not what its commit expected. The ingest survives.

    `actual` is the digest that was found, where it came to that.
    """

    def __init__(self, message: str, *, actual: Digest | None = None) -> None:
        super().__init__(message)
        self.actual = actual


class MissingContent(FailedPrecondition):
    """A registry refuses a document since it lacks what the document names: `digests`, as far as it says which."""

    def __init__(
        self,
        message: str,
        *,
        digests: Sequence[str] = (),
        descriptor: Descriptor | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, side="destination", descriptor=descriptor)
        self.digests = tuple(digests)


class OutOfRange(TranshipError):
    """An offset lies outside the object."""

    code = "OUT_OF_RANGE"
    exit_code = 10


class Aborted(TranshipError):
    """Another writer was faster, or the operation was given up."""

    code = "ABORTED"
    exit_code = 10
    retryable = True


class NoSpace(TranshipError):
    """A disk or a quota is full: `path`, and `needed` and `free` in bytes where they are known."""

    code = "RESOURCE_EXHAUSTED"
    exit_code = 11

    def __init__(
        self, message: str, *, path: str | None = None, needed: int | None = None, free: int | None = None
    ) -> None:
        hint = "free some space, or choose another place (--root for the store, TMPDIR for scratch)"
        super().__init__(message, hint=hint, side="destination")
        self.path = path
        self.needed = needed
        self.free = free


class Unsupported(TranshipError):
    """The endpoint, or this pair of endpoints, lacks the ability."""

    code = "UNIMPLEMENTED"
    exit_code = 12


class Cancelled(TranshipError):
    """Somebody asked to stop."""

    code = "CANCELLED"
    exit_code = 130


class Internal(TranshipError):
    """A bug in tranship."""

    code = "INTERNAL"
    exit_code = 70
