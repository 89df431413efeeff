"""containerd's filters: `name~=^docker.io/,labels."a.b/c"==yes`, as clients send them to list things.

    filter    := selector ("," selector)*          all must hold; of several filters one must
    selector  := fieldpath [ op value ]            without op: the field is there
    fieldpath := field ("." field)*
    field     := [A-Za-z0-9_-]+ | quoted
    op        := "==" | "!=" | "~="                equal, not equal, matches a regular expression
    value     := quoted | visible characters but "," and white space
    quoted    := "…" with Go's escapes; behind ~= also /…/ and |…|

Grammar, texts of errors and oddities are those of containerd's pkg/filters: an absent field compares as an empty string, for
`!=` and `~=` too; an invalid expression matches nothing; single quotes quote nothing. What is filtered comes as a function
from a field path to a value; `adaptor` makes one.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from tranship.errors import InvalidArgument, printable
from tranship.formats.regex import Regex, RegexError, compile_regex

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Adaptor: TypeAlias = Callable[[Sequence[str]], str | None]

Operator = Literal["", "==", "!=", "~="]
MAX_FILTER = 64 * 1024  # characters; containerd has no limit but that of a message
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))  # Go's
_FIELD = re.compile(r"[A-Za-z0-9_-]+")
_OPERATOR = re.compile(r"[=!~]+")
_SIMPLE_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
_NUMERIC_ESCAPE = re.compile(r"x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3}")


@dataclass(frozen=True)
class Selector:
    """One condition on one field."""

    path: tuple[str, ...]
    operator: Operator = ""
    value: str = ""

    def matches(self, adaptor: Adaptor) -> bool:
        """Does the condition hold of what `adaptor` shows?"""
        found = adaptor(self.path)
        match self.operator:
            case "==":
                return found == self.value
            case "!=":
                return (found or "") != self.value
            case "~=":
                return self._regex is not None and self._regex.search(found or "")
        return found is not None

    @cached_property
    def _regex(self) -> Regex | None:
        try:
            return compile_regex(self.value)
        except RegexError:
            return None

    def __str__(self) -> str:
        path = ".".join(name if _FIELD.fullmatch(name) else _quote(name) for name in self.path)
        return path + (self.operator + _quote(self.value) if self.operator else "")


@dataclass(frozen=True)
class Filter:
    """Alternatives, each a list of selectors that must all hold. No alternatives at all match everything."""

    alternatives: tuple[tuple[Selector, ...], ...] = ()

    def matches(self, adaptor: Adaptor) -> bool:
        """Does any alternative hold of what `adaptor` shows?"""
        return not self.alternatives or any(
            all(selector.matches(adaptor) for selector in selectors) for selectors in self.alternatives
        )

    def __str__(self) -> str:
        return " or ".join(",".join(map(str, selectors)) or "everything" for selectors in self.alternatives)


def parse(filters: Sequence[str]) -> Filter:
    """Parse what a client sends. Raises InvalidArgument with containerd's words."""
    return Filter(tuple(_Parser(text).selectors() if text else () for text in filters))


def adaptor(fields: Mapping[str, str], maps: Mapping[str, Mapping[str, str]]) -> Adaptor:
    """Show a thing to a filter: its named fields, and its maps, whose keys are the rest of a path joined with dots.

        content  digest                                 labels.*        (`size` is documented and always absent)
        ingest   ref
        image    name, target.digest, target.mediatype  labels.*, annotations.* (of the target)
        lease    id                                     labels.*

    Like containerd's adaptors it looks at as much of the path as it knows: `name.more` is `name`, `labels.a.b` the label
    `a.b`.
    """

    def look(path: Sequence[str]) -> str | None:
        first, *rest = path
        if first in maps:
            return maps[first].get(".".join(rest))
        if first in fields:
            return fields[first]
        return fields.get(".".join(path[:2]))

    return look


# --- parsing ----------------------------------------------------------------------------------------------------------


class _Token(NamedTuple):
    kind: Literal["end", "illegal", "quoted", "separator", "operator", "value", "field", "other"]
    place: int
    text: str = ""


