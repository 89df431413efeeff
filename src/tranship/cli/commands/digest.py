"""Print the digests of images, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import images, looking, options, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship digest app:1
  tranship digest oci:layout:1.0
  tranship digest --platform linux/arm64 oci:layout:1.0
  tranship digest docker://registry.example/team/app:1          one HEAD, which counts against no limit of pulls
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("end", metavar="END", nargs="+", help="names of the store, or ends (docker://REF, …)")
    parser.add_argument("--platform", metavar="P", action="append", default=[], help="of an index, this manifest's")
    options.registry(parser)
    options.common(parser)


def run(args: Namespace) -> None:
    """Print them."""
    found = []
    for text in args.end:
        with looking.opened(args, text) as source:
            for root in source.roots():
                descriptor = root.descriptor
                if args.platform:
                    descriptor = images.only_manifest(source, root, options.platforms_of(args)).descriptor
                found.append({"name": root.name, **descriptor.plain.to_json()})
    if args.json:
        output.print_json({"images": found})
    else:
        output.print_lines(row["digest"] for row in found)
