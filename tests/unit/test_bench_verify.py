"""The benchmarks count a result only if it is right: what is wrong must not pass for fast."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.images import blobs, tar_layout

sys.path.append(str(Path(__file__).parents[2] / "bench"))

from harness import Case, Job, WrongResult, measure, ready  # needs the path above
from verify import check_archive, check_blobs  # needs the path above


@pytest.fixture
def layout(images: Callable[[str], Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(images("tiny-3"), tmp_path / "layout"))


def test_a_whole_layout_and_its_archive_pass(layout: Path, tmp_path: Path) -> None:
    wanted = blobs(layout).keys()
    assert len(wanted) == 5
    check_blobs(layout, wanted)
    check_archive(tar_layout(layout, tmp_path / "a.tar"), wanted)


def test_a_changed_byte_is_found(layout: Path, tmp_path: Path) -> None:
    wanted = blobs(layout)
    path = max(wanted.values())
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    with pytest.raises(WrongResult, match=path.name):
        check_blobs(layout, wanted)
    with pytest.raises(WrongResult, match=path.name):
        check_archive(tar_layout(layout, tmp_path / "a.tar"), wanted)


def test_an_absent_blob_is_found(layout: Path, tmp_path: Path) -> None:
    wanted = blobs(layout)
    max(wanted.values()).unlink()
    with pytest.raises(WrongResult, match="1 of 5 blobs are missing"):
        check_blobs(layout, wanted)
    with pytest.raises(WrongResult, match="1 of 5 blobs are missing"):
        check_archive(tar_layout(layout, tmp_path / "a.tar"), wanted)


def test_an_archive_that_was_cut_short_is_found(layout: Path, tmp_path: Path) -> None:
    wanted = blobs(layout).keys()
    archive = tar_layout(layout, tmp_path / "a.tar")
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size // 2)
    with pytest.raises(WrongResult):
        check_archive(archive, wanted)


def test_a_run_that_fails_or_is_wrong_gives_no_time(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def check(_: Job) -> None:
        if out.read_text() != "right\n":
            raise WrongResult("not right")

    def case(tool: str, script: str) -> Case:
        return Case(tool, lambda: ready(Job(["sh", "-c", script], out)), check)

    right, wrong, failed = measure(
        [case("right", f"echo right > {out}"), case("wrong", f"echo left > {out}"), case("failed", "exit 3")], rounds=2
    )
    assert len(right.samples) == 2
    assert not right.wrong
    assert right.samples[0].durable >= right.samples[0].wall > 0
    assert (wrong.samples, wrong.wrong) == ([], ["not right"] * 2)
    assert (failed.samples, failed.wrong) == ([], ["ended with 3: "] * 2)
    assert not out.exists()
