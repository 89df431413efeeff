"""Remove content that nothing refers to: no image, no lease, no label (containerd's rules)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship gc --dry-run
  tranship gc
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("--dry-run", action="store_true", help="count, and do nothing")
    parser.add_argument(
        "--follow-manifests", action="store_true", help="keep what kept manifests name, whatever their labels say"
    )
    options.common(parser)


def run(args: Namespace) -> None:
    """Collect."""
    with options.store_of(args) as store:
        if args.dry_run:
            usage = store.usage()
            blobs, freed, digests = usage.reclaimable_blobs, usage.reclaimable_bytes, []
        else:
            report = store.gc(follow_manifests=args.follow_manifests)
            blobs, freed, digests = len(report.removed), report.bytes, sorted(report.removed)
    if args.json:
        output.print_json({"blobs": blobs, "bytes": freed, "removed": digests})
    else:
        what = f"{output.count(blobs, 'blob')}, {output.size(freed)}"
        print(f"{what}, would be freed" if args.dry_run else f"{what}, freed")
