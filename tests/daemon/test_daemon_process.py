"""`tranship daemon` as a process: how it starts, what a service manager and an operator see of it, and how it ends."""

import contextlib
import errno
import json
import logging
import os
import platform
import re
import resource
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from support.images import tar_layout
from support.peers import Home, Peers, temporary_home
from support.transfers import NAMED, Transfers
from support.waiting import eventually
from tranship._api.services.namespaces.v1 import namespace_pb2 as n
from tranship._api.wellknown import Empty
from tranship.cli.commands import daemon as command
from tranship.cli.commands.daemon import default_address
from tranship.containerd.channel import Channel
from tranship.containerd.methods import Namespaces, Unary, Version
from tranship.containerd.streams import ByteWriter
from tranship.containerd.wire import WireImageStore, WireImportStream
from tranship.daemon import logs, metrics, notify, relay
from tranship.daemon.server import Daemon
from tranship.errors import InvalidArgument, NotFound, TranshipError, Unsupported


class Process:
    """A daemon's process; `log` is what it has said so far."""

    def __init__(self, home, *words, prefix=(), **settings):
        self.address = home / "run/t.sock"
        self.log_path = home / "log"
        with self.log_path.open("wb") as log:
            self.popen = subprocess.Popen(
                [*prefix, sys.executable, "-m", "tranship", "daemon", "--address", str(self.address), *words],
                env={
                    **os.environ,
                    "TRANSHIP_ROOT": str(home / "store"),
                    "PYTHONFAULTHANDLER": "1",
                    **settings.pop("environ", {}),
                },
                stdin=subprocess.DEVNULL,
                stderr=log,
                **settings,
            )

    @property
    def log(self):
        return self.log_path.read_text()

    def ready(self):
        eventually(lambda: re.search(r'\bready\b|"ready"', self.log) or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.log
        return self

    def end(self, number=signal.SIGTERM):
        self.popen.send_signal(number)
        try:
            return self.popen.wait(30)
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGABRT)  # PYTHONFAULTHANDLER shows where it stands
            self.popen.wait()
            raise AssertionError(f"it did not end: {self.log}") from None


@pytest.fixture
def folder(monkeypatch):
    for name in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "TRANSHIP_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    with temporary_home() as home:
        yield home.path


@pytest.fixture
def start(folder):
    with contextlib.ExitStack() as stack:

        def start(*words, **settings):
            process = Process(folder, *words, **settings)
            stack.callback(process.popen.wait)
            stack.callback(process.popen.kill)
            return process

        yield start


def version(address):
    with Channel(str(address)) as channel:
        return channel.unary(Version.VERSION, Empty(), timeout=20).version


# ------------------------------------------------------------------------------------------------------- start and end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0_and_its_socket_goes(start, number):
    process = start().ready()
    assert version(process.address)
    assert stat.S_IMODE(os.stat(process.address).st_mode) == 0o600
    assert process.end(number) == 0, process.log
    assert not process.address.exists()
    assert process.log.splitlines()[-1].endswith("msg=stopped")


def test_what_is_done_at_the_end_is_there_when_it_starts_again(start):
    process = start().ready()
    with Channel(str(process.address)) as channel:
        channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace=n.Namespace(name="kept")))
    assert process.end() == 0
    process = start().ready()
    with Channel(str(process.address)) as channel:
        answer = channel.unary(Namespaces.LIST, n.ListNamespacesRequest())
    assert [one.name for one in answer.namespaces] == ["kept"]


def test_one_that_was_killed_leaves_a_socket_that_the_next_one_takes_away(start):
    process = start().ready()
    assert process.end(signal.SIGKILL) == -signal.SIGKILL
    assert process.address.exists()
    assert version(start().ready().address)


def test_a_second_one_says_who_has_the_address(start):
    process = start().ready()
    with subprocess.Popen(
        [sys.executable, "-m", "tranship", "daemon", "--address", str(process.address)],
        stderr=subprocess.PIPE,
        env={**os.environ, "TRANSHIP_ROOT": str(process.address.parent / "other")},
    ) as second:
        said = second.communicate(timeout=60)[1].decode()
    assert second.returncode not in (0, -signal.SIGKILL)
    assert f"process {process.popen.pid}" in said
    assert version(process.address)


