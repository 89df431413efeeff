"""The client against a registry that works, and one that does not: retries, redirects, 401s, limits."""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support.client import ALICE, IMPATIENT, PATIENT, Sleepless, client, find, layer, payload, plain
from tranship.errors import (
    DataLoss,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PolicyRefused,
    RateLimited,
    TranshipError,
    Truncated,
    Unauthenticated,
    Unavailable,
)
from tranship.formats import pages, upload
from tranship.formats.distribution import body_offset, expect, read_document
from tranship.formats.hosts import Host, default_host
from tranship.formats.messages import Headers
from tranship.http.limits import Throttle
from tranship.http.payload import BodyFailed, FilePayload, ReaderPayload
from tranship.http.retry import Retry
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import RegistryServer, wire
from tranship.testing.registry.auth import Basic, Token, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tranship.formats.messages import Response
    from tranship.http.client import Client

CONTENT = random.Random(7).randbytes(300_000)
BLOB = layer(CONTENT)
NAME = "acme/app"
INDEX = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}'


@pytest.fixture
def registry() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        server.put_blob(NAME, CONTENT)
        yield server


def get(made: Client, host: Host, offset: int = 0, **options: Any) -> Response:
    request = host.repository(NAME).get_blob(BLOB.digest, offset)
    response = made.send(host, request, limit=1 << 20, **options)
    expect(request, response, 200, 206)
    return response


# ------------------------------------------------------------------------------------------------------------ all well


def test_a_blob_comes_as_it_is_and_may_be_read_from_its_middle(registry: RegistryServer) -> None:
    with client() as made:
        assert get(made, plain(registry)).body == CONTENT
        assert get(made, plain(registry), 100_000).body == CONTENT[100_000:]
    assert registry.requests[0].headers.get("Accept-Encoding") == "identity"
    assert (registry.requests[0].headers.get("User-Agent") or "").startswith("tranship/")


def test_connections_are_used_again(registry: RegistryServer) -> None:
    host = plain(registry)
    with client() as made:
        for _ in range(5):
            get(made, host)
            made.send(host, host.repository(NAME).head_blob(BLOB.digest))
            made.send(host, host.repository(NAME).head_manifest("absent"))
    assert registry.connections == 1


def test_a_connection_that_has_long_been_idle_is_not_used_again(registry: RegistryServer) -> None:
    sleepless, host = Sleepless(), plain(registry)
    with client(sleepless=sleepless) as made:
        for seconds, connections in ((0, 1), (50, 1), (50, 1), (61, 2)):
            sleepless.skipped += seconds
            get(made, host)
            assert registry.connections == connections


def test_a_server_that_closes_each_connection_is_fine(registry: RegistryServer) -> None:
    host, content = plain(registry), os.urandom(200_000)
    registry.fault("connection-close")
    with client() as made:
        assert get(made, host).body == CONTENT
        made.run(host, upload.upload(host.repository(NAME), layer(content), chunk=50_000), payload(content))
    assert registry.content(NAME, layer(content).digest) == content


def test_an_open_answer_is_a_reader_that_gives_what_has_come(registry: RegistryServer) -> None:
    host, view, found = plain(registry), memoryview(bytearray(1000)), bytearray()
    with client() as made, made.open(host, host.repository(NAME).get_blob(BLOB.digest)) as answer:
        assert answer.length == len(CONTENT)
        while count := answer.readinto(view):
            found += view[:count]
        assert answer.readinto(view) == 0
    assert found == CONTENT


def test_an_answer_that_is_left_unread_does_not_spoil_the_next(registry: RegistryServer) -> None:
    big = os.urandom(5 << 20)
    digest, host = registry.put_blob(NAME, big), plain(registry)
    with client() as made:
        with made.open(host, host.repository(NAME).get_blob(digest)) as answer:
            answer.readinto(memoryview(bytearray(10)))
        assert get(made, host).body == CONTENT


def test_uploads_from_a_reader_and_from_a_file_arrive_whole(registry: RegistryServer, tmp_path: Path) -> None:
    host = plain(registry)
    one, two = os.urandom(3_000_000), os.urandom(2_500_000)
    path = tmp_path / "file"
    path.write_bytes(b"before" + two + b"after")
    told: list[int] = []
    with client() as made, path.open("rb") as file:
        made.run(host, upload.upload(host.repository(NAME), layer(one)), payload(one))
        made.run(
            host,
            upload.upload(host.repository(NAME), layer(two), chunk=1 << 20),
            FilePayload(file.fileno(), 6, told.append),
        )
        assert file.tell() == 0
    assert registry.content(NAME, layer(one).digest) == one
    assert registry.content(NAME, layer(two).digest) == two
    assert sum(told) == len(two)


def test_a_span_and_a_payload_belong_together(registry: RegistryServer) -> None:
    host = plain(registry)
    with client() as made, pytest.raises(InvalidArgument):
        made.open(host, host.repository(NAME).get_blob(BLOB.digest), payload(b""))


