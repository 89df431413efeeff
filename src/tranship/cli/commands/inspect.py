"""Show an image as JSON: its manifests, their platforms, configs and layers; or its graph, or its bytes as they are.

Of an image at a registry (docker://REF), each manifest that is shown is fetched, which counts as a pull with some registries:
--platform fetches one, --raw the index alone. Layers are not asked for: `tranship check` does that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tranship.cli import images, looking, options, output
from tranship.errors import InvalidArgument, NotFound, printable

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Iterator

    from tranship.cli.images import Node
    from tranship.engine.protocols import Source
    from tranship.model.descriptor import Root

EXAMPLES = """
  tranship inspect app:1
  tranship inspect --tree app.tar
  tranship inspect --raw oci:layout:1.0
  tranship inspect --raw --platform linux/arm64 oci:layout:1.0
  tranship inspect --config app:1
  tranship inspect --platform linux/amd64 docker://registry.example/team/app:1
"""


def arguments(parser: ArgumentParser) -> None:
    """Say what it takes."""
    parser.add_argument("end", metavar="END", nargs="+", help="names of the store, or ends (docker://REF, …)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--tree", action="store_true", help="draw index, manifests, configs and layers")
    group.add_argument("--raw", action="store_true", help="print the index or manifest, byte by byte")
    group.add_argument("--config", action="store_true", help="print the config, byte by byte")
    parser.add_argument("--platform", metavar="P", action="append", default=[], help="of an index, this manifest alone")
    options.registry(parser)
    options.common(parser)


def run(args: Namespace) -> None:
    """Inspect."""
    from tranship.model.platform import any_of

    for one, does in (
        ("tree", "draws for people"),
        ("raw", "prints bytes as they are"),
        ("config", "prints bytes as they are"),
    ):
        if args.json and getattr(args, one):
            raise InvalidArgument(f"--{one} {does}, and --json prints a document for programs; choose one")
    found: list[Any] = []
    wanted = options.platforms_of(args)
    for text in args.end:
        with looking.opened(args, text) as source:
            roots = source.roots()
            if args.raw or args.config:
                output.print_bytes([_bytes(args, source, _only(roots, text, args.end))])
                continue
            for root in roots:
                top = images.graph(source, root, only=any_of(*wanted) if wanted else None)
                if args.tree:
                    print(output.safe(root.name or "-"))
                    print("\n".join(_tree(top)))
                else:
                    found.append(_document(source, root, top))
    if not (args.raw or args.config or args.tree):
        output.print_json(found)


def _only(roots: Any, text: str, ends: list[str]) -> Root:
    if len(ends) != 1 or len(roots) != 1:
        raise InvalidArgument(
            f"{printable(text)} is {output.count(len(roots), 'image')}; the bytes of one can be printed",
            hint="name one of them, as oci:DIR:REF for example",
        )
    root: Root = roots[0]
    return root


def _bytes(args: Namespace, source: Source, root: Root) -> bytes:
    if args.raw and not args.platform:
        return images.read_document(source, root.descriptor)
    manifest = images.only_manifest(source, root, options.platforms_of(args))
    if args.raw and manifest.document is not None:
        return manifest.document.raw or images.read_document(source, manifest.descriptor)
    config = images.read_config(source, manifest)
    if config is None:
        raise NotFound(f"the config of {printable(root.name or root.descriptor.digest)} is not there", side="source")
    return config


def _document(source: Source, root: Root, top: Node) -> dict[str, Any]:
    return {
        "name": root.name,
        **root.descriptor.to_json(),
        "complete": top.is_complete,
        "bytes": top.size,
        "manifests": [_manifest(source, node) for node in top.manifests],
        "missing": [descriptor.plain.to_json() for descriptor in top.missing],
    }


def _manifest(source: Source, node: Node) -> dict[str, Any]:
    config = images.config_of(source, node)
    platform = images.platform_of(source, node)
    assert node.document is not None  # noqa: S101  # a manifest that is there
    return {
        **node.descriptor.to_json(),
        **({"platform": platform.to_json()} if platform is not None else {}),
        "annotations": dict(node.document.annotations),
        "created": config.get("created"),
        "config": config.get("config") or {},
        "objects": [{**child.descriptor.to_json(), "present": child.present} for child in node.children],
    }


def _tree(node: Node, first: str = "", rest: str = "") -> Iterator[str]:
    yield first + _line(node)
    for child in node.children:
        last = child is node.children[-1]
        yield from _tree(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))


def _line(node: Node) -> str:
    descriptor = node.descriptor
    words = [descriptor.kind, descriptor.digest, output.size(descriptor.size), output.safe(descriptor.media_type)]
    if descriptor.platform is not None:
        words.insert(1, output.safe(str(descriptor.platform)))
    return "  ".join(words) + ("" if node.present else "  (not there)")
