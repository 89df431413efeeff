"""Full disks and power cuts, on small file systems of the test's own. Needs root, for mounting."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from support import store_work
from support.disks import cut_power, mounted, tool
from tranship.errors import AlreadyExists, NoSpace
from tranship.store import Image, Store

pytestmark = pytest.mark.root


def work(root: Path) -> None:
    with Store.open(root) as store:
        store_work.do_import(store)
        with contextlib.suppress(AlreadyExists):
            store_work.do_write(store)


@pytest.mark.parametrize("kind", ["bytes", "inodes"])
def test_a_full_disk_is_said_and_work_goes_on_when_there_is_room(tmp_path, kind):
    refused = 0
    for step in (1, 2, 3, 5, 8, 13, 21):
        limit = f"size={step * 90}k" if kind == "bytes" else f"size=8m,nr_inodes={step * 2}"
        with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", limit, "none") as disk:
            try:
                work(disk / "store")
            except NoSpace:
                refused += 1
            tool("mount", "-o", "remount,size=8m,nr_inodes=10000", disk)
            work(disk / "store")
            with Store.open(disk / "store") as store:
                assert store.fsck(deep=True).ok
                store_work.assert_whole(store, "default", "app", ["v2"])
    assert refused > 2


def test_what_was_acknowledged_survives_power_cuts(tmp_path):
    image = disk_image(tmp_path)
    for cut in range(5):
        with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
            acknowledged = run_until_cut(disk, 2 + 3 * cut)
        with mounted(tmp_path / "disk", "-o", "loop", image) as disk, Store.open(disk / "store") as store:
            report = store.fsck(deep=True)
            assert report.ok, report.problems
            for n in range(acknowledged):
                if n % 2 == 0:
                    store_work.assert_whole(store, "default", f"image-{n}", [f"v{n}"])
            for found in store.namespace("default").images.list():
                store.namespace("default").images.delete(found.name)
            store.gc()


@pytest.mark.parametrize("how", ["transfer", "tag"])
def test_what_others_did_not_wait_for_survives_once_it_is_acknowledged(tmp_path, how):
    image = disk_image(tmp_path)
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk:
        with Store.open(disk / "store", durability="process") as store:
            store_work.add_image(store.namespace("default"), "lax", "v1")
        with Store.open(disk / "store") as store:
            target = store.namespace("default").images.get("lax").target
            if how == "tag":
                store.namespace("default").images.put(Image("app", target))
            else:
                with store.batch() as batch:
                    space = batch.namespace("default")
                    wanted = {info.digest: {} for info in space.content.walk()}
                    assert space.content.ensure_all(wanted) == set(wanted)
                    space.images.put(Image("app", target))
        cut_power(disk)
    with mounted(tmp_path / "disk", "-o", "loop", image) as disk, Store.open(disk / "store") as store:
        store_work.assert_whole(store, "default", "app", ["v1"])


def disk_image(folder: Path) -> Path:
    image = folder / "image"
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    tool("mkfs.ext4", "-q", image)
    return image


def run_until_cut(disk: Path, wanted: int) -> int:
    """Let a process import images, cut the power when so many are acknowledged; how many were."""
    command = [sys.executable, store_work.__file__, str(disk / "store"), "endless"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout is not None
        count = sum(1 for _ in zip(range(wanted), child.stdout, strict=False))
        try:
            cut_power(disk)
        finally:
            child.kill()
    assert count == wanted
    return count
