"""A collection running all the time takes nothing from processes that import, ingest and read the same few blobs."""

import subprocess
import sys
from pathlib import Path

from support import store_racer
from tranship.store import Store

RACER = Path(store_racer.__file__)
SECONDS = 3


def test_collection_never_takes_what_is_held(tmp_path):
    root = tmp_path / "store"
    Store.open(root).close()
    roles = ["import", "import", "ingest", "collect"]
    racers = [
        subprocess.Popen(
            [sys.executable, str(RACER), str(root), role, str(SECONDS), str(seed)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed, role in enumerate(roles)
    ]
    results = [racer.communicate(timeout=60) for racer in racers]
    for role, racer, (_, error) in zip(roles, racers, results, strict=True):
        assert racer.returncode == 0, f"{role}: {error}"
    assert all(int(rounds) > 2 for rounds, _ in results), results
    with Store.open(root) as store:
        report = store.fsck(deep=True)
        assert report.ok, report.problems
        assert report.incomplete == ()
        for namespace in ("n0", "n1"):
            for image in store.namespace(namespace).images.list():
                store.namespace(namespace).images.delete(image.name)
            for status in store.namespace(namespace).content.statuses():
                store.namespace(namespace).content.abort(status.ref)
        store.gc()
        assert store.usage().blobs == 0
        assert list((root / "blobs" / "sha256").iterdir()) == []
