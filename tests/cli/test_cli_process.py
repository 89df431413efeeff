"""A command as a process: signals, closed pipes, terminals, and progress."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from support.waiting import eventually
from tranship.cli.progress import Lines, Totals
from tranship.engine.progress import Outcome, Progress, Reporter, Stage
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.commands import Commands

TAR_START = b"oci-layout".ljust(100, b"\0")


def wait(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, (err + (out or b"")).decode()


def stalled_import(stocked: Commands) -> subprocess.Popen[bytes]:
    """An import that has read the first half of an archive from a pipe, and waits for more."""
    process = stocked.process("import", "--progress", "json", "-")
    data = Path("app.tar").read_bytes()
    assert process.stdin and process.stderr
    process.stdin.write(data[: len(data) // 2])
    process.stdin.flush()
    assert b"started" in process.stderr.readline()
    eventually(lambda: not unread(process.stdin))
    return process


def unread(pipe: IO[bytes]) -> int:
    """Bytes that its reader has not taken yet; only Linux knows that at this end."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


WATCHED = """
import pathlib
import tranship.cli.interruption as i

heard = i.Interruption._heard
def tell(*args):
    heard(*args)
    pathlib.Path("heard").touch()

i.Interruption._heard = tell
i.PATIENCE = {patience}
"""


def watch(monkeypatch: pytest.MonkeyPatch, patience: float = 3600) -> None:
    """Let processes tell that they have heard a first signal, and wait so many seconds before they break off a read."""
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    Path("sitecustomize.py").write_text(WATCHED.format(patience=patience))


