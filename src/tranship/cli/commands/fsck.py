"""Check the store: its database, that every blob is there with its length, names and modes; with --deep, every byte.

Exits with 7 when something is wrong that is not repaired. An image that lacks something is named, and is no fault of the store
(exit code 0): it was stored so, or its content was removed; `tranship check` exits with 3. --repair puts what is wrong into
quarantine and forgets it, so that it can be fetched again; it needs the store for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output
from tranship.errors import DataLoss

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

EXAMPLES = """
  tranship fsck
  tranship fsck --deep --repair
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("--deep", action="store_true", help="hash every blob")
    parser.add_argument("--repair", action="store_true", help="mend what can be mended")
    options.common(parser)


def run(args: Namespace) -> int:
    """Check."""
    from tranship.cli.hashing import counting

    with options.store_of(args) as store:
        total = store.usage().bytes if args.deep else 0
        with counting(args, "checking", total) as advance:
            report = store.fsck(repair=args.repair, deep=args.deep, advance=advance)
    if args.json:
        incomplete = [{"namespace": space, "name": name, "missing": lack} for space, name, lack in report.incomplete]
        output.print_json({"ok": report.ok, **output.document(report), "incomplete": incomplete})
    else:
        for problem in report.problems:
            print(f"{problem.kind}: {output.safe(problem.detail)}{' (repaired)' if problem.repaired else ''}")
        for namespace, image, lack in report.incomplete:
            print(f"incomplete: {output.safe(image)} in namespace {output.safe(namespace)}: {output.safe(lack)}")
        verdict = "is in order" if report.ok else "is not in order"
        lacking = len({(namespace, image) for namespace, image, _ in report.incomplete})
        but = f", but {output.count(lacking, 'image')} {'is' if lacking == 1 else 'are'} incomplete" if lacking else ""
        print(f"the store {verdict}{but}: {output.count(report.blobs, 'blob')}, {output.size(report.bytes)}")
        if lacking:
            output.say(args, "what is missing comes back when the image is pulled, imported or copied here again")
    return 0 if report.ok else DataLoss.exit_code
