"""Words of which one is to be chosen: types tell a checker, this tells whoever runs none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from collections.abc import Sequence


def check(what: str, value: object, choices: Sequence[object]) -> None:
    """Refuse a value that is none of the choices (`typing.get_args` of a Literal); `what` says of what it is."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise InvalidArgument(f"{what} is one of {known}; found {printable(repr(value))}")
