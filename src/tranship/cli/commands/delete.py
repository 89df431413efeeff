"""Delete tags, or manifests, at a registry; images of the store are removed by `tranship rm`.

A reference with a tag deletes the tag; its manifest stays, by its digest and its other tags. One with a digest deletes the
manifest and with it every tag that leads there, and so does --manifest for a tag, as skopeo does. On a terminal you are asked
first, unless --yes; a script is not. Registries free the space when they collect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.cli import asking, options, output, registries
from tranship.errors import InvalidArgument, TranshipError, Unsupported, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from tranship.model.reference import Reference

# What registries answer that take digests alone; docker's says that a tag is a digest which does not match (DIGEST_INVALID).
_NO_TAGS = frozenset({"UNIMPLEMENTED", "FAILED_PRECONDITION", "INVALID_ARGUMENT", "DATA_LOSS"})

EXAMPLES = """
  tranship delete --yes registry.example/team/app:old
  tranship delete --yes --manifest registry.example/team/app:1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("reference", metavar="REF", nargs="+", help="HOST/REPO:TAG, or HOST/REPO@DIGEST")
    parser.add_argument("--manifest", action="store_true", help="the manifest that the tag leads to, with all its tags")
    parser.add_argument("-y", "--yes", "-f", "--force", action="store_true", help="do not ask")
    options.registry(parser)
    options.common(parser, store=False)


def run(args: Namespace) -> None:
    """Delete."""
    wanted = [registries.reference(text) for text in args.reference]
    for text, reference in zip(args.reference, wanted, strict=True):
        if text.removeprefix("docker://") != str(reference):
            output.say(args, f"{output.safe(text)} is {output.safe(str(reference))}")
        if not reference.object:
            raise InvalidArgument(
                f"{printable(str(reference))} is a repository", hint="say which tag or digest of it is to go"
            )
    removed: list[str] = []
    for reference in wanted:
        with registries.session(args, str(reference)) as session:
            found = reference.with_digest(session.digest(reference)) if args.manifest else reference
            if not args.yes and not asking.confirmed(_question(found)):
                output.say(args, f"{output.safe(str(reference))} stays")
                continue
            try:
                session.delete(found)
            except TranshipError as error:
                if found.digest is None and error.code in _NO_TAGS:
                    raise Unsupported(
                        f"registry {printable(found.domain)} does not delete a tag alone: {error.message}",
                        hint="--manifest deletes what the tag leads to, with all its tags",
                    ) from None
                raise
        removed.append(str(found))
    output.print_removed(args, removed)


def _question(reference: Reference) -> str:
    name = output.safe(str(reference))
    return f"delete {name}, and every tag that leads there?" if reference.digest else f"delete the tag {name}?"
