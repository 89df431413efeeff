#!/usr/bin/env python3
"""Build the large images that the benchmarks move, as OCI layouts in .cache/images (about 2.5 GB on disk, a few minutes).

    bench/images.py                 all of them
    bench/images.py --only ml,python
    bench/images.py --quick         from this machine's own files alone, a tenth of the size: to try a benchmark out

Content is real: Debian's essential packages and a Python and git tree over them, unpacked from the machine's own Debian source, and wheels of
PyTorch, its numerical company and two CUDA libraries, from the machine's own package index. An image that is there already is left alone.

    small     one layer: Debian's essential packages        tiny-N    N layers of one small file
    python    small, and a Python tree in six layers        many-N    N images in one layout: a shared layer and one of each
    ml        python, and two very large layers: 1 GB       docker    python, with Docker's schema 2 types
    layers    small, cut into 60 layers                     zstd      python, compressed with zstd
    multi     three platforms of python, and an attestation raw       python, uncompressed
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

from debian import Suite  # noqa: E402  # needs the path above

from support.images import (  # noqa: E402  # needs the path above
    Compression,
    Entry,
    Layer,
    Layout,
    add_many,
    add_multi,
    add_tiny,
    blobs,
    build_layer,
    scan,
    standard_library,
    take,
)

BASE = ["?essential", "apt"]  # what debootstrap calls minbase
PYTHON = ["python3", "python3-pip", "python3-venv", "git", "curl", "ca-certificates"]
WHEELS = {
    "ml-site": ["torch==2.13.0", "numpy", "scipy", "pandas", "pyarrow"],
    "ml-cuda": ["nvidia-cublas", "nvidia-cufft"],
}
SIZES = {"tiny": (10, 100, 1000), "many": (1, 10, 100)}
KINDS = [
    *("small", "python", "ml", "layers", "multi", "docker", "zstd", "raw"),
    *(f"{name}-{size}" for name, sizes in SIZES.items() for size in sizes),
]
ATTEMPTS = 3  # of each download


class Content:
    """The trees that layers are made of, fetched when first asked for."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder, self.quick = folder, quick
        self._debian: tuple[list[Entry], list[Entry]] | None = None

    @property
    def base(self) -> list[Entry]:
        return self._trees()[0]

    @property
    def python(self) -> list[Entry]:
        """What is in the Python tree beside the base."""
        return self._trees()[1]

    def wheels(self, name: str) -> list[Entry]:
        if self.quick:
            return take(scan("/usr/lib", "opt/ml"), 60_000_000 if name == "ml-site" else 30_000_000)
        target = self.folder / name
        if not target.exists():
            partial = target.with_name(f"{name}.part")
            shutil.rmtree(partial, ignore_errors=True)
            # No dependencies: PyTorch's would bring several GB of CUDA.
            options = ["--quiet", "--no-deps", "--no-compile", "--only-binary=:all:", "--target", str(partial)]
            _retrying([sys.executable, "-m", "pip", "install", *options, *WHEELS[name]])
            partial.rename(target)
        return scan(str(target), "opt/ml")

    def _trees(self) -> tuple[list[Entry], list[Entry]]:
        if self._debian is None:
            self._debian = self._machine() if self.quick else self._packages()
        return self._debian

    def _machine(self) -> tuple[list[Entry], list[Entry]]:
        return take(scan("/usr/lib", "usr/lib"), 12_000_000), take(standard_library(), 20_000_000)

    def _packages(self) -> tuple[list[Entry], list[Entry]]:
        suite = Suite("bookworm", self.folder / "debian")
        base = suite.unpack(BASE)
        everything = suite.unpack([*BASE, *PYTHON])
        lower = {os.path.normpath(file) for package in base.values() for file in package.files}
        upper = {os.path.normpath(file) for package in everything.values() for file in package.files} - lower
        return _entries(suite.root, lower), _entries(suite.root, upper)


def _entries(root: Path, names: set[str]) -> list[Entry]:
    """Packages of an older suite name files below /bin, /lib and so on: in a system of merged /usr, links to the folders in /usr."""
    found = {}
    for name in names - {"."}:
        top, _, rest = name.partition("/")
        path = root / name
        size = path.stat().st_size if path.is_file() and not path.is_symlink() else 0
        merged = os.path.join(os.readlink(root / top), rest) if rest and (root / top).is_symlink() else name
        found[merged] = (merged, str(path), size)
    return sorted(found.values())


