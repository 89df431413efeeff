#!/usr/bin/env python3
"""Do harm to tranship for a while, and say what broke: `make torture PART=kill-failpoints SEED=1 SECONDS=600`.

    tools/torture.py PART [PART…] [--seconds 60] [--seed 1] [--report FILE]     PART: a name, or `all`
    tools/torture.py --list

Each part runs for its time, or until it has tried everything; it prints one line of figures, and the breaks that it found. The same
seed makes the same harm, but for what processes and disks decide by their own speed. The line is appended to the report, if there is
one. Parts that need root, strace or another tool say so where these are absent. Exits with 1 when anything broke.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1] / "tests")
)  # before this folder, whose torture.py is no package

import torture  # needs the path above
from support.disks import Impossible
from torture.box import PARTS, Box

for module in pkgutil.iter_modules(torture.__path__, "torture."):
    importlib.import_module(module.name)

SHOWN = 20  # breaks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="*", metavar="PART")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each part")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--report", type=Path, help="append the lines of figures to this file")
    parser.add_argument("--list", action="store_true", help="list the parts")
    args = parser.parse_args()
    if args.list or not args.part:
        for name, run in PARTS.items():
            print(f"{name:16} {' '.join((run.__doc__ or '').split()).partition('. ')[0]}")
        return 0
    broken = False
    for name in PARTS if args.part == ["all"] else args.part:
        if name not in PARTS:
            parser.error(f"there is no part {name!r}; --list shows them")
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            box = Box(Path(folder), seed=args.seed, seconds=args.seconds)
            try:
                PARTS[name](box)
            except Impossible as reason:
                line = f"{name}: not possible here: {reason}"
            else:
                line = box.told(name)
        print(line, *box.breaks[:SHOWN], sep="\n", flush=True)
        if args.report:
            with args.report.open("a", encoding="utf-8") as report:
                print(line, file=report)
        broken |= bool(box.breaks)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
