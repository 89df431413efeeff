"""What commands print: results on stdout, words for people on stderr. What came from outside is escaped."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterable, Sequence
    from datetime import datetime

STDOUT = frozenset({"-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"})  # our standard output, by its names
WIDE = 80  # columns of a terminal of which nobody knows more
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_LEGIBLE = 8  # characters of a column that tell something
_LONG = 4096  # characters; a name is never cut, only escaped


def say(args: Namespace, text: str) -> None:
    """Tell people something, on stderr, unless they asked for quiet. The caller has escaped what came from outside."""
    if args.quiet:
        return
    if args.progress == "json":  # so that every line there is an event
        from tranship.cli.progress import JsonLines
        from tranship.engine.progress import Progress, Stage

        JsonLines().report(Progress(stage=Stage.NOTICE, event=text))
    else:
        print(f"tranship: {text}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Print one document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def document(value: Any) -> Any:
    """A dataclass as JSON has it: `reclaimable_bytes` is reclaimableBytes, as everywhere in the field."""
    if is_dataclass(value) and not isinstance(value, type):
        return {_camel(field.name): document(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {key: document(one) for key, one in value.items()}
    return [document(one) for one in value] if isinstance(value, list | tuple) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def print_lines(lines: Iterable[str]) -> None:
    """Print a result a line, escaped; all at once, for readers who go when they have seen enough."""
    text = "".join(f"{safe(line)}\n" for line in lines)
    print(text, end="")


def print_removed(args: Namespace, words: Iterable[str]) -> None:
    """Print what was removed."""
    if args.json:
        print_json({"removed": list(words)})
    else:
        print_lines(words)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print columns that are as wide as they must be; the last one is not padded.

    On a terminal that is narrower the last columns are cut, or left out; pipes and files get all.
    """
    cells = [list(headers), *([safe(str(cell)) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    room = _room()
    lines = []
    for row in cells:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append(_cut("  ".join((*padded, row[-1])).rstrip(), room, widths))
    print("\n".join(lines))


def _room() -> int | None:
    """How wide the terminal is; None where stdout is none."""
    return columns() if sys.stdout.isatty() else None


def columns() -> int:
    """How wide the terminal is said to be, or is, or may be taken for: as shutil has it, whose import costs 4 ms."""
    said = os.environ.get("COLUMNS", "")
    if said.isascii() and said.isdigit() and int(said):
        return int(said)
    try:
        return os.get_terminal_size().columns or WIDE
    except OSError:  # stdout is no terminal
        return WIDE


def _cut(line: str, room: int | None, widths: Sequence[int]) -> str:
    """As much of a line of a table as fits: the first column always, a further one when some of it can be read."""
    if room is None or len(line) <= room:
        return line
    start = 0  # of the column in which the room ends
    for width in widths:
        if start + width > room:
            break
        start += width + 2
    if start == 0:
        return line
    return line[: room - 1] + "…" if room - start >= _LEGIBLE else line[:start].rstrip()


def print_bytes(data: Iterable[bytes]) -> None:
    """Print bytes as they are; refused where stdout is a terminal, unless they are text."""
    for n, piece in enumerate(data):
        if n == 0 and b"\0" in piece[:1024]:
            refuse_terminal("the content")
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def refuse_terminal(what: str) -> None:
    """InvalidArgument when stdout is a terminal."""
    if sys.stdout.isatty():
        raise InvalidArgument(f"{what} would be written to the terminal", hint="redirect it, or name a file with -o")


def safe(text: str) -> str:
    """Text from outside, for a terminal."""
    return printable(text, _LONG)


def size(count: float) -> str:
    """Bytes for people: `12.3 MB`, in thousands."""
    unit = 0
    while count >= 999.95 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def duration(seconds: float) -> str:
    """A time for people: `0.4 s`, `1 min 5 s`, `2 h 3 min`."""
    if seconds < 0.095:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count(number: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {what}{'s' * (number != 1)}"


def moment(when: datetime) -> str:
    """A time as RFC 3339 has it, to the second."""
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def labels(of: dict[str, str] | Any) -> str:
    """Labels in one column."""
    return ",".join(f"{key}={value}" for key, value in sorted(of.items())) or "-"
