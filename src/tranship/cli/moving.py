"""One transfer as a command makes it: its plan when that is all that is wanted, its progress, and what came of it."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from tranship.cli import failures, options, progress
from tranship.cli.output import STDOUT, count, duration, print_json, safe, say, size
from tranship.endpoints.several import together
from tranship.errors import InvalidArgument, PartialFailure, TranshipError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Mapping, Sequence

    from tranship.engine.plan import Partial
    from tranship.engine.protocols import Readable, Writable
    from tranship.engine.run import Limits
    from tranship.engine.selection import Selection
    from tranship.model.descriptor import Root


def move(args: Namespace, sources: Sequence[Readable], destination: Writable, selection: Selection) -> None:
    """Move what the sources hold, all in one transfer, or each by itself with --keep-going; then print what came of it.

    PartialFailure when some of them failed.
    """
    limits = options.limits_of(args)
    act = _plan if args.dry_run else _transfer
    to_stdout = getattr(destination, "file", None) is not sys.stdout.buffer
    if args.digest_file in STDOUT and not to_stdout:
        raise InvalidArgument("the archive goes to standard output, so the digests cannot")
    report = _Report(args, to_stdout=to_stdout)
    if not getattr(args, "keep_going", False) or len(sources) == 1:
        report.add(*act(args, together(sources), destination, selection, limits))
    elif destination.kind == "archive":
        raise InvalidArgument("an archive is written whole or not at all, so --keep-going means nothing for it")
    else:
        for source in sources:
            with report.noting_failure_of(str(source)):
                report.add(*act(args, source, destination, selection, limits))
    report.close()


def _transfer(
    args: Namespace, source: Readable, destination: Writable, selection: Selection, limits: Limits
) -> tuple[dict[str, Any], str]:
    """Transfer; what came of it as a document, and a line for people."""
    from tranship.engine.transfer import transfer

    if destination.kind != "archive":  # which appears whole or not at all
        args.interruption.remark = "run it again: what has arrived is kept"
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
    _tell_partial(args, summary.partial)
    images = sum(root.subject is None for root in summary.roots)
    parts = [f"{number} {outcome}" for outcome, number in summary.counts.items() if number]
    what = f"{count(images, 'image')}, {size(summary.bytes)} in {duration(summary.seconds)}"
    document = {
        "images": [_image(root) for root in summary.roots],
        "objects": {str(outcome): number for outcome, number in summary.counts.items()},
        "bytes": {str(outcome): number for outcome, number in summary.sizes.items()},
        "partial": [_partial(part) for part in summary.partial],
        "seconds": round(summary.seconds, 3),
    }
    rate = f"{size(summary.moved / summary.seconds)}/s" if summary.moved and summary.seconds else "nothing had to move"
    return document, f"{what} ({rate}; objects: {', '.join(parts) or 'none'})"


def _plan(
    args: Namespace, source: Readable, destination: Writable, selection: Selection, limits: Limits
) -> tuple[dict[str, Any], str]:
    """What a transfer would do, and ask of registries (but for tokens and what is tried again); nothing is done."""
    from tranship.engine.protocols import CountsReading, CountsWriting
    from tranship.engine.transfer import plan

    with progress.reporter(args) as reporter:
        todo = plan(source, destination, selection=selection, reporter=reporter, limits=limits)
    _tell_partial(args, todo.partial)
    requests = source.requests_to_read(todo) if isinstance(source, CountsReading) else 0
    requests += destination.requests_to_write(todo) if isinstance(destination, CountsWriting) else 0
    document = {
        "images": [_image(root) for root in todo.roots],
        "complete": [_image(root) for root in todo.complete],
        "objects": [{**d.plain.to_json(), "present": d.digest in todo.present} for d in (*todo.documents, *todo.blobs)],
        "bytes": todo.bytes,
        "bytesToMove": todo.bytes_to_move,
        "requests": requests,
        "partial": [_partial(part) for part in todo.partial],
    }
    return document, ""


# --------------------------------------------------------------------------------------------------------------- results


class _Report:
    """What came of the transfers of one command: a line an image as they come, or one document of all with --json."""

    def __init__(self, args: Namespace, *, to_stdout: bool) -> None:
        """to_stdout: nothing else is written there, as an archive may be."""
        self._args = args
        self._to_stdout = to_stdout
        self._all: dict[str, Any] = {}
        self._tried = 0
        self._failures: list[tuple[str, TranshipError]] = []

    @contextlib.contextmanager
    def noting_failure_of(self, name: str) -> Iterator[None]:
        """Let what fails within the block keep nobody from going on."""
        self._tried += 1
        try:
            yield
        except BrokenPipeError:
            raise
        except (TranshipError, OSError) as error:
            if self._args.interruption.signal is not None:
                raise
            ours = failures.of_system(error) if isinstance(error, OSError) else error
            self._failures.append((name, ours))
            failures.tell(failures.failure(ours), as_json=self._args.progress == "json")

    def add(self, result: dict[str, Any], remark: str) -> None:
        """Print what came of a transfer, or keep it for the document; the remark goes to stderr."""
        self._all = _sum(self._all, result) if self._all else result
        if self._to_stdout and not self._args.json:
            _print_images(result["images"])
            if self._args.dry_run:
                _print_images(result["complete"], "(is there already)")
                _print_plan(result)
        if remark:
            say(self._args, remark)

    def close(self) -> None:
        """Print the document and write the digests of what arrived; PartialFailure when something did not."""
        images = [image for image in self._all.get("images", ()) if "subject" not in image]
        if self._args.digest_file and not self._args.dry_run:
            _write_digests(self._args.digest_file, [image["digest"] for image in images])
        if self._to_stdout and self._args.json:
            print_json({**self._all, **self._failed()})
        if self._failures:
            failed = ", ".join(safe(name) for name, _ in self._failures[:5])
            raise PartialFailure(f"{len(self._failures)} of {self._tried} failed: {failed}", self._failures)

    def _failed(self) -> dict[str, Any]:
        if not self._tried:
            return {}
        told = [(name, failures.failure(error)) for name, error in self._failures]
        return {
            "failures": [
                {"name": name, "error": what.message, "code": what.code, "exitCode": what.exit_code}
                for name, what in told
            ]
        }


def _write_digests(path: str, digests: Sequence[str]) -> None:
    text = "".join(f"{digest}\n" for digest in digests)
    if path in STDOUT:
        print(text, end="")
        return
    from tranship import files

    files.write_output(path, text.encode())


def _sum(one: Any, other: Any) -> Any:
    """Two documents as one: lists behind each other, numbers added up."""
    if isinstance(one, dict):
        return {
            key: _sum(one[key], other[key]) if key in one and key in other else {**one, **other}[key]
            for key in {**one, **other}
        }
    return one + other


def _print_images(images: Sequence[Mapping[str, Any]], remark: str = "") -> None:
    for image in images:
        if "subject" not in image:
            print(*filter(None, (safe(image["name"] or ""), image["digest"], remark)))


def _print_plan(todo: Mapping[str, Any]) -> None:
    missing = sum(not one["present"] for one in todo["objects"])
    words = [
        f"{missing} of {count(len(todo['objects']), 'object')}",
        f"{size(todo['bytesToMove'])} of {size(todo['bytes'])}, would move",
    ]
    if todo["requests"]:
        words.append(f"in about {count(todo['requests'], 'request')}")
    print(", ".join(words))


def _image(root: Root) -> Mapping[str, Any]:
    subject = {"subject": root.subject} if root.subject is not None else {}
    return {"name": root.name, **root.descriptor.plain.to_json(), **subject}


def _partial(part: Partial) -> Mapping[str, Any]:
    return {"name": part.root.name, "selected": part.selected, "total": part.total}


def _tell_partial(args: Namespace, partial: Sequence[Partial]) -> None:
    for part in partial:
        name = safe(part.root.name or part.root.descriptor.digest)
        say(args, f"{name}: {part.selected} of {count(part.total, 'platform')}; its index names the others too")
