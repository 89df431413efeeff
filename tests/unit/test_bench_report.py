"""The report of the benchmarks is made of what they recorded: tables, limits, commands, and a plot of the rates."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from support.peers import Peers, temporary_home

sys.path.append(str(Path(__file__).parents[2] / "bench"))

import report  # needs the path above
from harness import ROOT, TIMES, Bench, Row, Sample, Table, render, shown  # needs the path above
from limits import limits  # needs the path above
from plot import Bar, Panel, svg  # needs the path above

SVG = "{http://www.w3.org/2000/svg}"


def rows(*rates: tuple[str, int], size: int) -> list[Row]:
    """Tools that move so many bytes a second."""
    return [Row(tool, [Sample(size / rate, size / rate, 0.5, 0, 1 << 20, 0)], [], f"{tool} -x") for tool, rate in rates]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Figures as their scripts record them."""
    size = 10_000_000
    (tmp_path / "blob").write_bytes(bytes(100_000))
    most = limits([tmp_path / "blob"], tmp_path, rounds=1)
    given = rows(("tranship export (store)", 2_000_000_000), ("skopeo 1.2", 500_000_000), size=size)
    wrong = Row("podman 1", wrong=["a layer is missing"], command="podman save")
    tables = {
        "export": [Table("ml, 10 MB, to an archive", [*given, wrong, *most], size)],
        "daemon": [
            Table(f"ml, 10 MB, {verb}", rows(("tranship daemon", 300), ("containerd 2", 200), size=size), size)
            for verb in ("export", "import", "pull", "push")
        ],
        "store_list": [Table("10 images", rows(("tranship ls", 1), ("ctr images ls", 2), size=1))],
    }
    with temporary_home() as home:
        here = Bench(tmp_path, tmp_path, Peers(home), 1, tmp_path, 0.0)
        for figure, found in tables.items():
            here.record(figure, "\n\n".join(render(one) if one.size else render(one, TIMES) for one in found), found)
    return tmp_path


def test_every_figure_stands_with_its_command_and_the_limits_stand_in_the_table(recorded: Path, tmp_path: Path) -> None:
    report.main(recorded, tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert "![MB/s of each tool, for each pair of ends](plot.svg)" in text
    for figure in ("export", "daemon", "store_list"):
        assert f"Made by `.venv/bin/python bench/{figure}.py` in " in text
    assert "| tranship export (store) | 0.00500 (0.00500) | 1.00 |" in text
    assert "| skopeo 1.2 | 0.020 (0.020) | 4.00 |" in text
    assert "| podman 1 (**1 of 1 runs wrong**) | - |" in text
    for limit in ("hash, one core", "read and write, one core", "loopback", "fsync of 4 KiB"):
        assert f"| limit: {limit} | " in text
    assert "to an archive: skopeo 1.2                       skopeo 1.2 -x" in text


def test_the_plot_has_a_panel_for_each_pair_and_a_bar_as_long_as_the_rate_for_each_tool(
    recorded: Path, tmp_path: Path
) -> None:
    report.main(recorded, tmp_path)
    drawn = ET.parse(tmp_path / "plot.svg").getroot()
    said = [text.text for text in drawn.iter(f"{SVG}text")]
    assert [text for text in said if text in report.PANELS] == [*report.PANELS][:1] + [*report.PANELS][5:]
    assert {"tranship export (store)", "skopeo 1.2", "read, hash, write, fsync"} <= {*said}
    assert "podman 1" not in said
    bars = [
        (bar.get("class"), float(bar.get("width", "0")))
        for bar in drawn.iter(f"{SVG}rect")
        if bar.get("class") != "page"
    ]
    assert bars[0][0] == "ours"
    assert bars[1][0] == "peer"
    assert bars[2][0] == "limit"
    assert bars[0][1] == pytest.approx(4 * bars[1][1], abs=0.3)


def test_the_same_figures_make_the_same_picture_and_names_are_text_in_it() -> None:
    panels = [Panel("a < b", [Bar("x & y", 5e6, "ours")])]
    assert svg(panels) == svg(panels)
    assert [text.text for text in ET.fromstring(svg(panels)).iter(f"{SVG}text")] == ["a < b", "x & y", "5"]


def test_a_command_is_told_without_the_folders_and_ports_of_its_run() -> None:
    work = ROOT / ".cache/bench/work-a_b1"
    command = [
        "/x/bin/tranship",
        *("copy", f"oci:{ROOT}/.cache/images/ml:v1"),
        *("docker://127.0.0.1:40123/ml:v1", work / "out.tar"),
    ]
    assert shown(command) == "tranship copy oci:ml:v1 docker://registry:5000/ml:v1 out.tar"


def test_every_script_of_a_figure_is_in_the_report_and_in_make_bench() -> None:
    scripts = {path.stem for path in (ROOT / "bench").glob("*.py") if "with bench(__doc__)" in path.read_text()}
    assert scripts == {*report.FIGURES}
    makefile = (ROOT / "Makefile").read_text()
    made = next(line for line in makefile.splitlines() if line.startswith("FIGURES ?="))
    assert {*made.split()[2:]} == scripts
