"""Several sources as one, so that what they hold goes into one archive, or becomes visible all at once."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tranship.engine.protocols import Blob, Readable, Source
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor, Root


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
    """The readable side."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.readers = max((getattr(source, "readers", 1) for source in sources), default=1)

    def roots(self) -> Sequence[Root]:
        """The images of all sources; one that comes twice under the same name is there once."""
        roots = [root for source in self._sources for root in source.roots()]
        return list({(root.name, root.descriptor.digest): root for root in roots}.values())

    def has(self, descriptor: Descriptor) -> bool:
        """Has any of them the object?"""
        return any(source.has(descriptor) for source in self._sources)

    def blob(self, descriptor: Descriptor) -> Blob:
        """The object of the first source that has it; of the last one when none has, whose error will tell."""
        holder = next((source for source in self._sources if source.has(descriptor)), self._sources[-1])
        return holder.blob(descriptor)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """What refers to an object, in any of them."""
        found: dict[str, Descriptor] = {}
        for source in self._sources:
            lister = getattr(source, "referrers", None)
            if lister is not None:
                found.update((d.digest, d) for d in lister(subject, artifact_type))
        return [found[digest] for digest in sorted(found)]
