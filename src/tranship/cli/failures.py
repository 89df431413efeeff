"""What goes wrong, as people and scripts are told of it: a line and a hint, or an event, and an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, NamedTuple

from tranship.errors import (
    AlreadyExists,
    Cancelled,
    DataLoss,
    InvalidArgument,
    NoSpace,
    NotFound,
    PermissionDenied,
    TranshipError,
    Unavailable,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
_LONG = 4096  # characters; a file's name is never cut
_OF_ERRNO: dict[int, type[TranshipError]] = {
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV), NotFound),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), PermissionDenied),
    **dict.fromkeys((errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL), InvalidArgument),
    **dict.fromkeys((errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY, errno.ETXTBSY), AlreadyExists),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), NoSpace),
    **dict.fromkeys((errno.EIO, errno.ESTALE), DataLoss),  # a failing disk; a share whose file has gone
    **dict.fromkeys((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN), Unavailable),
    **dict.fromkeys((errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH), Unavailable),
}


class Failure(NamedTuple):
    """An error in the shape in which it is told. All of it is safe to print."""

    message: str
    code: str  # gRPC's word
    exit_code: int
    hint: str | None = None
    notes: tuple[str, ...] = ()  # where it happened, for those who want to know
    is_error: bool = True  # and no interruption, which somebody asked for


def of_system(error: OSError) -> TranshipError:
    """The error of ours that one of the system amounts to, in the system's own words."""
    notes: Sequence[str] = getattr(error, "__notes__", ())
    message = os.strerror(error.errno) if error.errno is not None else printable(str(error))
    if error.filename is not None:
        message = f"{printable(os.fsdecode(error.filename), _LONG)}: {message}"
    elif notes:  # a descriptor has no name: then say what it was used for
        message += f" {printable(notes[0])}"
    found = _OF_ERRNO.get(error.errno or 0, TranshipError)(message)
    for note in notes:
        found.add_note(note)
    return found


def failure(error: BaseException) -> Failure:
    """What to tell of an error."""
    if isinstance(error, OSError):
        error = of_system(error)
    if isinstance(error, TranshipError):
        notes = tuple(printable(note) for note in getattr(error, "__notes__", ()))
        return Failure(error.message, error.code, error.exit_code, error.hint, notes)
    return Failure(
        f"internal error: {type(error).__name__}: {printable(str(error))}",
        "INTERNAL",
        EXIT_BUG,
        "this is a bug; please report it with what --debug prints",
    )


def interruption(word: str, exit_code: int, remark: str | None = None) -> Failure:
    """What to tell of a signal."""
    return Failure(word, Cancelled.code, exit_code, remark, is_error=False)


def tell(what: Failure, *, as_json: bool = False, with_notes: bool = False) -> None:
    """Print it on stderr: as the last event there, or in words. Where nothing can be printed, the exit code speaks alone."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        if as_json:
            from tranship.cli.progress import print_error

            print_error(what)
        else:
            print("\n".join(_lines(what, with_notes=with_notes)), file=sys.stderr, flush=True)


def _lines(what: Failure, *, with_notes: bool) -> list[str]:
    lines = [f"tranship: error: {what.message}" if what.is_error else f"tranship: {what.message}"]
    if what.hint:
        lines.append(f"  hint: {what.hint}")
    if with_notes:
        lines += [f"  {note}" for note in what.notes]
    return lines
