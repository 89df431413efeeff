"""Leases keep content from collection while somebody works with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import options, output
from tranship.cli.parsing import Action, family

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.store import Lease

EXAMPLES = """
  tranship lease create --id work --expires 24h purpose=demo
  tranship lease ls
  tranship lease rm work
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    family(parser, ACTIONS)


def run(args: Namespace) -> int | None:
    """Do it."""
    return args.action.run(args)  # type: ignore[no-any-return]  # an Action's


def _ls_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("filter", metavar="FILTER", nargs="*", help="containerd's filters, as 'id==NAME'")
    options.common(parser)


def _create_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("label", metavar="KEY=VALUE", nargs="*", help="labels")
    parser.add_argument("--id", metavar="ID", help="else one is made up")
    parser.add_argument(
        "--expires", "-x", metavar="TIME", default="24h", help="90s, 30m, 24h, 7d (else 24h); 0s: never"
    )
    options.common(parser)


def _rm_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", nargs="+", help="as `tranship lease ls` lists them")
    options.common(parser)


def _ls(args: Namespace) -> None:
    with options.store_of(args) as store:
        leases = store.namespace(options.namespace_of(args)).leases
        found = leases.list(args.filter)
        held = {lease.id: leases.list_resources(lease.id) for lease in found} if args.json else {}
    if args.json:
        output.print_json(
            {
                "leases": [
                    {**_document(one), "resources": [{"id": r.id, "type": r.type} for r in held[one.id]]}
                    for one in found
                ]
            }
        )
    elif args.quiet:
        output.print_lines(one.id for one in found)
    else:
        output.print_table(
            ("ID", "CREATED", "LABELS"),
            ((one.id, output.moment(one.created_at), output.labels(one.labels)) for one in found),
        )


def _create(args: Namespace) -> None:
    expires = options.duration_of(args.expires)
    with options.store_of(args, create=True) as store:
        lease = store.namespace(options.namespace_of(args)).leases.create(
            args.id, labels=options.pairs_of(args.label), expires=expires or None
        )
    if args.json:
        output.print_json(_document(lease))
    else:
        output.print_lines([lease.id])


def _rm(args: Namespace) -> None:
    with options.store_of(args) as store:
        for one in args.id:
            store.namespace(options.namespace_of(args)).leases.delete(one)
    output.print_removed(args, args.id)


ACTIONS = (
    Action("ls", "list leases", _ls_arguments, _ls, ("list",)),
    Action("create", "make a lease, and print its id", _create_arguments, _create),
    Action("rm", "remove leases; what they held alone goes with the next collection", _rm_arguments, _rm, ("delete",)),
)


def _document(lease: Lease) -> dict[str, Any]:
    return {
        "id": lease.id,
        "createdAt": output.moment(lease.created_at),
        "labels": dict(sorted(lease.labels.items())),
    }
