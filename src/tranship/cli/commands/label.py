"""Show the labels of an image of the store, or set them. `KEY=` removes one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import names, options, output
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship label app:1
  tranship label app:1 tested=yes stage=qa
  tranship label app:1 stage=
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("name", metavar="NAME", help="an image of the store")
    parser.add_argument("label", metavar="KEY=VALUE", nargs="*", help="labels to set")
    options.common(parser)


def run(args: Namespace) -> None:
    """Label."""
    from tranship.store import Image

    found = names.taken(args, [args.name], args.root, options.namespace_of(args))
    if len(found) != 1:
        raise InvalidArgument(f"{printable(args.name)} is {len(found)} images; labels are set one by one")
    new = options.pairs_of(args.label)
    with options.store_of(args) as store:
        images = store.namespace(options.namespace_of(args)).images
        image = images.get(found[0])
        if new:
            image = images.update(Image(image.name, image.target, new), [f"labels.{key}" for key in new])
    show(args, image.labels)


def show(args: Namespace, labels: object) -> None:
    """Print labels, sorted."""
    pairs = dict(sorted(dict(labels).items()))  # type: ignore[call-overload]  # a mapping
    if args.json:
        output.print_json(pairs)
    else:
        output.print_lines(f"{key}={value}" for key, value in pairs.items())
