"""Make src/tranship/_api: containerd's messages as Python modules, from its published .proto files.

    python tools/proto.py                    write the modules again from the .proto files that are checked in
    python tools/proto.py --take DIR         first take those files from DIR, containerd's `api` folder (Debian carries it in
                                             golang-github-containerd-containerd-api-dev, other systems in its source)
    python tools/proto.py --out DIR          write the modules somewhere else, to compare

protoc parses the files and writes the stubs (.pyi). The modules (_pb2.py) are ours: a serialized descriptor, added to a
descriptor pool of tranship's own. protoc's own modules register every name in the process's one default pool, where another
library that carries containerd's messages would collide with them, and refuse to run with an older protobuf than they were
made with. Needs grpcio-tools (dependency group `proto`).
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from importlib import resources
from pathlib import Path

from google.protobuf import descriptor_pb2
from grpc_tools import protoc as compiler

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path("tranship/_api")
PROTOS = ROOT / "src" / PACKAGE

# What we speak of containerd's API, and what those files import.
TAKEN = (
    "events/content.proto",
    "events/image.proto",
    "events/namespace.proto",
    "services/containers/v1/containers.proto",
    "services/content/v1/content.proto",
    "services/diff/v1/diff.proto",
    "services/events/v1/events.proto",
    "services/images/v1/images.proto",
    "services/introspection/v1/introspection.proto",
    "services/leases/v1/leases.proto",
    "services/namespaces/v1/namespace.proto",
    "services/snapshots/v1/snapshots.proto",
    "services/streaming/v1/streaming.proto",
    "services/transfer/v1/transfer.proto",
    "services/version/v1/version.proto",
    "types/descriptor.proto",
    "types/event.proto",
    "types/introspection.proto",
    "types/mount.proto",
    "types/platform.proto",
    "types/transfer/imagestore.proto",
    "types/transfer/importexport.proto",
    "types/transfer/progress.proto",
    "types/transfer/registry.proto",
    "types/transfer/streaming.proto",
)
NOTICE = "// Changed for tranship: {}.\n"
OS_FEATURES = "\n\t// Of containerd after 2.1.\n\trepeated string os_features = 5;\n}"

MODULE = '''\
"""Messages of {package}. Written by tools/proto.py from {source}."""

{imports}DESCRIPTOR = pool.define(
    globals(),
{data},
)
'''


def take(api: Path) -> None:
    """Copy the .proto files from containerd's `api` folder, so that they import each other by their new places."""
    for name in TAKEN:
        text = (api / name).read_text()
        changes = "the paths of imports"
        text = re.sub(
            r'import "(?:github\.com/containerd/containerd/api/)?((?:types|services|events)/)',
            rf'import "{PACKAGE}/\1',
            text,
        )
        # Only Go's event code reads these options; without them our pool needs no google/protobuf/descriptor.proto.
        lean = "".join(line for line in text.splitlines(keepends=True) if "fieldpath" not in line)
        if lean != text:
            text, changes = lean, changes + ", and no field path options"
        text = text.replace('import "google/rpc/', f'import "{PACKAGE}/google/rpc/')
        if name == "types/platform.proto" and "os_features" not in text:
            changes += ", and the field os_features"
            text = text.rstrip().removesuffix("\n}") + OS_FEATURES + "\n"
        target = PROTOS / name
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = [line.rstrip() for line in (NOTICE.format(changes) + "\n" + text).splitlines()]
        target.write_text("\n".join(lines) + "\n")


def generate(out: Path) -> None:
    """Write a module and its stub for each .proto file below PROTOS to the same place below `out`."""
    names = sorted(path.relative_to(ROOT / "src").as_posix() for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        parsed = Path(scratch, "parsed")
        protoc("-I", str(ROOT / "src"), f"--descriptor_set_out={parsed}", f"--pyi_out={scratch}", *names)
        for file in descriptor_pb2.FileDescriptorSet.FromString(parsed.read_bytes()).file:
            target = out / Path(file.name).relative_to(PACKAGE)
            stem = target.stem + "_pb2"
            target.parent.mkdir(parents=True, exist_ok=True)
            slim(file)
            target.with_name(stem + ".py").write_text(module(file))
            stub = Path(scratch, file.name).with_name(stem + ".pyi")
            target.with_name(stem + ".pyi").write_text(stub.read_text())


def slim(file) -> None:
    """Leave out of a file's descriptor what nobody reads at run time: the options of other languages and JSON names."""
    file.ClearField("options")
    waiting = list(file.message_type)
    while waiting:
        message = waiting.pop()
        waiting += message.nested_type
        for field in message.field:
            field.ClearField("json_name")


def module(file) -> str:
    """The Python module that adds a file's descriptor to our pool."""
    ours = [name for name in file.dependency if name.startswith(PACKAGE.as_posix())]
    imports = ["from tranship._api import pool\n"]
    imports += [f"import {name.removesuffix('.proto').replace('/', '.')}_pb2\n" for name in ours]
    data = file.SerializeToString(deterministic=True)
    lines = [f"    {data[at : at + 32]!r}" for at in range(0, len(data), 32)]
    return MODULE.format(package=file.package, source=file.name, imports="".join(imports) + "\n", data="\n".join(lines))


def protoc(*arguments: str) -> None:
    known = resources.files("grpc_tools") / "_proto"
    if compiler.main(["protoc", "-I", str(known), *arguments]):
        sys.exit("protoc failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--take", type=Path, metavar="DIR", help="containerd's `api` folder")
    parser.add_argument("--out", type=Path, metavar="DIR", default=PROTOS)
    arguments = parser.parse_args()
    if arguments.take:
        take(arguments.take)
    generate(arguments.out)


if __name__ == "__main__":
    main()