def split(entries: Sequence[Entry], parts: int) -> list[list[Entry]]:
    """Consecutive groups of about the same number of bytes."""
    groups: list[list[Entry]] = [[] for _ in range(parts)]
    total, seen = sum(entry[2] for entry in entries) or 1, 0
    for entry in entries:
        groups[min(parts - 1, seen * parts // total)].append(entry)
        seen += entry[2]
    return [group for group in groups if group]


class Builder:
    """Builds layouts in a folder; a layer that several of them hold is compressed once."""

    def __init__(self, out: Path, content: Content, pool: ProcessPoolExecutor) -> None:
        self.out, self.content, self.pool = out, content, pool
        self.made = out / ".layers" / "sha256"
        self.made.mkdir(parents=True, exist_ok=True)
        self._known: dict[tuple[tuple[Entry, ...], Compression], Layer] = {}

    def build(self, kind: str) -> None:
        """Build one image; it appears under its name when it is whole."""
        partial = self.out / f".{kind}.part"
        shutil.rmtree(partial, ignore_errors=True)
        layout = Layout(partial)
        name, _, count = kind.partition("-")
        makers: dict[str, Callable[[], None]] = {
            "small": lambda: self._image(layout, kind, [self.content.base]),
            "python": lambda: self._image(layout, kind, self._python()),
            "ml": lambda: self._image(layout, kind, [*self._python(), *map(self.content.wheels, WHEELS)]),
            "layers": lambda: self._image(layout, kind, split(self.content.base, 60)),
            "multi": lambda: add_multi(layout, kind, self._layers(layout, self._python(), "gzip")),
            "docker": lambda: self._image(layout, kind, self._python(), style="docker"),
            "zstd": lambda: self._image(layout, kind, self._python(), "zstd"),
            "raw": lambda: self._image(layout, kind, self._python(), "none"),
            "tiny": lambda: add_tiny(layout, kind, int(count)),
            "many": lambda: add_many(layout, kind, int(count), layout.layer(take(self.content.base, 2_000_000))),
        }
        makers[name]()
        layout.close()
        partial.rename(self.out / kind)

    def _python(self) -> list[list[Entry]]:
        return [self.content.base, *split(self.content.python, 6)]

    def _image(
        self,
        layout: Layout,
        name: str,
        groups: Sequence[list[Entry]],
        compression: Compression = "gzip",
        style: str = "oci",
    ) -> None:
        layers = self._layers(layout, groups, compression)
        layout.tag(layout.manifest(layers, "docker" if style == "docker" else "oci"), "v1", name)

    def _layers(self, layout: Layout, groups: Sequence[list[Entry]], compression: Compression) -> list[Layer]:
        keys = [(tuple(group), compression) for group in groups]
        jobs = {
            key: self.pool.submit(build_layer, key[0], self.made, compression) for key in keys if key not in self._known
        }
        self._known |= {key: job.result() for key, job in jobs.items()}
        for key in keys:
            name = self._known[key].descriptor["digest"].partition(":")[2]
            if not (layout.blobs / name).exists():
                shutil.copyfile(self.made / name, layout.blobs / name)
        return [self._known[key] for key in keys]


def _retrying(command: list[str]) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        if subprocess.run(command).returncode == 0:
            return
        print(f"attempt {attempt} of {ATTEMPTS} failed: {' '.join(command)}", file=sys.stderr)
    raise SystemExit(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="KINDS", help="with commas between: " + " ".join(KINDS))
    parser.add_argument(
        "--quick", action="store_true", help="small ones from this machine's own files, in .cache/images-quick"
    )
    args = parser.parse_args()
    kinds = args.only.split(",") if args.only else KINDS
    if unknown := set(kinds) - set(KINDS):
        parser.error("no such image: " + ", ".join(sorted(unknown)))
    out = ROOT / ".cache" / ("images-quick" if args.quick else "images")
    content = Content(ROOT / ".cache/content", quick=args.quick)
    with ProcessPoolExecutor() as pool:
        builder = Builder(out, content, pool)
        for kind in kinds:
            if not (out / kind).exists():
                builder.build(kind)
            sizes = [path.stat().st_size for path in blobs(out / kind).values()]
            print(f"{kind:10} {len(sizes):5} blobs {sum(sizes) / 1e6:9.1f} MB", flush=True)
    shutil.rmtree(out / ".layers")


if __name__ == "__main__":
    main()
