"""Passwords of registries: where each comes from, and as whom, but never what it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tranship.cli import options, output, registries
from tranship.cli.parsing import Action, family

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship auth explain registry.example
  tranship auth explain --json registry.example/team/app
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    family(parser, ACTIONS)


def run(args: Namespace) -> int | None:
    """Do it."""
    return args.action.run(args)  # type: ignore[no-any-return]  # an Action's


def _explained(parser: ArgumentParser) -> None:
    parser.add_argument("registry", metavar="HOST", help="a registry, or a repository there: HOST/PATH")
    parser.add_argument("--authfile", metavar="FILE", help="of this file")
    options.common(parser, store=False)


def _explain(args: Namespace) -> None:
    from tranship.http.credentials import standard

    host, path = registries.host_and_path(args.registry)
    said = standard(os.environ, file=args.authfile).explain(host, path)
    if args.json:
        output.print_json({"registry": host, "repository": path, "sources": output.document(said)})
    else:
        output.print_lines(map(str, said))


ACTIONS = (
    Action(
        "explain", "say which variable, file or helper answers for a registry, in their order", _explained, _explain
    ),
)
