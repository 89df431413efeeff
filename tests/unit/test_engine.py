"""transfer(): what it tells, how it fails, how it stops."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tranship import (
    Archive,
    CancelToken,
    Layout,
    Limits,
    Outcome,
    Progress,
    Reporter,
    Selection,
    Stage,
    Store,
    plan,
    transfer,
)
from tranship.errors import Cancelled, DigestMismatch, InvalidArgument, NotFound, PolicyRefused
from tranship.model.descriptor import Descriptor
from tranship.model.platform import Platform
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory, MemoryDestination

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tranship.model.digest import Digest

ENDS = {Stage.COMPLETED, Stage.FAILED, Stage.CANCELLED}


class Heard(Reporter):
    def __init__(self) -> None:
        self.events: list[Progress] = []

    def report(self, event: Progress) -> None:
        self.events.append(event)

    def of(self, *stages: Stage) -> list[Progress]:
        return [event for event in self.events if event.stage in stages]


def images(seed: int = 3) -> Memory:
    return random_images(random.Random(seed))


def largest(memory: Memory) -> Digest:
    return max(memory.blobs, key=lambda digest: len(memory.blobs[digest]))


def test_a_transfer_tells_its_start_its_total_every_blob_the_names_and_one_end() -> None:
    heard, source = Heard(), images()
    summary = transfer(source, Memory(), reporter=heard)
    assert heard.events[0].stage is Stage.STARTED
    assert heard.events[-1].stage is Stage.COMPLETED
    assert len(heard.of(*ENDS)) == 1
    assert heard.of(Stage.PLANNED)[0].total == sum(map(len, source.blobs.values())) == summary.bytes
    told = {e.descriptor.digest for e in heard.of(Stage.BLOB) if e.event == "complete" and e.descriptor}
    assert told == source.blobs.keys()
    assert sorted(e.name for e in heard.of(Stage.IMAGE)) == sorted(source.names)


def test_words_follow_containerds_for_the_pairs_that_it_has(images: Callable[[str], Path], tmp_path: Path) -> None:
    heard = Heard()
    transfer(Layout(images("small")), Store(root=tmp_path))
    transfer(Store(root=tmp_path), Archive(tmp_path / "a.tar"), reporter=heard)
    assert [heard.events[0].event, heard.events[-1].event] == ["Exporting", "Completed export"]


def test_a_failure_is_told_with_its_reason_and_leaves_no_name() -> None:
    heard, source, destination = Heard(), images(), Memory()
    digest = largest(source)
    source.blobs[digest] = source.blobs[digest][:-1] + b"!"
    with pytest.raises(DigestMismatch) as caught:
        transfer(source, destination, reporter=heard)
    assert caught.value.descriptor is not None
    assert caught.value.descriptor.digest == digest
    assert digest in str(caught.value)
    assert [e.stage for e in heard.of(*ENDS)] == [Stage.FAILED]
    assert heard.events[-1].reason == str(caught.value)
    assert destination.names == {}
    assert digest not in destination.blobs


def test_what_is_absent_is_found_before_anything_is_written() -> None:
    source, destination = images(), Memory()
    digest = largest(source)
    del source.blobs[digest]
    with pytest.raises(NotFound) as caught:
        transfer(source, destination, selection=Selection(all_platforms=True))
    assert caught.value.side == "source"
    assert destination.blobs == {}


def test_a_second_run_moves_nothing() -> None:
    source, destination = images(), Memory()
    transfer(source, destination)
    summary = transfer(source, destination)
    assert set(summary.counts) == {Outcome.PRESENT}
    assert summary.moved == 0


def test_an_interrupted_transfer_leaves_blobs_that_the_next_one_finds() -> None:
    source, destination = images(), Memory()
    digest = largest(source)
    whole = source.blobs[digest]
    source.blobs[digest] = whole[:-1]
    with pytest.raises(Exception, match="ends after"):
        transfer(source, destination, limits=Limits(jobs=1))
    source.blobs[digest] = whole
    before = len(destination.blobs)
    summary = transfer(source, destination)
    assert destination.blobs == source.blobs
    assert summary.counts.get(Outcome.PRESENT, 0) == before


class Watching(Memory):
    """Calls back at each write, with the number of writes so far."""

    kind = "memory"

    def __init__(self, call: Callable[[int], None]) -> None:
        super().__init__()
        self.call = call

    @contextlib.contextmanager
    def open_destination(self, run: Any) -> Iterator[MemoryDestination]:
        outer, count, lock = self, iter(range(10_000)), threading.Lock()

        class Destination(MemoryDestination):
            def write(self, blob: Any) -> None:
                with lock:
                    number = next(count)
                outer.call(number)
                super().write(blob)

        yield Destination(self)


def test_cancelling_stops_soon_and_says_why() -> None:
    heard, token = Heard(), CancelToken()

    def call(number: int) -> None:
        if number == 2:
            token.cancel("the user pressed a key")

    destination = Watching(call)
    with pytest.raises(Cancelled, match="pressed a key"):
        transfer(images(), destination, reporter=heard, cancel=token, limits=Limits(jobs=1))
    assert [e.stage for e in heard.of(*ENDS)] == [Stage.CANCELLED]
    assert heard.events[-1].reason == "the user pressed a key"
    assert destination.names == {}
    assert len(destination.blobs) <= 3


def test_the_first_cause_is_raised_and_the_other_workers_stop() -> None:
    class Broken(Exception):
        pass

    def call(number: int) -> None:
        if number == 1:
            raise Broken

    heard = Heard()
    with pytest.raises(Broken):
        transfer(images(5), Watching(call), reporter=heard)
    assert [e.stage for e in heard.of(*ENDS)] == [Stage.FAILED]


def test_a_reporter_that_raises_ends_the_transfer() -> None:
    class Angry(Reporter):
        def report(self, event: Progress) -> None:
            if event.stage is Stage.BLOB:
                raise ValueError("enough")

    destination = Memory()
    with pytest.raises(ValueError, match="enough"):
        transfer(images(), destination, reporter=Angry())
    assert destination.names == {}


def test_a_cancelled_token_stops_before_the_start() -> None:
    token, heard = CancelToken(), Heard()
    token.cancel("too late")
    with pytest.raises(Cancelled):
        transfer(images(), Memory(), cancel=token, reporter=heard)
    assert [e.stage for e in heard.events] == [Stage.STARTED, Stage.CANCELLED]


def test_children_come_before_parents_and_names_last() -> None:
    order: list[str] = []

    class Ordered(Memory):
        kind = "memory"

        @contextlib.contextmanager
        def open_destination(self, run: Any) -> Iterator[MemoryDestination]:
            outer = self

            class Destination(MemoryDestination):
                def write(self, blob: Any) -> None:
                    super().write(blob)
                    order.append(blob.descriptor.digest)
                    if blob.descriptor.is_document:
                        import json

                        value = json.loads(outer.blobs[blob.descriptor.digest])
                        children = [*value.get("manifests", []), *value.get("layers", [])]
                        assert all(child["digest"] in outer.blobs for child in children)

                def publish(self, roots: Any) -> Any:
                    assert len(order) == len(source.blobs)
                    return super().publish(roots)

            yield Destination(self)

    source = images(8)
    transfer(source, Ordered())
    assert sorted(order) == sorted(source.blobs)


def test_a_plan_says_what_would_move_and_writes_nothing() -> None:
    source, destination = images(), Memory()
    todo = plan(source, destination)
    assert todo.bytes == todo.bytes_to_move == sum(map(len, source.blobs.values()))
    assert destination.blobs == {}
    transfer(source, destination)
    assert plan(source, destination).bytes_to_move == 0


# --------------------------------------------------------------------------------------------------------------- platforms


@pytest.fixture
def multi(images: Callable[[str], Path]) -> Layout:
    return Layout(images("multi"))


def platforms(store: Store) -> int:
    with store.open() as opened:
        return sum(1 for _ in opened.namespace("default").content.walk())


def test_a_platform_selects_and_the_index_stays_as_it_is(multi: Layout, tmp_path: Path) -> None:
    summary = transfer(multi, Store(root=tmp_path), selection=Selection(platforms=(Platform.parse("linux/arm64"),)))
    assert [(p.selected, p.total) for p in summary.partial] == [(1, 3)]
    whole = transfer(multi, Store(root=tmp_path / "whole"))
    assert summary.roots[0].descriptor.digest == whole.roots[0].descriptor.digest
    assert platforms(Store(root=tmp_path)) < platforms(Store(root=tmp_path / "whole"))


def test_a_platform_that_is_not_there_names_those_that_are(multi: Layout, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"linux/s390x.*linux/amd64") as caught:
        transfer(multi, Store(root=tmp_path), selection=Selection(platforms=(Platform.parse("linux/s390x"),)))
    assert caught.value.exit_code == 3


def test_what_a_partial_store_holds_is_exported_and_the_rest_is_demanded_only_on_request(
    multi: Layout, tmp_path: Path
) -> None:
    transfer(multi, Store(root=tmp_path), selection=Selection(platforms=(Platform.parse("linux/arm64"),)))
    summary = transfer(Store(root=tmp_path), Archive(tmp_path / "a.tar"))
    assert [(p.selected, p.total) for p in summary.partial] == [(1, 3)]
    with pytest.raises(NotFound):
        transfer(Store(root=tmp_path), Archive(tmp_path / "b.tar"), selection=Selection(all_platforms=True))
    assert not (tmp_path / "b.tar").exists()


def test_single_makes_the_selected_manifest_the_root(multi: Layout, tmp_path: Path) -> None:
    selection = Selection(platforms=(Platform.parse("linux/arm64"),), index="single")
    summary = transfer(multi, Store(root=tmp_path), selection=selection)
    root = summary.roots[0].descriptor
    assert root.is_manifest
    assert not summary.partial


def test_single_of_several_is_refused(multi: Layout, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"select one|take part"):
        transfer(multi, Store(root=tmp_path), selection=Selection(index="single"))


def test_rewrite_makes_an_index_of_what_was_selected(multi: Layout, tmp_path: Path) -> None:
    heard = Heard()
    selection = Selection(platforms=(Platform.parse("linux/arm64"), Platform.parse("linux/amd64")), index="rewrite")
    summary = transfer(multi, Store(root=tmp_path), selection=selection, reporter=heard)
    root = summary.roots[0].descriptor
    assert root.is_index
    assert any(root.digest in event.event for event in heard.of(Stage.NOTICE))
    assert (
        transfer(Store(root=tmp_path), Memory(), selection=Selection(all_platforms=True)).roots[0].descriptor.digest
        == root.digest
    )


class Strict(Memory):
    """A destination that, as a registry, refuses an index with absent children."""

    kind = "memory"

    @contextlib.contextmanager
    def open_destination(self, run: Any) -> Iterator[MemoryDestination]:
        class Destination(MemoryDestination):
            needs_closure = True

        yield Destination(self)


def test_a_registry_gets_one_platform_as_a_single_manifest_several_are_refused_in_the_plan(multi: Layout) -> None:
    one = Selection(platforms=(Platform.parse("linux/amd64"),))
    two = Selection(platforms=(Platform.parse("linux/amd64"), Platform.parse("linux/arm64")))
    assert transfer(multi, Strict(), selection=one).roots[0].descriptor.is_manifest
    destination = Strict()
    with pytest.raises(PolicyRefused, match="2 of 3"):
        transfer(multi, destination, selection=two)
    assert destination.blobs == {}
    assert transfer(multi, Strict()).roots[0].descriptor.is_index


def test_a_manifest_limit_takes_the_best_platforms(multi: Layout) -> None:
    wanted = (Platform.parse("linux/arm64"), Platform.parse("linux/amd64"))
    todo = plan(multi, Memory(), selection=Selection(platforms=wanted, manifest_limit=1))
    chosen = [d.platform for node in todo.nodes.values() for d in node.selected if d.is_manifest]
    assert [str(platform) for platform in chosen] == ["linux/arm64/v8"]


def test_all_metadata_takes_the_documents_of_other_platforms_without_their_layers(multi: Layout) -> None:
    wanted = (Platform.parse("linux/amd64"),)
    bare = plan(multi, Memory(), selection=Selection(platforms=wanted))
    full = plan(multi, Memory(), selection=Selection(platforms=wanted, all_metadata=True))
    assert len(full.nodes) == 5
    assert {d.digest for d in full.blobs if d.kind == "layer"} == {d.digest for d in bare.blobs if d.kind == "layer"}


def test_a_lone_manifest_of_another_platform_is_refused(images: Callable[[str], Path]) -> None:
    wanted = Selection(platforms=(Platform.parse("linux/s390x"),))
    with pytest.raises(NotFound, match="is an image for linux/amd64"):
        plan(Layout(images("small")), Memory(), selection=wanted)


def test_layers_that_may_not_be_redistributed_are_left_out_on_request_or_when_absent(
    images: Callable[[str], Path],
) -> None:
    source = Layout(images("foreign"))
    kept = plan(source, Memory())
    left = plan(source, Memory(), selection=Selection(skip_non_distributable=True))
    assert [d for d in left.blobs if "foreign" in d.media_type or "nondistributable" in d.media_type] == []
    assert len(kept.nodes) == len(left.nodes) == 1


def test_skip_missing_moves_what_there_is() -> None:
    source, destination = images(), Memory()
    absent = largest(source)
    del source.blobs[absent]
    summary = transfer(source, destination, selection=Selection(skip_missing=True))
    assert destination.blobs == source.blobs
    assert summary.roots


def test_referrers_come_along_on_request(images: Callable[[str], Path], tmp_path: Path) -> None:
    source = Layout(images("artifact"))
    name = next(r.name for r in transfer(source, Memory()).roots if r.name)
    plain = plan(Layout(images("artifact"), name), Memory())
    along = plan(Layout(images("artifact"), name), Memory(), selection=Selection(referrers=""))
    assert len(along.nodes) == len(plain.nodes) + 1
    store = Store(root=tmp_path / "store")
    transfer(Layout(images("artifact"), name), store, selection=Selection(referrers=""))
    with store.open() as opened:
        opened.gc()
        assert len(opened.namespace("default").images.list()) == 1
    transfer(store, Archive(tmp_path / "a.tar"), selection=Selection(referrers=""))
    back = Memory()
    transfer(Archive(tmp_path / "a.tar"), back, selection=Selection(referrers=""))
    assert len(list(back.blobs)) == len(along.nodes) + len(along.blobs)


def test_two_sizes_for_one_blob_are_refused() -> None:
    source = images()
    manifest = next(d for d in source.names.values() if d.is_manifest)
    source.names["twice"] = Descriptor(media_type=manifest.media_type, digest=manifest.digest, size=manifest.size + 1)
    with pytest.raises(DigestMismatch):
        transfer(source, Memory())


def test_a_selection_can_be_changed_to_other_platforms() -> None:
    amd64, arm64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")
    changed = dataclasses.replace(Selection(platforms=(amd64,)), platforms=(arm64,))
    assert changed.matches(arm64)
    assert not changed.matches(amd64)


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"ranges": 0}, {"rate": 0}, {"retries": -1}, {"timeout": 0}])
def test_limits_that_mean_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        Limits(**wrong)  # type: ignore[arg-type]


def test_strict_sees_bytes_that_change_between_hashing_and_copying(tmp_path: Path, monkeypatch: Any) -> None:
    from tranship.engine import spans

    source = images()
    transfer(source, Layout(tmp_path / "layout"))
    digest = largest(source)
    path = tmp_path / "layout" / "blobs" / digest.algorithm / digest.hex
    check = spans.check

    def then_changed(fd: int, offset: int, descriptor: Descriptor, run: Any) -> None:
        check(fd, offset, descriptor, run)
        if descriptor.digest == digest:
            path.chmod(0o644)
            path.write_bytes(source.blobs[digest][:-1] + b"!")

    monkeypatch.setattr(spans, "check", then_changed)
    with pytest.raises(DigestMismatch):
        transfer(Layout(tmp_path / "layout"), Store(root=tmp_path / "store"), verification="strict")
