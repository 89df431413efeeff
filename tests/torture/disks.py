"""Disks that fill up, and disks whose power is cut. On small file systems of our own, which takes root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from support import store_work
from support.disks import Impossible, clone, cut_power, mounted, tool
from torture import invariants
from torture.box import part
from torture.content import NAME, command, environment, run, versions
from tranship.store import Store

if TYPE_CHECKING:
    from pathlib import Path

    from torture.box import Box
    from torture.content import Versions

NO_SPACE = 11  # the exit code
MIB = 1 << 20
SMALL = (
    0,
    1,
    4096,
    70_000,
    1_200_000,
    3_000_000,
    9 << 20,
)  # bytes of the layers of an image of 13 MB, and of one of 100 MB:
LARGE = (0, 1, 4096, 70_000, 1_200_000, 30_000_000, 68_000_000)


# -------------------------------------------------------------------------------------------------------------- full disks


@part("enospc")
def enospc(box: Box) -> None:
    """Imports and exports on disks of one size after another, by bytes (20, 21, … 200 MiB for an image of 100 MB, in any order; less in
    a slice) and by inodes: done, or refused for want of space with nothing lost; and done once there is room.
    """  # fmt: skip
    with box.scratch() as folder:
        small = versions(folder / "small", SMALL)
        large = small if box.is_slice else versions(folder / "large", LARGE)
        sizes = (
            [box.chance.randrange(64 << 10, 40 * MIB) for _ in range(20)]
            if box.is_slice
            else [n * MIB for n in range(20, 201)]
        )
        box.chance.shuffle(sizes)
        for number in box.rounds():
            kind, known = (("bytes", large), ("inodes", small))[number % 2]
            limit = (
                f"size={sizes[number // 2 % len(sizes)]}"
                if kind == "bytes"
                else f"size=200m,nr_inodes={box.chance.randrange(2, 60)}"
            )
            with (
                box.unbroken(f"a disk with {limit}"),
                box.scratch() as place,
                mounted(place / "disk", "-t", "tmpfs", "-o", limit, "none") as disk,
            ):
                _fill(box, disk, known)
                box.count(f"disks of few {kind}")


def _fill(box: Box, disk: Path, known: Versions) -> None:
    root, need = disk / "store", known.new.stat().st_size
    first, second = run(root, "import", known.old), run(root, "import", known.new)
    third = run(root, "export", NAME, "-o", disk / "out.tar")
    for ran in (first, second, third):
        assert ran.orderly, ran.err
        box.count("refused", ran.code == NO_SPACE)
        box.count("done", ran.code == 0)
    assert first.code in (0, NO_SPACE), first.err
    assert second.code in (0, NO_SPACE), second.err
    if first.code == 0:
        assert third.code in (0, NO_SPACE), third.err
    assert [name for name in os.listdir(disk) if name.startswith(".")] == [], "a part of an export is left"
    assert (disk / "out.tar").exists() == (third.code == 0)
    tool("mount", "-o", f"remount,size={6 * need},nr_inodes=100000", disk)
    (disk / "out.tar").unlink(missing_ok=True)
    if (root / "state.db").exists() and first.code == 0:
        invariants.sound(root, {NAME: {known.root("new" if second.code == 0 else "old")}})
    invariants.goes_on(root, known)


# --------------------------------------------------------------------------------------------------------------- power cuts


@part("power")
def power(box: Box) -> None:
    """Imports, removals and collections without end on ext4, XFS and btrfs; the power is cut, and what was acknowledged must be
    whole after the next mount. Each disk sees one cut after another.
    """  # fmt: skip
    kinds = [kind for kind in ("ext4", "xfs", "btrfs") if shutil.which(f"mkfs.{kind}")]
    if not kinds:
        raise Impossible("there is no mkfs")
    with box.scratch() as folder, contextlib.ExitStack() as stack:
        disks = {}
        for kind in kinds:
            disks[kind] = (_cloneable(stack, folder) if kind == "btrfs" else folder) / kind
            with disks[kind].open("wb") as file:
                file.truncate(320 * MIB)  # what XFS takes at least
            tool(f"mkfs.{kind}", "-q", disks[kind])
        for number in box.rounds():
            kind = kinds[number % len(kinds)]
            with box.unbroken(f"cut {number}, {kind}"):
                _cut(box, folder / "disk", disks[kind])
                box.count(f"cuts of {kind}")


def _cloneable(stack: contextlib.ExitStack, folder: Path) -> Path:
    """A folder on a file system with reflinks: the cut of btrfs, which has no shutdown in most kernels, is a clone of its image."""
    image = folder / "clones.xfs"
    with image.open("wb") as file:
        file.truncate(1024 * MIB)
    tool("mkfs.xfs", "-q", "-m", "reflink=1", image)
    return stack.enter_context(mounted(folder / "clones", "-o", "loop", image))


def _cut(box: Box, place: Path, image: Path) -> None:
    with mounted(place, "-o", "loop", image) as disk:
        acknowledged = _until_cut(disk, image, box.chance.randint(0, 12), box.chance.uniform(0, 0.02))
    if image.name == "btrfs":
        _after_the_cut(image).rename(image)
    with mounted(place, "-o", "loop", image) as disk, Store.open(disk / "store") as store:
        report = store.fsck(deep=True)
        assert report.ok, report.problems
        space = store.namespace("default")
        for n in range(acknowledged):
            if n % 2 == 0:  # every other one is removed again by the process
                store_work.assert_whole(store, "default", f"image-{n}", [f"v{n}"])
                box.count("acknowledged images whole")
        for found in space.images.list():
            store_work.assert_whole(store, "default", found.name, [f"v{found.name.rpartition('-')[2]}"])
            space.images.delete(found.name)
        store.gc()


def _after_the_cut(image: Path) -> Path:
    return image.with_suffix(".cut")


def _until_cut(disk: Path, image: Path, wanted: int, more: float) -> int:
    """Let a process import; cut the power a moment after so many images are acknowledged. How many were, by then."""
    words = [sys.executable, store_work.__file__, str(disk / "store"), "endless"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        count = sum(1 for _ in zip(range(wanted), child.stdout, strict=False))
        assert count == wanted, "the process has ended by itself"
        time.sleep(more)
        try:
            if image.name == "btrfs":
                clone(image, _after_the_cut(image))
            else:
                cut_power(disk)
        finally:
            child.kill()
    return count


@part("power-commands")
def power_commands(box: Box) -> None:
    """The same with whole commands: an import or an export that has said so is there after the cut, byte for byte."""
    with box.scratch() as folder:
        known = versions(folder)
        image = folder / "ext4"
        with image.open("wb") as file:
            file.truncate(160 * MIB)
        tool("mkfs.ext4", "-q", image)
        for number in box.rounds():
            with box.unbroken(f"cut {number} beside commands"):
                with mounted(folder / "disk", "-o", "loop", image) as disk:
                    done = _commands_until_cut(box, disk, known.new, known.old)
                with mounted(folder / "disk", "-o", "loop", image) as disk:
                    if "import" in done:
                        invariants.sound(disk / "store", {NAME: {known.root("new"), known.root("old")}})
                    if "export" in done:
                        assert (disk / "out.tar").read_bytes() == known.new.read_bytes(), (
                            "an acknowledged export differs"
                        )
                    shutil.rmtree(disk / "store", ignore_errors=True)
                    (disk / "out.tar").unlink(missing_ok=True)
                    box.count("cuts")
                    box.count("acknowledged commands whole", len(done))


def _commands_until_cut(box: Box, disk: Path, new: Path, old: Path) -> list[str]:
    """Import, export, import another; cut the power at any moment. What had ended well by then."""
    root, done = disk / "store", []
    steps: tuple[tuple[object, ...], ...]
    steps = (("import", new), ("export", NAME, "-o", disk / "out.tar"), ("import", old))
    stop = time.monotonic() + box.chance.uniform(0.1, 1.2)
    for words in steps:
        with subprocess.Popen(command(root, *words), env=environment(), stdout=-3, stderr=-3) as process:
            try:
                if process.wait(max(0.01, stop - time.monotonic())) == 0 and words[-1] != old:
                    done.append(str(words[0]))
            except subprocess.TimeoutExpired:
                pass
            finally:
                if time.monotonic() >= stop or words == steps[-1]:
                    cut_power(disk)
                    process.kill()
        if time.monotonic() >= stop:
            break
    return done
