"""JSON from strangers, read so that no two readers can understand it differently.

`loads` refuses other encodings than UTF-8, duplicate keys, NaN and infinities, lone surrogates, bytes after the document,
and nesting deeper than any document of this field has. `fields` refuses keys that differ from a known one by case alone:
Go's decoder takes `Layers` for `layers`. Only the objects that we read the fields of go through it: labels and annotations
may hold any key.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NoReturn

from tranship.errors import InvalidArgument, printable

_GO_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}  # all of them stand in strings only
_MAX_NESTING = 64  # what recurses over a value (json.dumps does) must not depend on how deep the stack is already
MAX_MEMORY = 24 << 20  # bytes that a parsed document may take; an index of 10,000 children is said to take 22 MB
_OBJECT, _LIST, _ITEM = 190, 72, 170  # bytes that an object, a list, and one more thing in them take, with its key
_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # the escape of half of a surrogate pair
_MAX_DIGITS = 64  # of a number; Python's int() is quadratic in them (CVE-2020-10735)


def loads(data: bytes, what: str, most: int = MAX_MEMORY) -> Any:
    """Parse `data`, which may take `most` bytes of memory or so; `what` names it in errors. Raises InvalidArgument."""
    try:
        text = data.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{what} is not UTF-8: byte {error.start} is 0x{data[error.start]:02x}") from None
    size, pairs = sys.getsizeof(text), _PAIR.search(text) is not None
    strings = 4 * len(text) if pairs else size  # one character beyond the first 65,536 makes four bytes of every other
    if weight(data) + size + strings > most:
        raise InvalidArgument(
            f"{what} would take more than {most} bytes of memory: it has too many values for its size"
        )
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_int=_int, parse_float=_float
        )
        if pairs:
            _check_pairs(value)
        if text.count("{") + text.count("[") > _MAX_NESTING:  # others cannot be nested deeper
            _check_nesting(value)
        return value
    except UnicodeEncodeError:
        raise InvalidArgument(f"{what} holds half of a surrogate pair") from None
    except _Ambiguous as error:
        raise InvalidArgument(f"{what} is ambiguous: {error}") from None
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"{what} is not JSON: {error.msg} at character {error.pos} of {len(text)}") from None
    except (RecursionError, _TooDeep):
        raise InvalidArgument(f"{what} is nested too deeply") from None


def weight(data: bytes) -> int:
    """Bytes of memory that the values of a document take besides their text; an estimate, made without parsing it."""
    return _OBJECT * data.count(b"{") + _LIST * data.count(b"[") + _ITEM * data.count(b",")


def room(data: bytes) -> int:
    """What a list of any number of images or tags may take: as much as one document, and what is usual for its bytes."""
    return MAX_MEMORY + 6 * len(data)


def fields(value: Any, known: frozenset[str], where: str) -> dict[str, Any]:
    """Check that `value` is an object in which no key is a variant by case of a `known` one; return it."""
    if not isinstance(value, dict):
        raise InvalidArgument(f"{where}: expected a JSON object, found {type(value).__name__}")
    if not known.issuperset(value):
        folded = {key.casefold(): key for key in known}
        for key in value:
            meant = folded.get(key.casefold())
            if meant is not None and meant != key:
                raise InvalidArgument(f"{where} is ambiguous: key {printable(repr(key))} may be read as {meant!r}")
    return value


def dumps(value: Any) -> bytes:
    """Encode a document of our own: compact, sorted keys, the same bytes on every machine."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def dumps_as_go(value: Any) -> bytes:
    """Encode as Go's encoding/json does, keys in the order given: containerd's own bytes of the documents that it makes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.translate(_GO_ESCAPES).encode()


class _Ambiguous(ValueError):
    """A key or number that other parsers may read differently."""


class _TooDeep(ValueError):
    """Objects and lists within one another beyond the limit."""


def _check_pairs(value: Any) -> None:
    """Raise UnicodeEncodeError for half of a surrogate pair, which only an escape can have made."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            one.encode()
        elif isinstance(one, dict):
            waiting += (*one, *one.values())
        elif isinstance(one, list):
            waiting += one


def _check_nesting(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_NESTING + 1):
        containers = [one for one in level if isinstance(one, (dict, list))]
        level = [child for one in containers for child in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return
    raise _TooDeep


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]  # add
        raise _Ambiguous(f"key {printable(repr(twice))} stands there twice")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise _Ambiguous(f"{name} is no JSON number")


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise _Ambiguous(f"a number of {len(digits)} digits")
    return int(digits)


def _float(digits: str) -> float:
    if len(digits) > _MAX_DIGITS:
        raise _Ambiguous(f"a number of {len(digits)} digits")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Ambiguous(f"{digits} is out of range")
    return number
