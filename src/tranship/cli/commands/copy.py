"""Copy images from any end to any end.

Without a name, an end means all images there; at the destination they keep the source's names. Every platform that the source
holds is taken, and an index stays as it is, byte by byte, unless --platform or --index says otherwise. What is at the
destination already is not moved again.

A bare SRC is a file or an OCI layout, when there is one, and an image at a registry otherwise. A bare DST is an archive by its
ending (*.tar, *.tar.gz, *.tar.zst), when nothing of that name is there, or an image at a registry that it names, as in
ghcr.io/acme/app:1. Several images go to docker://HOST/PREFIX/, below which they keep their paths and tags.

A registry takes an index only with all that it names: of one platform alone the manifest is sent in its place, and for some of
several --index says what is to become of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import ends, moving, options

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship copy app.tar oci:layout                    all images of an archive, into an OCI layout
  tranship copy oci:layout store:                     all images of a layout, into the store
  tranship copy oci:layout:1.0 store:app:new          one of them, under another name
  tranship copy --platform linux/arm64 oci:layout arm64.tar.gz
  tranship copy docker://registry.example/team/app:1 app1.tar.gz
  tranship copy registry.example/team/app:1 registry.example/other/app:1
  tranship copy --keep-going store:app:1 store:app:new docker://registry.example/mirror/
  tranship copy store:app:new oci:layout both.tar     several sources in one archive
  tranship copy --dry-run --json store: oci:mirror    the plan, with bytes
  tranship copy --src-namespace default --dest-namespace build store:app:new store:
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("source", metavar="SRC", nargs="+", help="docker://REF, store:NAME, FILE.tar, oci:DIR[:REF], …")
    parser.add_argument("destination", metavar="DST", help="the same; - is stdout, and stdin as a source")
    options.ends(parser)
    options.selection(parser)
    options.transfers(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Copy."""
    sources = [ends.source(args, text, default="docker") for text in args.source]
    destination = ends.destination(args, args.destination)
    moving.move(args, sources, destination, options.selection_of(args))
