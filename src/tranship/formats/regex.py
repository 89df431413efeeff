r"""Regular expressions in RE2's syntax, answered in time linear in the text: what Go's `regexp` does for containerd.

`re` backtracks, holds the interpreter's lock while it does, and reads another syntax. Here a pattern becomes a set of
states that are followed all at once, so no pattern of a stranger's stalls anything. It only says whether there is a match
anywhere: no groups are captured, and lazy repetition means the same as greedy.

Lacking of RE2: the script names in `\p{…}` (general categories are there), and patterns over 1 KiB or 2,000 states.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

MAX_PATTERN = 1024  # characters
MAX_STATES = 2000
MAX_DEPTH = 50  # groups within groups
MAX_REPEAT = 1000  # Go's own limit
_CACHE = 500  # steps remembered in one search
Test = Callable[[str], bool]  # of one character
Build = Callable[[int], int]  # adds states that lead to a given one; returns the first of them

_ESCAPES = {"a": "\a", "f": "\f", "t": "\t", "n": "\n", "r": "\r", "v": "\v"}
_PERL = {"d": "0-9", "s": "\t\n\f\r ", "w": "0-9A-Za-z_"}
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": "\x00-\x7f", "blank": "\t ", "cntrl": "\x00-\x1f\x7f",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": "!-/:-@\\[-`{-~", "space": "\t-\r ",
    "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip
_CATEGORY = re.compile(r"C[cfos]?|L[lmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?")
_REPEAT = re.compile(r"\{([0-9]{1,4})(,?)([0-9]{0,4})\}")
_GROUP = re.compile(r"\?(?:P?<[A-Za-z0-9_]+>|([imsU]*)(?:-([imsU]+))?([:)]))")


class RegexError(ValueError):
    """A pattern that RE2 does not take, or that is too large."""


@dataclass(slots=True)
class _State:
    """Either a character test with one way out, or an assertion or fork to be passed without reading."""

    outs: list[int]
    test: Test | None = None
    assertion: str | None = None


@dataclass(slots=True)
class Regex:
    """A compiled pattern."""

    states: list[_State]
    start: int
    # A step's answer depends on the states and the kinds of the neighbours alone: an automaton that is built as it is used.
    _reached: dict[tuple[frozenset[int], str | None, str | None], frozenset[int] | None] = field(default_factory=dict)

    def search(self, text: str) -> bool:
        """Say whether it matches anywhere in `text`."""
        at: frozenset[int] = frozenset()
        before: str | None = None
        for after in (*text, None):
            reached = self._follow(at, before, after)
            if reached is None:
                return True
            if after is None:
                break
            at = frozenset(
                out
                for number in reached
                if (state := self.states[number]).test and state.test(after)
                for out in state.outs
            )
            before = after
        return False

    def _follow(self, at: frozenset[int], before: str | None, after: str | None) -> frozenset[int] | None:
        """Find the character tests that can be reached without reading, a fresh attempt included; None is a match."""
        key = (at, _kind(before), _kind(after))
        if key in self._reached:
            return self._reached[key]
        if len(self._reached) >= _CACHE:
            self._reached = {}
        reached = self._reached[key] = self._reach(at, before, after)
        return reached

    def _reach(self, at: frozenset[int], before: str | None, after: str | None) -> frozenset[int] | None:
        seen: set[int] = set()
        tests: set[int] = set()
        todo = [self.start, *at]
        while todo:
            number = todo.pop()
            if number in seen:
                continue
            seen.add(number)
            state = self.states[number]
            if state.test:
                tests.add(number)
            elif not state.outs:
                return None
            elif state.assertion is None or _holds(state.assertion, before, after):
                todo += state.outs
        return frozenset(tests)


def _kind(c: str | None) -> str | None:
    """What assertions need to know of a neighbour: the end, a line end, a word character or another."""
    return c if c is None or c == "\n" else "w" if _is_word(c) else "."


def _is_word(c: str | None) -> bool:
    return c is not None and c.isascii() and (c.isalnum() or c == "_")


def _holds(assertion: str, before: str | None, after: str | None) -> bool:
    match assertion:
        case "A":
            return before is None
        case "z":
            return after is None
        case "^":
            return before in (None, "\n")
        case "$":
            return after in (None, "\n")
    return (_is_word(before) != _is_word(after)) == (assertion == "b")


def compile_regex(pattern: str) -> Regex:
    """Compile, or raise RegexError."""
    if len(pattern) > MAX_PATTERN:
        raise RegexError(f"a pattern has at most {MAX_PATTERN} characters")
    parser = _Parser(pattern)
    build = parser.alternatives(0)
    if parser.place < len(pattern):
        raise RegexError("unexpected )")
    return Regex(parser.states, build(parser.add([])))


class _Parser:
    """Recursive descent over the pattern. Its results build states backwards, from the match to the start."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self.flags: frozenset[str] = frozenset()
        self.states: list[_State] = []
        self.steps = 0

    # ------------------------------------------------------------------------------------------------ states

    def add(self, outs: list[int], test: Test | None = None, assertion: str | None = None) -> int:
        self.states.append(_State(outs, test, assertion))
        if len(self.states) > MAX_STATES:
            self._too_large()
        return len(self.states) - 1

    def _repeat(self, build: Build, least: int, most: int | None) -> Build:
        def repeated(then: int) -> int:
            self.steps += least + (most or 0)
            if self.steps > 10 * MAX_STATES:  # repetition of what has no states of its own
                self._too_large()
            first = then
            if most is None:
                first = self.add([then])
                self.states[first].outs.insert(0, build(first))
            for _ in range((most or least) - least):
                first = self.add([build(first), then])
            for _ in range(least):
                first = build(first)
            return first

        return repeated

    def _sequence(self, builds: list[Build]) -> Build:
        def in_order(then: int) -> int:
            for build in reversed(builds):
                then = build(then)
            return then

        return in_order

    def _character(self, test: Test) -> Build:
        return lambda then: self.add([then], test)

    def _assertion(self, what: str) -> Build:
        return lambda then: self.add([then], assertion=what)

    # ------------------------------------------------------------------------------------------------ syntax

    def alternatives(self, depth: int) -> Build:
        if depth > MAX_DEPTH:
            self._too_large()
        builds = [self._concatenation(depth)]
        while self._take("|"):
            builds.append(self._concatenation(depth))
        if len(builds) == 1:
            return builds[0]
        return lambda then: self.add([build(then) for build in builds])

    def _concatenation(self, depth: int) -> Build:
        builds: list[Build] = []
        while self.place < len(self.pattern) and self._peek() not in "|)":
            build = self._atom(depth)
            if build is not None:
                builds.append(self._repetition(build))
        return self._sequence(builds)

    def _repetition(self, build: Build) -> Build:
        counted = _REPEAT.match(self.pattern, self.place)
        if counted:
            self.place = counted.end()
            least = int(counted[1])
            most = least if not counted[2] else int(counted[3]) if counted[3] else None
            if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
                raise RegexError("invalid repeat count")
        elif self._peek() in ("*", "+", "?"):
            c = self._next()
            least, most = (1 if c == "+" else 0), (1 if c == "?" else None)
        else:
            return build
        self._take("?")
        if self._peek() in ("*", "+", "?") or _REPEAT.match(self.pattern, self.place):
            raise RegexError("invalid nested repetition operator")
        return self._repeat(build, least, most)

    def _atom(self, depth: int) -> Build | None:
        """Read one thing that may be repeated; None for what only sets flags."""
        c = self._next()
        match c:
            case "(":
                return self._group(depth)
            case "[":
                return self._character(self._class())
            case ".":
                return self._character((lambda _: True) if "s" in self.flags else (lambda c: c != "\n"))
            case "^":
                return self._assertion("^" if "m" in self.flags else "A")
            case "$":
                return self._assertion("$" if "m" in self.flags else "z")
            case "*" | "+" | "?":
                raise RegexError("missing argument to repetition operator")
            case "\\":
                return self._escape()
        return self._character(self._fold(_between(c, c)))

    def _group(self, depth: int) -> Build | None:
        outer = self.flags
        if self._peek() == "?":
            found = _GROUP.match(self.pattern, self.place)
            if not found:
                raise RegexError("invalid or unsupported group")
            self.place = found.end()
            self.flags = (self.flags | set(found[1] or "")) - set(found[2] or "")
            if found[3] == ")":
                return None
        build = self.alternatives(depth + 1)
        if not self._take(")"):
            raise RegexError("missing )")
        self.flags = outer
        return build

    def _escape(self) -> Build:
        c = self._peek()
        if c in ("A", "z", "b", "B"):
            return self._assertion(self._next())
        if c == "Q":
            self.place += 1
            end = self.pattern.find("\\E", self.place)
            literal = self.pattern[self.place : end if end >= 0 else None]
            self.place = end + 2 if end >= 0 else len(self.pattern)
            return self._sequence([self._character(self._fold(_between(one, one))) for one in literal])
        test = self._class_escape()
        if test is None:
            one = self._escaped_character()
            test = _between(one, one)
        return self._character(self._fold(test))

    def _class_escape(self) -> Test | None:
        r"""Read `\d`, `\pL` and the like, behind the backslash; None when it is another escape."""
        c = self._peek()
        if c and c.lower() in _PERL:
            return _negate(_members(_PERL[self._next().lower()]), c.isupper())
        if c not in ("p", "P"):
            return None
        found = re.compile(r"[pP](?:\{(\^?)([^}]*)\}|(.))", re.DOTALL).match(self.pattern, self.place)
        name = (found[2] or found[3]) if found else None
        if found is None or not name or not (_CATEGORY.fullmatch(name) or name == "Any"):
            raise RegexError("unknown character category")
        self.place = found.end()
        prefix = "" if name == "Any" else name
        return _negate(lambda c: unicodedata.category(c).startswith(prefix), (c == "P") != (found[1] == "^"))

    def _escaped_character(self) -> str:
        number = re.compile(r"x\{([0-9A-Fa-f]{1,8})\}|x([0-9A-Fa-f]{2})|([1-7][0-7]{1,2}|0[0-7]{0,2})").match(
            self.pattern, self.place
        )
        if number:
            self.place = number.end()
            code = int(number[3], 8) if number[3] else int(number[1] or number[2], 16)
            if code > 0x10FFFF:
                raise RegexError("invalid escape sequence")
            return chr(code)
        c = self._next()
        if c in _ESCAPES:
            return _ESCAPES[c]
        if not c.isascii() or c.isalnum():
            raise RegexError("invalid escape sequence")
        return c

    def _class(self) -> Test:
        negated = self._take("^")
        tests: list[Test] = []
        while not tests or self._peek() != "]":  # a ] that stands first is a member
            named = re.compile(r"\[:(\^?)([a-z]+):\]").match(self.pattern, self.place)
            if named:
                if named[2] not in _POSIX:
                    raise RegexError("invalid character class")
                self.place = named.end()
                tests.append(_negate(_members(_POSIX[named[2]]), bool(named[1])))
                continue
            first = self._class_member()
            if not isinstance(first, str):
                tests.append(first)
                continue
            last: str | Test = first
            if self._peek() == "-" and self.pattern[self.place + 1 : self.place + 2] not in ("", "]"):
                self.place += 1
                last = self._class_member()
            if not isinstance(last, str) or last < first:
                raise RegexError("invalid character class range")
            tests.append(_between(first, last))
        self.place += 1
        return _negate(self._fold(lambda c: any(test(c) for test in tests)), negated)

    def _class_member(self) -> str | Test:
        c = self._next()
        if c != "\\":
            return c
        return self._class_escape() or self._escaped_character()

    # ------------------------------------------------------------------------------------------------ characters

    def _fold(self, test: Test) -> Test:
        if "i" not in self.flags:
            return test
        return lambda c: any(test(one) for one in (c, c.lower(), c.upper()) if len(one) == 1)

    def _peek(self) -> str:
        return self.pattern[self.place : self.place + 1]

    def _next(self) -> str:
        if self.place >= len(self.pattern):
            raise RegexError("the pattern ends too early")
        self.place += 1
        return self.pattern[self.place - 1]

    def _take(self, c: str) -> bool:
        if self._peek() != c:
            return False
        self.place += 1
        return True

    def _too_large(self) -> NoReturn:
        raise RegexError("the pattern is too large")


def _between(first: str, last: str) -> Test:
    return lambda c: first <= c <= last


def _members(characters: str) -> Test:
    """Test for a class of our own tables, which `re` spells the same."""
    one = re.compile(f"[{characters}]")
    return lambda c: one.fullmatch(c) is not None


def _negate(test: Test, negated: bool) -> Test:
    return (lambda c: not test(c)) if negated else test
