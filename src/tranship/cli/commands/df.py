"""Say how much space the store takes, and what a collection would free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship df
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    options.common(parser)


def run(args: Namespace) -> None:
    """Count."""
    with options.store_of(args) as store:
        usage, root = store.usage(), str(store.root)
    if args.json:
        output.print_json({"root": root, **output.document(usage)})
        return
    rows = [
        ("blobs", usage.blobs, output.size(usage.bytes)),
        ("reclaimable", usage.reclaimable_blobs, output.size(usage.reclaimable_bytes)),
        ("unfinished", usage.ingests, output.size(usage.ingest_bytes)),
        ("free on the disk", "", output.size(usage.free_bytes)),
    ]
    if usage.quota is not None:
        rows.append(("quota", "", output.size(usage.quota)))
    rows += [
        (f"namespace {name}", output.count(one.images, "image"), output.size(one.bytes))
        for name, one in usage.namespaces.items()
    ]
    output.print_table((root, "COUNT", "SIZE"), rows)