def ask(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a first signal, and wait until it has been heard."""
    process.send_signal(number)
    eventually(Path("heard").exists)


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_ends_a_transfer_cleanly(stocked, monkeypatch, number, code, word):
    watch(monkeypatch)
    before = stocked("ls").out
    process = stalled_import(stocked)
    ask(process, number)
    assert process.poll() is None  # asked politely, it ends with the next bytes
    data = Path("app.tar").read_bytes()
    assert process.stdin
    process.stdin.write(data[len(data) // 2 :])
    found, text = wait(process)
    assert found == code, text
    last = json.loads(text.splitlines()[-1])
    assert (last["stage"], last["event"], last["code"], last["exitCode"]) == ("error", word, "CANCELLED", code)
    assert "Traceback" not in text
    assert stocked("ls").out == before
    assert [path.name for path in (stocked.root / "run").iterdir()] == ["gate"]


@pytest.fixture
def hangup() -> Iterator[Callable[[object], None]]:
    """What SIGHUP does to processes that start from here on, whatever the tests were started with."""
    before = signal.getsignal(signal.SIGHUP)
    yield lambda action: signal.signal(signal.SIGHUP, action)
    signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_hangs_up_ends_a_transfer_cleanly(stocked, monkeypatch, hangup):
    hangup(signal.SIG_DFL)
    watch(monkeypatch)
    process = stalled_import(stocked)
    ask(process, signal.SIGHUP)
    process.communicate(Path("app.tar").read_bytes()[-1:], timeout=60)
    assert process.returncode == 129
    assert [path.name for path in (stocked.root / "run").iterdir()] == ["gate"]


def test_a_transfer_under_nohup_outlives_its_terminal(stocked, hangup):
    hangup(signal.SIG_IGN)
    process = stalled_import(stocked)
    process.send_signal(signal.SIGHUP)
    data = Path("app.tar").read_bytes()
    process.communicate(data[len(data) // 2 :], timeout=60)
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_even_a_read_that_never_returns(stocked, monkeypatch, number, code):
    watch(monkeypatch)
    process = stalled_import(stocked)
    ask(process, number)
    process.send_signal(number)
    assert process.wait(30) == code
    wait(process)
    assert [path.name for path in (stocked.root / "run").iterdir()] == ["gate"]


def test_a_read_that_never_returns_is_broken_off_after_a_while(stocked, monkeypatch):
    watch(monkeypatch, patience=0.2)
    process = stalled_import(stocked)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    wait(process)


def test_a_second_signal_ends_a_command_without_a_transfer_too(stocked, monkeypatch):
    watch(monkeypatch)
    os.mkfifo("fifo")
    process = stocked.process("--debug", "ls", "archive:fifo")
    writers: list[int] = []

    def open_too() -> bool:
        with contextlib.suppress(OSError):  # nobody reads it yet
            writers.append(os.open("fifo", os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    eventually(open_too)
    ask(process, signal.SIGINT)
    process.send_signal(signal.SIGINT)
    assert wait(process)[0] == 130
    os.close(writers[0])


STALLED = """
import pathlib, time
import tranship.cli.interruption as i
import tranship.engine.spans as spans

heard = i.Interruption._heard
def tell(*args):
    try:
        heard(*args)
    finally:
        with open("heard", "a") as file:
            file.write("x")

def take(*args, **settings):
    pathlib.Path("stalled").touch()
    time.sleep(3600)

i.Interruption._heard = tell
spans.take = take
"""


def interrupt_thrice(process: subprocess.Popen[bytes], number: int = signal.SIGINT) -> None:
    """Once a worker has stalled: ask, insist, and leave."""

    def heard(count: int) -> bool:
        return Path("heard").exists() and len(Path("heard").read_text()) == count

    eventually(Path("stalled").exists)
    process.send_signal(number)
    eventually(lambda: heard(1))
    process.send_signal(number)
    eventually(lambda: heard(2))
    process.send_signal(number)  # no harm if the second one came where nobody waits for the worker


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_third_signal_leaves_a_worker_that_never_comes_back(stocked, monkeypatch, number, code):
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path.cwd()))
        Path("sitecustomize.py").write_text(STALLED)
        process = stocked.process("copy", "app.tar", "oci:out")
        interrupt_thrice(process, number)
        found, text = wait(process)
    assert found == code
    if text:  # the second one came where nobody waits for the worker any more
        assert text.endswith("  hint: run it again: what has arrived is kept\n")
    stocked("copy", "app.tar", "oci:out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["blobs", "index.json", "oci-layout"]


def test_a_third_signal_gives_the_terminal_back(stocked, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.setenv("TERM", "xterm")
    Path("sitecustomize.py").write_text(STALLED)
    code, text = in_terminal(["copy", "--progress", "tty", "app.tar", "oci:out"], interrupt_thrice)
    assert code == 130
    assert "\x1b[?25l" in text.partition("\x1b[?25h")[0]  # hidden, and shown at the end
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l")


# --- pipes and terminals ----------------------------------------------------------------------------------------------


def test_whoever_stops_reading_gets_no_complaint(stocked):
    for words in (["content", "ls"], ["export", "app:1"], ["inspect", "app:1"]):
        reader, writer = os.pipe()
        os.close(reader)
        process = stocked.process("-q", *words, stdout=writer)
        os.close(writer)
        assert wait(process) == (141, ""), words


def test_an_archive_goes_through_a_pipe_into_another_store(stocked, tmp_path):
    ran = stocked.shell(f"tranship export app:1 | tranship import --root {tmp_path / 'other'} -")
    assert ran.code == 0, ran.err
    assert stocked("digest", "--root", tmp_path / "other", "app:1").lines == stocked("digest", "app:1").lines


def test_a_failing_export_leaves_a_pipe_without_an_end(stocked):
    path = stocked.largest_blob("app:1")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    ran = stocked.shell("tranship export app:1 > x.tar")
    assert ran.code == 7, ran.err
    assert stocked.failing("ls", "x.tar").code == 7


def in_terminal(
    words: list[str], meanwhile: Callable[[subprocess.Popen[bytes]], None] | None = None, **settings: object
) -> tuple[int, str]:
    """Run a command whose stdout and stderr are a terminal; gives its code and all that it wrote there."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tranship", *words], stdin=child, stdout=child, stderr=child, **settings
    )
    os.close(child)
    text = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(parent, 65536)
            except OSError:  # EIO: the other side is closed
                return
            if not data:
                return
            text.extend(data)

    thread = threading.Thread(target=read)
    thread.start()
    if meanwhile is not None:
        meanwhile(process)
    code = process.wait(60)
    thread.join()
    os.close(parent)
    return code, text.decode()


def test_binary_is_never_written_to_a_terminal_nor_read_from_one(stocked):
    code, text = in_terminal(["export", "app:1"])
    assert code == 2
    assert "would be written to the terminal" in text
    code, text = in_terminal(["import"])
    assert code == 2
    assert "read from the terminal" in text
    layer = max(stocked("content", "ls", "--json").json["content"], key=lambda row: row["size"])
    assert in_terminal(["content", "get", layer["digest"]])[0] == 2
    code, text = in_terminal(["content", "get", *stocked("digest", "app:1").lines])
    assert code == 0
    assert '"manifests"' in text


@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_bars_are_drawn_and_gone_in_the_end(stocked, monkeypatch, colour):
    monkeypatch.setenv("TERM", "xterm")
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    code, text = in_terminal(["copy", "--progress", "tty", "store:app:1", "oci:out"])
    assert code == 0
    assert "━" in text
    assert text.rstrip().splitlines()[-1].startswith("tranship: 1 image, ")
    assert ("\x1b[38" in text or "\x1b[3" in text) == colour


# --- progress ---------------------------------------------------------------------------------------------------------