def test_what_is_not_there_is_an_answer_and_not_an_exception(registry: RegistryServer) -> None:
    host = plain(registry)
    request = host.repository(NAME).get_manifest("absent")
    with client() as made:
        response = made.send(host, request)
    assert response.status == 404
    with pytest.raises(NotFound, match=r"tag absent of acme/app is not at registry 127\.0\.0\.1"):
        read_document(request, response)


def test_pages_are_read_over_the_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_FEW_PAGES", 50)
    with RegistryServer(page_size=3) as registry, client() as made:
        host = plain(registry)
        tags = [f"t{number:02}" for number in range(10)]
        registry.put_manifest(NAME, INDEX, "application/vnd.oci.image.index.v1+json", tags)
        assert made.run(host, pages.tags(host.repository(NAME))) == tags
        for name in ("pages-loop", "pages-endless", "pages-elsewhere"):
            with registry.fault(name), pytest.raises((Unavailable, PolicyRefused)):
                made.run(host, pages.tags(host.repository(NAME)))


def test_configured_headers_go_to_the_host(registry: RegistryServer) -> None:
    host = Host(
        registry=registry.host,
        url=plain(registry).url,
        headers=(("X-One", "1"), ("X-One", "2"), ("user-agent", "mine")),
    )
    with client() as made:
        get(made, host)
    headers = registry.requests[0].headers
    assert headers.all("X-One") in (["1", "2"], ["1, 2"])
    assert headers.all("User-Agent") == ["mine"]


def test_a_loopback_registry_without_tls_is_found_out_once(registry: RegistryServer) -> None:
    notes: list[str] = []
    with client(notes=notes) as made:
        host = default_host(registry.host)
        assert host.http_fallback
        assert get(made, host).body == CONTENT
        assert get(made, host).body == CONTENT
    assert registry.count("ping") == 1
    assert len([note for note in notes if "does not speak TLS" in note]) == 1


def test_whether_a_host_speaks_tls_is_not_concluded_while_nobody_listens(registry: RegistryServer) -> None:
    """As when somebody pushes to a registry that is being started."""
    sleepless, notes = Sleepless(), []
    sleepless.sleep = lambda _seconds: registry.accept_connections()  # type: ignore[method-assign]
    registry.refuse_connections()
    host = default_host(registry.host)
    with client(sleepless=sleepless, notes=notes) as made:
        assert get(made, host).body == CONTENT
        assert get(made, host).body == CONTENT
    assert registry.count("ping") == 1
    assert len([note for note in notes if "does not speak TLS" in note]) == 1


def test_a_host_that_may_lack_tls_and_is_not_there_is_told_with_what_was_wanted() -> None:
    with RegistryServer() as registry:
        host = default_host(registry.host)
    with (
        client(retry=Retry(attempts=2)) as made,
        pytest.raises(Unavailable, match=r"registry 127.* of tag 1 of acme/app: .*refused.*after 2 attempts"),
    ):
        made.open(host, host.repository(NAME).head_manifest("1"))


# ------------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_refusal_is_waited_out(registry: RegistryServer, status: int) -> None:
    sleepless = Sleepless()
    registry.fault("status", times=2, code=status)
    with client(sleepless=sleepless) as made:
        response = get(made, plain(registry))
    assert response.body == CONTENT
    assert response.attempts == 3
    assert len(sleepless.slept) >= 2
    assert all(0 < seconds <= 1.1 for seconds in sleepless.slept)


@pytest.mark.parametrize(
    ("said", "least", "most"),
    [
        (7, 7.0, 7.7),
        ("absurd", 60.0, 66.0),
        ("negative", 0.0, 0.0),
        ("past", 0.0, 0.0),
        ("date", 0.1, 2.2),
        ("junk", 0.2, 0.5),
    ],
)
def test_retry_after_is_obeyed(registry: RegistryServer, said: Any, least: float, most: float) -> None:
    sleepless, notes = Sleepless(), []
    registry.fault("rate-limit", times=1, retry_after=said)
    with client(sleepless=sleepless, notes=notes) as made:
        get(made, plain(registry))
    assert least <= sum(sleepless.slept) <= most
    assert any("status 429; attempt 2 of 5 in" in note for note in notes)


def test_a_host_that_asks_one_worker_to_wait_is_left_alone_by_all(registry: RegistryServer) -> None:
    sleepless, host = Sleepless(), plain(registry)
    with client(sleepless=sleepless, retry=Retry(attempts=1)) as made:
        with registry.fault("rate-limit", times=1, retry_after=9), pytest.raises(RateLimited) as caught:
            get(made, host)
        assert caught.value.retry_after == 9.0
        assert sleepless.slept == []
        get(made, host)
    assert sum(sleepless.slept) >= 8.5


def test_after_the_last_attempt_the_refusal_says_how_many_there_were(registry: RegistryServer) -> None:
    registry.fault("status", times=None, code=503)
    with client(retry=Retry(attempts=3)) as made, pytest.raises(Unavailable, match=r"503, .*after 3 attempts"):
        get(made, plain(registry))
    assert registry.count("blob.get") == 3


