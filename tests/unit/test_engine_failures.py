"""How the engine fails: one cause, the right side, nothing hidden, and no thread left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from support.hostile import CONFIG, LAYER, Bundle, check_store, presented
from support.hostile_images import REFUSED, bundle_of
from support.registry_runs import image
from support.waiting import eventually
from tranship import Archive, Layout, Limits, Progress, Reporter, Selection, Stage, Store, transfer
from tranship.endpoints import store as store_endpoint
from tranship.engine.parallel import in_parallel
from tranship.engine.run import Run
from tranship.errors import (
    DataLoss,
    DigestMismatch,
    InvalidArgument,
    MissingContent,
    NoSpace,
    NotFound,
    TranshipError,
    blamed_on,
    printable,
)
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.platform import Platform
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory, MemoryDestination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def images(seed: int = 3) -> Memory:
    return random_images(random.Random(seed))


def destination(**methods: Callable[..., Any]) -> Memory:
    """A place in memory of which some methods are others."""

    class Changed(Memory):
        kind = "memory"

        @contextlib.contextmanager
        def open_destination(self, run: Any) -> Iterator[MemoryDestination]:
            yield type("Destination", (MemoryDestination,), methods)(self)

    return Changed()


# ---------------------------------------------------------------------------------------------------- what an error says


@pytest.mark.parametrize("method", ["prepare", "publish"])
def test_an_error_of_the_destination_says_so(method: str) -> None:
    def refuse(_self: Any, _argument: Any) -> None:
        raise InvalidArgument("no")

    with pytest.raises(InvalidArgument) as caught:
        transfer(images(), destination(**{method: refuse}))
    assert caught.value.side == "destination"


def test_an_error_of_opening_an_end_says_which(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as source:
        transfer(Archive(tmp_path / "absent.tar"), Memory())
    with pytest.raises(NotFound) as target:
        transfer(images(), Archive(tmp_path / "absent" / "a.tar"))
    assert (source.value.side, target.value.side) == ("source", "destination")
    assert "absent.tar" in str(source.value)
    assert str(target.value) == f"there is no directory {tmp_path / 'absent'}"


def test_blame_is_not_laid_on_another_when_it_is_known() -> None:
    with pytest.raises(NoSpace) as caught, blamed_on("source"):
        raise NoSpace("full")
    assert caught.value.side == "destination"


def test_nothing_to_move_is_an_error() -> None:
    with pytest.raises(NotFound, match="there is no image in memory"):
        transfer(Memory(), Memory())


def test_a_reporter_that_fails_at_the_end_does_not_hide_what_went_wrong() -> None:
    class Deaf(Reporter):
        def report(self, event: Progress) -> None:
            if event.stage is Stage.FAILED:
                raise ValueError("the terminal has gone")

    source = images()
    victim = max(source.blobs, key=lambda digest: len(source.blobs[digest]))
    source.blobs[victim] = source.blobs[victim][:-1] + b"!"
    with pytest.raises(DigestMismatch):
        transfer(source, Memory(), reporter=Deaf())


def test_a_corrupt_document_that_the_destination_shows_is_its_own_fault(tmp_path: Path) -> None:
    bundle, store = Bundle(), Store(root=tmp_path / "store")
    found = bundle.image()
    with presented(bundle.root(found), "file", tmp_path) as end:
        transfer(end, store)
        path = tmp_path / "store" / bundle.path(found)
        path.chmod(0o600)
        path.write_bytes(bytes(found["size"]))
        with pytest.raises(DigestMismatch) as caught:
            transfer(end, store)
    assert caught.value.side == "destination"


def test_a_document_that_lies_about_what_is_here_already_is_found_out(tmp_path: Path) -> None:
    """The store would not read the layer again, and would hold an image that it can never give away."""
    bundle, store = Bundle(), Store(root=tmp_path / "store")
    layer = bundle.put(b"layer", LAYER)
    with presented(bundle.root(bundle.image(layers=[layer])), "file", tmp_path) as end:
        transfer(end, store)
    lying = Bundle()
    lying.root(lying.image(layers=[{**layer, "size": 9}]), "localhost/evil:2")
    lying.files[lying.path(layer)] = b"something"
    with presented(lying, "file", tmp_path) as end, pytest.raises(DataLoss, match="has 5 bytes in the store") as caught:
        transfer(end, store)
    assert caught.value.side == "source"
    assert check_store(store) == 1


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="the system does not list open descriptors")
@pytest.mark.parametrize(
    "case", ["layer_has_other_bytes", "manifest_with_nan", "layer_is_absent", "two_images_of_one_name"]
)
@pytest.mark.parametrize("form", ["file", "pipe", "gzip", "layout"])
def test_no_descriptor_stays_open_after_a_failure(case: str, form: str, tmp_path: Path) -> None:
    row, store = REFUSED[case], Store(root=tmp_path / "store", durability="process")
    for attempt in range(3):
        (tmp_path / f"{attempt}").mkdir()
        with presented(bundle_of(row.make), form, tmp_path / f"{attempt}") as end:
            for target in (store, Layout(tmp_path / "layout"), Archive(tmp_path / "a.tar")):
                with contextlib.suppress(TranshipError):
                    transfer(end, target)
        if attempt == 0:
            before = len(os.listdir("/proc/self/fd"))
    assert len(os.listdir("/proc/self/fd")) == before


# ------------------------------------------------------------------------------------------------------------- threads


def test_where_no_more_threads_are_to_be_had_those_that_run_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    start, number, open_ends = threading.Thread.start, iter(range(100)), []

    def scarce(thread: threading.Thread) -> None:
        if next(number) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    class Watched(Memory):
        kind = "memory"

        @contextlib.contextmanager
        def open_destination(self, run: Any) -> Iterator[MemoryDestination]:
            open_ends.append(True)
            yield MemoryDestination(self)
            open_ends.clear()

    monkeypatch.setattr(threading.Thread, "start", scarce)
    with pytest.raises(RuntimeError, match="can't start"):
        transfer(images(5), Watched())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tranship-")]


def test_ctrl_c_waits_for_the_workers_before_their_files_are_closed() -> None:
    closed, wrote_after = threading.Event(), []

    class Slow(Memory):
        kind = "memory"

        @contextlib.contextmanager
        def open_destination(self, run: Any) -> Iterator[MemoryDestination]:
            barrier = threading.Barrier(2, action=lambda: signal.raise_signal(signal.SIGINT))

            class Destination(MemoryDestination):
                def write(self, blob: Any) -> None:
                    with contextlib.suppress(threading.BrokenBarrierError):
                        barrier.wait(5)
                        barrier.abort()
                    super().write(blob)
                    if closed.is_set():
                        wrote_after.append(blob.descriptor)

            try:
                yield Destination(self)
            finally:
                closed.set()

    with pytest.raises(KeyboardInterrupt):
        transfer(images(5), Slow())
    assert wrote_after == []
    eventually(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("tranship-")])


def test_a_thread_that_is_born_after_ctrl_c_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Thread.start` may be broken off while the kernel makes the thread: nobody knows of it then."""
    start, unborn = threading.Thread.start, []

    def slow(thread: threading.Thread) -> None:
        if thread.name == "tranship-1":
            unborn.append(thread)
            raise KeyboardInterrupt
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", slow)
    done: list[int] = []
    run, stopped = Run(), threading.Event()
    monkeypatch.setattr(run, "give_up", stopped.set)

    def work(item: int) -> None:
        assert stopped.wait(10)
        done.append(item)

    with pytest.raises(KeyboardInterrupt):
        in_parallel(work, range(5), 2, run)
    start(unborn[0])
    unborn[0].join()
    assert len(done) == 1


