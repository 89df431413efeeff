"""Make an image of one layer of a directory or a tar, in the store or at any end: for shipping models and data.

The same tree and options give the same image: owner 0:0, permissions without what others may write, time 0 or SOURCE_DATE_EPOCH
for everything, unless --keep says otherwise. The compressed layer also hangs on the version of the compressor; with
--compression none nothing does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import ends, moving, options
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.endpoints.pack import Pack

EXAMPLES = """
  tranship pack site example.com/site:1
  tranship pack --prefix /models --label version=3 site models:3
  tranship pack --exclude .git --exclude '*.pyc' site oci:out:latest
  tranship pack --entrypoint /run.sh --env MODE=fast --workdir / site app:1
  tranship pack --compression zstd --level 19 site small.tar
  tranship pack --keep owner --keep mode --keep time rootfs.tar base:1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("path", metavar="PATH", help="a directory, or a tar (plain, gzip or zstd)")
    parser.add_argument(
        "name", metavar="NAME", help="the image's name in the store, or another end (oci:DIR:REF, FILE.tar)"
    )
    group = parser.add_argument_group("layer")
    group.add_argument("--prefix", metavar="DIR", default="/", help="put the tree there in the image")
    group.add_argument("--exclude", metavar="PATTERN", action="append", default=[], help="leave out (repeat)")
    group.add_argument("--compression", dest="layer_compression", choices=("gzip", "zstd", "none"), default="gzip")
    group.add_argument("--level", metavar="N", type=int, help="gzip 1-9, zstd 1-22 (else: fast)")
    group.add_argument("--owner", metavar="UID:GID", help="of everything (else 0:0)")
    group.add_argument(
        "--keep", choices=("owner", "mode", "time"), action="append", default=[], help="as it is found (repeat)"
    )
    group = parser.add_argument_group("image")
    group.add_argument("--platform", metavar="P", help="what it runs on (else Linux on this machine's architecture)")
    group.add_argument("--entrypoint", metavar="WORD", action="append", default=[], help="(repeat for its arguments)")
    group.add_argument("--cmd", metavar="WORD", action="append", default=[], help="(repeat for its arguments)")
    group.add_argument("--env", metavar="NAME=VALUE", action="append", default=[])
    group.add_argument("--user", metavar="USER[:GROUP]", default="")
    group.add_argument("--workdir", metavar="DIR", default="")
    group.add_argument("--label", metavar="KEY=VALUE", action="append", default=[], help="of the config")
    group.add_argument("--annotation", metavar="KEY=VALUE", action="append", default=[], help="of the manifest")
    options.ends(parser, source=False, omit=("compression",))
    options.transfers(parser, several=False)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Pack."""
    from tranship.engine.selection import Selection

    destination = ends.destination(args, args.name, default="store")
    moving.move(args, [value_of(args)], destination, Selection())


def value_of(args: Namespace) -> Pack:
    """What the options describe."""
    from tranship.endpoints.pack import Pack
    from tranship.model.platform import Platform

    epoch = options.source_date_epoch()
    if args.owner and "owner" in args.keep:
        raise InvalidArgument("--owner sets what --keep owner keeps; choose one")
    return Pack(
        args.path,
        compression=args.layer_compression,
        level=args.level,
        owner=None if "owner" in args.keep else _owner(args.owner),
        mode="keep" if "mode" in args.keep else "normal",
        mtime=None if "time" in args.keep else epoch or 0,
        prefix=args.prefix,
        exclude=tuple(args.exclude),
        entrypoint=tuple(args.entrypoint),
        cmd=tuple(args.cmd),
        env=tuple(args.env),
        user=args.user,
        workdir=args.workdir,
        labels=options.pairs_of(args.label),
        annotations=options.pairs_of(args.annotation),
        platform=Platform.parse(args.platform) if args.platform else None,
        created=epoch,
    )


def _owner(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 0
    uid, _, gid = text.partition(":")
    gid = gid or uid
    if not (uid.isascii() and uid.isdigit() and gid.isascii() and gid.isdigit()):
        raise InvalidArgument(f"an owner is written UID:GID in numbers, found {printable(repr(text))}")
    return int(uid), int(gid)