def test_what_is_no_passing_failure_is_not_repeated(registry: RegistryServer) -> None:
    registry.fault("status", times=None, code=501)
    with client() as made, pytest.raises(TranshipError):
        get(made, plain(registry))
    assert registry.count("blob.get") == 1


def test_the_budget_keeps_a_dead_host_from_being_asked_without_end(registry: RegistryServer) -> None:
    registry.fault("status", times=None, code=503)
    with client() as made:
        for _ in range(20):
            with pytest.raises(Unavailable):
                get(made, plain(registry))
    assert registry.count("blob.get") == 20 + 20


@pytest.mark.parametrize("fault", ["hang-up", "junk-status", "header-flood", "long-header", "connect-reset"])
def test_a_broken_connection_is_tried_again(registry: RegistryServer, fault: str) -> None:
    registry.fault(fault, times=1)
    with client() as made:
        response = made.send(plain(registry), plain(registry).repository(NAME).get_blob(BLOB.digest), limit=1 << 20)
        assert response.body == CONTENT


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (b"Content-Length: 5\r\nContent-Length: 6\r\n", "unclear length"),
        (b"Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n", "transfer coding"),
        (b"Content-Length: 5\r\nX-Note : a\r\n", "field 2 of the head is none"),
        (b"no field\r\nContent-Length: 5\r\n", "field 1 of the head is none"),
    ],
)
def test_a_head_that_may_be_read_in_two_ways_is_refused(registry: RegistryServer, fields: bytes, words: str) -> None:
    registry.fault("junk-status", times=None, line=b"HTTP/1.1 200 OK\r\n" + fields + b"\r\nhello")
    with client(retry=Retry(attempts=2)) as made, pytest.raises(Unavailable, match=f"{words}.*after 2 attempts"):
        get(made, plain(registry))


@pytest.mark.parametrize("fault", ["silence", "slow-head", "endless-continue"])
def test_a_head_that_does_not_end_has_one_deadline(registry: RegistryServer, fault: str) -> None:
    registry.fault(fault, times=1)
    with client(timeouts=IMPATIENT) as made:
        assert get(made, plain(registry)).body == CONTENT
    with client(timeouts=IMPATIENT, retry=Retry(attempts=2)) as made:
        registry.fault(fault, times=None)
        with pytest.raises((TranshipError,), match=r"registry 127.*after 2 attempts"):
            get(made, plain(registry))


def test_a_host_that_nobody_listens_at_is_named() -> None:
    with RegistryServer() as registry:
        host = plain(registry)
    with client(retry=Retry(attempts=2)) as made:
        request = host.repository(NAME).head_manifest("1")
        with pytest.raises(
            Unavailable,
            match=rf"registry {host.authority} failed at HEAD of tag 1 of acme/app: .*refused.*after 2 attempts",
        ):
            made.open(host, request)


def test_a_name_that_does_not_exist_is_not_asked_for_again() -> None:
    sleepless = Sleepless()
    host = Host(registry="x.invalid", url="http://x.invalid/v2")
    with client(sleepless=sleepless) as made, pytest.raises(Unavailable, match=r"registry x\.invalid"):
        made.open(host, host.repository(NAME).head_manifest("1"))
    assert len(sleepless.slept) <= 4


def test_a_cancelled_sleep_ends_the_request(registry: RegistryServer) -> None:
    class Stop(Exception):
        pass

    def sleep(_seconds: float) -> None:
        raise Stop

    registry.fault("status", times=None, code=503)
    sleepless = Sleepless()
    sleepless.sleep = sleep  # type: ignore[method-assign]
    with client(sleepless=sleepless) as made, pytest.raises(Stop):
        get(made, plain(registry))


# -------------------------------------------------------------------------------------------------------------- bodies


def reads(made: Client, host: Host) -> bytes:
    with made.open(host, host.repository(NAME).get_blob(BLOB.digest)) as answer:
        return answer.read(1 << 20)


@pytest.mark.parametrize(("fault", "options"), [("drop", {"after": 1000}), ("wrong-length", {"by": 5})])
def test_a_body_that_ends_early_is_truncated(registry: RegistryServer, fault: str, options: dict[str, int]) -> None:
    registry.fault(fault, **options)
    with client() as made:
        with pytest.raises(Truncated, match="bytes missing"):
            reads(made, plain(registry))
        assert reads(made, plain(registry)) == CONTENT


def test_what_came_before_a_break_is_good(registry: RegistryServer) -> None:
    registry.fault("drop", after=100_000)
    host, view, found = plain(registry), memoryview(bytearray(7000)), bytearray()
    with client() as made:
        with made.open(host, host.repository(NAME).get_blob(BLOB.digest)) as answer, pytest.raises(Truncated):
            while count := answer.readinto(view):
                found += view[:count]
        found += get(made, host, len(found)).body
    assert found == CONTENT


