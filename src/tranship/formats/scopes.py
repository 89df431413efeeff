"""Scopes: what a bearer token allows, as a set of (type, name, action) (distribution, "Token scope documentation").

As a set, "does this token cover that request" is `wanted <= granted`, and merging is `|`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Scope(NamedTuple):
    """One permission: `repository:acme/app:pull` is ("repository", "acme/app", "pull")."""

    type: str
    name: str
    action: str


Scopes = frozenset[Scope]
CATALOG: Scopes = frozenset({Scope("registry", "catalog", "*")})


def pull(repository: str) -> Scopes:
    """Read from a repository."""
    return frozenset({Scope("repository", repository, "pull")})


def push(repository: str) -> Scopes:
    """Write to a repository; a writer reads too, to see what is there."""
    return pull(repository) | {Scope("repository", repository, "push")}


def delete(repository: str) -> Scopes:
    """Delete from a repository."""
    return pull(repository) | {Scope("repository", repository, "delete")}


def parse(text: str) -> Scopes:
    """Read a challenge's scope: several `type:name:action,action`, separated by spaces. What has another shape is ignored.

    The name may hold colons (`host:5000/app`): the type ends at the first, the actions begin after the last.
    """
    found: set[Scope] = set()
    for item in text.split():
        kind, colon, rest = item.partition(":")
        name, second, actions = rest.rpartition(":")
        if colon and second and name:
            found.update(Scope(kind, name, action) for action in actions.split(",") if action)
    return frozenset(found)


def spell(scopes: Iterable[Scope]) -> tuple[str, ...]:
    """One text a resource, as a token service wants them, in a fixed order: `repository:acme/app:pull,push`."""
    actions: dict[tuple[str, str], set[str]] = {}
    for scope in scopes:
        actions.setdefault((scope.type, scope.name), set()).add(scope.action)
    return tuple(f"{kind}:{name}:{','.join(sorted(found))}" for (kind, name), found in sorted(actions.items()))
