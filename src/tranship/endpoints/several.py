"""Several sources as one, so that what they hold goes into one archive, or becomes visible all at once."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from tranship.endpoints.choosing import patterns
from tranship.engine.graph import read_all
from tranship.engine.protocols import InRepository, ListsReferrers, LooksUp, ReadsInParallel
from tranship.errors import TranshipError
from tranship.model.manifest import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tranship.engine.protocols import Blob, Readable, Source
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root
    from tranship.model.digest import Digest
    from tranship.pump import Reader


def together(ends: Sequence[Readable]) -> Readable:
    """One end for all of these. Neighbours that differ by their names alone become one, which is opened once."""
    joined: list[Any] = []
    for end in ends:
        if joined and _differ_by_names(joined[-1], end):
            names = dict.fromkeys((*patterns(joined[-1].names), *patterns(getattr(end, "names", ()))))
            joined[-1] = replace(joined[-1], names=tuple(names))
        else:
            joined.append(end)
    one: Readable = joined[0] if len(joined) == 1 else Several(tuple(joined))
    return one


def _differ_by_names(one: Any, other: Any) -> bool:
    """Without names an end means all that is there, which is another thing."""
    if type(one) is not type(other) or not getattr(one, "names", ()) or not other.names:
        return False
    return bool(replace(one, names=()) == replace(other, names=()))


@dataclass(frozen=True, slots=True)
class Several:
    """All images of these ends, in their order. An object that several of them have is read from the first."""

    ends: tuple[Readable, ...]

    kind: ClassVar[str] = "several"

    def __str__(self) -> str:
        return ", ".join(map(str, self.ends))

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[SeveralSources]:
        """Open all of them."""
        with contextlib.ExitStack() as stack:
            yield SeveralSources([stack.enter_context(end.open_source(run)) for end in self.ends])


class SeveralSources:
    """The readable side. Whose images need an object is noted while documents are read, and there it is looked for first.

    Who has it is kept: `has` finds it out while the transfer is planned, so a blob then is that source's own.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._homes: dict[Digest, Source] = {}  # whose images need it
        self._holders: dict[Digest, Source] = {}  # who has been found to have it
        self.readers = max((source.readers for source in sources if isinstance(source, ReadsInParallel)), default=1)

    def roots(self) -> Sequence[Root]:
        """The images of all sources; one that comes twice under the same name is there once."""
        found: dict[tuple[str | None, Digest], Root] = {}
        for source in self._sources:
            for root in source.roots():
                found.setdefault((root.name, root.descriptor.digest), root)
                self._homes.setdefault(root.descriptor.digest, source)
        return list(found.values())

    def has(self, descriptor: Descriptor) -> bool:
        """Has any of them the object?"""
        return self._find(descriptor) is not None

    def blob(self, descriptor: Descriptor) -> Blob:
        """The object of whoever has it; where that is not known yet, it is looked for on opening."""
        holder = self._holders.get(descriptor.digest)
        if holder is None or descriptor.is_document:
            return _Sought(descriptor, self)
        return holder.blob(descriptor)

    def holder(self, descriptor: Descriptor, *, look: bool) -> Source:
        """Who has it; when nobody does, whose image needs it, whose error will tell. `look`: ask those who may."""
        found = self._find(descriptor) if look else self._holders.get(descriptor.digest)
        return found or self._homes.get(descriptor.digest) or self._sources[-1]

    def note(self, children: Sequence[Descriptor], home: Source) -> None:
        """Note whose images need these."""
        for child in children:
            self._homes.setdefault(child.digest, home)

    def _find(self, descriptor: Descriptor) -> Source | None:
        found = self._holders.get(descriptor.digest) or self._look(descriptor)
        if found is not None:
            self._holders[descriptor.digest] = found
        return found

    def _look(self, descriptor: Descriptor) -> Source | None:
        home = self._homes.get(descriptor.digest)
        if home is not None and home.has(descriptor):
            return home
        others = (source for source in self._sources if source is not home)
        return next((source for source in others if _holds(source, descriptor)), None)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """What refers to an object, in any of them."""
        found: dict[str, Descriptor] = {}
        for source in self._sources:
            for descriptor in source.referrers(subject, artifact_type) if isinstance(source, ListsReferrers) else ():
                found.setdefault(descriptor.digest, descriptor)
                self.note([descriptor], source)
        return [found[digest] for digest in sorted(found)]


def _holds(source: Source, descriptor: Descriptor) -> bool:
    """Has a source an object that none of its documents has named? One that takes such things on trust is asked in earnest."""
    return source.holds(descriptor) if isinstance(source, LooksUp) else source.has(descriptor)


class _Sought:
    """An object that is looked for when it is opened. What a document names is looked for first where the document was."""

    __slots__ = ("_whole", "descriptor")

    def __init__(self, descriptor: Descriptor, whole: SeveralSources) -> None:
        self.descriptor = descriptor
        self._whole = whole

    @property
    def repositories(self) -> Sequence[str]:
        """Where it is, of a registry's."""
        blob = self._whole.holder(self.descriptor, look=False).blob(self.descriptor)
        return blob.repositories if isinstance(blob, InRepository) else ()

    @contextlib.contextmanager
    def open(self, offset: int = 0) -> Iterator[Reader]:
        """Look for it and open it; a document is read whole."""
        holder = self._whole.holder(self.descriptor, look=True)
        if not self.descriptor.is_document:
            with holder.blob(self.descriptor).open(offset) as reader:
                yield reader
            return
        raw = read_all(holder, self.descriptor)
        with contextlib.suppress(TranshipError):  # whoever reads it will say what is wrong with it
            self._whole.note(parse(raw, self.descriptor).children, holder)
        whole = io.BytesIO(raw)
        whole.seek(offset)
        yield whole