@pytest.mark.parametrize(("fault", "options"), [("stall", {"after": 1000}), ("slow-body", {"pause": 0.02})])
def test_a_body_that_stalls_or_drips_is_given_up(
    registry: RegistryServer, fault: str, options: dict[str, float]
) -> None:
    registry.fault(fault, **options)
    with client(timeouts=IMPATIENT) as made, pytest.raises(TranshipError, match="stopped sending"):
        reads(made, plain(registry))


def test_a_body_without_end_is_read_to_the_cap_alone(registry: RegistryServer) -> None:
    registry.fault("endless", times=None)
    with client() as made, pytest.raises(DataLoss, match="more than 1048576 bytes for GET of blob"):
        reads(made, plain(registry))
    assert registry.requests[0].sent < 32 << 20


def test_a_huge_manifest_is_not_read(registry: RegistryServer) -> None:
    registry.put_manifest(NAME, INDEX, "application/vnd.oci.image.index.v1+json", ["1"])
    registry.fault("huge-manifest")
    host = plain(registry)
    with client() as made, pytest.raises(DataLoss, match="more than 4393216 bytes"):
        made.send(host, host.repository(NAME).get_manifest("1"))


@pytest.mark.parametrize("fault", ["drop", "reset", "stall"])
def test_a_document_that_breaks_is_asked_for_again(registry: RegistryServer, fault: str) -> None:
    registry.put_manifest(NAME, INDEX, "application/vnd.oci.image.index.v1+json", ["1"])
    registry.fault(fault, kind="manifest.get", after=5, times=2)
    host, sleepless = plain(registry), Sleepless()
    with client(sleepless=sleepless, timeouts=IMPATIENT if fault == "stall" else PATIENT) as made:
        response = made.send(host, host.repository(NAME).get_manifest("1"))
        assert response.body == INDEX
        assert response.attempts == 1 + len(sleepless.slept) >= 3
        registry.fault(fault, kind="tags", after=5)
        assert made.run(host, pages.tags(host.repository(NAME))) == ["1"]


def test_a_document_that_always_breaks_is_asked_for_as_often_as_was_said(registry: RegistryServer) -> None:
    registry.put_manifest(NAME, INDEX, "application/vnd.oci.image.index.v1+json", ["1"])
    registry.fault("drop", kind="manifest.get", after=5, times=None)
    host = plain(registry)
    request = host.repository(NAME).get_manifest("1")
    with client(retry=Retry(attempts=3)) as made:
        with pytest.raises(Truncated, match=r"GET of tag 1 .*bytes missing.*after 3 attempts"):
            made.send(host, request)
        assert registry.count("manifest.get") == 3
        with pytest.raises(Truncated, match=r"bytes missing$"):
            made.send(host, replace(request, retry=False))
        assert registry.count("manifest.get") == 4


@pytest.mark.parametrize("form", ["huge", "html", "malformed", "control", "empty", "nested", "strange"])
def test_error_bodies_are_capped_and_never_trouble(registry: RegistryServer, form: str) -> None:
    registry.fault("error-body", form=form)
    with client() as made, pytest.raises(TranshipError) as caught:
        get(made, plain(registry))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("bomb", [0, 40 << 20])
def test_an_encoding_that_nobody_asked_for_is_undone_within_the_cap(registry: RegistryServer, bomb: int) -> None:
    registry.fault("gzip", bomb=bomb)
    host = plain(registry)
    request = host.repository(NAME).get_blob(BLOB.digest)
    with client() as made:
        if bomb:
            with pytest.raises(DataLoss, match="more than 1048576 bytes"):
                made.send(host, request, limit=1 << 20)
            return
        assert get(made, host).body == CONTENT
        with made.open(host, request) as answer:
            assert body_offset(request, answer.head, 0, BLOB.size) == (0, BLOB.size)
            answer.as_stored(BLOB.size)
            assert answer.read(1 << 20) == CONTENT


def test_a_body_of_the_right_size_is_taken_as_it_comes_whatever_its_label(registry: RegistryServer) -> None:
    stored = gzip.compress(CONTENT)
    digest, host = registry.put_blob(NAME, stored), plain(registry)
    request = host.repository(NAME).get_blob(digest)
    with client() as made, made.open(host, request) as answer:
        answer.head = replace(answer.head, headers=Headers([*answer.head.headers, ("Content-Encoding", "gzip")]))
        answer.as_stored(len(stored))
        assert answer.read(1 << 20) == stored


def test_a_body_of_no_bytes_has_no_encoding_whatever_its_label(registry: RegistryServer) -> None:
    """As where a registry leads to an object store that labels layers by how they are compressed."""
    registry.fault("gzip", kind="blob.head", only_say=True)
    host = plain(registry)
    with client() as made:
        response = made.send(host, host.repository(NAME).head_blob(BLOB.digest))
    assert (response.status, response.body) == (200, b"")


