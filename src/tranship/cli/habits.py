"""Options of skopeo, podman, docker and ctr that mean exactly what one of ours does. They are taken, and no help shows them.

What means nearly the same gets a hint instead (`parsing`): nobody should find out afterwards.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NamedTuple

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from tranship.cli.parsing import Parser

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})  # as Go's strconv.ParseBool has them


class _Verifies(argparse.Action):
    """`--tls-verify[=BOOL]`: the opposite of --insecure."""

    def __call__(self, _parser: Any, namespace: argparse.Namespace, value: Any, option: str | None = None) -> None:
        """Take the value."""
        word = str(value).lower() or "true"  # nothing follows it
        if word not in _TRUE | _FALSE:
            raise InvalidArgument(f"{option} is true or false, found {printable(repr(value))}")
        setattr(namespace, self.dest, True if word in _FALSE else None)


class _Habit(NamedTuple):
    words: tuple[str, ...]
    means: str  # the option of ours, as argparse calls its value
    settings: dict[str, Any]
    command: str | None = None  # elsewhere the word means something else, or nothing


_FLAG: dict[str, Any] = {"action": "store_true"}
_VERIFIES: dict[str, Any] = {"action": _Verifies, "nargs": "?"}
_HABITS = (
    _Habit(("-a", "--all"), "all_platforms", _FLAG, "copy"),  # skopeo; docker's pull and push mean all tags by it
    _Habit(("--tls-verify",), "insecure", _VERIFIES),  # podman
    _Habit(("--src-tls-verify",), "src_insecure", _VERIFIES),  # skopeo
    _Habit(("--dest-tls-verify",), "dest_insecure", _VERIFIES),
    _Habit(("-k", "--skip-verify"), "insecure", _FLAG),  # ctr
    _Habit(("--digestfile",), "digest_file", {}),  # skopeo, podman
    _Habit(("--retry-times",), "retries", {"type": int}),  # skopeo
)


def add(parser: Parser, command: str) -> None:
    """Take those whose meaning the command has an option for."""
    known = {option.dest for option in parser.options}
    for words, means, settings, only in _HABITS:
        if means in known and only in (None, command):
            parser.add_argument(*words, dest=means, default=argparse.SUPPRESS, help=argparse.SUPPRESS, **settings)
