"""Ends that are opened for a look: nothing is moved, and a store that nobody has made yet has no images."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship.cli import ends, options
from tranship.endpoints.several import SeveralSources
from tranship.endpoints.store import StoreSource
from tranship.engine.run import Run

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

    from tranship.engine.protocols import Readable, Source
    from tranship.model.descriptor import Root


@contextlib.contextmanager
def opened(args: Namespace, text: str | None) -> Iterator[Source]:
    """The source of an end; a bare word is a name of the store. Without a text: the whole store, which may not be there yet."""
    if text is None and options.may_lack_store(args):
        yield SeveralSources([])
        return
    with reading(args, ends.source(args, text or "store:", default="store")) as source:
        yield source


def reading(args: Namespace, end: Readable) -> contextlib.AbstractContextManager[Source]:
    """Open an end for a look."""
    run = Run(source=end.kind, limits=options.limits_of(args), cancel=args.interruption.token)
    return end.open_source(run)


def roots_of(source: Source) -> Sequence[Root]:
    """The images to show; in a store nothing holds them meanwhile, for what is gone is shown as gone."""
    return source.listed() if isinstance(source, StoreSource) else source.roots()
