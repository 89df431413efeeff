"""Look at, and change, the blobs of the store: of one namespace, as `ctr content` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import options, output
from tranship.cli.commands.label import show
from tranship.cli.parsing import Action, family

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.model.digest import Digest
    from tranship.store import ContentInfo
    from tranship.store import Store as OpenStore
    from tranship.store.content import Content

EXAMPLES = """
  tranship content ls
  tranship content ls -q 'labels."tested"==yes'
  tranship content get $(tranship digest app:1)
  tranship content info $(tranship digest app:1)
  tranship content label $(tranship digest app:1) tested=yes
  tranship content active
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    family(parser, ACTIONS)


def run(args: Namespace) -> int | None:
    """Do it."""
    return args.action.run(args)  # type: ignore[no-any-return]  # an Action's


def _filters(parser: ArgumentParser) -> None:
    parser.add_argument("filter", metavar="FILTER", nargs="*", help="containerd's filters, as 'labels.\"KEY\"==VALUE'")
    options.common(parser)


def _digest(parser: ArgumentParser) -> None:
    parser.add_argument("digest", metavar="DIGEST", help="sha256:…")
    options.common(parser)


def _digests(parser: ArgumentParser) -> None:
    parser.add_argument("digest", metavar="DIGEST", nargs="+", help="sha256:…")
    options.common(parser)


def _label_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("digest", metavar="DIGEST", help="sha256:…")
    parser.add_argument("label", metavar="KEY=VALUE", nargs="*", help="labels to set; KEY= removes one")
    options.common(parser)


def _ref(parser: ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", nargs="+", help="as `tranship content active` lists them")
    options.common(parser)


# --------------------------------------------------------------------------------------------------------------- actions


def _ls(args: Namespace) -> None:
    with options.store_of(args) as store:
        found = list(_content(args, store).walk(args.filter))
    if args.json:
        output.print_json({"content": [_document(info) for info in found]})
    elif args.quiet:
        output.print_lines(info.digest for info in found)
    else:
        output.print_table(
            ("DIGEST", "SIZE", "CREATED", "LABELS"),
            (
                (info.digest, output.size(info.size), output.moment(info.created_at), output.labels(info.labels))
                for info in found
            ),
        )


def _get(args: Namespace) -> None:
    with options.store_of(args) as store:
        output.print_bytes(_content(args, store).read(_parse(args.digest)))


def _info(args: Namespace) -> None:
    with options.store_of(args) as store:
        output.print_json(_document(_content(args, store).info(_parse(args.digest))))


def _rm(args: Namespace) -> None:
    digests = [_parse(text) for text in args.digest]
    with options.store_of(args) as store, store.batch() as batch:
        content = batch.namespace(options.namespace_of(args)).content
        for digest in digests:
            content.delete(digest)
    output.print_removed(args, digests)


def _label(args: Namespace) -> None:
    new = options.pairs_of(args.label)
    digest = _parse(args.digest)
    with options.store_of(args) as store:
        content = _content(args, store)
        info = content.update(digest, new, [f"labels.{key}" for key in new]) if new else content.info(digest)
    show(args, info.labels)


def _active(args: Namespace) -> None:
    with options.store_of(args) as store:
        found = _content(args, store).statuses(args.filter)
    if args.json:
        output.print_json(
            {
                "ingests": [
                    {
                        "ref": one.ref,
                        "offset": one.offset,
                        "total": one.total,
                        "expected": one.expected,
                        "startedAt": output.moment(one.started_at),
                        "updatedAt": output.moment(one.updated_at),
                    }
                    for one in found
                ]
            }
        )
    elif args.quiet:
        output.print_lines(one.ref for one in found)
    else:
        output.print_table(
            ("REF", "SIZE", "OF", "STARTED"),
            (
                (
                    one.ref,
                    output.size(one.offset),
                    output.size(one.total) if one.total else "?",
                    output.moment(one.started_at),
                )
                for one in found
            ),
        )


def _abort(args: Namespace) -> None:
    with options.store_of(args) as store:
        for ref in args.ref:
            _content(args, store).abort(ref)
    output.print_removed(args, args.ref)


ACTIONS = (
    Action("ls", "list blobs", _filters, _ls, ("list",)),
    Action("get", "print the bytes of a blob", _digest, _get),
    Action("info", "show what is recorded of a blob", _digest, _info),
    Action(
        "rm", "forget blobs, whoever needs them; their files go with the next collection", _digests, _rm, ("delete",)
    ),
    Action("label", "show or set the labels of a blob", _label_arguments, _label),
    Action("active", "list blobs that are being written, or were left in the middle", _filters, _active),
    Action("abort", "drop unfinished blobs", _ref, _abort),
)


def _content(args: Namespace, store: OpenStore) -> Content:
    return store.namespace(options.namespace_of(args)).content


def _parse(text: str) -> Digest:
    from tranship.model.digest import Digest

    return Digest.parse(text)


def _document(info: ContentInfo) -> dict[str, object]:
    return {
        "digest": info.digest,
        "size": info.size,
        "createdAt": output.moment(info.created_at),
        "updatedAt": output.moment(info.updated_at),
        "verifiedAt": output.moment(info.verified_at) if info.verified_at is not None else None,
        "labels": dict(sorted(info.labels.items())),
    }
