"""How content, images, leases and ingests look to containerd's filters (core/metadata/adaptors.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Matcher = Callable[[Mapping[str, str], Mapping[str, Mapping[str, str]]], bool]


def matcher(filters: Sequence[str]) -> Matcher | None:
    """A function of (plain fields, maps such as labels); None when everything matches. InvalidArgument for a bad filter."""
    if not any(filters):
        return None
    from tranship.formats import filters as grammar

    parsed = grammar.parse(list(filters))

    def matches(plain: Mapping[str, str], maps: Mapping[str, Mapping[str, str]]) -> bool:
        def field(path: str) -> str | None:
            if path in plain:
                return plain[path]
            kind, _, key = path.partition(".")
            return maps[kind].get(key) if kind in maps else None

        return parsed.matches(field)

    return matches
