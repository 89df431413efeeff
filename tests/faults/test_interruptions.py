"""Transfers that are interrupted, killed, or run out of space: what was there stays, what comes next goes on."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from support import graphs
from support.children import piped, ran, started
from support.hostile import Bundle, check_store, rows, sound
from tranship import Archive, Layout, Outcome, Store, errors, transfer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BLOBS = 24
NAMES = ["localhost/big:1"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A layout with an image of many layers."""
    bundle = Bundle()
    return bundle.root(bundle.image(BLOBS, "big"), NAMES[0]).write(tmp_path / "source")


class Target:
    """A destination that holds an older image, as a child is told of it, and how to look at it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder / "to"
        self.folder.mkdir()
        self.path = self.folder / "there"
        self.end: tuple[str, dict[str, Any]] = {
            "archive": ("archive", {"file": self.path}),
            "gzip": ("archive", {"file": self.path, "compression": "gzip"}),
            "layout": ("layout", {"path": self.path}),
            "store": ("store", {"root": self.path}),
        }[kind]
        bundle = Bundle()
        old = Layout(bundle.root(bundle.image(label="old"), "localhost/old:1").write(folder / "old-source"))
        transfer(old, self.value())
        self.old = self.picture()

    def value(self) -> Any:
        kind, fields = self.end
        return {"archive": Archive, "layout": Layout, "store": Store}[kind](**fields)

    def picture(self) -> Any:
        """What a reader sees."""
        if self.kind == "store":
            return rows(self.path)["images"]
        if self.kind == "layout":
            return (self.path / "index.json").read_bytes()
        return self.path.read_bytes()

    def names(self) -> list[str]:
        return sorted(root.name or "" for root in self._read().roots)

    def _read(self) -> Any:
        from tranship.testing.memory import Memory

        return transfer(self.value(), Memory())

    def leftovers(self) -> list[str]:
        """Names beside the destination, or in it, that are nobody's any more."""
        beside = [name for name in os.listdir(self.folder) if name != "there"]
        inside = [name for name in os.listdir(self.path) if name.startswith(".")] if self.kind == "layout" else []
        inside += [name for name in os.listdir(self.path / "run") if name != "gate"] if self.kind == "store" else []
        return beside + inside

    def check(self) -> None:
        """Everything that is there is sound."""
        if self.kind == "store":
            check_store(self.value())
        elif self.kind == "layout":
            graphs.images(self.path)


