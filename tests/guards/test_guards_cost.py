"""What an operation may cost at most, in calls, bytes, waits for the disk, transactions and requests: counted, never timed.

A number here is a promise. When a change needs more, the test says by how much; when it needs less, lower the number.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support.counting import counting, moved_by_kernel, traced
from support.peers import find
from torture.content import NAME, image, in_memory
from tranship import Archive, Layout, Registry, Store, transfer
from tranship.cli import main
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
LARGE = (5_000_000, 2_000_000, 30_000_000)  # bytes of layers


def archive_of(folder: Path, count: int, sizes: tuple[int, ...] = ()) -> Archive:
    """An archive of one image of many small layers, or of layers of these sizes."""
    end = Archive(folder / f"in-{count}.tar", durability="process")
    transfer(in_memory(NAME, count, sizes or [500 + n for n in range(count)]), end)
    return end


@pytest.fixture
def server() -> Iterator[RegistryServer]:
    with RegistryServer() as running:
        yield running


def at(server: RegistryServer, name: str) -> Registry:
    return Registry(f"{server.host}/{name}", plain_http=True, credential=lambda *_: None, environment={})


# ------------------------------------------------------------------------------------------------------- calls and commits


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_an_import_costs_few_calls_a_layer_and_a_fixed_number_of_waits_and_commits(count: int, tmp_path: Path) -> None:
    source, store = archive_of(tmp_path, count), Store(root=tmp_path / "store")
    with counting() as first:
        transfer(source, store)
    assert first.total <= 130 + 8 * count
    assert first.commits <= 10 + count // 512  # a group of the batch is one
    assert first.syncs <= (
        count + 3 if count < 16 else 2 + 2 * (count // 512 + 1)
    )  # a few files one by one, many at once
    with counting() as again:
        transfer(source, store)
    assert again.total <= 100 + 3 * count
    assert again.syncs == 0
    assert again.written == 0


def test_what_somebody_has_not_waited_for_costs_one_wait_when_it_is_counted_on(tmp_path: Path) -> None:
    source, store = archive_of(tmp_path, 100), Store(root=tmp_path / "store")
    transfer(source, replace(store, durability="process"))
    with counting() as again:
        transfer(source, store)
    assert again.syncs == 1


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_an_export_costs_few_calls_a_layer_and_two_waits(count: int, tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    transfer(archive_of(tmp_path, count), store)
    with counting() as cost:
        transfer(Store(NAME, root=tmp_path / "store"), Archive(tmp_path / "out.tar"))
    assert cost.total <= 80 + 7 * count
    assert cost.syncs == 2  # the file, and the name
    assert cost.commits <= 3  # the lease, made and removed


@pytest.mark.parametrize("count", [10, 100])
def test_pulls_and_pushes_cost_few_calls_a_layer_and_a_fixed_number_of_waits_and_commits(
    count: int, server: RegistryServer, tmp_path: Path
) -> None:
    transfer(archive_of(tmp_path, count), Store(root=tmp_path / "store", durability="process"))
    with counting() as push:
        transfer(Store(NAME, root=tmp_path / "store"), at(server, "app:1"))
    assert push.total <= 50 + 7 * count
    assert push.syncs == 0
    assert push.written == 0
    assert push.commits <= 3  # the lease, made and removed
    with counting() as pull:
        transfer(at(server, "app:1"), Store(root=tmp_path / "pulled"))
    assert pull.total <= 120 + 7 * count
    assert pull.syncs <= (count + 3 if count < 16 else 2)
    assert pull.commits <= 10
    with counting() as again:
        transfer(at(server, "app:1"), Store(root=tmp_path / "pulled"))
    assert again.total <= 100 + 3 * count
    assert again.syncs == 0


def test_a_tag_costs_the_same_in_any_store_and_a_list_two_reads_an_image(tmp_path: Path) -> None:
    tags, lists = [], []
    for count in (10, 100):
        images, root = Memory(), tmp_path / f"store-{count}"
        for number in range(count):
            image(images, f"example.com/app:{number}", number, [700])
        transfer(images, Store(root=root, durability="process"))
        for words, costs in ((["tag", "example.com/app:0", "example.com/other:1"], tags), (["ls", "--quiet"], lists)):
            with counting() as cost:
                assert main(["--root", str(root), *words]) == 0
            costs.append(cost)
    for tag in tags:
        assert tag.total <= 75
        assert tag.commits == 1
        assert (tag.read, tag.written) == (0, 0)
    for listed in lists:
        assert listed.statements.total() <= 40  # however many images there are
        assert (listed.syncs, listed.commits, listed.written) == (0, 0, 0)
    with counting() as listed:
        assert main(["--root", str(tmp_path / "store-100"), "ls"]) == 0
    assert listed.calls["read"] <= 2 * 101  # the manifest, and the config that says which platform it is for
    assert listed.total <= 50 + 6 * 101


def test_the_cost_of_images_grows_as_their_number(tmp_path: Path) -> None:
    costs = []
    for count in (1, 10, 100):
        images = Memory()
        for number in range(count):
            image(images, f"example.com/app:{number}", number, [700])
        transfer(images, Archive(tmp_path / f"{count}.tar", durability="process"))
        with counting() as cost:
            transfer(Archive(tmp_path / f"{count}.tar"), Store(root=tmp_path / f"store-{count}"))
        costs.append(cost)
    one, ten, hundred = costs
    assert (hundred.total - ten.total) / 90 <= 1.1 * (ten.total - one.total) / 9 + 1
    assert hundred.total <= 100 + 25 * 100
    assert hundred.syncs <= 4
    assert hundred.statements.total() <= 150 + 40 * 100


# -------------------------------------------------------------------------------------------------------------- each byte once


@pytest.mark.parametrize(
    ("source", "destination"),
    [("archive", "store"), ("store", "archive"), ("archive", "layout"), ("store", "layout"), ("layout", "store")],
)
def test_each_byte_is_read_once_and_written_once(source: str, destination: str, tmp_path: Path) -> None:
    given = archive_of(tmp_path, 0, LARGE)

    def end(kind: str, folder: str) -> Any:
        return {
            "archive": lambda: given if folder == "in" else Archive(tmp_path / "out.tar"),
            "store": lambda: Store(root=tmp_path / folder / "store"),
            "layout": lambda: Layout(tmp_path / folder / "layout"),
        }[kind]()

    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    if source != "archive":
        transfer(given, end(source, "in"))
    before = moved_by_kernel()
    with counting() as cost:
        transfer(end(source, "in"), end(destination, "out"))
    after = moved_by_kernel()
    for moved in (cost.read, cost.written):
        assert sum(LARGE) <= moved <= sum(LARGE) + 64 * 1024
    if before is not None and after is not None:  # with what SQLite and Python itself read and wrote
        assert all(now - then <= sum(LARGE) + MIB for then, now in zip(before, after, strict=True))


# ----------------------------------------------------------------------------------------------------------------- requests


def test_what_registries_are_asked(server: RegistryServer, tmp_path: Path) -> None:
    """One image of ten layers: eleven blobs and a manifest."""
    source, store = archive_of(tmp_path, 10), Store(root=tmp_path / "store", durability="process")

    def requests(one: Any, other: Any) -> dict[str, int]:
        server.forget()
        transfer(one, other)
        return dict(server.counts)

    push = requests(source, at(server, "app:1"))
    assert push.pop("manifest.head") == 1
    assert push.pop("manifest.put") == 1
    assert push.pop("upload.finish") == 11
    assert sum(push.values()) <= 11  # one more for each blob: is it there, or where to send it
    assert requests(source, at(server, "app:1")) == {"manifest.head": 1}
    assert requests(at(server, "app:1"), store) == {"manifest.head": 1, "manifest.get": 1, "blob.get": 11}
    assert requests(at(server, "app:1"), store) == {"manifest.head": 1}
    mirror = requests(at(server, "app:1"), at(server, "other:1"))
    assert mirror == {"manifest.head": 2, "manifest.get": 1, "upload.mount": 11, "manifest.put": 1}
    assert requests(at(server, "app:1"), at(server, "other:1")) == {"manifest.head": 2}


def test_a_mirror_asks_for_each_blob_once_on_either_side_and_leaves_the_disk_alone(server: RegistryServer) -> None:
    images = in_memory(NAME, 1, [*LARGE, *range(500, 507)])
    transfer(images, at(server, "app:1"))
    with RegistryServer() as other:
        server.forget()
        with counting() as cost:
            transfer(at(server, "app:1"), at(other, "app:1"))
        assert dict(server.counts) == {"manifest.head": 1, "manifest.get": 1, "blob.get": 11}
        uploads = {"upload.mount": 11, "upload.finish": 11}  # a mount that is refused is the beginning of an upload
        asked = {"manifest.head": 1, "blob.head": len(LARGE), "manifest.put": 1}  # of small ones nobody asks
        assert dict(other.counts) == uploads | asked
        for moved in (server.sent(), other.received()):
            assert sum(LARGE) <= moved <= sum(LARGE) + 16 * 1024
        assert (cost.total, cost.written) == (0, 0)
        server.forget()
        other.forget()
        transfer(at(server, "app:1"), at(other, "app:1"))
        assert dict(server.counts) == dict(other.counts) == {"manifest.head": 1}


def test_each_byte_goes_over_the_network_once(server: RegistryServer, tmp_path: Path) -> None:
    source, store = archive_of(tmp_path, 0, LARGE), Store(root=tmp_path / "store", durability="process")
    transfer(source, at(server, "app:1"))
    assert sum(LARGE) <= server.received() <= sum(LARGE) + 4096  # the config and the manifest
    server.forget()
    before = moved_by_kernel()
    transfer(at(server, "app:1"), store)
    after = moved_by_kernel()
    assert sum(LARGE) <= server.sent() <= sum(LARGE) + 4096
    if before is not None and after is not None:  # a socket's bytes are not among what is read
        assert after[1] - before[1] <= sum(LARGE) + MIB


def test_a_pull_opens_no_more_connections_than_it_has_threads(server: RegistryServer, tmp_path: Path) -> None:
    transfer(archive_of(tmp_path, 50), at(server, "app:1"))
    before = server.connections
    transfer(at(server, "app:1"), Store(root=tmp_path / "store", durability="process"))
    assert server.connections - before <= 5


# ------------------------------------------------------------------------------------------------------- by the system's own count


@pytest.mark.peer("strace")
def test_how_often_a_command_waits_for_the_disk(tmp_path: Path) -> None:
    """With what SQLite waits for, on a store that is there, and for whose blobs nobody has waited: that is one of them."""
    end, root = archive_of(tmp_path, 100), tmp_path / "store"
    transfer(end, Store(root=root, durability="process"))
    for most, words in (
        (0, ["ls"]),
        (6, ["tag", NAME, "example.com/other:1"]),
        (6, ["export", NAME, "-o", tmp_path / "out.tar"]),
    ):
        calls = traced(find("strace"), tmp_path, "--root", root, "-q", *words)
        assert sum(calls[name] for name in ("fsync", "fdatasync", "syncfs")) <= most, words
    known = traced(find("strace"), tmp_path, "--root", root, "-q", "import", end.file)
    assert sum(known[name] for name in ("fsync", "fdatasync", "syncfs")) <= 6


@pytest.mark.peer("strace")
def test_what_a_whole_command_asks_of_the_system(tmp_path: Path) -> None:
    """SQLite's calls too: 100 layers more cost so many calls more, and not one wait."""
    found = {}
    for count in (100, 200):
        end = archive_of(tmp_path, count)
        found[count] = traced(
            find("strace"), tmp_path, "--root", tmp_path / f"store-{count}", "-q", "import", str(end.file)
        )
    waits = [sum(calls[name] for name in ("fsync", "fdatasync", "syncfs")) for calls in found.values()]
    assert waits[0] == waits[1]
    assert waits[0] <= 14  # a new database among them
    assert found[200].total() - found[100].total() <= 100 * 16
