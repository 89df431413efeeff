"""Forget the password of a registry, in the place where `tranship login` and `docker login` keep it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tranship.cli import options, output, registries
from tranship.errors import NotFound, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship logout registry.example
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("registry", metavar="HOST", help="HOST, HOST:PORT, or HOST/PATH")
    parser.add_argument("--authfile", metavar="FILE", help="in this file")
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Log out."""
    from tranship.http import login
    from tranship.http.credentials import standard

    host, path = registries.host_and_path(args.registry)
    key = f"{host}/{path}".rstrip("/")
    place = registries.file_to_keep_in(args)
    had = login.logout(place, key, os.environ)
    left = [one for one in standard(os.environ, file=args.authfile).explain(host, path) if one.state == "answers"]
    for one in left:
        output.say(args, f"{printable(one.source)} has a password for {host} still")
    if not had:
        raise NotFound(f"there is no password for {key} in {printable(place)}")
    if args.json:
        output.print_json({"registry": key, "forgotten": place})
    else:
        output.print_lines([f"logged out of {key}"])
