"""What must be true of a store after any harm: one function, used by every part.

1  every blob has the bytes that its name says, and every record its file    (fsck, deep)
2  every image is whole
3  an image that was being replaced is the old one or the new one
4  nothing stands where nothing should: in the store's folder, in its `run/`, or beside an output
5  nothing is open to others: folders 0700, files 0600 or 0400
6  work goes on: a good import and an export succeed, and the archive is the same, byte for byte
"""

from __future__ import annotations

import filecmp
import os
import stat
from typing import TYPE_CHECKING

from torture.content import NAME, run
from tranship.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torture.content import Versions

TOP = {"blobs", "ingest", "run", "quarantine", "lock", "state.db", "state.db-wal", "state.db-shm"}


def sound(root: Path, wanted: Mapping[str, set[str]] | None = None, *, alone: bool = True) -> None:
    """Invariants 1 to 5. `wanted`: digests of which an image must be one; an image that is absent must have "" among them.

    `alone`: nobody else has the store open.
    """
    with Store.open(root, create=False) as store:
        report = store.fsck(deep=True)
        assert report.ok, [problem.detail for problem in report.problems]
        assert not report.incomplete, report.incomplete
        images = {image.name: str(image.target.digest) for image in store.namespace("default").images.list()}
        for name, digests in (wanted or {}).items():
            assert images.get(name, "") in digests, f"{name} is {images.get(name, 'absent')}, not one of {digests}"
        running = set(os.listdir(root / "run")) - {"gate"}
        assert not alone or len(running) == 1, f"dead processes are left in run/: {running}"
    assert set(os.listdir(root)) <= TOP, os.listdir(root)
    private(root)


def private(root: Path) -> None:
    """Invariant 5."""
    for parent, folders, files in os.walk(root):
        for name in (*folders, *files, "."):
            path = os.path.join(parent, name)
            found = os.lstat(path)
            assert not stat.S_IMODE(found.st_mode) & 0o077, f"{path} has mode {stat.S_IMODE(found.st_mode):04o}"
            assert found.st_uid == os.geteuid(), f"{path} belongs to {found.st_uid}"


def goes_on(root: Path, versions: Versions) -> None:
    """Invariant 6, by processes of their own."""
    ran = run(root, "import", versions.new)
    assert ran.code == 0, ran.err
    out = root.parent / "goes-on.tar"
    ran = run(root, "export", NAME, "-o", out)
    assert ran.code == 0, ran.err
    assert filecmp.cmp(out, versions.new, shallow=False), "an export differs from what was imported"
    out.unlink()
    sound(root, {NAME: {versions.root("new")}})
