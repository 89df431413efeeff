"""Store the images of an archive: of docker, podman, containerd, skopeo or ours, plain, gzip or zstd, a file or a pipe.

Images are called as the archive calls them. One without a name is called import-DATE@DIGEST, and a lone tag import-DATE:TAG,
unless --as names it or --base-name gives the repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import ends, moving, options
from tranship.errors import InvalidArgument

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.model.naming import Naming

EXAMPLES = """
  tranship import app.tar
  tranship import - < app.tar
  tranship import --as app:imported app.tar
  tranship import --platform linux/amd64 app.tar
  tranship import --index-name example.com/all:1 app.tar
  tranship import --base-name example.com/app --overwrite app.tar     names as `ctr images import` makes them
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("file", metavar="FILE", nargs="*", help="archives, OCI layouts, or other ends; - is stdin")
    parser.add_argument("-i", "--input", metavar="FILE", help="the same, as docker load has it")
    group = parser.add_argument_group("names")
    group.add_argument("--as", dest="name", metavar="NAME", action="append", default=[], help="call the one image so")
    group.add_argument("--base-name", metavar="NAME", help="the repository that images without a full name belong to")
    group.add_argument("--overwrite", action="store_true", help="with --base-name, take full names of others too")
    group.add_argument("--digests", action="store_true", help="also call each image BASE@DIGEST")
    group.add_argument("--skip-digest-for-named", action="store_true", help="… unless it has another name")
    group.add_argument(
        "--index-name", metavar="NAME", help="keep the archive's own index, too, as an image of this name"
    )
    options.ends(parser)
    options.selection(parser)
    options.transfers(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Import."""
    from dataclasses import replace

    from tranship.cli.names import completed
    from tranship.endpoints.archive import Archive

    files = [*args.file, *filter(None, [args.input])] or ["-"]
    index = completed(args, args.index_name) if args.index_name else None
    names = tuple(completed(args, name) for name in args.name)
    store = replace(ends.store(args, "dest"), names=names, naming=naming_of(args, index))
    sources = [ends.source(args, file, default="archive") for file in files]
    if index is not None:
        if len(sources) != 1 or not isinstance(sources[0], Archive):
            raise InvalidArgument("--index-name names the index of one archive")
        sources = [replace(sources[0], index_names=(index,))]
    moving.move(args, sources, store, options.selection_of(args))


def naming_of(args: Namespace, index_name: str | None) -> Naming | None:
    """The rule that the options describe; None when none was given."""
    if not (args.base_name or args.overwrite or args.digests or args.skip_digest_for_named or index_name):
        return None
    if args.name:
        raise InvalidArgument("--as gives the name, so there is no rule to give")
    from datetime import UTC, datetime

    from tranship.model.naming import Naming

    return Naming.of_import(
        datetime.now(UTC).date(),
        base_name=args.base_name,
        overwrite=args.overwrite,
        add_digest=args.digests,
        skip_named_digest=args.skip_digest_for_named,
        index_name=index_name,
    )
