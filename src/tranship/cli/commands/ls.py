"""List the images of the store, or of any end: their names, digests, sizes, and the platforms that are there whole.

END is a name of the store, a pattern (`*/app:*`, `docker.io/team/`), or an end (oci:DIR, FILE.tar, …). Of a repository at a
registry, docker://HOST/REPO, the tags are listed and no image is looked at; with a tag, that image is.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from tranship.cli import looking, options, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator, Sequence

    from tranship.cli.listing import Shown
    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Root

EXAMPLES = """
  tranship ls
  tranship ls app:1 '*/models:*'
  tranship ls app.tar
  tranship ls docker://registry.example/team/app
  tranship ls -q | head -n 1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("end", metavar="END", nargs="*", help="names of the store, or ends; none: the whole store")
    options.registry(parser)
    options.common(parser)


def run(args: Namespace) -> None:
    """List."""
    whole = args.json or not args.quiet
    found = [row for text in args.end or [None] for row in _rows(args, text, whole=whole)]
    if args.json:
        output.print_json({"images": found})
    elif args.quiet:
        output.print_lines(str(row["name"] or row["digest"]) for row in found)
    else:
        output.print_table(
            ("NAME", "DIGEST", "SIZE", "PLATFORMS"),
            (
                (
                    row["name"] or "-",
                    row.get("digest", "-")[:19],
                    output.size(row["bytes"]) if "bytes" in row else "-",
                    ",".join(row.get("platforms", ())) or "-",
                )
                for row in found
            ),
        )


def _rows(args: Namespace, text: str | None, *, whole: bool) -> Iterator[dict[str, Any]]:
    """The images of an end; their sizes and platforms cost a look at each, and stand there when the rows are to be whole."""
    if text is not None and text.startswith("docker://"):
        from tranship.cli import registries

        place = registries.reference(text)
        if not place.object:
            with registries.session(args, text) as session:
                yield from ({"name": f"{place}:{tag}"} for tag in session.tags(place))
            return
    with looking.opened(args, text) as source:
        roots = looking.roots_of(source)
        for root, seen in zip_longest(roots, _shown(source, roots) if whole else ()):
            row = {"name": root.name, **root.descriptor.plain.to_json()}
            yield row if seen is None else {**row, "bytes": seen.bytes, "platforms": seen.platforms}


def _shown(source: Source, roots: Sequence[Root]) -> Iterator[Shown]:
    from tranship.cli import listing  # which names alone need not

    return listing.shown(source, roots)