def test_an_unknown_or_broken_encoding_is_an_error(registry: RegistryServer) -> None:
    host = plain(registry)
    with client() as made:
        for encoding, kind in (("br", Unavailable), ("gzip", DataLoss)):
            with (
                made.open(host, host.repository(NAME).get_blob(BLOB.digest)) as answer,
                pytest.raises(kind, match="encoded"),
            ):
                answer.head = replace(answer.head, headers=Headers([("Content-Encoding", encoding)]))
                answer.as_stored(1)
                answer.read(1 << 20)


def test_debug_messages_hold_no_signatures(registry: RegistryServer, caplog: pytest.LogCaptureFixture) -> None:
    registry.fault("redirect", url=f"{registry.elsewhere.url}/v2/{NAME}/blobs/{BLOB.digest}?X-Amz-Signature=hunter2")
    with client() as made, caplog.at_level("DEBUG"):
        assert get(made, plain(registry)).body == CONTENT
    assert caplog.records
    assert "hunter2" not in caplog.text


def test_bytes_behind_an_answer_close_its_connection(registry: RegistryServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes later than the next request is its answer, as far as anybody can tell: so the test waits for the bytes."""
    host = plain(registry)
    sent, send = threading.Event(), wire.Connection.send

    def sending(*args: Any) -> bool:
        kept = send(*args)
        sent.set()
        return kept

    monkeypatch.setattr(wire.Connection, "send", sending)
    registry.fault("bytes-after", times=1)
    with client() as made:
        assert get(made, host).body == CONTENT
        assert sent.wait(20)
        assert get(made, host).body == CONTENT
        made.send(host, host.repository(NAME).head_blob(BLOB.digest))
    assert registry.requests[1].connection == 2
    assert registry.requests[2].connection == 2


def test_trailers_that_do_not_end_are_not_read() -> None:
    sent = 0
    with socket.create_server(("127.0.0.1", 0)) as listening, client(retry=Retry(attempts=1)) as made:

        def serve() -> None:
            nonlocal sent
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(64 * 1024)
                connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
                while sent < 100 << 20:
                    connection.sendall(b"X-More: y\r\n" * 10_000)
                    sent += 110_000

        serving = threading.Thread(target=serve)
        serving.start()
        host = Host(registry="r", url=f"http://127.0.0.1:{listening.getsockname()[1]}/v2")
        with pytest.raises(Unavailable, match="more than 65536 bytes of trailers"):
            get(made, host)
        serving.join()
    assert sent < 50 << 20


# ----------------------------------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize(
    "options",
    [{"to": "elsewhere"}, {"to": "dots"}, {"to": "chain"}, {"to": "crlf"}, {"url": f"./{BLOB.digest}?redirected"}],
    ids=str,
)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_followed(registry: RegistryServer, options: dict[str, Any], code: int) -> None:
    registry.fault("redirect", code=code, **options)
    with client() as made:
        assert get(made, plain(registry), 5).body == CONTENT[5:]


@pytest.mark.parametrize("form", ["loop", "none", "file", "userinfo", "junk"])
def test_redirects_that_lead_nowhere_are_refused(registry: RegistryServer, form: str) -> None:
    registry.fault("redirect", to=form)
    with (
        client() as made,
        pytest.raises((Unavailable, PolicyRefused), match=r"registry 127\.0\.0\.1:\d+ redirects blob"),
    ):
        get(made, plain(registry))
    assert registry.count("blob.get") <= 6
    assert registry.elsewhere.count() == 0


def test_a_redirect_of_a_post_that_would_lose_its_body_is_not_followed(registry: RegistryServer) -> None:
    host = plain(registry)
    registry.fault("redirect", kind="upload.start", code=302, url="/elsewhere")
    with client() as made, pytest.raises(Unavailable, match="redirect that cannot be followed"):
        made.run(host, upload.upload(host.repository(NAME), BLOB), payload(CONTENT))


def test_an_upload_follows_a_307_with_its_bytes(registry: RegistryServer) -> None:
    host, content = plain(registry), os.urandom(500_000)
    registry.fault("redirect", kind="upload.finish", to="elsewhere")
    with client() as made:
        made.run(host, upload.upload(host.repository(NAME), layer(content)), payload(content))
    assert registry.elsewhere.count("upload.finish", status=201) == 1
    assert registry.content(NAME, layer(content).digest) == content


def secrets_seen(server: Any) -> set[str]:
    return {
        name.lower()
        for exchange in server.requests
        for name, _ in exchange.headers
        if name.lower() in ("authorization", "cookie", "x-secret", "proxy-authorization")
    }


def test_nothing_secret_follows_a_redirect_to_another_port() -> None:
    with RegistryServer(auth=Basic({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        registry.put_blob(NAME, CONTENT)
        host = Host(registry=registry.host, url=plain(registry).url, headers=(("X-Secret", "1"), ("Cookie", "a=b")))
        get(made, host)
        registry.fault("redirect", to="elsewhere")
        assert get(made, host).body == CONTENT
        assert secrets_seen(registry) == {"authorization", "cookie", "x-secret"}
        assert registry.elsewhere.count("blob.get") == 1
        assert secrets_seen(registry.elsewhere) == set()


def test_a_401_from_where_we_were_redirected_is_not_answered() -> None:
    with (
        RegistryServer(auth=Basic({"alice": "secret"})) as registry,
        RegistryServer(auth=Basic({"alice": "secret"})) as other,
        client(find=find(ALICE)) as made,
    ):
        registry.put_blob(NAME, CONTENT)
        registry.fault("redirect", url=f"{other.url}/v2/{NAME}/blobs/{BLOB.digest}")
        with pytest.raises(Unauthenticated):
            get(made, plain(registry))
        assert other.count() == 1
        assert secrets_seen(other) == set()


def test_an_upload_that_is_sent_elsewhere_takes_no_credentials_along() -> None:
    with RegistryServer(auth=Basic({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        host = plain(registry)
        registry.fault("location", form="elsewhere")
        made.run(host, upload.upload(host.repository(NAME), BLOB), payload(CONTENT))
        assert secrets_seen(registry) == {"authorization"}
        assert registry.elsewhere.count("upload.finish", status=201) == 1
        assert secrets_seen(registry.elsewhere) == set()


@pytest.mark.parametrize("form", ["relative", "absolute", "last-segment", "no-scheme", "query"])
def test_uploads_follow_every_form_of_location(registry: RegistryServer, form: str) -> None:
    host, content = plain(registry), os.urandom(100_000)
    registry.fault("location", form=form)
    with client() as made:
        made.run(host, upload.upload(host.repository(NAME), layer(content), chunk=30_000), payload(content))
    assert registry.content(NAME, layer(content).digest) == content


@pytest.mark.parametrize("form", ["missing", "file", "junk"])
def test_uploads_refuse_a_location_that_is_none(registry: RegistryServer, form: str) -> None:
    host = plain(registry)
    registry.fault("location", form=form)
    with client() as made, pytest.raises(Unavailable, match=r"registry 127.*upload of layer .* to acme/app"):
        made.run(host, upload.upload(host.repository(NAME), layer(b"new")), payload(b"new"))


# ------------------------------------------------------------------------------------------------- uploads going wrong


@pytest.mark.parametrize("chunk", [None, 1 << 20])
@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("drop", {"after": 700_000}),
        ("reset", {"after": 700_000}),
        ("stall", {"after": 700_000}),
        ("hang-up", {}),
        ("silence", {}),
        ("status", {"code": 503}),
        ("rate-limit", {}),
        ("upload-lost", {}),
        ("short-accept", {"keep": 1000}),
        ("upload-moves", {}),
        ("chunk-refused", {}),
        ("chunk-min-length", {"size": 1 << 20}),
        ("expire-tokens", {}),
    ],
)
def test_an_upload_survives(chunk: int | None, fault: str, options: dict[str, int]) -> None:
    content = os.urandom(2_500_000)
    auth = Token({"alice": "secret"})
    with (
        RegistryServer(auth=auth) as registry,
        client(timeouts=IMPATIENT if fault in ("stall", "silence") else PATIENT, find=find(ALICE)) as made,
    ):
        host = plain(registry)
        if fault in ("hang-up", "silence", "status", "rate-limit", "expire-tokens"):
            options = {**options, "kind": ("upload.chunk", "upload.finish")}  # type: ignore[dict-item]
        registry.fault(fault, **options)  # type: ignore[arg-type]
        made.run(host, upload.upload(host.repository(NAME), layer(content), chunk=chunk), payload(content))
        assert registry.content(NAME, layer(content).digest) == content


def test_a_source_that_fails_is_not_taken_for_the_connection(registry: RegistryServer) -> None:
    class Disk(io_base()):  # type: ignore[misc]
        def readinto(self, _view: memoryview) -> int:
            raise OSError(5, "Input/output error")

    host = plain(registry)
    with client() as made:
        with pytest.raises(OSError, match="Input/output error"):
            made.run(host, upload.upload(host.repository(NAME), layer(b"new")), ReaderPayload(lambda _offset: Disk()))
        with pytest.raises(Truncated, match="5 are missing"):
            made.run(host, upload.upload(host.repository(NAME), layer(b"12345678")), payload(b"123"))


def io_base() -> type:
    class Base:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_args: object) -> None:
            pass

    return Base


def test_a_file_that_is_too_short_is_found_before_it_is_sent(registry: RegistryServer, tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(b"123")
    with path.open("rb") as file, pytest.raises(BodyFailed, match="ends 5 bytes too early"):
        list(FilePayload(file.fileno()).pieces(0, 8))
    assert registry.count() == 0


def test_a_mount_is_made_or_becomes_an_upload() -> None:
    with RegistryServer(auth=Token({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        host = plain(registry)
        registry.put_blob("other/place", CONTENT)
        assert made.run(host, upload.mount(host.repository(NAME), BLOB, "other/place")) is True
        assert registry.content(NAME, BLOB.digest) == CONTENT
        new = layer(b"new")
        session = made.run(host, upload.mount(host.repository(NAME), new, "other/place"))
        assert isinstance(session, upload.Session)
        made.run(host, upload.upload(host.repository(NAME), new, session=session), payload(b"new"))
        assert registry.content(NAME, new.digest) == b"new"
        session = made.run(host, upload.mount(host.repository(NAME), layer(b"more"), "other/place"))
        assert isinstance(session, upload.Session)
        made.run(host, upload.cancel(host.repository(NAME), session))
        assert registry.count("upload.cancel", status=204) == 1


# ---------------------------------------------------------------------------------------------------------- credentials


def test_without_credentials_an_anonymous_token_reads() -> None:
    with RegistryServer(auth=Token({}, anonymous={"pull"})) as registry, client() as made:
        registry.put_blob(NAME, CONTENT)
        assert get(made, plain(registry)).body == CONTENT
        host = plain(registry)
        request = host.repository(NAME).request("POST", "blobs/uploads/", "a blob", scopes=frozenset(), body=b"")
        assert made.send(host, request).status == 401


def test_one_token_serves_many_requests_and_threads() -> None:
    auth = Token({"alice": "secret"})
    with RegistryServer(auth=auth) as registry, client(find=find(ALICE), per_host=8) as made:
        registry.put_blob(NAME, CONTENT)
        host = plain(registry)
        threads = [threading.Thread(target=lambda: [get(made, host) for _ in range(3)]) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert auth.issued == 1
        assert registry.count("blob.get", status=200) == 18


def test_after_the_first_challenge_tokens_are_fetched_beforehand() -> None:
    auth = Token({"alice": "secret"})
    with RegistryServer(auth=auth) as registry, client(find=find(ALICE)) as made:
        host = plain(registry)
        for name in ("a/a", "b/b", "c/c"):
            made.send(host, host.repository(name).head_manifest("1"))
        assert registry.count(status=401) == 1
        assert auth.issued == 3


def test_a_token_that_expired_is_renewed_once() -> None:
    auth = Token({"alice": "secret"})
    with RegistryServer(auth=auth) as registry, client(find=find(ALICE)) as made:
        registry.put_blob(NAME, CONTENT)
        host = plain(registry)
        get(made, host)
        auth.expire()
        assert get(made, host).body == CONTENT
        assert auth.issued == 2


def test_a_token_that_runs_out_by_the_clock_is_not_sent_any_more() -> None:
    auth, sleepless = Token({"alice": "secret"}, expires_in=300), Sleepless()
    with RegistryServer(auth=auth) as registry, client(find=find(ALICE), sleepless=sleepless) as made:
        registry.put_blob(NAME, CONTENT)
        get(made, plain(registry))
        sleepless.skipped += 295
        get(made, plain(registry))
        assert auth.issued == 2
        assert registry.count("blob.get", status=401) == 1


@pytest.mark.parametrize(
    "auth", [None, Basic({"alice": "secret"}), Token({"alice": "secret"})], ids=["none", "basic", "token"]
)
def test_a_registry_that_refuses_for_ever_is_asked_twice(auth: Any) -> None:
    with RegistryServer(auth=auth) as registry, client(find=find(ALICE)) as made:
        registry.fault("unauthorized")
        with pytest.raises(Unauthenticated):
            get(made, plain(registry))
        assert registry.count("blob.get") == 2


def test_identity_tokens_are_exchanged() -> None:
    auth = Token({"alice": "secret"})
    auth._refresh_tokens["refresh-me"] = "alice"
    with (
        RegistryServer(auth=auth) as registry,
        client(find=find(Credential(identity_token=Secret("refresh-me")))) as made,
    ):
        registry.put_blob(NAME, CONTENT)
        assert get(made, plain(registry)).body == CONTENT
        assert registry.count("token") == 1


def test_a_token_service_on_another_loopback_port_is_asked() -> None:
    notes: list[str] = []
    with (
        TokenServer(Token({"alice": "secret"})) as tokens,
        RegistryServer(auth=tokens) as registry,
        client(find=find(ALICE), notes=notes) as made,
    ):
        registry.put_blob(NAME, CONTENT)
        assert get(made, plain(registry)).body == CONTENT
        assert [exchange.headers.get("Authorization") is not None for exchange in tokens.requests] == [True]
        assert f"credentials for {registry.host} go to {tokens.url}/token?…" in notes
        assert not [note for note in notes if "secret" in note]


@pytest.mark.parametrize(
    "form", ["junk", "unclosed", "huge", "quotes", "crlf", "unknown", "none", "many", "no-realm", "link-local", "private", "file", "userinfo"]
)  # fmt: skip
def test_bad_challenges_get_no_credentials(form: str) -> None:
    with RegistryServer(auth=Token({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        registry.fault("challenge", form=form)
        with pytest.raises((Unauthenticated, PolicyRefused, Unavailable)):
            get(made, plain(registry))
        assert registry.count("token") == 0
        assert secrets_seen(registry) == set()


@pytest.mark.parametrize("form", ["crlf", "control", "spaces", "huge", "huge-body", "none", "number", "html"])
def test_bad_tokens_are_not_used(form: str) -> None:
    with RegistryServer(auth=Token({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        registry.fault("token", form=form)
        with pytest.raises((Unavailable, DataLoss), match="token"):
            get(made, plain(registry))
        assert registry.count("blob.get") == 1


@pytest.mark.parametrize("fault", ["drop", "reset", "stall"])
def test_a_token_that_breaks_is_asked_for_again(fault: str) -> None:
    timeouts = IMPATIENT if fault == "stall" else PATIENT
    with (
        RegistryServer(auth=Token({"alice": "secret"})) as registry,
        client(find=find(ALICE), timeouts=timeouts) as made,
    ):
        registry.put_blob(NAME, CONTENT)
        registry.fault(fault, kind="token", after=5)
        assert get(made, plain(registry)).body == CONTENT
        assert registry.count("token") == 2


@pytest.mark.parametrize("form", ["no-expiry", "expired", "absurd-expiry"])
def test_odd_lives_of_tokens_are_survived(form: str) -> None:
    with RegistryServer(auth=Token({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        registry.put_blob(NAME, CONTENT)
        registry.fault("token", form=form)
        assert get(made, plain(registry)).body == CONTENT


def test_a_wrong_password_is_an_error_that_says_whose() -> None:
    wrong = Credential(username="alice", password=Secret("wrong"), source="/home/alice/.docker/config.json")
    with RegistryServer(auth=Token({"alice": "secret"})) as registry, client(find=find(wrong)) as made:
        with pytest.raises(Unauthenticated, match=r"credentials from /home/alice/\.docker/config\.json") as caught:
            get(made, plain(registry))
        assert f"run `tranship login {registry.host}`" in str(caught.value.hint)
    with (
        RegistryServer(auth=Basic({"alice": "secret"})) as registry,
        client(find=find(None)) as made,
        pytest.raises(Unauthenticated, match="wants a user name and password"),
    ):
        get(made, plain(registry))


def test_each_repository_may_have_its_own_login() -> None:
    logins = {"a/a": ALICE, "b/b": Credential(username="bob", password=Secret("other"))}
    with (
        RegistryServer(auth=Basic({"alice": "secret", "bob": "other"})) as registry,
        client(find=lambda _host, repository: logins[repository]) as made,
    ):
        host = plain(registry)
        for name in ("a/a", "b/b", "a/a"):
            assert made.send(host, host.repository(name).head_manifest("1")).status == 404
        seen = [exchange.authorization for exchange in registry.requests if exchange.authorization]
        assert len(set(seen)) == 2
        assert seen[0] == seen[2]


def test_a_denied_push_is_denied_by_name() -> None:
    auth = Token({"alice": "secret"}, permissions=lambda _user, _name: {"pull"})
    with RegistryServer(auth=auth) as registry, client(find=find(ALICE)) as made:
        host = plain(registry)
        with pytest.raises((Unauthenticated, PermissionDenied), match="push access to acme/app"):
            made.run(host, upload.upload(host.repository(NAME), BLOB), payload(CONTENT))


# --------------------------------------------------------------------------------------------------------------- limits


def test_a_limited_rate_holds_in_both_directions(registry: RegistryServer) -> None:
    sleepless, host, content = Sleepless(), plain(registry), os.urandom(300_000)
    with client(sleepless=sleepless, throttle=Throttle(100_000, sleepless.clock)) as made:
        assert get(made, host).body == CONTENT
        assert 2.5 <= sum(sleepless.slept) <= 3.5
        sleepless.slept.clear()
        made.run(host, upload.upload(host.repository(NAME), layer(content)), payload(content))
        assert 2.5 <= sum(sleepless.slept) <= 3.5
    assert registry.content(NAME, layer(content).digest) == content


def test_no_more_threads_talk_to_a_host_than_allowed(registry: RegistryServer) -> None:
    host, most, lock = plain(registry), [0, 0], threading.Lock()

    def work() -> None:
        with made.open(host, host.repository(NAME).get_blob(BLOB.digest)) as answer:
            with lock:
                most[0] += 1
                most[1] = max(most)
            answer.read(1 << 20)
            with lock:
                most[0] -= 1

    with client(per_host=2) as made:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert 1 <= most[1] <= 2


def test_a_failed_request_gives_its_slot_back(registry: RegistryServer) -> None:
    host = plain(registry)
    with client(per_host=1, retry=Retry(attempts=1)) as made:
        for _ in range(3):
            with registry.fault("hang-up", times=1), pytest.raises(Unavailable):
                get(made, host)
        done = threading.Event()

        def work() -> None:
            get(made, host)
            done.set()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
        assert done.is_set()
