"""Fetch images from registries into the store.

Of an image for several platforms this machine's is taken, as docker and ctr do, and the index is kept as it is. --platform
takes others, --all-platforms every one. REF is completed as docker does (`alpine` is docker.io/library/alpine:latest), and the
image is called so in the store, unless --as names it. What the store holds already is not fetched again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.cli import ends, moving, options, registries

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.engine.selection import Selection

EXAMPLES = """
  tranship pull registry.example/team/app:1
  tranship pull --platform linux/arm64 --as app:arm registry.example/team/app:1
  tranship pull --all-platforms --referrers registry.example/team/app:1
  tranship pull --dry-run registry.example/team/app:1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("reference", metavar="REF", nargs="+", help="HOST/REPO:TAG or HOST/REPO@DIGEST")
    parser.add_argument("--as", dest="name", metavar="NAME", action="append", default=[], help="call the one image so")
    options.ends(parser, omit=options.names_of(options.FILE_OPTIONS, options.PUSH_OPTIONS))
    options.selection(parser)
    options.transfers(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Pull."""
    from tranship.cli.names import completed

    sources = [ends.source(args, registries.spelled(text), default="docker") for text in args.reference]
    store = replace(ends.store(args, "dest"), names=tuple(completed(args, name) for name in args.name))
    moving.move(args, sources, store, _selection(args))


def _selection(args: Namespace) -> Selection:
    """This machine's platform, the best that there is, unless others are asked for."""
    from tranship.model.platform import default

    said = options.selection_of(args)
    return said if said.filters or said.all_platforms else replace(said, matcher=default(), manifest_limit=1)
