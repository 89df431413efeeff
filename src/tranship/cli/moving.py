"""One transfer as a command makes it: its plan when that is all that is wanted, its progress, and what came of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from tranship.cli import options, progress
from tranship.cli.output import count, duration, print_json, safe, say, size
from tranship.errors import InvalidArgument, PartialFailure, TranshipError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence

    from tranship.engine.plan import Partial, Plan
    from tranship.engine.protocols import Readable, Writable
    from tranship.engine.run import Limits
    from tranship.engine.selection import Selection
    from tranship.engine.transfer import Summary
    from tranship.model.descriptor import Root


def move(args: Namespace, sources: Sequence[Readable], destination: Writable, selection: Selection) -> None:
    """Move what the sources hold, all in one transfer, or each by itself with --keep-going; then print what came of it.

    PartialFailure when some of them failed.
    """
    limits = options.limits_of(args)
    if not getattr(args, "keep_going", False) or len(sources) == 1:
        (show_plan if args.dry_run else _transfer)(args, _together(sources), destination, selection, limits)
        return
    if destination.kind == "archive":
        raise InvalidArgument("an archive is written whole or not at all, so --keep-going means nothing for it")
    failures: list[tuple[str, TranshipError]] = []
    for source in sources:
        try:
            (show_plan if args.dry_run else _transfer)(args, source, destination, selection, limits)
        except TranshipError as error:
            if args.interruption.signal is not None:
                raise
            failures.append((str(source), error))
            print(f"tranship: error: {error}", file=sys.stderr)
    if failures:
        failed = ", ".join(safe(name) for name, _ in failures[:5])
        raise PartialFailure(f"{len(failures)} of {len(sources)} failed: {failed}", failures)


def _together(sources: Sequence[Readable]) -> Readable:
    if len(sources) == 1:
        return sources[0]
    from tranship.endpoints.several import Several

    return Several(tuple(sources))


def _transfer(args: Namespace, source: Readable, destination: Writable, selection: Selection, limits: Limits) -> None:
    from tranship.engine.transfer import transfer

    with progress.reporter(args) as reporter:
        summary = transfer(
            source,
            destination,
            selection=selection,
            reporter=reporter,
            limits=limits,
            verification=args.verification,
            cancel=args.interruption.token,
        )
    _show(args, summary, to_stdout=getattr(destination, "file", None) is not sys.stdout.buffer)


# --------------------------------------------------------------------------------------------------------------- results


def _show(args: Namespace, summary: Summary, *, to_stdout: bool) -> None:
    """Results on stdout, unless the archive itself is there; what happened on stderr."""
    _tell_partial(args, summary.partial)
    images = [root for root in summary.roots if root.subject is None]
    if args.digest_file:
        from tranship import files

        files.write_file(args.digest_file, "".join(f"{root.descriptor.digest}\n" for root in images).encode())
    if to_stdout and args.json:
        print_json(_document(summary))
    elif to_stdout:
        for root in images:
            print(*filter(None, (safe(root.name or ""), root.descriptor.digest)))
    parts = [f"{number} {outcome}" for outcome, number in summary.counts.items() if number]
    what = f"{count(len(images), 'image')}, {size(summary.bytes)} in {duration(summary.seconds)}"
    say(args, f"{what} ({size(summary.rate)}/s; objects: {', '.join(parts) or 'none'})")


def _document(summary: Summary) -> dict[str, Any]:
    return {
        "images": [_image(root) for root in summary.roots],
        "objects": {str(outcome): number for outcome, number in summary.counts.items()},
        "bytes": {str(outcome): number for outcome, number in summary.sizes.items()},
        "partial": [_partial(part) for part in summary.partial],
        "seconds": round(summary.seconds, 3),
    }


def show_plan(args: Namespace, source: Readable, destination: Writable, selection: Selection, limits: Limits) -> None:
    """Print what a transfer would do."""
    from tranship.engine.transfer import plan

    with progress.reporter(args) as reporter:
        todo = plan(source, destination, selection=selection, reporter=reporter, limits=limits)
    _tell_partial(args, todo.partial)
    if args.json:
        print_json(_plan_document(todo))
        return
    everything = (*todo.documents, *todo.blobs)
    print(safe(f"{source} → {destination}"))
    for root in (*todo.roots, *todo.complete):
        done = "(is there already)" if root in todo.complete else ""
        print(*filter(None, (safe(root.name or ""), root.descriptor.digest, done)))
    missing = sum(d.digest not in todo.present for d in everything)
    print(
        f"{missing} of {count(len(everything), 'object')}, {size(todo.bytes_to_move)} of {size(todo.bytes)}, would move"
    )


def _plan_document(todo: Plan) -> dict[str, Any]:
    return {
        "images": [_image(root) for root in todo.roots],
        "complete": [_image(root) for root in todo.complete],
        "objects": [{**d.plain.to_json(), "present": d.digest in todo.present} for d in (*todo.documents, *todo.blobs)],
        "bytes": todo.bytes,
        "bytesToMove": todo.bytes_to_move,
        "partial": [_partial(part) for part in todo.partial],
    }


def _image(root: Root) -> Mapping[str, Any]:
    return {"name": root.name, **root.descriptor.plain.to_json()}


def _partial(part: Partial) -> Mapping[str, Any]:
    return {"name": part.root.name, "selected": part.selected, "total": part.total}


def _tell_partial(args: Namespace, partial: Sequence[Partial]) -> None:
    for part in partial:
        name = safe(part.root.name or part.root.descriptor.digest)
        say(args, f"{name}: {part.selected} of {count(part.total, 'platform')}; its index names the others too")
