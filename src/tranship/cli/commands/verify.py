"""Hash again what the store holds, or any other end, and say what is not what its digest says.

A corrupt blob of the store goes into quarantine and is forgotten, so that it can be fetched again. Exits with 7 when a blob is
corrupt, with 3 when one is not there. --limit-rate holds for the store, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import options, output
from tranship.errors import DataLoss, DigestMismatch, NotFound, TranshipError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship import pump
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

EXAMPLES = """
  tranship verify
  tranship verify app.tar oci:layout
  tranship verify docker://registry.example/team/app:1          everything that it names is fetched, and hashed
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument(
        "end", metavar="END", nargs="*", help="names of the store, or ends; none: every blob of the store"
    )
    options.registry(parser)
    options.common(parser)


def run(args: Namespace) -> int:
    """Verify."""
    result = _ends(args) if args.end else _store(args)
    if args.json:
        output.print_json(result)
    else:
        for kind in ("corrupt", "missing"):
            output.print_lines(f"{kind}: {digest}" for digest in result[kind])
        bad = len(result["corrupt"]) + len(result["missing"])
        what = f"{output.count(result['checked'], 'blob')}, {output.size(result['bytes'])}"
        print(f"{what}: {'all right' if not bad else f'{bad} not right'}")
    if result["corrupt"]:
        return DataLoss.exit_code
    return NotFound.exit_code if result["missing"] else 0


def _store(args: Namespace) -> dict[str, Any]:
    from tranship.cli.hashing import counting

    with options.store_of(args) as store:
        rate = options.bytes_of(args.limit_rate) if args.limit_rate else None
        with counting(args, "verifying", store.usage().bytes) as advance:
            report = store.verify(rate=rate, advance=advance)
    return {"checked": report.checked, "bytes": report.bytes, "corrupt": list(report.corrupt), "missing": []}


def _ends(args: Namespace) -> dict[str, Any]:
    """Hash everything below the images of the ends, each object once an end."""
    from tranship.cli import images, looking
    from tranship.cli.hashing import counting

    result: dict[str, Any] = {"checked": 0, "bytes": 0, "corrupt": [], "missing": []}
    for text in args.end:
        with looking.opened(args, text) as source:
            objects: dict[Digest, tuple[Descriptor, bool]] = {}  # and whether it is there
            for root in source.roots():
                try:
                    for node in images.graph(source, root).walk():
                        objects[node.descriptor.digest] = node.descriptor, node.present
                except DigestMismatch as error:  # of a document, which then leads nowhere
                    result["corrupt"].append(error.descriptor.digest if error.descriptor else root.descriptor.digest)
            with counting(args, "verifying", sum(descriptor.size for descriptor, _ in objects.values())) as advance:
                for descriptor, present in objects.values():
                    if not present:
                        result["missing"].append(descriptor.digest)
                        continue
                    try:
                        if not _is_right(source, descriptor, advance):
                            result["corrupt"].append(descriptor.digest)
                    except NotFound:  # as a registry shows only when it is asked
                        result["missing"].append(descriptor.digest)
                        continue
                    result["checked"] += 1
                    result["bytes"] += descriptor.size
    return result


def _is_right(source: Any, descriptor: Descriptor, advance: pump.Advance) -> bool:
    from tranship import pump
    from tranship.model.digest import Digest

    hasher = descriptor.digest.hasher()
    try:
        with source.blob(descriptor).open() as reader:
            count = pump.pump(reader, lambda _: None, limit=descriptor.size, hasher=hasher, advance=advance)
    except TranshipError as error:
        if error.code == "DATA_LOSS":
            return False
        raise
    return count == descriptor.size and Digest.from_hash(descriptor.digest.algorithm, hasher) == descriptor.digest
