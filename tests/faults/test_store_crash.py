"""Whatever moment a process is killed at, the store is sound, what was acknowledged is there, and work goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support import store_work
from support.store_work import assert_whole, prepare
from tranship.errors import AlreadyExists
from tranship.model.digest import Digest
from tranship.store import Store

CHILD = Path(store_work.__file__)
WRITTEN = Digest.of(b"written" * 50_000)

POINTS = {
    "import": (
        "place.synced",
        "place.renamed",
        "place.directory",
        "place.recorded",
        "database.commit",
        "place.committed",
        "image.recorded",
    ),
    "write": (
        "ingest.begun",
        "ingest.written",
        "place.synced",
        "place.renamed",
        "place.recorded",
        "database.commit",
        "place.committed",
    ),
    "collect": ("database.commit", "gc.marked", "gc.condemned", "gc.unlinked", "gc.swept"),
}


def run(root: Path, *works: str, fail: str = "") -> tuple[int, list[str]]:
    """Run the child; its return code, and what it acknowledged."""
    done = subprocess.run(
        [sys.executable, str(CHILD), str(root), *works],
        env={**os.environ, "TRANSHIP_FAIL": fail},
        stdout=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode().split()


def assert_sound(root: Path, acknowledged: list[str]) -> None:
    with Store.open(root) as store:
        report = store.fsck(deep=True)
        assert report.ok, report.problems
        assert_whole(store, "default", "app", ["v2"] if "import" in acknowledged else ["v1", "v2"])
        assert_whole(store, "other", "other", ["v0"])
        images = [image.name for image in store.namespace("default").images.list()]
        if "old" in images:
            assert_whole(store, "default", "old", ["v3"])
            assert "collect" not in acknowledged
        if "write" in acknowledged:
            assert store.namespace("default").content.info(WRITTEN).size == 350_000
        assert len(os.listdir(root / "run")) == len(["gate", "our own"])


def assert_tidy_after_going_on(root: Path) -> None:
    """The same work succeeds now, and leaves nothing but what it should."""
    with Store.open(root) as store:
        store_work.do_import(store)
        try:
            store_work.do_write(store)
        except AlreadyExists:
            pass
        store_work.do_collect(store)
        assert_whole(store, "default", "app", ["v2"])
        space = store.namespace("default")
        assert b"".join(space.content.read(WRITTEN)) == b"written" * 50_000
        assert space.content.statuses() == []
        assert store.fsck(deep=True).ok


@pytest.mark.parametrize(("work", "point"), [(work, point) for work in POINTS for point in POINTS[work]])
def test_kill_at_every_passage(tmp_path, work, point):
    kills = 0
    for passage in (1, 2, 3, 5, 8):
        root = tmp_path / str(passage)
        prepare(root)
        code, acknowledged = run(root, work, fail=f"{point}:{passage}:kill")
        assert_sound(root, acknowledged)
        assert_tidy_after_going_on(root)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        assert acknowledged == []
        kills += 1
    assert kills > 0, "the failpoint was never passed"
