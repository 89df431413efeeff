"""An engine's API from our side, against one that says what a test tells it to."""

import contextlib
import json
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler

import pytest

from support.peers import temporary_home
from tranship import CancelToken, DockerEngine, Layout, Podman, transfer
from tranship.endpoints.docker_engine import _Engine
from tranship.errors import Cancelled, InvalidArgument, NotFound, Unavailable, Unsupported
from tranship.testing.memory import Memory


class Fake(socketserver.ThreadingUnixStreamServer):
    """An engine on a unix socket. `answers` maps paths to (status, body); `taken` is what was posted."""

    daemon_threads = True

    def __init__(self, path):
        super().__init__(str(path), Handler)
        self.answers = {
            "/version": (200, b'{"Version": "28.0.0"}'),
            "/info": (200, b'{"DriverStatus": [["Backing", "x"]]}'),
        }
        self.taken = b""
        self.stop_after = None  # bytes of a body after which the answer is given
        self.silent = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def address_string(self):
        return "a client"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(self.path.partition("?")[0])

    def do_POST(self):
        taken = 0
        while count := int(self.rfile.readline(), 16):
            self.server.taken += self.rfile.read(count)
            self.rfile.readline()
            taken += count
            if self.server.stop_after is not None and taken >= self.server.stop_after:
                self.close_connection = True
                break
        else:
            self.rfile.readline()
        if self.server.silent.is_set():
            self.server.silent.wait(60)
            return
        self.answer("/images/load")

    def answer(self, path):
        status, body = self.server.answers.get(path, (404, b'{"message": "No such image: x"}'))
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def fake():
    with temporary_home() as home, Fake(home.path / "e.sock") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        server.end = DockerEngine(address=f"unix://{home.path}/e.sock")
        yield server
        server.shutdown()
        thread.join()


def test_complaint_in_an_answer_that_began_well_is_heard(fake, images):
    fake.answers["/images/load"] = (200, b'{"stream": "a"}\n{"error": "bad \\u001b[2J tar", "errorDetail": {}}\n')
    with pytest.raises(InvalidArgument, match=r"refuses the archive: bad \\x1b\[2J tar"):
        transfer(Layout(images("small")), fake.end)


def test_archive_arrives_whole(fake, images):
    fake.answers["/images/load"] = (200, b'{"stream": "Loaded image: x"}\n')
    transfer(Layout(images("large")), fake.end)
    assert fake.taken.endswith(bytes(1024))
    assert b"manifest.json" in fake.taken[:5000]


@pytest.mark.parametrize("status", [400, 500])
def test_engine_that_refuses_in_the_middle_is_heard(fake, images, status):
    fake.answers["/images/load"] = (status, b'{"message": "no more, thanks"}')
    fake.stop_after = 1000
    with pytest.raises((InvalidArgument, Unavailable), match=r"no more, thanks|broke off"):
        transfer(Layout(images("large")), fake.end)


@pytest.mark.parametrize(
    ("version", "layouts"), [("20.10.24", False), ("24.0.1", False), ("25.0.0", True), ("dev", False)]
)
def test_archive_is_one_that_the_engine_can_read(fake, images, version, layouts):
    fake.answers["/version"] = (200, json.dumps({"Version": version if version != "dev" else "0.0.0-dev"}).encode())
    fake.answers["/images/load"] = (200, b"")
    transfer(Layout(images("small")), fake.end)
    assert (b"oci-layout" in fake.taken) == layouts


def test_what_is_no_json_or_no_archive_is_refused(fake):
    fake.answers["/images/json"] = (200, b"<html>")
    with pytest.raises(Unavailable, match="not to be understood"):
        transfer(fake.end, Memory())
    fake.answers["/images/json"] = (200, b'[{"RepoTags": ["x:1", "<none>:<none>"]}, {"RepoTags": null}]')
    assert _Engine(str(fake.end.address)).names() == ("x:1",)
    with pytest.raises(NotFound, match="No such image"):
        transfer(fake.end, Memory())
    fake.answers["/images/get"] = (200, b"not a tar" * 1000)
    with pytest.raises(InvalidArgument):
        transfer(fake.end, Memory())


@pytest.mark.parametrize("version", ["dev", "library-import", "master.dockerproject-2026"])
def test_engine_of_no_release_gets_what_every_engine_reads(fake, images, version):
    fake.answers["/version"] = (200, json.dumps({"Version": version}).encode())
    fake.answers["/images/load"] = (200, b"")
    transfer(Layout(images("small")), fake.end)
    assert b"oci-layout" not in fake.taken


@pytest.mark.parametrize(
    "answer", [b"[]", b"7", b'[{"RepoTags": 7}]', b'{"Components": 7}', b"[7]", b'{"DriverStatus": [7]}', b"[" * 100_000]
)  # fmt: skip
def test_answers_of_another_shape_are_the_engines_fault(fake, images, answer):
    for path in ("/images/json", "/version", "/info"):
        fake.answers[path] = (200, answer)
        with pytest.raises((Unavailable, NotFound)):
            transfer(fake.end, Memory())
        if path != "/images/json":
            with contextlib.suppress(Unavailable, NotFound):
                transfer(Layout(images("small")), fake.end)


def test_waiting_for_an_engine_can_be_given_up(fake, images):
    fake.silent.set()
    token = CancelToken()
    threading.Timer(0.3, token.cancel).start()
    with pytest.raises(Cancelled):
        transfer(Layout(images("small")), fake.end, cancel=token)


def test_absent_engine_is_named(tmp_path, images):
    with pytest.raises(Unavailable, match=r"no engine listens at .*no\.sock"):
        transfer(Layout(images("small")), DockerEngine(address=tmp_path / "no.sock"))
    with pytest.raises(Unsupported, match="ssh://"):
        transfer(DockerEngine("x", address="ssh://host"), Memory())


def test_tcp_is_plain_http(images):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}"):
        transfer(Layout(images("small")), DockerEngine(address=f"tcp://127.0.0.1:{port}"))


def test_addresses_come_from_the_environment():
    assert DockerEngine.default_address({}) == "unix:///var/run/docker.sock"
    assert DockerEngine.default_address({"DOCKER_HOST": "tcp://h:1"}) == "tcp://h:1"
    assert Podman.default_address({"CONTAINER_HOST": "unix:///x"}) == "unix:///x"
    assert Podman.default_address({}) == "unix:///run/podman/podman.sock"
