"""Give an image of the store another name; the one it has stays.

NEW is completed as docker does: `app:2` is docker.io/library/app:2. A name that is taken moves, unless --no-clobber.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import names, options, output
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship tag app:1 app:latest
  tranship tag app:1 registry.example/team/app:1 registry.example/team/app:stable
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("name", metavar="NAME", help="an image of the store")
    parser.add_argument("new", metavar="NEW", nargs="+", help="what it is to be called too")
    parser.add_argument("--no-clobber", action="store_true", help="fail when NEW is another image already")
    options.common(parser)


def run(args: Namespace) -> None:
    """Tag."""
    from tranship.model import naming
    from tranship.model.descriptor import Root
    from tranship.store import Image

    found = names.taken(args, [args.name], args.root, options.namespace_of(args))
    if len(found) != 1:
        raise InvalidArgument(f"{printable(args.name)} is {len(found)} images; one can be tagged")
    new = [names.completed(args, name) for name in args.new]
    with options.store_of(args) as store:
        images = store.namespace(options.namespace_of(args)).images
        image = images.get(found[0])
        naming.rename([Root(image.target)], new)  # refuses a name with another digest in it
        images.put_all((Image(name, image.target, image.labels) for name in new), clobber=not args.no_clobber)
    if args.json:
        output.print_json({"images": [{"name": name, **image.target.plain.to_json()} for name in new]})
    else:
        output.print_lines(f"{name} {image.target.digest}" for name in new)
