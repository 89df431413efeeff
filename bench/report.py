"""Write bench/RESULTS.md and bench/plot.svg from the figures that were measured last (--quick: those of --quick, beside them)."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness import QUICK, RESULTS, ROOT, Row, Sample, Table, rate
from plot import Bar, Panel, svg

FIGURES = (
    *("export", "import", "reflink", "registry", "mirror", "daemon", "again"),
    *("ranges", "growth", "registry_growth", "memory", "startup", "store_list"),
)
PANELS = {  # of the plot: a figure and the number of its table
    "Export: a store or layout → an archive": ("export", 0),
    "Import: an archive → a store or layout": ("import", 0),
    "Push: a store or layout → a registry": ("registry", 0),
    "Pull: a registry → a store or layout": ("registry", 1),
    "Mirror: a registry → a registry": ("mirror", 0),
    "ctr images export, by either daemon": ("daemon", 0),
    "ctr images import, by either daemon": ("daemon", 1),
    "ctr images pull, content fetch, by either daemon": ("daemon", 2),
    "ctr images push, by either daemon": ("daemon", 3),
}
PLOTTED_LIMIT = "limit: read, hash, write, fsync, all cores"
INTRODUCTION = """\
# Measured

Made by `make bench`; what is measured and how is told in [README.md](README.md). Every output was verified byte by byte. *Durable* is with
the output fsynced, *default* as the tool leaves it; ratios are to the first row, so 2.00 takes twice as long as tranship does. Rows that
begin with *limit* are no tools: they are what the same number of bytes costs on this machine when it is only hashed, copied or sent.

![MB/s of each tool, for each pair of ends](plot.svg)

Bars are MB/s, durable, of an image of a gigabyte; the dashed one is the limit "read, hash, write, fsync" on all cores. What was aimed at, what is
not reached and why: [TARGETS.md](TARGETS.md).
"""


def main(results: Path = RESULTS, out: Path = ROOT / "bench") -> None:
    found = {
        name: json.loads(path.read_text("utf-8")) for name in FIGURES if (path := results / f"{name}.json").exists()
    }
    parts = [INTRODUCTION, *(section(name, figure) for name, figure in found.items())]
    (out / "RESULTS.md").write_text("\n".join(parts), "utf-8")
    (out / "plot.svg").write_text(svg(list(panels(found))), "utf-8")


def section(name: str, found: Mapping[str, Any]) -> str:
    about = ast.get_docstring(ast.parse((ROOT / "bench" / f"{name}.py").read_text("utf-8"))) or ""
    machine = ", ".join(f"{key} {value}" for key, value in found["machine"].items())
    rounds = max((len(row.samples) for table in tables(found) for row in table.rows if row.command), default=0)
    return (
        f"## {name.replace('_', ' ').capitalize()}\n\n{about}\n\n{found['text']}\n\n"
        f"Made by `.venv/bin/python bench/{name}.py` in {found.get('took', 0):.0f} seconds"
        f"{f', {rounds} runs of each or fewer' if rounds > 1 else ''}. Measured on: {machine}.\n"
        f"{commands(found)}"
    )


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    for table in found["tables"]:
        rows = [Row(**{**row, "samples": [Sample(**sample) for sample in row["samples"]]}) for row in table["rows"]]
        yield Table(table["title"], rows, table["size"])


def commands(found: Mapping[str, Any]) -> str:
    """What was run, folded away; once where tables differ by the image alone."""
    lines: dict[tuple[str, str], str] = {}
    for table in tables(found):
        kind = table.title.rpartition(", ")[2]
        for row in table.rows:
            if row.command and table.size:
                lines.setdefault((kind, row.tool), f"{kind}: {row.tool:32} {row.command}")
    if not lines:
        return ""
    return (
        "\n<details><summary>The commands</summary>\n\n"
        + "\n".join(f"    {line}" for line in lines.values())
        + "\n\n</details>\n"
    )


def panels(figures: Mapping[str, Mapping[str, Any]]) -> Iterator[Panel]:
    for title, (figure, number) in PANELS.items():
        if figure in figures:
            table = list(tables(figures[figure]))[number]
            shown = [row for row in table.rows if row.samples and (row.command or row.tool == PLOTTED_LIMIT)]
            if shown:
                yield Panel(title, [Bar(_label(row.tool), rate(table, row), _kind(row)) for row in shown])


def _label(tool: str) -> str:
    return tool.removeprefix("limit: ").removesuffix(", all cores")


def _kind(row: Row) -> str:
    if row.tool == PLOTTED_LIMIT:
        return "limit"
    return "ours" if row.tool.startswith("tranship") else "peer"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    main(*([QUICK, QUICK] if parser.parse_args().quick else []))
