"""Print the version."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output
from tranship.version import __version__

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship version
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Print it."""
    if args.json:
        import platform

        output.print_json({"version": __version__, "python": platform.python_version()})
    else:
        print("tranship", __version__)
