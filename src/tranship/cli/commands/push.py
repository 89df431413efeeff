"""Send images of the store to registries.

Without REF each NAME goes where its own name says. REF names the place of one image; HOST/PREFIX/ (with the slash) is a place
for several, which keep their paths and tags below it. With two words the second is REF; of more, the last one is when it is
written docker://… or ends with a slash.

Every platform that the store holds goes. A registry takes an index only with all that it names: of one platform alone the
manifest is sent in its place, and for some of several --index says what is to become of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.cli import ends, moving, options, registries
from tranship.errors import InvalidArgument, NotFound, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.endpoints.store import Store

EXAMPLES = """
  tranship push app:1 registry.example/team/app:1
  tranship push registry.example/team/app:1                      where its name says
  tranship push '*/app:*' registry.example/mirror/               several, below a prefix
  tranship push --platform linux/arm64 app:1 docker://registry.example/team/app:arm
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("name", metavar="NAME", nargs="+", help="images of the store; patterns pick several")
    parser.add_argument("place", metavar="REF", nargs="?", help="HOST/REPO:TAG, or HOST/PREFIX/ (else: NAME itself)")
    options.ends(parser, omit=options.names_of(options.FILE_OPTIONS, options.PULL_OPTIONS))
    options.selection(parser)
    options.transfers(parser, several=False)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Push."""
    from tranship.cli.names import taken

    words, place = _split(args.name)
    store = ends.store(args, "src")
    root = None if store.root is None else str(store.root)
    names = taken(args, words, root, store.namespace)
    if place is not None and len(args.name) == 2:
        _check_it_is_no_other(store, names, place)
    destination = (
        registries.of_names(args, names) if place is None else ends.destination(args, registries.spelled(place))
    )
    moving.move(args, [replace(store, names=names)], destination, options.selection_of(args))


def _split(words: list[str]) -> tuple[list[str], str | None]:
    last = words[-1]
    if len(words) == 2 or (len(words) > 2 and (last.startswith("docker://") or last.endswith("/"))):
        return words[:-1], last
    return words, None


def _check_it_is_no_other(store: Store, names: tuple[str, ...], place: str) -> None:
    """Refuse to guess whether REF is a place, when it is the name of another image of the store as well."""
    from tranship.model.reference import Reference

    if place.endswith("/") or place.startswith("docker://"):
        return
    full = str(Reference.parse(place))
    with store.open(create=False) as opened:
        images = opened.namespace(store.namespace).images
        try:
            other = images.get(full).target.digest
        except NotFound:
            return
        if any(images.get(name).target.digest != other for name in names):
            raise InvalidArgument(
                f"{printable(place)} is an image of the store, too, and another one",
                hint=f"to push both, do so one by one; to push {printable(names[0])} there, write docker://{printable(place)}",
            )
