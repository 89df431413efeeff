"""WWW-Authenticate: the challenges of a 401 (RFC 9110, section 11.6.1), read in one pass.

Registries send anything between the grammar and junk, so the reader takes what it understands and steps over the rest. It
looks at each character a fixed number of times, and at no more than MAX_LENGTH of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_LENGTH = 16 * 1024  # characters of all headers together; what lies beyond is not read

# Possessive quantifiers: nothing is tried twice.
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~/-]++")  # a token, and `/`, which only a token68 has
_QUOTED = re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_SPACE = re.compile(r"[ \t]*+")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: a scheme (`bearer`, `basic`) and its parameters, all names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """Read every challenge of every WWW-Authenticate header, in order.

    A parameter that stands twice keeps its first value. A quoted string without an end takes its parameter with it.
    """
    found: list[Challenge] = []
    left = MAX_LENGTH
    for header in headers:
        found.extend(_parse(header[:left]) if len(header) <= left else ())
        left -= min(left, len(header))
    return tuple(found)


def _parse(text: str) -> list[Challenge]:
    found: list[Challenge] = []
    parameters: dict[str, str] | None = None
    place, fresh = 0, False  # fresh: just after a scheme's name, where a bare word is its token68 and no scheme
    while place < len(text):
        word = _TOKEN.match(text, place)
        if word is None:
            fresh = fresh and text[place] != ","
            place = _value(text, place)[1] if text[place] == '"' else place + 1
            continue
        after = _skip(text, word.end())
        if text[after : after + 1] == "=":
            value, place = _value(text, _skip(text, after + 1))
            if value is not None and parameters is not None:
                parameters.setdefault(word[0].lower(), value)
            fresh = False
        elif fresh:  # a token68 without padding
            fresh, place = False, after
        else:
            parameters = {}
            found.append(Challenge(word[0].lower(), parameters))
            fresh, place = True, after
    return found


def _value(text: str, place: int) -> tuple[str | None, int]:
    """The value at `place` and where it ends; None for one that is no value (then it is stepped over)."""
    if text[place : place + 1] == '"':
        quoted = _QUOTED.match(text, place)
        return (_PAIR.sub(r"\1", quoted[1]), quoted.end()) if quoted else (None, len(text))
    word = _TOKEN.match(text, place)
    return (word[0], word.end()) if word else (None, place + 1)


def _skip(text: str, place: int) -> int:
    space = _SPACE.match(text, place)
    return space.end() if space else place
