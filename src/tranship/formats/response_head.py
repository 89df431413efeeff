"""The head of an HTTP/1.1 response: status, fields, and how the body's end is known (RFC 9112, sections 4, 5, 6 and 9.3).

Read strictly: what two parsers could read differently ends the response. A line that is no field, a length that is no number,
lengths that differ, a coding that nobody asked for are refused, where Python's own parser takes a part of the head for the
body.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tranship.errors import Unavailable, printable

MAX_FIELDS = 200
_STATUS = re.compile(r"HTTP/1\.([0-9]) ([1-5][0-9]{2})(?: ([^\r\n\0]*))?\r?\n")
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)\r?\n")
_FOLD = re.compile(r"\r?\n[ \t]")
_LENGTH = re.compile(r"[0-9]{1,18}")


class Head(NamedTuple):
    """What stands before a body. Names are in lower case, values stripped; bytes beyond ASCII are read as Latin-1."""

    minor: int  # of HTTP/1.x
    status: int
    reason: str
    fields: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """The values of the fields of that name, which is in lower case."""
        return [value for key, value in self.fields if key == name]


class Framing(NamedTuple):
    """How a body ends: by chunks, after `length` bytes, or (neither) with the connection; and whether the connection stays."""

    chunked: bool
    length: int | None
    stays: bool


def parse(raw: bytes) -> Head:
    """Read a head, all of it, with the empty line at its end; Unavailable for anything else."""
    text = raw.decode("latin-1")
    line = _STATUS.match(text)
    if line is None:
        raise Unavailable(f"no HTTP status line, but {printable(repr(text.partition(chr(10))[0][:80]))}")
    rest = text[line.end() :]
    if "\n " in rest or "\n\t" in rest:
        rest = _FOLD.sub(" ", rest)
    fields, at = [], 0
    while (field := _FIELD.match(rest, at)) is not None:
        name, value = field.groups()
        fields.append((name.lower(), value.strip(" \t")))
        at = field.end()
    if rest[at:] not in ("\r\n", "\n"):
        raise Unavailable(f"field {len(fields) + 1} of the head is none")
    if len(fields) > MAX_FIELDS:
        raise Unavailable(f"{len(fields)} header fields; at most {MAX_FIELDS} are read")
    minor, status, reason = line.groups()
    return Head(int(minor), int(status), (reason or "").strip(), tuple(fields))


def framing(head: Head, method: str) -> Framing:
    """How the body of a response to a request of this method ends; Unavailable where the head leaves it open."""
    said = [token.strip().lower() for value in head.all("connection") for token in value.split(",")]
    stays = "close" not in said and (head.minor > 0 or "keep-alive" in said)
    if method == "HEAD" or head.status < 200 or head.status in (204, 304):
        return Framing(chunked=False, length=0, stays=stays)
    codings, lengths = head.all("transfer-encoding"), set(head.all("content-length"))
    codings = [coding for coding in codings if coding.lower() != "identity"]  # of RFC 2616, and none
    if codings:
        if [coding.lower() for coding in codings] != ["chunked"]:
            raise Unavailable(f"a body in the transfer coding {printable(', '.join(codings))}, which nobody asked for")
        # A length beside it may be an attack, and HTTP/1.0 has no chunks (RFC 9112, section 6.1).
        return Framing(chunked=True, length=None, stays=stays and not lengths and head.minor > 0)
    if not lengths:
        return Framing(chunked=False, length=None, stays=False)
    if len(lengths) > 1 or not _LENGTH.fullmatch(length := lengths.pop()):
        raise Unavailable(
            f"a body of unclear length: Content-Length {printable(', '.join(head.all('content-length')))}"
        )
    return Framing(chunked=False, length=int(length), stays=stays)
