"""List the repositories of a registry. Public ones, Docker Hub among them, do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output, registries

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship catalog registry.example
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("registry", metavar="HOST", help="HOST or HOST:PORT")
    options.registry(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """List."""
    host = registries.host_of(args.registry)
    with registries.session(args, f"{host}/any") as session:
        found = session.catalog(host)
    if args.json:
        output.print_json({"registry": host, "repositories": found})
    else:
        output.print_lines(found)