def test_what_a_registry_lacks_of_what_nobody_planned_is_the_error_itself() -> None:
    stranger = Descriptor(media_type="x/y", digest=next(iter(images().blobs)), size=1)

    def refuse(_self: Any, _roots: Any) -> None:
        raise MissingContent("manifest unknown", descriptor=stranger, digests=())

    def forget(_self: Any, _descriptor: Any) -> None: ...

    with pytest.raises(MissingContent, match="manifest unknown"):
        transfer(images(9), destination(publish=refuse, forget=forget), limits=Limits(jobs=1))


def test_a_blob_that_two_documents_lack_is_brought_again_once() -> None:
    one, other = image(5, 1000), image(5, 1000, 2000)  # the first layer is the same
    (shared,) = {digest for digest, raw in one.blobs.items() if len(raw) == 1000}
    assert shared in other.blobs
    source, both = one.memory("example.com/a:1"), other.memory("example.com/b:1")
    source.blobs.update(both.blobs)
    source.names.update(both.names)
    together = threading.Barrier(2)
    refused: list[Digest] = []
    forgotten: list[Digest] = []

    def write(self: Any, blob: Any) -> None:
        descriptor = blob.descriptor
        if descriptor.is_document and descriptor.digest not in refused:
            refused.append(descriptor.digest)
            together.wait(10)
            raise MissingContent("a layer is unknown", descriptor=descriptor, digests=[shared])
        MemoryDestination.write(self, blob)

    def forget(self: Any, descriptor: Descriptor) -> None:
        forgotten.append(descriptor.digest)
        self._images.blobs.pop(descriptor.digest, None)

    target = destination(write=write, forget=forget)
    transfer(source, target)
    assert sorted(refused) == sorted([one.digest, other.digest])
    assert forgotten == [shared]
    assert target.blobs == source.blobs


