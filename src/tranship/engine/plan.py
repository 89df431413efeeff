"""The plan of a transfer: everything that will move, known before the first byte does. `planning` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest
    from tranship.model.manifest import Document


@dataclass(frozen=True, slots=True)
class Node:
    """A document of the plan: its edges, those that take part, and its bytes while the budget lasted.

    `document.raw` is empty: the bytes are in `raw`, or are read again when they are written. `whole` says that everything
    below the document takes part.
    """

    document: Document
    selected: tuple[Descriptor, ...]
    raw: bytes | None
    whole: bool = True

    @property
    def descriptor(self) -> Descriptor:
        """What the document is."""
        return self.document.descriptor

    @property
    def children(self) -> int:
        """The number of the document's edges, selected or not."""
        return len(self.document.children)


@dataclass(frozen=True, slots=True)
class Partial:
    """An index of which not every child takes part: `selected` of `total` platforms."""

    root: Root
    selected: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What moves.

    roots    what will be published
    nodes    the documents, by digest
    waves    the documents again: those of one wave need only blobs and earlier waves
    blobs    configs and layers, each digest once, the largest first
    parents  of each object the digest that first named it
    partial  the indexes that arrive incomplete
    complete roots that the destination holds already, name and all
    present  of a dry run: what the destination holds already
    """

    roots: tuple[Root, ...]
    nodes: Mapping[Digest, Node]
    waves: tuple[tuple[Descriptor, ...], ...]
    blobs: tuple[Descriptor, ...]
    parents: Mapping[Digest, Digest] = field(default_factory=dict)
    partial: tuple[Partial, ...] = ()
    complete: tuple[Root, ...] = ()
    present: frozenset[Digest] = frozenset()

    @property
    def documents(self) -> tuple[Descriptor, ...]:
        """All documents, children before parents."""
        return tuple(d for wave in self.waves for d in wave)

    @property
    def bytes(self) -> int:
        """The size of everything that takes part, in bytes."""
        return sum(d.size for d in self.blobs) + sum(n.descriptor.size for n in self.nodes.values())

    @property
    def bytes_to_move(self) -> int:
        """Of a dry run: the bytes that the destination lacks."""
        everything = (*self.blobs, *(n.descriptor for n in self.nodes.values()))
        return sum(d.size for d in everything if d.digest not in self.present)