class Import:
    """One whose client has sent the first half of an archive, and sends the rest when told."""

    def __init__(self, process, data):
        self.rest = data[len(data) // 2 :]
        self.stack = contextlib.ExitStack()
        client = Transfers(self.stack.enter_context(Channel(str(process.address), namespace="lab")))
        stream = self.stack.enter_context(client.stream())
        self.done = client.start(WireImportStream(stream=stream.id), WireImageStore(extra_references=NAMED))
        self.writing = ByteWriter(stream)
        self.writing.write(data[: len(data) // 2])
        self.writing.flush()
        with Channel(str(process.address)) as channel:  # answered after what came before it
            channel.unary(Version.VERSION, Empty())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def go_on(self):
        self.writing.write(self.rest)
        self.writing.finish()


@pytest.fixture
def data(images, tmp_path):
    return tar_layout(images("small"), tmp_path / "small.tar").read_bytes()


def test_a_transfer_that_ends_within_the_grace_ends_well(start, data):
    process = start("--grace", "60").ready()
    with Import(process, data) as half:
        process.popen.send_signal(signal.SIGTERM)
        eventually(lambda: "msg=stopping" in process.log)
        half.go_on()
        half.done.result(30)
    assert process.popen.wait(30) == 0
    assert re.search('msg="transfer done" namespace=lab operation=import from=stream', process.log)


def test_a_transfer_that_does_not_end_is_broken_off_after_the_grace(start, data):
    process = start("--grace", "0.2").ready()
    with Import(process, data) as half:
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(30) == 0
        with pytest.raises(TranshipError) as failed:
            half.done.result(30)
    assert failed.value.code in ("CANCELLED", "UNAVAILABLE")
    assert not process.address.exists()


def test_a_second_signal_ends_it_at_once(start, data):
    process = start("--grace", "60").ready()
    with Import(process, data):
        process.popen.send_signal(signal.SIGTERM)
        eventually(lambda: "msg=stopping" in process.log)
        assert process.end() == -signal.SIGTERM


# ------------------------------------------------------------------------------------------------------ service managers


def test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops(start, folder):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(folder / "notify"))
        manager.settimeout(60)
        process = start(environ={"NOTIFY_SOCKET": str(folder / "notify")})
        assert manager.recv(1000).decode() == f"READY=1\nMAINPID={process.popen.pid}"
        assert version(process.address)
        process.popen.terminate()
        assert manager.recv(1000) == b"STOPPING=1"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has abstract sockets")
def test_a_managers_socket_may_be_abstract_and_an_absent_one_harms_nothing(folder):
    assert not notify.notify("READY=1", {})
    assert not notify.notify("READY=1", {"NOTIFY_SOCKET": str(folder / "absent")})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0tranship-test-{os.getpid()}")
        assert notify.notify("READY=1", {"NOTIFY_SOCKET": f"@tranship-test-{os.getpid()}"})
        assert manager.recv(100) == b"READY=1"


@contextlib.contextmanager
def handed_over(path, mode=0o600):
    """How a manager starts a program for a socket of its own; what goes before the program's words."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(mode)
        listening.listen()
        number = listening.fileno()
        script = f'exec 3<&{number}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        yield {"prefix": ["bash", "-c", script, "-"], "pass_fds": [number]}


def test_a_socket_that_a_service_manager_hands_over_is_served_and_stays(start, folder, data):
    path = folder / "manager.sock"
    with handed_over(path) as settings:
        process = start(**settings)
        assert version(path)  # the connection waits until somebody accepts
        assert f"address={path}" in process.log
        assert not process.address.exists()
        with Channel(str(path), namespace="lab") as channel:
            client = Transfers(channel)
            client.load(data)
            assert len(client.export("localhost/small:v1")) > len(data) // 2
        assert process.end() == 0
        assert path.exists()
        assert version_of_next(start, settings, path)


def version_of_next(start, settings, path):
    start(**settings)
    return version(path)


@pytest.mark.peer("ctr")
def test_ctr_over_a_socket_that_was_handed_over(start, folder):
    with handed_over(folder / "manager.sock") as settings, temporary_home() as home:
        start(**settings)
        assert Peers(home).run("ctr", "--address", folder / "manager.sock", "images", "ls", "-q").stdout == ""


def test_a_socket_for_everybody_is_refused(start, folder):
    with handed_over(folder / "manager.sock", 0o666) as settings:
        process = start(**settings)
        assert process.popen.wait(60) == 4
    assert "everybody may connect" in process.log
    assert "SocketMode=0600" in process.log


def test_a_socket_that_is_gone_again_is_refused(start, folder):
    with handed_over(folder / "manager.sock") as settings:
        (folder / "manager.sock").unlink()
        process = start(**settings)
        assert process.popen.wait(60) not in (0, -signal.SIGKILL)
    assert "gone from" in process.log
    assert "Traceback" not in process.log


def test_it_may_open_as_many_files_as_the_system_lets_it(start):
    soft, hard = 200, 900
    process = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))).ready()
    assert resource.prlimit(process.popen.pid, resource.RLIMIT_NOFILE) == (hard, hard)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc has an arena for each thread")
def test_its_threads_share_mallocs_arenas_and_what_is_free_in_them(start):
    running = start().ready()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(version, [running.address] * 100))
    heaps = re.findall(
        r"^[0-9a-f]*([048c]000000)-\S+ rw-p 00000000 00:00 0 *$",
        Path(f"/proc/{running.popen.pid}/maps").read_text(),
        re.MULTILINE,
    )
    assert len(heaps) <= 3  # an arena's heap begins at a multiple of 64 MiB, and something else may by chance


def test_sockets_for_another_process_are_not_touched(folder):
    assert notify.inherited({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None
    assert notify.inherited({"LISTEN_FDS": "1"}) is None
    with pytest.raises(InvalidArgument, match="hands over 2"):
        notify.inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"})


# -------------------------------------------------------------------------------------------------- what operators see


def test_the_log_as_json_has_one_object_a_line(start, data):
    process = start("--log-format", "json").ready()
    with Channel(str(process.address), namespace="lab") as channel:
        client = Transfers(channel)
        client.load(data)
        with pytest.raises(NotFound):
            client.export("localhost/absent:1")
    assert process.end() == 0
    events = [json.loads(line) for line in process.log.splitlines()]
    said = {event["msg"]: event for event in events}
    assert said["ready"]["address"] == str(process.address)
    assert said["transfer done"].items() >= {"namespace": "lab", "operation": "import", "level": "info"}.items()
    assert said["transfer failed"].items() >= {"from": "localhost/absent:1", "code": "NOT_FOUND"}.items()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event["time"]) for event in events)


def test_text_of_a_client_begins_no_line_of_its_own():
    record = logging.LogRecord("tranship", logging.WARNING, "x.py", 1, "failed", (), None)
    record.fields = {"from": "a\nlevel=info msg=forged\x1b[2J", "seconds": 1.23456, "empty": ""}
    line = logs.Formatter("text").format(record)
    assert len(line.splitlines()) == 1
    assert "\x1b" not in line
    assert line.endswith('seconds=1.235 empty=""')
    assert json.loads(logs.Formatter("json").format(record))["from"] == record.fields["from"]


def read(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def figures(text):
    """The figures of a page by name and labels; every line of it is one, or says what one is."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'[a-z_]+({([a-z]+="[^"\\]*",?)+})? [0-9.e+-]+', line) for line in lines)
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_figures_are_served_when_asked_for(start, data):
    process = start("--metrics", "127.0.0.1:0").ready()
    where = re.search(r"msg=figures address=(127\.0\.0\.1:\d+)", process.log)
    with Channel(str(process.address), namespace="lab") as channel:
        client = Transfers(channel)
        client.load(data)
        with pytest.raises(NotFound):
            client.export("localhost/absent:1")
    kind, text = read(f"http://{where[1]}/metrics")
    assert kind.startswith("text/plain; version=0.0.4")
    found = figures(text)
    assert found['tranship_transfers_total{operation="import",result="ok"}'] == 1
    assert found['tranship_transfers_total{operation="export",result="NOT_FOUND"}'] == 1
    assert found["tranship_transfers_running"] == 0
    assert found['tranship_transfer_bytes_total{operation="import"}'] > 0
    assert found['tranship_rpcs_total{method="/containerd.services.transfer.v1.Transfer/Transfer"}'] == 2
    # The client was answered as soon as it was all there; the ends of its streams may come a moment later.
    eventually(lambda: figures(read(f"http://{where[1]}/metrics")[1])["tranship_streams_open"] == 0)
    assert 10 << 20 < found["tranship_memory_bytes"] < 200 << 20
    with pytest.raises(urllib.error.HTTPError, match="404"):
        read(f"http://{where[1]}/other")