# ---------------------------------------------------------------------------------------------------------- selections


def test_a_manifest_limit_counts_entries_also_where_two_are_equal() -> None:
    bundle = Bundle()
    entry = {**bundle.image(), "platform": {"os": "linux", "architecture": "amd64"}}
    index = bundle.index([entry, entry, entry])
    from tranship.model.manifest import Index, parse

    raw = bundle.files[bundle.path(index)]
    document = parse(raw, Descriptor.from_json(index, "test"))
    assert isinstance(document, Index)
    selection = Selection(platforms=(Platform.parse("linux/amd64"),), manifest_limit=1)
    assert len(selection.successors(document)) == 1


def test_a_store_is_searched_for_referrers_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = Bundle()
    for n in range(5):
        subject = bundle.image(label=f"{n}")
        bundle.root(subject, f"localhost/app:{n}")
        said = {key: subject[key] for key in ("mediaType", "digest", "size")}
        bundle.root(bundle.image(subject=said, config=bundle.put(b"{}", CONFIG)), None)
    store, names = Store(root=tmp_path / "store"), tuple(f"localhost/app:{n}" for n in range(5))
    with presented(bundle, "file", tmp_path, names=names) as end:
        transfer(end, store, selection=Selection(referrers=""))
    walks = []
    with store.open() as opened:
        content = type(opened.namespace("default").content)
        walk = content.walk
        monkeypatch.setattr(content, "walk", lambda self, filters=(): walks.append(filters) or walk(self, filters))
    summary = transfer(store, Layout(tmp_path / "layout"), selection=Selection(referrers=""))
    assert sum(root.subject is not None for root in summary.roots) == 5
    assert walks == [[f'labels."{store_endpoint.GC_SUBJECT}"']]


# --------------------------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize(
    "text",
    ["\x1b[31m", "\r\n", "\u202e", "\u2066", "\u061c", "\xad", "\u200b", "\ufeff", "\U000e0041", "\ud800", "\ue000"],
)
def test_what_cannot_be_seen_is_printed_escaped(text: str) -> None:
    assert printable(f"a{text}b").isprintable()
    assert printable(f"a{text}b").startswith("a\\")


def test_what_can_be_seen_is_printed_as_it_is() -> None:
    assert printable("a/b:ä-日本 “x”") == "a/b:ä-日本 “x”"
