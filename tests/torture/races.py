"""Many processes on one store, with collections all the time: nothing that is held may vanish."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from support import store_racer
from torture.box import part
from tranship.store import Store

if TYPE_CHECKING:
    from torture.box import Box

ROLES = ("import", "import", "import", "ingest", "collect", "collect")
PERIOD = 30.0  # seconds of one life of the racers


@part("gc-race")
def gc_race(box: Box) -> None:
    """Processes that import, ingest, read and collect the same few blobs; each checks every byte of what it holds."""
    with box.scratch() as folder:
        root = folder / "store"
        Store.open(root).close()
        for number in box.rounds():
            seconds = max(1.0, min(PERIOD, box.left))
            racers = [
                subprocess.Popen(
                    [sys.executable, store_racer.__file__, str(root), role, str(seconds), str(box.seed * 1000 + n)],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for n, role in enumerate(ROLES, number * len(ROLES))
            ]
            for role, racer in zip(ROLES, racers, strict=True):
                with box.unbroken(f"{role} of round {number}"):
                    out, err = racer.communicate(timeout=seconds + 60)
                    assert racer.returncode == 0, err[-2000:]
                    box.count(f"rounds of {role}", int(out))
            with box.unbroken(f"the store after round {number}"), Store.open(root) as store:
                report = store.fsck(deep=True)
                assert report.ok, report.problems
                store.gc()
                assert not store.namespace("n0").content.statuses(), "an ingest is left over"