@pytest.fixture(params=["archive", "gzip", "layout", "store"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return Target(request.param, tmp_path)


# ------------------------------------------------------------------------------------------------------- interruptions


@pytest.mark.parametrize("after", [1, BLOBS // 2, BLOBS + 2])
def test_after_ctrl_c_everything_is_as_it_was_and_the_next_run_goes_on(
    after: int, source: Path, target: Target
) -> None:
    said = ran(("layout", {"path": source}), target.end, signal=signal.SIGINT, after=after)
    assert said["error"] == "KeyboardInterrupt"
    assert target.picture() == target.old
    assert target.leftovers() == []
    target.check()
    summary = transfer(Layout(source), target.value())
    if target.kind in ("layout", "store"):  # an archive is always written anew
        assert summary.counts[Outcome.PRESENT] >= after - 1
    assert NAMES[0] in target.names()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("after", [1, BLOBS + 2])
def test_a_killed_transfer_has_changed_no_name_and_the_next_one_clears_up(
    after: int, number: int, source: Path, target: Target
) -> None:
    child = started(("layout", {"path": source}), target.end, signal=number, after=after)
    assert child.said() == {}
    assert child.process.returncode == -number
    assert target.picture() == target.old
    transfer(Layout(source), target.value())
    assert NAMES[0] in target.names()
    assert target.leftovers() == []
    target.check()


@pytest.mark.parametrize("point", ["file.written", "file.synced", "file.renamed"])
@pytest.mark.parametrize("kind", ["archive", "gzip", "layout"])
def test_a_name_is_the_old_one_or_the_new_one_at_whatever_step_the_writer_is_killed(
    kind: str, point: str, source: Path, tmp_path: Path
) -> None:
    target = Target(kind, tmp_path)
    env = {**os.environ, "TRANSHIP_FAIL": f"{point}:1:kill"}
    child = started(("layout", {"path": source}), target.end, env=env)
    assert child.said() == {}
    assert child.process.returncode == -signal.SIGKILL
    if point == "file.renamed":
        assert NAMES[0] in target.names()
    else:
        assert target.picture() == target.old
    transfer(Layout(source), target.value())
    assert target.names() == sorted([*NAMES, *(["localhost/old:1"] if kind == "layout" else [])])
    assert target.leftovers() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_archive_that_was_cut_off_on_a_pipe_leaves_nothing(number: int, source: Path, tmp_path: Path) -> None:
    target = Target("store", tmp_path)
    transfer(Layout(source), Archive(tmp_path / "a.tar"))
    with piped(tmp_path / "a.tar") as file:
        child = started(("archive", {"file": "-"}), target.end, stdin=file, signal=number, after=1)
        said = child.said()
    assert said.get("error") == ("KeyboardInterrupt" if number == signal.SIGINT else None)
    with target.value().open():  # whoever opens the store next clears up after the dead
        pass
    assert target.leftovers() == []
    assert target.picture() == target.old
    target.check()


def test_a_second_interruption_while_the_first_is_dealt_with_still_ends(source: Path, target: Target) -> None:
    child = started(("layout", {"path": source}), target.end, ready=True, slow=0.02)
    child.wait_until_ready()
    for _ in range(2):
        child.process.send_signal(signal.SIGINT)
    child.said()
    assert child.process.returncode is not None
    transfer(Layout(source), target.value())
    assert NAMES[0] in target.names()
    target.check()


# ------------------------------------------------------------------------------------------------------------ no space


def test_a_full_disk_is_said_as_such_and_leaves_nothing_half_made(target: Target, tmp_path: Path) -> None:
    bundle = Bundle()
    big = [bundle.put(os.urandom(150_000), "application/vnd.oci.image.layer.v1.tar") for _ in range(4)]
    big.append(bundle.put(os.urandom(2_500_000), "application/vnd.oci.image.layer.v1.tar"))
    source = bundle.root(bundle.image(layers=big), NAMES[0]).write(tmp_path / "big")
    said = ran(("layout", {"path": source}), target.end, file_size=1_000_000)
    assert said["error"] == "NoSpace", said
    assert said["exit"] == 11
    assert target.picture() == target.old
    assert target.leftovers() == []
    target.check()
    transfer(Layout(source), target.value())
    assert NAMES[0] in target.names()


def test_no_room_for_what_comes_through_a_pipe_is_said_as_such(source: Path, tmp_path: Path) -> None:
    target = Target("store", tmp_path)
    bundle = Bundle()
    layer = bundle.put(bytes(2_000_000), "application/vnd.oci.image.layer.v1.tar")
    (tmp_path / "a.tar").write_bytes(bundle.root(bundle.image(layers=[layer]), NAMES[0]).tar())
    with piped(tmp_path / "a.tar") as file:
        said = ran(("archive", {"file": "-"}), target.end, stdin=file, file_size=1_000_000)
    assert said["error"] == "NoSpace", said
    assert said["exit"] == 11
    assert target.picture() == target.old
    assert target.leftovers() == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_device_that_is_full_is_no_space_left(source: Path) -> None:
    with pytest.raises(errors.NoSpace, match="/dev/full"):
        transfer(Layout(source), Archive("/dev/full"))


# ---------------------------------------------------------------------------------------------------------- two at once


def test_two_processes_that_write_one_archive_leave_one_whole_archive(source: Path, tmp_path: Path) -> None:
    target = Target("archive", tmp_path)
    children = [started(("layout", {"path": source}), target.end, slow=0.01) for _ in range(2)]
    for child in children:
        assert "outcomes" in child.said()
    assert target.names() == NAMES
    assert target.leftovers() == []
    transfer(Layout(source), Archive(tmp_path / "alone.tar"))
    assert target.path.read_bytes() == (tmp_path / "alone.tar").read_bytes()


def test_two_processes_that_write_one_layout_are_both_listed(source: Path, tmp_path: Path) -> None:
    target = Target("layout", tmp_path)
    bundle = Bundle()
    other = bundle.root(bundle.image(BLOBS, "other"), "localhost/other:1").write(tmp_path / "other")
    children = [started(("layout", {"path": path}), target.end, slow=0.01) for path in (source, other)]
    for child in children:
        assert "outcomes" in child.said()
    assert target.names() == ["localhost/big:1", "localhost/old:1", "localhost/other:1"]
    assert target.leftovers() == []
    target.check()


@pytest.mark.parametrize("form", ["file", "pipe"])
def test_two_processes_that_import_one_archive_both_succeed(form: str, source: Path, tmp_path: Path) -> None:
    target = Target("store", tmp_path)
    transfer(Layout(source), Archive(tmp_path / "a.tar"))
    with piped(tmp_path / "a.tar") as one, piped(tmp_path / "a.tar") as two:
        children = [
            started(
                ("archive", {"file": "-" if form == "pipe" else tmp_path / "a.tar"}),
                target.end,
                stdin=file if form == "pipe" else subprocess.DEVNULL,
                slow=0.005,
            )
            for file in (one, two)
        ]
        for child in children:
            assert "outcomes" in child.said()
    assert target.names() == [NAMES[0], "localhost/old:1"]
    assert target.leftovers() == []
    target.check()


def test_collections_beside_an_import_take_nothing_of_it(source: Path, tmp_path: Path) -> None:
    target = Target("store", tmp_path)
    child = started(("layout", {"path": source}), target.end, ready=True, slow=0.01)
    child.wait_until_ready()
    with target.value().open() as store:
        while child.process.poll() is None:
            store.gc()
    assert "outcomes" in child.said()
    assert target.names() == [NAMES[0], "localhost/old:1"]
    target.check()


def test_an_export_survives_the_removal_of_its_image(source: Path, tmp_path: Path) -> None:
    target = Target("store", tmp_path)
    transfer(Layout(source), target.value())
    child = started(
        ("store", {"root": target.path, "names": NAMES[0]}),
        ("archive", {"file": tmp_path / "out.tar"}),
        ready=True,
        slow=0.01,
    )
    child.wait_until_ready()
    with target.value().open() as store:
        store.namespace("default").images.delete(NAMES[0])
        while child.process.poll() is None:
            store.gc()
    assert "outcomes" in child.said()
    transfer(Archive(tmp_path / "out.tar"), Layout(tmp_path / "back"))
    assert graphs.images(tmp_path / "back") == graphs.images(source)
    assert target.names() == ["localhost/old:1"]


# --------------------------------------------------------------------------------------------- readers that misbehave


DATA = sound(3, NAMES[0]).tar()


class Reads:
    """A source that does as it is told at its third read; before, it gives a little at a time."""

    def __init__(self, act: Callable[[int], Any]) -> None:
        self.act, self.at, self.calls = act, 0, 0

    def read(self, count: int) -> Any:
        self.calls += 1
        if self.calls == 3:
            return self.act(count)
        piece = DATA[self.at : self.at + min(count, 700)]
        self.at += len(piece)
        return piece


def fails(_count: int) -> bytes:
    raise RuntimeError("the cable")


BAD_READS: dict[str, tuple[Callable[[int], Any], type[BaseException], str]] = {
    "raises": (fails, RuntimeError, "the cable"),
    "raises an error of the system": (lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")), OSError, "broken"),
    "has nothing at the moment": (lambda _: None, errors.InvalidArgument, "has no bytes at this moment"),
    "gives too much": (lambda count: bytes(count + 1), errors.InvalidArgument, "where"),
    "gives text": (lambda _: "text", errors.InvalidArgument, "gave str for bytes"),
    "gives a number": (lambda _: 7, errors.InvalidArgument, "gave int for bytes"),
    "ends": (lambda _: b"", errors.Truncated, "tar ends"),
}


@pytest.mark.parametrize("case", BAD_READS)
def test_a_reader_that_misbehaves_ends_the_transfer_and_leaves_nothing(case: str, tmp_path: Path) -> None:
    act, error, says = BAD_READS[case]
    target = Target("store", tmp_path)
    with pytest.raises(error, match=says):
        transfer(Archive(Reads(act)), target.value())
    assert target.picture() == target.old
    assert target.leftovers() == []
    target.check()


@pytest.mark.parametrize("count", [-1, 1 << 40, None])
def test_a_reader_that_lies_about_its_count_is_found_out(count: int | None, tmp_path: Path) -> None:
    class Lies:
        def readinto(self, _view: memoryview) -> int | None:
            return count

    target = Target("store", tmp_path)
    with pytest.raises(errors.InvalidArgument, match="a Lies"):
        transfer(Archive(Lies()), target.value())
    assert target.picture() == target.old


@pytest.mark.parametrize("what", ["raises", "never ends"])
def test_what_a_reader_does_behind_the_end_of_the_archive_does_not_matter(what: str, tmp_path: Path) -> None:
    class After:
        at = 0

        def read(self, count: int) -> bytes:
            if self.at >= len(DATA):
                if what == "raises":
                    raise OSError(errno.ECONNRESET, "gone")
                return bytes(count)
            piece = DATA[self.at : self.at + count]
            self.at += len(piece)
            return piece

    target = Target("store", tmp_path)
    transfer(Archive(After()), target.value())
    assert target.names() == [NAMES[0], "localhost/old:1"]


def test_what_cannot_be_read_or_was_opened_as_text_is_said_so(tmp_path: Path) -> None:
    target = Target("store", tmp_path)
    (tmp_path / "a.tar").write_bytes(b"text")
    with pytest.raises(errors.InvalidArgument, match="neither `readinto` nor `read`"):
        transfer(Archive(object()), target.value())
    with open(tmp_path / "a.tar", encoding="utf-8") as text, pytest.raises(errors.InvalidArgument, match="gave str"):
        transfer(Archive(text), target.value())


# --------------------------------------------------------------------------------------------- writers that misbehave


class Writes:
    """A sink that answers each write by a rule; what it took is in `taken`."""

    def __init__(self, rule: Callable[[int], Any]) -> None:
        self.rule, self.taken = rule, bytearray()

    def write(self, chunk: memoryview) -> Any:
        count = self.rule(len(chunk))
        self.taken += chunk[: len(chunk) if count is None else max(count, 0)]
        return count


@pytest.mark.parametrize("rule", [lambda n: n, lambda _: None, lambda n: max(1, n // 3), lambda _: 1])
def test_a_writer_may_take_a_part_or_say_nothing(rule: Callable[[int], Any], source: Path) -> None:
    sink, plain = Writes(rule), Writes(lambda n: n)
    transfer(Layout(source), Archive(sink))
    transfer(Layout(source), Archive(plain))
    assert sink.taken == plain.taken


def broken(_count: int) -> int:
    raise BrokenPipeError(errno.EPIPE, "gone")


@pytest.mark.parametrize(
    ("rule", "error"),
    [(lambda _: 0, errors.InvalidArgument), (lambda _: -1, errors.InvalidArgument), (broken, BrokenPipeError)],
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_writer_that_takes_nothing_or_breaks_ends_the_transfer(
    rule: Callable[[int], Any], error: type[BaseException], compression: Any, source: Path
) -> None:
    with pytest.raises(error) as caught:
        transfer(Layout(source), Archive(Writes(rule), compression=compression))
    assert getattr(caught.value, "side", "destination") == "destination"


def test_a_raw_file_that_does_not_wait_is_not_taken_at_its_word(source: Path) -> None:
    """Of a raw file None means that nothing was written; to go on would leave a hole in the archive."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    with open(out, "rb", buffering=0), open(into, "wb", buffering=0) as pipe:
        pipe.write(bytes(1 << 16))  # full
        with pytest.raises(errors.InvalidArgument, match="takes no bytes at this moment"):
            transfer(Layout(source), Archive(pipe))


def test_an_archive_whose_reader_has_gone_ends_with_a_broken_pipe(source: Path) -> None:
    child = started(
        ("layout", {"path": source}), ("archive", {"file": "-"}), stdout=subprocess.PIPE, ready=True, slow=0.01
    )
    assert child.process.stdout is not None
    child.process.stdout.close()
    assert child.said()["errno"] == errno.EPIPE


def test_an_archive_that_fails_in_the_middle_has_no_end(source: Path, tmp_path: Path) -> None:
    index = graphs.index(source)[0]["digest"].partition(":")[2]
    victim = next(
        p
        for p in sorted((source / "blobs" / "sha256").iterdir(), reverse=True)
        if p.name != index and b"ustar" in p.read_bytes()
    )
    victim.write_bytes(bytes(victim.stat().st_size))
    sink = Writes(lambda n: n)
    with pytest.raises(errors.DigestMismatch):
        transfer(Layout(source), Archive(sink))
    assert sink.taken
    with pytest.raises(errors.Truncated):
        transfer(Archive(io.BytesIO(sink.taken)), Layout(tmp_path / "back"))
