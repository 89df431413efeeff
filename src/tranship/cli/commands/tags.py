"""List the tags of a repository at a registry, in the registry's order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output, registries

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship tags registry.example/team/app
  tranship tags --json docker://registry.example/team/app
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("repository", metavar="REPO", help="HOST/PATH, completed as docker does (alpine)")
    options.registry(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """List."""
    place = registries.repository(args.repository)
    with registries.session(args, args.repository) as session:
        found = session.tags(place)
    if args.json:
        output.print_json({"repository": place.repository, "tags": found})
    else:
        output.print_lines(found)
