"""Names of the store as people type them: exact first, then as docker would complete them; what was taken is said.

An image may also be called by its digest, or the first digits of it, as docker and ctr show them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tranship.cli.output import count, safe, say

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from tranship.store import Image

_DIGEST = re.compile(r"@?(?:sha256:)?([0-9a-f]{12,64})")  # 12 digits are what docker shows of an ID


def taken(args: Namespace, patterns: Sequence[str], root: str | None, namespace: str) -> tuple[str, ...]:
    """The names of images that the patterns mean, said where they differ. NotFound, with what comes close."""
    from tranship.endpoints.store import Store
    from tranship.errors import NotFound
    from tranship.model import naming

    if not patterns:
        return ()
    from tranship.store.images import ByName

    found: dict[str, None] = {}
    with Store(root=root).open(create=False) as store:
        present = ByName(store.namespace(namespace).images)
        for pattern in patterns:
            try:
                chosen = naming.select(present, [pattern])
            except NotFound as error:
                names = _of_digest(present, pattern)
                if not names:
                    raise NotFound(
                        f"{error.message} in namespace {safe(namespace)} of the store", hint=error.hint
                    ) from None
                say(args, f"{safe(pattern)} is {', '.join(map(safe, names))}")
            else:
                names = [one.name for one in chosen]
                if chosen[0].how == "completed":
                    say(args, f"{safe(pattern)} is {safe(names[0])}")
                elif chosen[0].how != "exact":
                    say(args, f"{safe(pattern)} is {count(len(names), 'image')}")
            found.update(dict.fromkeys(names))
    return tuple(found)


def _of_digest(present: Mapping[str, Image], pattern: str) -> list[str]:
    """The names of the one image whose digest begins so; InvalidArgument when it is more than one."""
    from tranship.errors import InvalidArgument

    digits = _DIGEST.fullmatch(pattern)
    if digits is None:
        return []
    names = [name for name, image in present.items() if image.target.digest.startswith(f"sha256:{digits[1]}")]
    digests = sorted({present[name].target.digest for name in names})
    if len(digests) > 1:
        raise InvalidArgument(f"{safe(pattern)} begins the digests of {len(digests)} images: {', '.join(digests[:3])}")
    return names


def completed(args: Namespace, name: str) -> str:
    """A new name as docker would complete it, said where that changes it. InvalidReference."""
    from tranship.model.reference import Reference

    full = str(Reference.parse(name))
    if full != name:
        say(args, f"{safe(name)} will be called {safe(full)}")
    return full