def test_figures_at_a_unix_socket_are_their_owners_alone(folder):
    with (
        metrics.served(metrics.Metrics(), str(folder / "run/figures.sock")) as where,
        socket.socket(socket.AF_UNIX) as wire,
    ):
        assert stat.S_IMODE(os.stat(where).st_mode) == 0o600
        wire.connect(where)
        wire.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert b"tranship_build_info{" in wire.makefile("rb").read()
    assert not os.path.exists(where)


def test_figures_are_served_to_few_at_once(folder):
    """Others of this machine may connect to a port, and say nothing."""
    with metrics.served(metrics.Metrics(), "127.0.0.1:0") as where, contextlib.ExitStack() as stack:
        host, _, port = where.rpartition(":")
        silent = [stack.enter_context(socket.create_connection((host, int(port)), 30)) for _ in range(metrics.READERS)]
        one_more = stack.enter_context(socket.create_connection((host, int(port)), 30))
        assert one_more.recv(1) == b""
        silent[0].close()
        eventually(lambda: read_or_nothing(f"http://{where}/metrics"))


def read_or_nothing(url):
    with contextlib.suppress(OSError):
        return read(url)


def test_connections_to_a_socket_that_was_handed_over_are_bounded(folder, monkeypatch):
    path, ours = folder / "manager.sock", folder / "ours.sock"
    monkeypatch.setattr(relay, "MOST", 3)
    with (
        socket.socket(socket.AF_UNIX) as listening,
        socket.socket(socket.AF_UNIX) as behind,
        contextlib.ExitStack() as stack,
    ):
        for one, where in ((listening, path), (behind, ours)):
            one.bind(str(where))
            one.listen()
        stack.callback(relay.Relay(listening, str(ours)).close)
        wires = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(4)]
        for wire in wires:
            wire.settimeout(30)
            wire.connect(str(path))
        assert wires[3].recv(1) == b""
        accepted = [stack.enter_context(behind.accept()[0]) for _ in range(3)]
        wires[0].sendall(b"hello")
        assert accepted[0].recv(5) == b"hello"


