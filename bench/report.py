"""Write bench/RESULTS.md from the figures that were measured last."""

from __future__ import annotations

import ast
import json

from harness import RESULTS, ROOT

FIGURES = ["export", "import", "reflink", "registry", "mirror", "daemon", "growth", "memory", "startup", "store_list"]
INTRODUCTION = """\
# Measured

Made by `make bench`; what is measured and how is told in [README.md](README.md). Every output was verified byte by byte. *Durable* is with
the output fsynced, *default* as the tool leaves it; ratios are to the first row, so 2.00 takes twice as long as tranship does.
"""


def main() -> None:
    parts = [INTRODUCTION]
    for figure in FIGURES:
        path = RESULTS / f"{figure}.json"
        if not path.exists():
            continue
        found = json.loads(path.read_text("utf-8"))
        about = ast.get_docstring(ast.parse((ROOT / "bench" / f"{figure}.py").read_text("utf-8"))) or ""
        machine = ", ".join(f"{name} {value}" for name, value in found["machine"].items())
        parts.append(
            f"## {figure.replace('_', ' ').capitalize()}\n\n{about}\n\n{found['text']}\n\nMeasured on: {machine}.\n"
        )
    (ROOT / "bench/RESULTS.md").write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main()