def test_json_progress_is_an_event_a_line_that_adds_up(stocked):
    ran = stocked("copy", "--progress", "json", "store:app:1", "oci:out")
    events = [json.loads(line) for line in ran.err.splitlines()]
    assert {event["v"] for event in events} == {1}
    stages = [event["stage"] for event in events]
    assert stages[:3] == ["notice", "started", "planned"]  # the first says what app:1 is
    assert stages[-2:] == ["completed", "notice"]
    total = next(event["total"] for event in events if event["stage"] == "planned")
    done = [event for event in events if event["stage"] == "blob" and "outcome" in event]
    assert sum(event["progress"] for event in done) == total
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", event["digest"]) and event["mediaType"] for event in done)


def test_json_progress_tells_a_failure_and_its_reason(stocked):
    Path("cut.tar").write_bytes(Path("app.tar").read_bytes()[:5000])
    ran = stocked.failing("copy", "--progress", "json", "cut.tar", "oci:out")
    *_, failed, told = [json.loads(line) for line in ran.err.splitlines()]
    assert (failed["stage"], told["stage"]) == ("failed", "error")
    assert failed["reason"] == told["event"]
    assert (told["code"], told["exitCode"], told["v"]) == ("DATA_LOSS", ran.code, 1)


@pytest.mark.parametrize("words", [["nonsense"], ["ls", "nothing"], ["--progress", "json", "ls", "--nonsense"]])
def test_every_error_is_an_event_where_events_are_asked_for(stocked, words):
    ran = stocked.failing(*words, *(["--progress=json"] if "json" not in words else []))
    (told,) = map(json.loads, ran.err.splitlines())
    assert (told["stage"], told["exitCode"]) == ("error", ran.code)


def test_a_source_that_fails_is_an_event_too(stocked):
    Path("cut.tar").write_bytes(Path("app.tar").read_bytes()[:5000])
    ran = stocked.failing("copy", "--keep-going", "--progress", "json", "cut.tar", "store:app:1", "oci:out")
    told = [event for event in map(json.loads, ran.err.splitlines()) if event["stage"] == "error"]
    assert [event["exitCode"] for event in told] == [7, 9]


def event(stage: Stage, **fields: object) -> Progress:
    return Progress(stage=stage, event=str(fields.pop("event", "x")), **fields)  # type: ignore[arg-type]


def test_totals_add_up_what_moves_and_what_was_there():
    totals = Totals()
    descriptor = Descriptor(media_type="x", digest=Digest.of(b"x"), size=100)
    totals.hear(event(Stage.PLANNED, total=300))
    totals.hear(event(Stage.BLOB, name="a", progress=50, total=100, descriptor=descriptor))
    totals.hear(event(Stage.BLOB, name="b", progress=100, total=100, outcome=Outcome.PRESENT))
    assert (totals.moved, totals.here, totals.done) == (50, 100, 150)
    totals.hear(event(Stage.BLOB, name="a", progress=100, total=100, outcome=Outcome.COPIED))
    assert (totals.moved, totals.done) == (100, 200)
    assert str(totals).startswith("66 %, 200 B of 300 B, ")
    assert totals.left is not None


def test_plain_progress_is_a_line_now_and_then(capsys):
    lines = Lines(every=0)
    lines.report(event(Stage.STARTED, event="Exporting"))
    lines.report(event(Stage.HASHING, event="packing", progress=5, total=10))
    lines.report(event(Stage.PLANNED, total=10))
    lines.report(event(Stage.NOTICE, event="look\x1b[2J here"))
    lines.report(event(Stage.COMPLETED, event="Completed"))
    out = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"tranship: packing: 50 %, 5 B of 10 B, .*/s, .* left", out[1])
    assert out[-1] == "tranship: look\\x1b[2J here"
    assert all(line.startswith("tranship: ") for line in out)


def test_plain_progress_says_nothing_of_what_is_quick(stocked):
    ran = stocked("copy", "--progress", "plain", "store:app:1", "oci:out")
    assert len([line for line in ran.err.splitlines() if "%" in line]) == 0


def test_bars_survive_every_kind_of_event(monkeypatch):
    from tranship.cli.bars import Bars

    descriptor = Descriptor(media_type="x", digest=Digest.of(b"x"), size=100)
    with Bars() as bars:
        assert isinstance(bars, Reporter)
        for stage in Stage:
            for outcome in (None, *Outcome):
                for one in (None, descriptor):
                    bars.report(event(stage, name="n", progress=5, total=10, descriptor=one, outcome=outcome))


def test_an_import_does_not_wait_for_a_writer_that_has_said_all_and_stays(stocked):
    process = stocked.process("import", "--root", "other", "-")
    assert process.stdin
    process.stdin.write(Path("app.tar").read_bytes())
    process.stdin.flush()
    assert process.wait(30) == 0
    assert wait(process)[0] == 0
    assert stocked("ls", "-q", "--root", "other").lines