def test_a_socket_that_was_handed_over_waits_for_descriptors_to_come_free(folder, monkeypatch):
    """Whoever connects stays in the queue, so that asking again and again would be all that the thread does."""
    asked = []

    class Poor(socket.socket):
        def accept(self):
            asked.append(True)
            if len(asked) < 3:
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    monkeypatch.setattr(relay, "_NO_DESCRIPTOR", 0.2)
    path, ours = folder / "manager.sock", folder / "ours.sock"
    with Poor(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as behind, contextlib.ExitStack() as stack:
        for one, where in ((listening, path), (behind, ours)):
            one.bind(str(where))
            one.listen()
        stack.callback(relay.Relay(listening, str(ours)).close)
        wire = stack.enter_context(socket.socket(socket.AF_UNIX))
        began = time.monotonic()
        wire.connect(str(path))
        stack.enter_context(behind.accept()[0])
        assert time.monotonic() - began > 0.3


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:80", "[::]:0", "nonsense", "127.0.0.1:http", ":"])
def test_figures_are_for_this_machine(address):
    with (
        pytest.raises(InvalidArgument, match=r"no loopback address|no HOST:PORT"),
        metrics.served(metrics.Metrics(), address),
    ):
        pass


def test_calls_of_methods_that_nobody_knows_are_counted_together(store, home):
    counted = metrics.Metrics()
    with Daemon(store, home.path / "run/t.sock", metrics=counted) as daemon, Channel(daemon.address) as channel:
        for number in range(3):
            with pytest.raises(Unsupported):
                channel.unary(Unary("a.b.C", f"M{number}", Empty, Empty), Empty())
    assert figures(counted.text())['tranship_rpcs_total{method="unknown"}'] == 3


# ------------------------------------------------------------------------------------------------------------ small things


def test_where_it_listens_when_nobody_says():
    assert default_address({"TRANSHIP_ADDRESS": "/x"}, 0) == "/x"
    assert default_address({}, 0) == "/run/tranship/tranship.sock"
    assert default_address({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == "/run/user/7/tranship/tranship.sock"
    assert default_address({}, 7) == "/run/user/7/tranship/tranship.sock"


def test_without_grpc_it_says_what_to_install(start, folder):
    (folder / "none").mkdir()
    (folder / "none/grpc.py").write_text("raise ImportError")
    process = start(environ={"PYTHONPATH": str(folder / "none")})
    assert process.popen.wait(60) == 12
    assert "pip install 'tranship[daemon]'" in process.log


@pytest.mark.peer("ctr")
def test_the_examples_of_its_help(start, folder):
    peers, running = Peers(Home(folder)), []
    for line in command.EXAMPLES.strip().splitlines():
        program, *words = shlex.split(line.replace("/run/user/1000", str(folder)).replace(":9464", ":0"))
        if program == "ctr":
            words[1] = str(running[-1].address)
            assert peers.run("ctr", *words).stdout.startswith("REF")
            assert running.pop().end() == 0
        else:
            assert (program, words.pop(0)) == ("tranship", "daemon")
            running.append(start(*words).ready())


# ----------------------------------------------------------------------------------------------------------------- its page


PAGE = (Path(__file__).resolve().parents[2] / "docs/daemon.md").read_text("utf-8")


def test_its_page_names_every_figure():
    assert set(re.findall(r"`(tranship_\w+)", PAGE)) == set(metrics._HELP)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_the_units_of_its_page_are_good_ones(folder):
    units = dict(re.findall(r"```ini\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
    assert set(units) == {"tranship.socket", "tranship.service"}
    for name, text in units.items():
        (folder / name).write_text(text.replace("/usr/bin/tranship", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, map(folder.joinpath, units))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not [line for line in done.stderr.splitlines() if "tranship." in line], done.stderr
