"""Write images of the store, or of any end, into an archive that docker, podman, containerd and skopeo load.

It is an OCI layout in a tar, with docker's manifest.json beside it; the same images give the same bytes on every machine. All
platforms that the source holds are taken. NAME may be a pattern (`*/app:*`, `docker.io/team/`); without one, all images of the
store go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import ends, moving, options
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.engine.protocols import Readable

EXAMPLES = """
  tranship export app:1 -o app.tar
  tranship export app:1 > app.tar
  tranship export --platform linux/amd64 app:1 -o app.tar.gz
  tranship export '*/app:*' -o all.tar.zst                     every image that the pattern picks
  tranship export docker://registry.example/team/app:1 -o remote.tar      with nothing stored in between
  tranship export --format docker app:1 -o old.tar             for docker before 25
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "name", metavar="NAME", nargs="*", help="images of the store, or other ends (docker://REF, oci:DIR, …)"
    )
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="the archive; - is stdout, as without it")
    parser.add_argument(
        "--format",
        choices=("auto", "oci", "docker"),
        default="auto",
        help="an OCI layout with docker's manifest.json (auto), a layout alone, or docker's older format alone",
    )
    options.ends(parser)
    options.selection(parser)
    options.transfers(parser, several=False)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Export."""
    scheme = {"auto": "archive", "oci": "oci-archive", "docker": "docker-archive"}[args.format]
    if scheme != "archive" and ":" in args.output:
        raise InvalidArgument(f"{printable(args.output)} holds a colon, which would end the file's name")
    destination = ends.destination(args, f"{scheme}:{args.output}")
    moving.move(args, sources(args, args.name), destination, options.selection_of(args))


def sources(args: Namespace, names: list[str]) -> list[Readable]:
    """The ends to read from: names of the store are one end, in which patterns are told from one another."""
    from dataclasses import replace

    from tranship.cli.names import taken

    store = ends.store(args, "src")
    plain = [name for name in names if ends.split(name)[0] is None]
    others = [ends.source(args, name, default="store") for name in names if ends.split(name)[0] is not None]
    if not plain and names:
        return others
    root = None if store.root is None else str(store.root)
    return [replace(store, names=taken(args, plain, root, store.namespace)), *others]