@dataclass
class _Parser:
    text: str
    place: int = 0
    after_operator: bool = field(default=False, init=False)  # the next thing is a value, whatever it begins with
    mistake: str = field(default="", init=False)  # the first that the scanner met

    def selectors(self) -> tuple[Selector, ...]:
        if len(self.text) > MAX_FILTER:
            raise InvalidArgument(f"filters: a filter has at most {MAX_FILTER} characters, found {len(self.text)}")
        found = [self._selector()]
        while c := self._peek():
            if c != ",":
                raise self._error(self.place, f"unexpected input: {c}")
            self._scan()
            found.append(self._selector())
        return tuple(found)

    def _selector(self) -> Selector:
        path = [self._field()]
        while self._peek() == ".":
            self._scan()
            path.append(self._field())
        if self._peek() in ("", ","):
            return Selector(tuple(path))
        operator = self._operator()
        return Selector(tuple(path), operator, self._value(regex=operator == "~="))

    def _field(self) -> str:
        token = self._scan()
        match token.kind:
            case "field":
                return token.text
            case "quoted":
                return self._unquote(token, '"')
        raise self._error(token.place, self.mistake if token.kind == "illegal" else "expected field or quoted")

    def _operator(self) -> Operator:
        token = self._scan()
        match token.text if token.kind == "operator" else "":
            case "==" | "!=" | "~=" as operator:
                return operator
            case "":
                expected = 'expected an operator ("=="|"!="|"~=")'
                raise self._error(token.place, self.mistake if token.kind == "illegal" else expected)
        raise self._error(token.place, f'unsupported operator "{token.text}"')

    def _value(self, *, regex: bool) -> str:
        token = self._scan()
        match token.kind:
            case "value" | "field":
                return token.text
            case "quoted":
                return self._unquote(token, '"/|' if regex else '"')
        raise self._error(token.place, self.mistake if token.kind == "illegal" else "expected value or quoted")

    def _scan(self) -> _Token:
        """Read one token; what it can be depends on whether an operator came before."""
        while (c := self._peek()) and c in _SPACE:
            self.place += 1
        start = self.place
        if not c:
            return _Token("end", start)
        if _is_illegal(c):
            self._note("unexpected null" if c == "\0" else "rune error")
            return _Token("illegal", start, c)
        if c in '"/|':
            return self._quoted(start, c)
        if c in ",.":
            self.after_operator = False
            self.place += 1
            return _Token("separator", start, c)
        operator = _OPERATOR.match(self.text, start)
        if operator:
            self.after_operator = True
            self.place = operator.end()
            return _Token("operator", start, operator[0])
        if self.after_operator:
            self.after_operator = False
            self.place += 1
            while (c := self._peek()) and _is_of_value(c):
                self.place += 1
            return _Token("value", start, self.text[start : self.place])
        name = _FIELD.match(self.text, start)
        self.place = name.end() if name else start + 1
        return _Token("field" if name else "other", start, self.text[start : self.place])

    def _quoted(self, start: int, quote: str) -> _Token:
        """Read to the closing quote, over escapes, of which a wrong one is found here or in `_unquote`."""
        self.place += 1
        legal = True
        while (c := self._peek()) != quote:
            if c in ("", "\n") or _is_illegal(c):
                self._note("unexpected null" if c == "\0" else "rune error" if c not in ("", "\n") else "")
                self._note("quoted literal not terminated")
                return _Token("illegal", start)
            self.place += 1
            if c == "\\":
                legal = self._escape(quote) and legal
        self.place += 1
        return _Token("quoted" if legal else "illegal", start, self.text[start : self.place])

    def _escape(self, quote: str) -> bool:
        """Pass over what follows a backslash; note a wrong escape."""
        c = self._peek()
        numeric = _NUMERIC_ESCAPE.match(self.text, self.place)
        if numeric:
            self.place = numeric.end()
        elif c and (c in _SIMPLE_ESCAPES or c == quote):
            self.place += 1
        else:
            self._note("illegal numeric escape sequence" if c and c in "xuU01234567" else "illegal escape sequence")
            return False
        return True

    def _unquote(self, token: _Token, allowed: str) -> str:
        """Decode a quoted token. Escapes name bytes: what is no UTF-8 becomes lone surrogates, which match nothing."""
        quote, body = token.text[0], token.text[1:-1]
        if quote not in allowed:
            raise self._error(token.place, "invalid quote encountered")
        if "\\" not in body:
            return body
        decoded = bytearray()
        place = 0
        while place < len(body):
            if body[place] != "\\":
                decoded += body[place].encode()
                place += 1
                continue
            numeric = _NUMERIC_ESCAPE.match(body, place + 1)
            if numeric is None:
                c = body[place + 1]
                decoded.append(_SIMPLE_ESCAPES.get(c, ord(c)))
                place += 2
                continue
            place = numeric.end()
            code = int(numeric[0], 8) if numeric[0][0].isdigit() else int(numeric[0][1:], 16)
            if code > (0x10FFFF if numeric[0][0] in "uU" else 0xFF):
                raise self._error(token.place, "unquoting failed: quote syntax error")
            if numeric[0][0] in "uU":  # Go writes half of a surrogate pair as U+FFFD
                decoded += ("\ufffd" if 0xD800 <= code <= 0xDFFF else chr(code)).encode()
            else:
                decoded.append(code)
        return decoded.decode("utf-8", "surrogateescape")

    def _peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def _note(self, mistake: str) -> None:
        self.mistake = self.mistake or mistake

    def _error(self, place: int, message: str) -> InvalidArgument:
        """Mark the place: `[BEFORE >|C|< AFTER]: MESSAGE`, or the text alone when it ended too early."""
        before, c, after = (
            printable(t, 500) for t in (self.text[:place], self.text[place : place + 1], self.text[place + 1 :])
        )
        marked = f"{before} >|{c}|< {after}" if c else before
        return InvalidArgument(f"filters: parse error: [{marked}]: {printable(message)}")


def _is_illegal(c: str) -> bool:
    return c in "\0\ufffd" or "\ud800" <= c <= "\udfff"


def _is_of_value(c: str) -> bool:
    return c != "," and c not in _SPACE and not _is_illegal(c) and unicodedata.category(c)[0] in "LMNPS"


def _quote(text: str) -> str:
    """Write a string so that `parse` reads it again."""
    written = []
    for c in text:
        code = ord(c)
        if c in '"\\':
            written.append("\\" + c)
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
            written.append(f"\\x{code - 0xDC00:02x}")
        elif c.isprintable() and c != "\ufffd":
            written.append(c)
        else:
            written.append(f"\\U{code:08x}")
    return '"' + "".join(written) + '"'
