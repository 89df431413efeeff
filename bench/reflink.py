"""Reflinks: the largest image out of a store and into one on XFS, where blocks are shared instead of copied.

tranship begins each blob of 1 MiB and more at a multiple of 4096 bytes in its archives, so that a file system with reflinks can clone it in and
out. With `trusted` nothing is hashed on the way (what comes in so is marked, and hashed before it leaves again); with `parallel` the clone is.
Needs root, for a loop mount. The second number is the transfer alone, without starting the program. `cp --reflink=never` of the archive is the
copy that is saved. Medians.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from harness import Bench, bench, find, have
from verify import check_archive, check_blobs

from support.images import blobs

SIZE = 8 << 30  # bytes of the file system, sparse


@contextlib.contextmanager
def xfs(folder: Path) -> Iterator[Path]:
    image, mount = folder / "xfs.img", folder / "xfs"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run([find("mkfs.xfs"), "-q", "-m", "reflink=1", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mount], check=True)
    try:
        yield mount
    finally:
        subprocess.run(["umount", mount], check=True)


def timed(here: Bench, *args: str | Path, root: Path) -> tuple[float, float]:
    """Seconds of the whole command, and of the transfer in it."""
    job = here.tranship("--json", *args, root=root)
    os.sync()
    started = time.perf_counter()
    done = subprocess.run([*map(os.fspath, job.command)], env=job.env, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, json.loads(done.stdout)["seconds"]


def main() -> None:
    with bench(__doc__) as here:
        if os.geteuid() or not have("mkfs.xfs"):
            print("not measured: a loop mount of XFS needs root and mkfs.xfs")
            return
        layout = here.layout("ml")
        wanted = blobs(layout).keys()
        with xfs(here.work) as folder:
            store, archive = folder / "store", folder / "ml.tar"
            here.prepare(here.tranship("copy", f"oci:{layout}", "store:", root=store))
            lines = ["| 1 GB on XFS | command, s | transfer, s | MB/s of the transfer |", "|---|---:|---:|---:|"]

            def row(name: str, samples: list[tuple[float, float]]) -> None:
                whole, alone = (statistics.median(column) for column in zip(*samples, strict=True))
                size = sum(len(data) for data in map(Path.read_bytes, (layout / "blobs/sha256").iterdir()))
                lines.append(f"| {name} | {whole:.3f} | {alone:.3f} | {size / alone / 1e6:.0f} |")

            for mode in ("trusted", "parallel"):
                samples = []
                for _ in range(here.rounds):
                    archive.unlink(missing_ok=True)
                    samples.append(timed(here, "export", "--verification", mode, "-o", archive, root=store))
                    check_archive(archive, wanted)
                row(f"export, {mode}", samples)
            for mode in ("trusted", "parallel"):
                samples = []
                for _ in range(here.rounds):
                    second = folder / "second"
                    shutil.rmtree(second, ignore_errors=True)
                    samples.append(timed(here, "import", "--verification", mode, archive, root=second))
                    check_blobs(second, wanted)
                row(f"import, {mode}", samples)
            samples = []
            for _ in range(here.rounds):
                started = time.perf_counter()
                subprocess.run(["cp", "--reflink=never", archive, folder / "copy"], check=True)
                subprocess.run(["sync", folder / "copy"], check=True)
                samples.append((time.perf_counter() - started,) * 2)
                (folder / "copy").unlink()
            row("cp --reflink=never, and sync", samples)
        here.record("reflink", "\n".join(lines), [])


if __name__ == "__main__":
    main()
