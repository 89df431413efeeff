"""Names of the store as people type them: exact first, then as docker would complete them; what was taken is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli.output import safe, say

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence


def taken(args: Namespace, patterns: Sequence[str], root: str | None, namespace: str) -> tuple[str, ...]:
    """The names of images that the patterns mean, said where they differ. NotFound, with what comes close."""
    from tranship.endpoints.store import Store
    from tranship.errors import NotFound
    from tranship.model import naming

    if not patterns:
        return ()
    with Store(root=root).open(create=False) as store:
        present = {image.name for image in store.namespace(namespace).images.list()}
    try:
        chosen = naming.select(present, patterns)
    except NotFound as error:
        raise NotFound(f"{error.message} in namespace {safe(namespace)} of the store", hint=error.hint) from None
    for one in chosen:
        if one.how == "completed":
            say(args, f"{safe(one.pattern)} is {safe(one.name)}")
    return tuple(one.name for one in chosen)


def completed(args: Namespace, name: str) -> str:
    """A new name as docker would complete it, said where that changes it. InvalidReference."""
    from tranship.model.reference import Reference

    full = str(Reference.parse(name))
    if full != name:
        say(args, f"{safe(name)} will be called {safe(full)}")
    return full
