"""Remove images from the store, by name or pattern, and the content that nothing refers to any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import ends, names, options, output
from tranship.errors import NotFound, Unsupported, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence

EXAMPLES = """
  tranship rm app:new
  tranship rm --no-gc 'docker.io/library/old:*'
  tranship rm --dry-run 'docker.io/*'
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("name", metavar="NAME", nargs="+", help="images of the store; patterns pick several")
    parser.add_argument("-f", "--force", action="store_true", help="a name that is not there is no failure")
    parser.add_argument("--no-gc", action="store_true", help="leave the content until the next collection")
    parser.add_argument("--dry-run", action="store_true", help="show the names, and do nothing")
    options.common(parser)


def run(args: Namespace) -> None:
    """Remove."""
    for name in args.name:
        scheme, _ = ends.split(name)
        if scheme not in (None, "store"):
            raise Unsupported(
                f"images of {printable(name)} cannot be removed: only those of the store can",
                hint="`tranship delete` deletes at a registry" if scheme == "docker" else None,
            )
    wanted = [ends.split(name)[1] for name in args.name]
    found = _found(args, wanted)
    result: dict[str, Any] = {"removed": list(found)}
    if found and not args.dry_run:
        with options.store_of(args) as store:
            with store.batch() as batch:
                images = batch.namespace(options.namespace_of(args)).images
                for name in found:
                    images.delete(name)
            if not args.no_gc:
                report = store.gc()
                result |= {"blobs": len(report.removed), "bytes": report.bytes}
    if args.json:
        output.print_json(result)
        return
    output.print_lines(found)
    if "blobs" in result:
        output.say(args, f"{output.count(result['blobs'], 'blob')}, {output.size(result['bytes'])}, freed")


def _found(args: Namespace, wanted: Sequence[str]) -> Sequence[str]:
    """The names that are there; NotFound for one that is not, unless --force takes that for done."""
    if not args.force:
        return names.taken(args, wanted, args.root, options.namespace_of(args))
    options.store_of(args).close()  # for one that is not there is a failure
    found: dict[str, None] = {}
    for name in wanted:
        try:
            found.update(dict.fromkeys(names.taken(args, [name], args.root, options.namespace_of(args))))
        except NotFound as error:
            output.say(args, error.message)
    return tuple(found)
