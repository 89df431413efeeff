"""Picking images of an archive or a layout by what a user calls them."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.errors import DigestMismatch, InvalidArgument, NotFound, printable
from tranship.model import naming

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest


def patterns(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The names of an endpoint's value, which may be written as one string."""
    if names is None:
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def chosen(source: Source, roots: Sequence[Root], names: Sequence[str], where: str) -> Sequence[Root]:
    """The images that `names` pick among all roots of an index, by `choose`; without names all, with what refers to them.

    Some tools, oras among them, list every manifest that they copy. A nameless one is then no image of its own when an index
    beside it names it, for so it comes with that image, or when its subject is there: it is a referrer.
    """
    if names or all(root.name for root in roots):
        return choose(roots, names, where)
    parts, subjects = _relations(source, roots)
    there = {*parts, *(root.descriptor.digest for root in roots)}
    found = []
    for root in roots:
        subject = subjects.get(root.descriptor.digest)
        if root.name or root.subject:
            found.append(root)
        elif root.descriptor.digest not in parts:
            found.append(replace(root, subject=subject if subject in there else None))
    return found


def _relations(source: Source, roots: Sequence[Root]) -> tuple[set[Digest], dict[Digest, Digest]]:
    """The digests that the indexes among `roots` name, and of the nameless roots their subjects."""
    from tranship.engine.graph import check_total, read_all
    from tranship.model.manifest import Index, parse

    parts: set[Digest] = set()
    subjects: dict[Digest, Digest] = {}
    several = (root.descriptor for root in roots if root.descriptor.is_index or not root.name)
    wanted = {d.digest: d for d in several if d.is_document}.values()
    check_total(wanted)
    for descriptor in wanted:
        with contextlib.suppress(NotFound):
            document = parse(read_all(source, descriptor), descriptor)
            if isinstance(document, Index):
                parts.update(child.digest for child in document.manifests)
            if document.subject is not None:
                subjects[descriptor.digest] = document.subject.digest
    return parts, subjects


def choose(roots: Sequence[Root], names: Sequence[str], where: str) -> Sequence[Root]:
    """The roots that `names` pick, in the order of `names`; all of them when there are none.

    A name picks exactly, by the tag alone (`v1`), by digest (`sha256:…`), as docker would complete it, or by a glob.
    Raises NotFound with what comes close, InvalidArgument for a name or tag that two different images carry. `where` is the
    place, safe to print.
    """
    if not names:
        return roots
    by_name: dict[str, list[Root]] = {}
    for root in roots:
        if root.name:
            by_name.setdefault(root.name, []).append(root)
    chosen: dict[tuple[str | None, str], Root] = {}
    for name in names:
        for root in _pick(roots, by_name, name, where):
            chosen.setdefault((root.name, root.descriptor.digest), root)
    return list(chosen.values())


def _pick(roots: Sequence[Root], by_name: dict[str, list[Root]], name: str, where: str) -> list[Root]:
    if name in by_name:
        root = _one(by_name[name], name, where)
        check_pinned(name, root.descriptor, where)
        return [root]
    tagged = [r for r in roots if r.descriptor.annotations.get(naming.REF_NAME) == name]
    if tagged:
        return [_one(tagged, name, where)]
    digest = name.removeprefix("@")
    same = [r for r in roots if r.descriptor.digest == digest]
    if same:
        return [replace(same[0], name=None)]
    try:
        found = naming.select(by_name, [name])
    except NotFound as error:
        raise NotFound(f"{error.message} in {where}", hint=error.hint) from None
    picked = [_one(by_name[one.name], one.name, where) for one in found]
    if found[0].how == "completed":
        check_pinned(found[0].name, picked[0].descriptor, where)
    return picked


def _one(roots: Sequence[Root], name: str, where: str) -> Root:
    """The image that these roots of one name are. InvalidArgument when they are several: readers would differ on which."""
    digests = list(dict.fromkeys(root.descriptor.digest for root in roots))
    if len(digests) > 1:
        called = ", ".join(printable(r.name or r.descriptor.digest) for r in roots[:5])
        raise InvalidArgument(
            f"{printable(name)} is not one image in {where}: {called}",
            hint=f"choose by digest: {' or '.join(digests[:2])}",
        )
    return roots[0]


def check_pinned(name: str, descriptor: Descriptor, where: str) -> None:
    """Refuse an image that was asked for by a name with another digest in it: those bytes were meant, and no others."""
    if (naming.pinned(name) or descriptor.digest) != descriptor.digest:
        raise DigestMismatch(
            f"{printable(name)} in {where} is {descriptor.digest}, not what its name says",
            descriptor=descriptor,
            actual=descriptor.digest,
            side="source",
        )
