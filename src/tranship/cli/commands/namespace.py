"""Namespaces are worlds of names of their own; the files of blobs are shared between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output
from tranship.cli.commands.label import show
from tranship.cli.parsing import Action, family

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship namespace create build owner=ci
  tranship namespace ls
  tranship namespace label build owner=
  tranship namespace rm build
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    family(parser, ACTIONS)


def run(args: Namespace) -> int | None:
    """Do it."""
    return args.action.run(args)  # type: ignore[no-any-return]  # an Action's


def _name_and_labels(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("label", metavar="KEY=VALUE", nargs="*", help="labels; KEY= removes one")
    options.common(parser)


def _names(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="+")
    options.common(parser)


def _ls(args: Namespace) -> None:
    with options.store_of(args) as store:
        found = store.namespaces.list()
    if args.json:
        output.print_json({"namespaces": [{"name": one.name, "labels": dict(one.labels)} for one in found]})
    elif args.quiet:
        output.print_lines(one.name for one in found)
    else:
        output.print_table(("NAME", "LABELS"), ((one.name, output.labels(one.labels)) for one in found))


def _create(args: Namespace) -> None:
    with options.store_of(args, create=True) as store:
        made = store.namespaces.create(args.name, options.pairs_of(args.label))
    if args.json:
        output.print_json({"name": made.name, "labels": dict(made.labels)})
    else:
        output.print_lines([made.name])


def _label(args: Namespace) -> None:
    new = options.pairs_of(args.label)
    with options.store_of(args) as store:
        spaces = store.namespaces
        one = spaces.update(args.name, new, [f"labels.{key}" for key in new]) if new else spaces.get(args.name)
    show(args, one.labels)


def _rm(args: Namespace) -> None:
    with options.store_of(args) as store:
        for name in args.name:
            store.namespaces.delete(name)
    output.print_removed(args, args.name)


ACTIONS = (
    Action("ls", "list namespaces", options.common, _ls, ("list",)),
    Action("create", "make a namespace; one is also made by what is stored in it first", _name_and_labels, _create),
    Action("label", "show or set labels", _name_and_labels, _label),
    Action("rm", "remove namespaces without images and blobs", _names, _rm, ("delete",)),
)
