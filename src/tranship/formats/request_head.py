"""The head of an HTTP/1.1 request: request line and fields (RFC 9112, sections 3 and 5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD = re.compile(r"[A-Z]+ [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\r\n\0]*\r\n)*\r\n")
_URL = re.compile(r"(?i:https?)://[^/?#]*([^#]*)")


def target(url: str) -> str:
    """What a request line asks its host for, of an http(s) URL: path and query, without the fragment."""
    found = _URL.match(url)
    if found is None:
        raise InvalidArgument(f"{printable(url.partition('?')[0])} is no http(s) URL")
    return found[1] if found[1].startswith("/") else f"/{found[1]}"


def build(method: str, asked: str, fields: Iterable[tuple[str, str]]) -> bytes:
    """The bytes of a head; InvalidArgument where a name or a value would end its line, and so add lines of its own."""
    lines = [f"{method} {asked} HTTP/1.1", *[f"{name}: {value}" for name, value in fields], "", ""]
    text = "\r\n".join(lines)
    if not _HEAD.fullmatch(text) or text.count("\n") != len(lines) - 1:
        raise InvalidArgument(
            f"a header of {method} of {printable(asked.partition('?')[0])} has a name that is none, or a value with a line end"
        )
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise InvalidArgument(
            f"a header of {method} of {printable(asked.partition('?')[0])} holds a character beyond Latin-1"
        ) from None
