"""Errors as gRPC status and back, by containerd's rules (github.com/containerd/errdefs, errgrpc/grpc.go).

A status is a code and a text `CONTEXT: SUFFIX`. The suffix is fixed for each code; Go clients take it off when they rebuild
the error, and people read it, so it is always there and never twice. Codes are named by strings here ("NOT_FOUND"): this module
needs no gRPC.
"""

from __future__ import annotations

from tranship import errors
from tranship.errors import InvalidReference, TranshipError, printable

MAX_TEXT = 2000  # characters; a status travels in the trailers, which peers limit to 8 KiB

# code -> the class that it becomes, and the suffix of its texts ("" where containerd has none)
STATUS: dict[str, tuple[type[TranshipError], str]] = {
    "CANCELLED": (errors.Cancelled, ""),
    "UNKNOWN": (TranshipError, ""),
    "INVALID_ARGUMENT": (errors.InvalidArgument, "invalid argument"),
    "DEADLINE_EXCEEDED": (errors.DeadlineExceeded, ""),
    "NOT_FOUND": (errors.NotFound, "not found"),
    "ALREADY_EXISTS": (errors.AlreadyExists, "already exists"),
    "PERMISSION_DENIED": (errors.PermissionDenied, "permission denied"),
    "RESOURCE_EXHAUSTED": (errors.RateLimited, "resource exhausted"),
    "FAILED_PRECONDITION": (errors.FailedPrecondition, "failed precondition"),
    "ABORTED": (errors.Aborted, "aborted"),
    "OUT_OF_RANGE": (errors.OutOfRange, "out of range"),
    "UNIMPLEMENTED": (errors.Unsupported, "not implemented"),
    "INTERNAL": (errors.Internal, "internal"),
    "UNAVAILABLE": (errors.Unavailable, "unavailable"),
    "DATA_LOSS": (errors.DataLoss, "data loss"),
    "UNAUTHENTICATED": (errors.Unauthenticated, "unauthenticated"),
}
# containerd answers UNKNOWN where its code forgot to map an error: duplicate streams ("already exists"), what a registry
# answered ("unexpected status"), a full disk. The text is then all there is to go by.
_MARKS: tuple[tuple[str, type[TranshipError]], ...] = (
    ("no space left on device", errors.NoSpace),
    ("disk quota exceeded", errors.NoSpace),
    ("401 Unauthorized", errors.Unauthenticated),
    ("authorization failed", errors.Unauthenticated),
    ("no basic auth credentials", errors.Unauthenticated),
    ("403 Forbidden", errors.PermissionDenied),
    ("404 Not Found", errors.NotFound),
    ("429 Too Many Requests", errors.RateLimited),
    ("502 Bad Gateway", errors.Unavailable),
    ("503 Service Unavailable", errors.Unavailable),
    ("504 Gateway Timeout", errors.Unavailable),
    ("unexpected EOF", errors.Truncated),
)


def to_status(error: TranshipError) -> tuple[str, str]:
    """The code and text that say this error to a client: one line, with the hint, ending in the code's suffix."""
    if isinstance(error, InvalidReference):
        text = f'{error.message.splitlines()[0]}: "{printable(error.text)}"'
    else:
        text = " ".join(error.message.splitlines())
    if error.hint:
        text = f"{text} ({error.hint})"
    suffix = STATUS[error.code][1]
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 1] + "…"
    if suffix and not text.endswith(suffix):
        text = f"{text}: {suffix}"
    return error.code, text


def from_status(code: str, text: str) -> TranshipError:
    """The error that a server's status means. The text stays whole, since `image "x"` alone would be no sentence."""
    found, _ = STATUS.get(code, STATUS["UNKNOWN"])
    if code in {"UNKNOWN", "RESOURCE_EXHAUSTED"}:
        found = _by_text(text) or found
    return found(printable(text, MAX_TEXT) or f"the server answered {code} and no text")


def _by_text(text: str) -> type[TranshipError] | None:
    for mark, found in _MARKS:
        if mark in text:
            return found
    return next((found for found, suffix in STATUS.values() if suffix and text.endswith(suffix)), None)
