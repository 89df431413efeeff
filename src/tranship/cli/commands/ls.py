"""List the images of the store, or of any end: their names, digests, sizes, and the platforms that are there whole.

END is a name of the store, a pattern (`*/app:*`, `docker.io/team/`), or an end (oci:DIR, FILE.tar, …). Of a repository at a
registry, docker://HOST/REPO, the tags are listed and no image is looked at; with a tag, that image is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import images, options, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

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
    found = [row for text in args.end or [None] for row in _rows(args, text)]
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


def _rows(args: Namespace, text: str | None) -> Iterator[dict[str, Any]]:
    if text is not None and text.startswith("docker://"):
        from tranship.cli import registries

        place = registries.reference(text)
        if not place.object:
            with registries.session(args, text) as session:
                yield from ({"name": f"{place}:{tag}"} for tag in session.tags(place))
            return
    with images.opened(args, text) as source:
        for root in source.roots():
            yield _row(args, source, root)


def _row(args: Namespace, source: Source, root: Root) -> dict[str, Any]:
    row: dict[str, Any] = {"name": root.name, **root.descriptor.plain.to_json()}
    if args.json or not args.quiet:
        top = images.graph(source, root)
        row |= {"bytes": top.size, "platforms": images.platforms_of(source, top)}
    return row
