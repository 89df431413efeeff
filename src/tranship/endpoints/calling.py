"""What images are called at a destination that keeps full names: a store, a containerd."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable
from tranship.model import naming
from tranship.model.naming import Naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.engine.run import Run
    from tranship.model.descriptor import Root
    from tranship.model.digest import Digest


def called(roots: Sequence[Root], names: Sequence[str], rules: Naming | None, run: Run) -> list[Root]:
    """The roots by the names that they will have: by these `names`, by the rules, or as they are called at the source.

    Without rules an image that has no full name is called as an import calls it. InvalidArgument for two images of one name,
    of which one would vanish.
    """
    images = [root for root in roots if root.subject is None]
    referrers = [root for root in roots if root.subject is not None]
    named = _named(images, names, rules, run)
    digests: dict[str, Digest] = {}
    for root in named:
        if root.name and digests.setdefault(root.name, root.descriptor.digest) != root.descriptor.digest:
            raise InvalidArgument(
                f"two images are called {printable(root.name)}: {digests[root.name]} and {root.descriptor.digest}",
                hint="choose one at the source by its digest",
                side="source",
            )
    return [*named, *referrers]


def _named(images: list[Root], names: Sequence[str], rules: Naming | None, run: Run) -> list[Root]:
    if names:
        return naming.rename(images, names)
    if rules is None and all(root.name and naming.is_full(root.name) for root in images):
        return images
    if rules is None:
        from datetime import UTC, datetime

        rules = Naming.of_import(datetime.now(UTC).date())
    named = rules.name_members(images)
    for root in named:
        if root.name and root.name == f"{rules.nameless}@{root.descriptor.digest}":
            run.notice(f"an image without a name is stored as {root.name}")
    if not named:
        run.notice("no image is stored: the names that there are do not fit, or there are none")
    return named
