"""Digests: `sha256:<64 hex digits>` and `sha512:<128 hex digits>`, and nothing else.

One parser for every place a digest comes from, used before the text reaches a path, a URL or a database
(CVE-2024-3727). Other algorithms are refused, not accepted unverified.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from tranship.errors import InvalidReference

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]  # 3.12; only for the checker
    from hashlib import _Hash as Hash

ALGORITHMS = {"sha256": 64, "sha512": 128}  # -> hex digits
# Used with `fullmatch`: `$` would allow a line end. ASCII classes, since `\d` takes every script's digits.
_GRAMMAR = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")


class Digest(str):
    """A valid digest; a plain string in every other respect, so that it serves as key, in JSON and in SQL."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Digest:
        """Return the digest, or raise InvalidReference that points at the mistake."""
        if type(text) is cls:
            return text
        if not isinstance(text, str):
            raise InvalidReference("a digest must be a string", repr(text), kind="digest")
        if not _GRAMMAR.fullmatch(text):
            raise InvalidReference(*_mistake(text), kind="digest")
        return cls(text)

    @classmethod
    def of(cls, data: bytes | bytearray | memoryview, algorithm: str = "sha256") -> Digest:
        """Hash `data`."""
        return cls.from_hash(algorithm, new_hash(algorithm, data))

    @classmethod
    def from_hash(cls, algorithm: str, state: Hash) -> Digest:
        """Name what a hash object has seen so far."""
        return cls(f"{algorithm}:{state.hexdigest()}")

    @property
    def algorithm(self) -> str:
        """`sha256` or `sha512`."""
        return self[:6]

    @property
    def hex(self) -> str:
        """The digits alone, as in the file names of a layout."""
        return self[7:]

    @property
    def short(self) -> str:
        """For people: the algorithm and the first 12 digits."""
        return f"{self[:19]}…"

    def hasher(self) -> Hash:
        """A fresh hash object of this digest's algorithm."""
        return new_hash(self.algorithm)


def new_hash(algorithm: str, data: Buffer = b"") -> Hash:
    """A hash object by the algorithm's name in digests. hashlib releases the GIL for buffers over 2 KiB."""
    if algorithm == "sha256":
        return hashlib.sha256(data)
    if algorithm == "sha512":
        return hashlib.sha512(data)
    raise InvalidReference(f"unknown digest algorithm, use one of {', '.join(ALGORITHMS)}", algorithm, kind="digest")


def _mistake(text: str) -> tuple[str, str, tuple[int, int]]:
    algorithm, colon, digits = text.partition(":")
    if not colon:
        return "expected ALGORITHM:HEX", text, (0, len(text))
    if algorithm not in ALGORITHMS:
        return f"algorithm must be one of {', '.join(ALGORITHMS)}", text, (0, len(algorithm))
    for place, c in enumerate(digits, len(algorithm) + 1):
        if c not in "0123456789abcdef":
            return "only lower-case hexadecimal digits are allowed", text, (place, place + 1)
    wanted = ALGORITHMS[algorithm]
    return f"{algorithm} has {wanted} digits, found {len(digits)}", text, (len(algorithm) + 1, len(text))
