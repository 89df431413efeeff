"""Say whether images are complete: whether every object that their manifests name is there.

An index of which some platforms are there whole is partial, which is no fault. Exits with 3 when an image has no platform that
is whole. A registry (docker://REF) is asked for each object. To hash the bytes too, see `tranship verify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import images, looking, options, output
from tranship.errors import NotFound

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.cli.images import Node

EXAMPLES = """
  tranship check
  tranship check app:1 app.tar
  tranship check docker://registry.example/team/app:1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("end", metavar="END", nargs="*", help="names of the store, or ends; none: the whole store")
    options.registry(parser)
    options.common(parser)


def run(args: Namespace) -> int:
    """Check."""
    found: list[dict[str, Any]] = []
    for text in args.end or ["store:"]:
        with looking.opened(args, text) as source:
            for root in source.roots():
                top = images.graph(source, root, look=True)
                objects = list(top.walk())
                found.append(
                    {
                        "name": root.name,
                        **root.descriptor.plain.to_json(),
                        "status": status(top),
                        "present": sum(node.present for node in objects),
                        "objects": len(objects),
                        "missing": [descriptor.plain.to_json() for descriptor in top.missing],
                    }
                )
    if args.json:
        output.print_json({"images": found})
    else:
        output.print_table(
            ("NAME", "DIGEST", "STATUS", "OBJECTS"),
            (
                (row["name"] or "-", row["digest"][:19], row["status"], f"{row['present']} of {row['objects']}")
                for row in found
            ),
        )
    return NotFound.exit_code if any(row["status"] == "incomplete" for row in found) else 0


def status(top: Node) -> str:
    """complete; partial: some manifests of an index are whole; incomplete: none is."""
    if top.is_complete:
        return "complete"
    return "partial" if images.is_index(top) and any(node.is_complete for node in top.manifests) else "incomplete"
