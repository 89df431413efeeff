"""What a collection keeps: the marking, as a function of a namespace's records (containerd, core/metadata/gc.go).

    roots       images, unless expired · leases, unless expired · content with gc.root · ingests, unless expired
    references  lease → its resources · image → its target · anything → what its labels gc.ref.content and gc.ref.image name
                · the parent named by a label gc.bref.content or gc.bref.image → the content that has the label

References are labels alone, so manifests are not read; unless the caller gives a function that does.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tranship.store import labels as rules
from tranship.store.values import NOTHING, loads, microseconds

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping

    Labels = Mapping[str, str]
    Node = tuple[str, str]  # kind (content, images, ingests) and key
    Children = Callable[[str], Iterable[str]]  # of a digest: the digests that its bytes refer to

_GC = "containerd.io/gc."


@dataclass(slots=True)
class Records:
    """What a namespace has, of what matters here."""

    content: dict[str, Labels] = field(default_factory=dict)  # digest → labels, those about collection
    images: dict[str, tuple[str, Labels]] = field(default_factory=dict)  # name → target digest, labels
    leases: dict[str, tuple[Labels, str | None]] = field(default_factory=dict)  # id → labels, holder
    held: dict[str, list[Node]] = field(default_factory=lambda: defaultdict(list))  # lease id → resources
    ingests: dict[str, int | None] = field(default_factory=dict)  # ref → when it expires


@dataclass(slots=True)
class Marked:
    """What stays."""

    content: set[str]
    images: set[str]
    leases: set[str]
    ingests: set[str]


def load(connection: sqlite3.Connection) -> dict[str, Records]:
    """Every namespace's records, in four queries."""
    found: dict[str, Records] = defaultdict(Records)
    for namespace, digest, labels in connection.execute("SELECT namespace, digest, labels FROM content"):
        found[namespace].content[digest] = loads(labels) if _GC in labels else NOTHING
    for namespace, name, digest, labels in connection.execute("SELECT namespace, name, digest, labels FROM images"):
        found[namespace].images[name] = digest, loads(labels) if _GC in labels else NOTHING
    for namespace, lease, labels, holder in connection.execute("SELECT namespace, id, labels, holder FROM leases"):
        found[namespace].leases[lease] = loads(labels), holder
    for namespace, lease, kind, key in connection.execute("SELECT namespace, lease, type, id FROM lease_resources"):
        found[namespace].held[lease].append((kind, key))
    for namespace, ref, expires_at in connection.execute("SELECT namespace, ref, expires_at FROM ingests"):
        found[namespace].ingests[ref] = expires_at
    return found


def mark(records: Records, now: int, lives: Callable[[str], bool], children: Children | None = None) -> Marked:
    """What of `records` stays at the time `now` (microseconds).

    lives     says of the holder of a transfer's own lease whether its process still runs: then no clock ends the lease
    children  reads a blob that may be a document, for a collection that does not trust in labels alone
    """
    leases = {
        lease
        for lease, (labels, holder) in records.leases.items()
        if not _expired(labels, now) or (holder is not None and lives(holder))
    }
    flat = {lease for lease in leases if rules.GC_FLAT in records.leases[lease][0]}
    followed = _closure(_roots(records, now, leases - flat), _References(records, children))
    alone = {node for lease in flat for node in records.held[lease]}
    alone |= {("content", records.images[key][0]) for kind, key in alone if kind == "images" and key in records.images}
    stays = followed | alone
    return Marked(
        {key for kind, key in stays if kind == "content"},
        {key for kind, key in stays if kind == "images"},
        leases,
        {key for kind, key in stays if kind == "ingests"},
    )


def _roots(records: Records, now: int, leases: Iterable[str]) -> Iterator[Node]:
    for name, (_, labels) in records.images.items():
        if not _expired(labels, now):
            yield "images", name
    for digest, labels in records.content.items():
        if rules.GC_ROOT in labels:
            yield "content", digest
    for ref, expires_at in records.ingests.items():
        if expires_at is not None and expires_at > now:
            yield "ingests", ref
    for lease in leases:
        yield from records.held[lease]
        for key, value in records.leases[lease][0].items():
            yield from _named(key, value)


def _closure(roots: Iterable[Node], references: _References) -> set[Node]:
    marked: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in marked:
            marked.add(node)
            waiting.extend(references.of(node))
    return marked


class _References:
    """The edges of a namespace's records."""

    def __init__(self, records: Records, children: Children | None) -> None:
        self._records = records
        self._children = children
        self._back: dict[Node, list[Node]] = defaultdict(list)
        for digest, labels in records.content.items():
            for key, value in labels.items():
                if rules.refers(key, rules.GC_BREF_CONTENT):
                    self._back["content", value].append(("content", digest))
                elif rules.refers(key, rules.GC_BREF_IMAGE):
                    self._back["images", value].append(("content", digest))

    def of(self, node: Node) -> Iterator[Node]:
        kind, key = node
        labels = NOTHING
        if kind == "images" and key in self._records.images:
            target, labels = self._records.images[key]
            yield "content", target
        elif kind == "content" and key in self._records.content:
            labels = self._records.content[key]
            if self._children is not None:
                for child in self._children(key):
                    yield "content", child
        for label, value in labels.items():
            yield from _named(label, value)
        yield from self._back.get(node, ())


def _named(label: str, value: str) -> Iterator[Node]:
    if rules.refers(label, rules.GC_REF_CONTENT):
        yield "content", value
    elif rules.refers(label, rules.GC_REF_IMAGE):
        yield "images", value


def _expired(labels: Labels, now: int) -> bool:
    when = rules.expiry(labels)
    return when is not None and microseconds(when) <= now


def needing(records: Records, digest: str) -> set[str]:
    """The names of the images that need a blob, by their targets and by labels."""
    parents: dict[str, set[str]] = defaultdict(set)
    for parent, labels in records.content.items():
        for key, value in labels.items():
            if rules.refers(key, rules.GC_REF_CONTENT):
                parents[value].add(parent)
    above, waiting = set[str](), [digest]
    while waiting:
        child = waiting.pop()
        if child not in above:
            above.add(child)
            waiting.extend(parents[child])
    return {name for name, (target, _) in records.images.items() if target in above}
