"""List what refers to an image: signatures, SBOMs, attestations and the like.

A registry is asked by the referrers API, by the tag that stands in for it where it is lacking, and by the tags of cosign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import ends, images, looking, options, output
from tranship.errors import Unsupported

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Descriptor

EXAMPLES = """
  tranship referrers registry.example/team/app:1
  tranship referrers --type application/vnd.example.sbom -q registry.example/team/app:1
  tranship referrers --platform linux/amd64 registry.example/team/app:1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "reference", metavar="REF", help="an image at a registry, or another end (oci:DIR:REF, FILE.tar)"
    )
    parser.add_argument("--type", metavar="TYPE", help="of this artifact type alone")
    parser.add_argument("--platform", metavar="P", action="append", default=[], help="of an index, to this manifest")
    options.registry(parser)
    options.common(parser)


def run(args: Namespace) -> None:
    """List."""
    from tranship.engine.protocols import ListsReferrers

    end = ends.source(args, args.reference, default="docker")
    rows: list[dict[str, Any]] = []
    with looking.reading(args, end) as source:
        if not isinstance(source, ListsReferrers):
            raise Unsupported(f"{end} knows no referrers")
        for root in source.roots():
            subject = root.descriptor
            if args.platform:
                subject = images.only_manifest(source, root, options.platforms_of(args)).descriptor
            rows += [_row(source, found, subject.digest) for found in source.referrers(subject, args.type)]
    if args.json:
        output.print_json({"referrers": rows})
    elif args.quiet:
        output.print_lines(row["digest"] for row in rows)
    else:
        output.print_table(
            ("DIGEST", "TYPE", "SIZE"),
            ((row["digest"], row["artifactType"] or "-", output.size(row["size"])) for row in rows),
        )


def _row(source: Source, descriptor: Descriptor, subject: str) -> dict[str, Any]:
    kind = descriptor.extra.get("artifactType") or images.artifact_type(source, descriptor)
    return {**descriptor.to_json(), "artifactType": kind, "subject": subject}
