"""Where images go at a registry, and which repositories need which object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable
from tranship.formats import referrers
from tranship.model import naming
from tranship.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tranship.endpoints.registry import Registry
    from tranship.engine.plan import Plan
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


@dataclass(frozen=True, slots=True)
class Placed:
    """A root in its place: by a tag, or by its digest alone."""

    root: Root
    reference: Reference

    @property
    def named(self) -> str:
        """What it is put under there."""
        return self.reference.tag or self.root.descriptor.digest


@dataclass(frozen=True, slots=True)
class Places:
    """All roots in their places, and of each object the repositories that need it."""

    placed: Sequence[Placed] = ()
    homes: Mapping[Digest, tuple[Reference, ...]] = field(default_factory=dict)


class Placing:
    """The rules of one destination: its names, its prefix, or where the images' own names say."""

    def __init__(self, value: Registry) -> None:
        self._value = value
        self._prefix = value.prefix
        self._references = value.references if self._prefix is None else ()

    def of(self, root: Root) -> list[Placed]:
        """The places of one image. InvalidArgument when it cannot be placed."""
        for named in self._references:
            if named.digest is not None and named.digest != root.descriptor.digest:
                raise InvalidArgument(
                    f"{printable(str(named))} names another digest than the image has, {root.descriptor.digest}"
                )
        if self._references:
            return [Placed(root, _one_way(reference)) for reference in self._references]
        if root.name is None or not naming.is_full(root.name):
            raise InvalidArgument(
                f"the image {root.descriptor.digest.short} is called "
                f"{printable(root.name) if root.name else 'nothing'}, which says no repository",
                hint="copy it alone, to a full reference",
            )
        own = Reference.parse(root.name)
        if self._prefix is None:
            return [Placed(root, _one_way(own))]
        path = f"{own.domain.replace(':', '-')}/{own.path}" if self._value.scoped else own.path
        base = Reference.parse(f"{self._prefix}/{path}", default_tag=None)
        return [Placed(root, replace(base, tag=own.tag, digest=None if own.tag else root.descriptor.digest))]

    def all(self, plan: Plan) -> Places:
        """The places of everything that a plan brings; referrers go to their subjects.

        InvalidArgument when two different images would get one name.
        """
        images = [root for root in plan.roots if root.subject is None]
        if self._references and images:
            naming.rename(images, [str(reference) for reference in self._references])  # raises for several images
        placed = [place for root in images for place in self.of(root)]
        _refuse_collisions(placed)
        homes: dict[Digest, dict[str, Reference]] = {}
        for place in placed:
            _spread(place, plan, homes)
        everywhere = {place.reference.repository: place.reference for place in placed}
        waiting = [root for root in plan.roots if root.subject is not None]
        while waiting:  # referrers of referrers come after those
            ready = [root for root in waiting if root.subject in homes] or waiting
            for root in ready:
                for home in tuple((homes.get(root.subject or root.descriptor.digest) or everywhere).values()):
                    placed.append(_referrer(root, home))
                    _spread(placed[-1], plan, homes)
            waiting = [root for root in waiting if root not in ready]
        return Places(tuple(placed), {digest: tuple(found.values()) for digest, found in homes.items()})


def _one_way(reference: Reference) -> Reference:
    """Where a reference has a tag and a digest, the image is put under the tag: the digest was to be sure of the image."""
    return reference.with_digest(None) if reference.tag else reference


def _refuse_collisions(placed: Sequence[Placed]) -> None:
    taken: dict[str, Descriptor] = {}
    for place in placed:
        first = taken.setdefault(str(place.reference), place.root.descriptor)
        if first.digest != place.root.descriptor.digest:
            raise InvalidArgument(
                f"two different images would be {printable(str(place.reference))}",
                hint="--scoped keeps the hosts of their names apart",
            )


def _referrer(root: Root, home: Reference) -> Placed:
    """A referrer beside its subject; with the tag that cosign gave it, if it has one. Others would be a stranger's choice."""
    tag = root.descriptor.annotations.get(naming.REF_NAME, "")
    tagged = tag if root.subject is not None and tag in referrers.cosign_tags(root.subject) else None
    return Placed(root, replace(home, tag=tagged, digest=None if tagged else root.descriptor.digest))


def _spread(place: Placed, plan: Plan, homes: dict[Digest, dict[str, Reference]]) -> None:
    """Note that everything below a root is needed in its repository."""
    home = place.reference
    waiting = [place.root.descriptor.digest]
    while waiting:
        digest = waiting.pop()
        needed = homes.setdefault(digest, {})
        if home.repository not in needed:
            needed[home.repository] = home
            node = plan.nodes.get(digest)
            waiting += [child.digest for child in node.selected] if node is not None else []
