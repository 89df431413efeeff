"""Each fault of the test registry does what its name says, to a client that takes everything as it comes."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.raw_http import OCI_INDEX, OCI_MANIFEST, Client, describe, digest, exchange, image
from tranship.errors import TranshipError
from tranship.model import manifest
from tranship.testing.registry import CONFUSIONS, FAULTS, RegistryServer, Token, faults, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOB = bytes(range(256)) * 4096  # 1 MiB
NAME = digest(BLOB)
CONFIG = b'{"architecture":"amd64","os":"linux"}'
DOCUMENT = image(CONFIG)
DIGEST = describe(DOCUMENT)["digest"]
TARGET = f"/v2/a/b/blobs/{NAME}"
SMALL = f"/v2/a/b/blobs/{digest(CONFIG)}"
BROKEN = (http.client.IncompleteRead, ConnectionResetError, http.client.RemoteDisconnected)


@pytest.fixture(params=["memory", "folder"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RegistryServer]:
    with RegistryServer("memory" if request.param == "memory" else tmp_path / "registry") as server:
        server.put_blob("a/b", BLOB)
        server.put_blob("a/b", CONFIG)
        server.put_manifest("a/b", json.dumps(DOCUMENT).encode(), OCI_MANIFEST, ["v1", "v2", "v3"])
        yield server


@pytest.fixture
def client(registry: RegistryServer) -> Iterator[Client]:
    with Client(registry.port) as made:
        yield made


def start(client: Client) -> str:
    return str(client.ask("POST", "/v2/a/b/blobs/uploads/")["Location"])


def whole(client: Client) -> bool:
    """Does the blob come as it is?"""
    answer = client.ask("GET", TARGET)
    return (answer.status, answer.body) == (200, BLOB)


# The machinery ---------------------------------------------------------------------------------------------------------


def test_every_fault_is_in_the_table_and_in_this_file() -> None:
    assert faults.__doc__ is not None
    text = Path(__file__).read_text("utf-8")
    for name, kind in FAULTS.items():
        assert f"{name}(" in faults.__doc__
        assert kind.effect.endswith((".", ")")), name
        assert f'fault("{name}"' in text, f"{name} is not tested"


def test_a_fault_strikes_so_many_times_and_ends(registry: RegistryServer, client: Client) -> None:
    fault = registry.fault("status", times=2)
    assert [client.ask("GET", "/v2/").status for _ in range(4)] == [503, 503, 200, 200]
    assert fault.hits == 2
    assert [exchange.faults for exchange in registry.requests] == [["status"], ["status"], [], []]


def test_a_fault_lets_some_pass_first(registry: RegistryServer, client: Client) -> None:
    registry.fault("status", skip=1)
    assert [client.ask("GET", "/v2/").status for _ in range(3)] == [200, 503, 200]


def test_a_fault_without_end_lasts_to_the_end_of_its_block(registry: RegistryServer, client: Client) -> None:
    with registry.fault("status", times=None) as fault:
        assert [client.ask("GET", "/v2/").status for _ in range(3)] == [503] * 3
    assert client.ask("GET", "/v2/").status == 200
    assert fault.hits == 3


def test_a_fault_is_aimed_by_kind_method_and_path(registry: RegistryServer, client: Client) -> None:
    registry.fault("status", times=None, kind="blob", code=500)
    registry.fault("status", times=None, method="HEAD", path="manifests/v1$", code=502)
    assert client.ask("GET", "/v2/").status == 200
    assert [client.ask(method, TARGET).status for method in ("HEAD", "GET", "DELETE")] == [500, 500, 500]
    assert client.ask("HEAD", "/v2/a/b/manifests/v1").status == 502
    assert client.ask("GET", "/v2/a/b/manifests/v1").status == 200
    assert client.ask("HEAD", "/v2/a/b/manifests/v2").status == 200


def test_a_fault_that_would_mean_nothing_waits(registry: RegistryServer, client: Client) -> None:
    fault = registry.fault("lying-range", form="missing")
    assert whole(client)
    assert fault.hits == 0
    assert client.ask("GET", TARGET, headers={"Range": "bytes=5-"})["Content-Range"] is None
    assert fault.hits == 1


def test_a_fault_that_declines_after_its_end_stays_ended(registry: RegistryServer, client: Client) -> None:
    fault = registry.fault("ignore-range")
    assert fault.take()
    fault.remove()
    fault._give_back()
    assert client.ask("GET", TARGET, headers={"Range": "bytes=5-"}).status == 206


def test_faults_work_together(registry: RegistryServer, client: Client) -> None:
    registry.fault("wrong-bytes", times=None)
    registry.fault("ignore-range")
    answer = client.ask("GET", TARGET, headers={"Range": "bytes=5-"})
    assert (answer.status, answer.body[0], answer.body[1:]) == (200, 1, BLOB[1:])


def test_an_unknown_fault_or_parameter_is_an_error_of_the_test(registry: RegistryServer) -> None:
    with pytest.raises(KeyError):
        registry.fault("no-such-fault")
    with pytest.raises(TypeError, match="bytes"):
        registry.fault("drop", bytes=5)
    with pytest.raises(TypeError, match="to"):
        registry.fault("tag-moves")


# The connection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 70_000, len(BLOB) - 1])
def test_drop_ends_a_download_after_so_many_bytes(registry: RegistryServer, client: Client, after: int) -> None:
    registry.fault("drop", after=after)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.ask("GET", TARGET)
    assert caught.value.partial == BLOB[:after]
    assert whole(client)


@pytest.mark.parametrize("after", [0, 1, 70_000, len(BLOB)])
def test_drop_ends_an_upload_after_so_many_bytes_which_stay(
    registry: RegistryServer, client: Client, after: int
) -> None:
    location = start(client)
    registry.fault("drop", after=after)
    with pytest.raises((*BROKEN, BrokenPipeError)):
        client.ask("PATCH", location, BLOB)
    assert client.ask("GET", location)["Range"] == f"0-{max(0, after - 1)}"
    rest = {"Content-Range": f"{after}-{len(BLOB) - 1}"} if after < len(BLOB) else {}
    assert client.ask("PUT", f"{location}?digest={NAME}", BLOB[after:], rest).status == 201


def test_drop_waits_for_a_body_that_is_long_enough(registry: RegistryServer, client: Client) -> None:
    fault = registry.fault("drop", after=1000)
    assert client.ask("GET", SMALL).status == 200
    assert client.ask("PATCH", start(client), b"short").status == 202
    assert fault.hits == 0


def test_reset_loses_the_connection(registry: RegistryServer, client: Client) -> None:
    registry.fault("reset", after=1000, kind="blob")
    registry.fault("reset", kind="upload.chunk")
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        client.ask("PATCH", start(client), BLOB)
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        client.ask("GET", TARGET)
    assert whole(client)


def test_stall_lets_the_client_time_out_and_go_on(registry: RegistryServer, client: Client) -> None:
    registry.fault("stall", after=1000, kind="blob")
    registry.fault("stall", after=1000, kind="upload.chunk")
    location = start(client)
    with Client(registry.port, timeout=0.2) as hasty:
        with pytest.raises(TimeoutError):
            hasty.ask("GET", TARGET)
        with pytest.raises(TimeoutError):
            hasty.ask("PATCH", location, BLOB)
    assert client.ask("GET", location)["Range"] == "0-999"  # not held up by the request that stalls
    assert client.ask("PUT", f"{location}?digest={NAME}", BLOB[1000:]).status == 201


def test_stall_may_end_by_itself(registry: RegistryServer, client: Client) -> None:
    registry.fault("stall", after=10, seconds=0.05)
    with pytest.raises(http.client.IncompleteRead):
        client.ask("GET", TARGET)


def test_silence_obeys_and_does_not_answer(registry: RegistryServer) -> None:
    registry.fault("silence")
    with Client(registry.port, timeout=0.2) as client:
        with pytest.raises(TimeoutError):
            client.ask("DELETE", TARGET)
        assert client.ask("HEAD", TARGET).status == 404


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the server would have waited, a pause after each piece."""
    pauses: list[float] = []
    monkeypatch.setattr(wire.Connection, "wait", lambda _self, seconds: pauses.append(seconds))
    return pauses


def test_slow_head_comes_byte_by_byte(registry: RegistryServer, client: Client, pauses: list[float]) -> None:
    registry.fault("slow-head", pause=0.05)
    assert client.ask("GET", "/v2/").status == 200
    assert set(pauses) == {0.05}
    assert len(pauses) > 100  # bytes


def test_slow_body_comes_in_small_pieces(registry: RegistryServer, client: Client, pauses: list[float]) -> None:
    registry.fault("slow-body", size=4, pause=0.05)
    assert client.ask("GET", SMALL).body == CONFIG
    assert client.ask("GET", "/v2/").status == 200  # the server is done with the first
    assert pauses == [0.05] * 10


def test_truncate_says_the_length_of_what_it_left(registry: RegistryServer, client: Client) -> None:
    registry.fault("truncate", to=70_000)
    answer = client.ask("GET", TARGET)
    assert (answer.status, answer.body, answer["Content-Length"]) == (200, BLOB[:70_000], "70000")


def test_endless_goes_on_after_the_content(registry: RegistryServer, client: Client) -> None:
    registry.fault("endless", limit=1 << 20)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.ask("GET", TARGET)
    assert caught.value.partial == BLOB + bytes(1 << 20)


def test_endless_ends_when_the_client_leaves(registry: RegistryServer, client: Client) -> None:
    registry.fault("endless")
    client.connection.request("GET", TARGET)
    response = client.connection.getresponse()
    assert response.read(5) == BLOB[:5]
    response.close()
    client.close()
    registry.stop()  # returns at once
    assert registry.requests[0].sent < 1 << 30


@pytest.mark.parametrize("after", [0, 1000])
def test_chunked_junk_breaks_the_framing(registry: RegistryServer, client: Client, after: int) -> None:
    registry.fault("chunked-junk", after=after)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.ask("GET", TARGET)
    assert caught.value.partial == BLOB[:after]


@pytest.mark.parametrize("by", [5, -5])
def test_wrong_length_says_more_or_less_than_comes(registry: RegistryServer, client: Client, by: int) -> None:
    registry.fault("wrong-length", by=by)
    client.connection.request("GET", SMALL)
    response = client.connection.getresponse()
    assert response.headers["Content-Length"] == str(len(CONFIG) + by)
    if by > 0:
        with pytest.raises(http.client.IncompleteRead):
            response.read()
    else:
        assert response.read() == CONFIG[:by]
    response.close()


def test_bytes_after_an_answer_lie_ready_on_the_connection(registry: RegistryServer) -> None:
    registry.fault("bytes-after", data=b"surplus")
    request = b"GET /v2/ HTTP/1.1\r\nHost: %s\r\n" % registry.host.encode()
    answers = exchange(registry.port, request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    assert b"{}surplusHTTP/1.1 200 OK" in answers


def test_header_flood_and_long_header_are_as_large_as_asked_for(registry: RegistryServer) -> None:
    request = b"GET /v2/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % registry.host.encode()
    registry.fault("header-flood", count=300)
    assert exchange(registry.port, request).count(b"\r\nX-Flood-") == 300
    registry.fault("long-header", size=100_000)
    assert b"\r\nX-Long: " + b"x" * 100_000 + b"\r\n" in exchange(registry.port, request)


def test_junk_status_is_no_http(registry: RegistryServer, client: Client) -> None:
    registry.fault("junk-status", line=b"hello\r\n\r\n")
    with pytest.raises(http.client.BadStatusLine):
        client.ask("GET", "/v2/")


def test_endless_continue_never_answers(registry: RegistryServer) -> None:
    registry.fault("endless-continue", count=500)
    request = b"GET /v2/ HTTP/1.1\r\nHost: %s\r\n\r\n" % registry.host.encode()
    assert exchange(registry.port, request) == b"HTTP/1.1 100 Continue\r\n\r\n" * 500


def test_connection_close_lets_no_connection_live(registry: RegistryServer, client: Client) -> None:
    registry.fault("connection-close")
    assert [client.ask("GET", "/v2/")["Connection"] for _ in range(3)] == ["close"] * 3
    assert registry.connections == 3


def test_hang_up_neither_obeys_nor_answers(registry: RegistryServer, client: Client) -> None:
    registry.fault("hang-up")
    with pytest.raises(http.client.RemoteDisconnected):
        client.ask("DELETE", TARGET)
    registry.fault("hang-up", reset=True)
    with pytest.raises(ConnectionResetError):
        client.ask("DELETE", TARGET)
    assert whole(client)


def test_connect_reset_lets_nobody_in(registry: RegistryServer, client: Client) -> None:
    fault = registry.fault("connect-reset", times=2)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            client.ask("GET", "/v2/")
    assert client.ask("GET", "/v2/").status == 200
    assert (fault.hits, registry.count()) == (2, 1)


def test_refuse_closes_the_port_for_a_while(registry: RegistryServer, client: Client) -> None:
    with Client(registry.port) as other:
        other.ask("GET", "/v2/")
        registry.fault("refuse", seconds=0.15)
        with pytest.raises(BROKEN):
            client.ask("GET", "/v2/")
        with pytest.raises(ConnectionRefusedError):
            client.ask("GET", "/v2/")
        with pytest.raises((*BROKEN, ConnectionRefusedError)):
            other.ask("GET", "/v2/")
    deadline = time.monotonic() + 10
    while True:
        try:
            assert client.ask("GET", "/v2/").status == 200
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_connections_are_refused_until_they_are_accepted_again(registry: RegistryServer, client: Client) -> None:
    port = registry.port
    registry.refuse_connections()
    with pytest.raises(ConnectionRefusedError):
        client.ask("GET", "/v2/")
    registry.accept_connections()
    assert (client.ask("GET", "/v2/").status, registry.port) == (200, port)


# The status ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504, 599])
def test_status_is_the_code_asked_for(registry: RegistryServer, client: Client, code: int) -> None:
    registry.fault("status", code=code, retry_after=7)
    answer = client.ask("GET", "/v2/")
    assert (answer.status, answer["Retry-After"], len(answer.codes)) == (code, "7", 1)


def test_rate_limit_says_when_to_come_back_in_every_form(registry: RegistryServer, client: Client) -> None:
    said = {}
    for form in (3, "date", "past", "absurd", "negative", "junk", None):
        registry.fault("rate-limit", retry_after=form)
        answer = client.ask("GET", "/v2/")
        assert (answer.status, answer.codes) == (429, ["TOOMANYREQUESTS"])
        said[form] = answer["Retry-After"]
    ahead = {form: parsedate_to_datetime(str(said.pop(form))).timestamp() - time.time() for form in ("date", "past")}
    assert 0 < ahead["date"] <= 2
    assert ahead["past"] < -3000
    assert said == {3: "3", "absurd": "31536000", "negative": "-5", "junk": "soon\x7f", None: None}


def test_no_head_no_delete_and_no_referrers_are_missing_abilities(registry: RegistryServer, client: Client) -> None:
    registry.fault("no-head")
    registry.fault("no-delete")
    registry.fault("no-referrers")
    assert [client.ask("HEAD", target).status for target in (TARGET, "/v2/a/b/manifests/v1")] == [405, 405]
    assert [client.ask("DELETE", target).status for target in (TARGET, "/v2/a/b/manifests/v1")] == [405, 405]
    assert client.ask("GET", f"/v2/a/b/referrers/{DIGEST}").status == 404
    pushed = client.push_manifest("a/b", image(CONFIG, subject=describe(DOCUMENT)))
    assert (pushed.status, pushed["OCI-Subject"]) == (201, None)
    assert whole(client)


def test_headers_that_clients_rely_on_may_be_absent(registry: RegistryServer, client: Client) -> None:
    registry.fault("head-without-length")
    registry.fault("no-digest-header")
    for target in (TARGET, "/v2/a/b/manifests/v1"):
        answer = client.ask("HEAD", target)
        assert (answer.status, answer["Content-Length"], answer["Docker-Content-Digest"]) == (200, None, None)
    assert client.ask("GET", "/v2/a/b/manifests/v1")["Content-Length"] is not None


@pytest.mark.parametrize(
    ("form", "holds", "size"),
    [
        ("huge", b'{"errors":"xxx', 64 << 20),
        ("html", b"<h1>", 46),
        ("malformed", b'"message":', 39),
        ("control", b"\\u001b]0;", 105),
        ("empty", b"", 0),
        ("nested", b"[[[[", 100_010),
        ("strange", b'"code":5', 73),
    ],
)
def test_error_body_is_what_nobody_wants_to_read(
    registry: RegistryServer, client: Client, form: str, holds: bytes, size: int
) -> None:
    registry.fault("error-body", form=form, code=403)
    answer = client.ask("GET", TARGET)
    assert (answer.status, len(answer.body), holds in answer.body) == (403, size, True)


# Credentials -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[tuple[RegistryServer, Client]]:
    with RegistryServer(auth=Token({"alice": "secret"}, anonymous={"pull"})) as server, Client(server.port) as client:
        server.put_blob("a/b", BLOB)
        yield server, client


def token_of(client: Client) -> dict[str, str]:
    answer = client.ask("GET", "/token?service=registry.test&scope=repository:a/b:pull")
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def test_unauthorized_never_lets_in(guarded: tuple[RegistryServer, Client], registry: RegistryServer) -> None:
    server, client = guarded
    server.fault("unauthorized")
    for _ in range(3):
        answer = client.ask("GET", TARGET, headers=token_of(client))
        assert (answer.status, str(answer["WWW-Authenticate"]).startswith("Bearer realm=")) == (401, True)
    registry.fault("unauthorized")
    with Client(registry.port) as open_client:
        assert open_client.ask("GET", "/v2/")["WWW-Authenticate"] == f'Basic realm="{registry.url}"'


def test_expire_tokens_makes_the_next_request_authenticate_again(guarded: tuple[RegistryServer, Client]) -> None:
    server, client = guarded
    token = token_of(client)
    server.fault("expire-tokens", skip=1, kind="blob.get")
    statuses = [client.ask("GET", TARGET, headers=token).status for _ in range(3)]
    assert statuses == [200, 401, 401]
    assert client.ask("GET", TARGET, headers=token_of(client)).status == 200


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("elsewhere", 'Bearer realm="{elsewhere}/token",service="registry.test"'),
        ("plain", 'Bearer realm="{elsewhere}/token",service="registry.test"'),
        ("link-local", 'Bearer realm="http://169.254.169.254/latest/meta-data",service="registry.test"'),
        ("private", 'Bearer realm="https://10.255.255.1/token",service="registry.test"'),
        ("file", 'Bearer realm="file:///etc/passwd",service="registry.test"'),
        ("userinfo", 'Bearer realm="http://someone:else@{host}/token",service="registry.test"'),
        ("no-realm", 'Bearer service="registry.test",scope="repository:a:pull"'),
        ("unclosed", 'Bearer realm="https://registry.test/token'),
        ("unknown", 'Negotiate, Digest realm="x", nonce="y", X-Other abc=='),
        ("none", None),
    ],
)
def test_challenge_is_bent(guarded: tuple[RegistryServer, Client], form: str, value: str | None) -> None:
    server, client = guarded
    server.fault("challenge", form=form)
    answer = client.ask("GET", TARGET)
    expected = value.format(elsewhere=server.elsewhere.url, host=server.host) if value is not None else None
    assert (answer.status, answer["WWW-Authenticate"]) == (401, expected)


def test_challenge_may_be_long_or_many_or_junk(guarded: tuple[RegistryServer, Client]) -> None:
    server, _ = guarded
    request = b"GET /v2/ HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % server.host.encode()
    got = {}
    for form in ("huge", "quotes", "many", "junk", "crlf"):
        with server.fault("challenge", form=form):
            got[form] = exchange(server.port, request)
    assert b"x" * 40_000 in got["huge"]
    assert b'\\"' * 10_000 in got["quotes"]
    assert got["many"].count(b"WWW-Authenticate: X-") == 2000
    assert b'WWW-Authenticate: \x01=,;"""Bearer,,=realm' in got["junk"]
    assert b"\r\nX-Injected: 1\r\n" in got["crlf"]


def test_challenge_leaves_good_credentials_alone(guarded: tuple[RegistryServer, Client]) -> None:
    server, client = guarded
    server.fault("challenge", realm="https://evil.test/token")
    assert client.ask("GET", TARGET, headers=token_of(client)).status == 200
    assert (
        client.ask("GET", TARGET)["WWW-Authenticate"]
        == 'Bearer realm="https://evil.test/token",service="registry.test"'
    )


def test_a_realm_elsewhere_records_who_comes(guarded: tuple[RegistryServer, Client]) -> None:
    server, _ = guarded
    with Client(server.elsewhere.port) as client:
        client.ask("GET", "/token?service=x", headers={"Authorization": "Basic abc"})
    assert [(got.kind, got.authorization) for got in server.elsewhere.requests] == [("token", "Basic abc")]
    assert server.count() == 0


def test_token_answers_are_bent(guarded: tuple[RegistryServer, Client]) -> None:
    server, client = guarded
    answers: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    for form in (
        "crlf",
        "control",
        "spaces",
        "huge",
        "huge-body",
        "no-expiry",
        "expired",
        "absurd-expiry",
        "none",
        "number",
    ):
        with server.fault("token", form=form):
            answer = client.ask("GET", "/token?service=registry.test")
            answers[form], sizes[form] = answer.json(), len(answer.body)
    assert answers["crlf"]["token"].endswith("\r\nX-Injected: 1")
    assert answers["control"]["access_token"].endswith("\x00\x1b")
    assert answers["spaces"]["token"].endswith(" and more")
    assert len(answers["huge"]["token"]) == 1 << 20
    assert sizes["huge-body"] > 16 << 20
    assert set(answers["no-expiry"]) == {"token", "access_token"}
    assert (answers["expired"]["expires_in"], answers["absurd-expiry"]["expires_in"]) == (0, 10**30)
    assert not {"token", "access_token"} & set(answers["none"])
    assert answers["number"]["token"] == 17
    server.fault("token", form="html")
    assert client.ask("GET", "/token?service=registry.test").body.startswith(b"<html>")


# Addresses -------------------------------------------------------------------------------------------------------------


def test_redirect_leads_elsewhere_where_the_content_is(registry: RegistryServer, client: Client) -> None:
    registry.fault("redirect")
    answer = client.ask("GET", TARGET)
    assert (answer.status, answer["Location"]) == (307, registry.elsewhere.url + TARGET)
    with Client(registry.elsewhere.port) as other:
        assert other.ask("GET", TARGET, headers={"Range": "bytes=1-3"}).body == BLOB[1:4]
    assert registry.elsewhere.count("blob.get", status=206) == 1


@pytest.mark.parametrize(
    ("to", "location"),
    [
        ("relative", f"{NAME}?redirected"),
        ("dots", f"../blobs/./{NAME}?redirected"),
        ("none", None),
        ("file", "file:///etc/passwd"),
        ("link-local", "http://169.254.169.254/latest/meta-data"),
        ("loop", TARGET),
        ("plain", "{elsewhere}" + TARGET),
        ("junk", "http://[::1/\x7f"),
    ],
)
def test_redirect_takes_many_forms(registry: RegistryServer, client: Client, to: str, location: str | None) -> None:
    registry.fault("redirect", to=to, code=302)
    answer = client.ask("GET", TARGET)
    expected = location.format(elsewhere=registry.elsewhere.url) if location is not None else None
    assert (answer.status, answer["Location"]) == (302, expected)
    if to in ("relative", "dots"):
        assert client.ask("GET", f"{TARGET}?redirected").body == BLOB


def test_redirect_may_be_a_chain_or_anywhere(registry: RegistryServer, client: Client) -> None:
    with registry.fault("redirect", to="chain", hops=2):
        target, statuses = TARGET, []
        while target:
            answer = client.ask("GET", target)
            statuses.append(answer.status)
            target = answer["Location"] or ""
        assert (statuses, answer.body) == ([307, 307, 200], BLOB)
    registry.fault("redirect", url="https://cdn.test/x", kind="manifest")
    assert client.ask("GET", "/v2/a/b/manifests/v1")["Location"] == "https://cdn.test/x"
    with registry.fault("redirect", to="crlf"):
        assert client.ask("GET", TARGET)["X-Injected"] == "1"
    with registry.fault("redirect", to="userinfo"):
        assert "someone:else@" in str(client.ask("GET", TARGET)["Location"])


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("relative", "/v2/a/b/blobs/uploads/"),
        ("absolute", "{url}/v2/a/b/blobs/uploads/"),
        ("no-scheme", "//{host}/v2/a/b/blobs/uploads/"),
        ("elsewhere", "{elsewhere}/v2/a/b/blobs/uploads/"),
        ("plain", "{elsewhere}/v2/a/b/blobs/uploads/"),
        ("file", "file:///dev/null"),
        ("junk", "http://[::1/"),
    ],
)
def test_location_of_an_upload_takes_many_forms(
    registry: RegistryServer, client: Client, form: str, begins: str
) -> None:
    registry.fault("location", form=form)
    names = {"url": registry.url, "host": registry.host, "elsewhere": registry.elsewhere.url}
    assert start(client).startswith(begins.format(**names))


def test_location_may_be_missing_or_short(registry: RegistryServer, client: Client) -> None:
    with registry.fault("location", form="missing"):
        assert start(client) == "None"
    with registry.fault("location", form="last-segment"):
        assert "/" not in start(client)


def test_location_with_a_query_wants_it_back(registry: RegistryServer, client: Client) -> None:
    registry.fault("location", form="query")
    location = start(client)
    path, _, query = location.partition("?")
    assert client.ask("PATCH", path, b"x").status == 400
    moved = client.ask("PATCH", location, BLOB)
    assert (moved.status, moved["Location"]) == (202, location)
    assert client.ask("PUT", f"{path}?digest={NAME}&{query}").status == 201


def test_an_upload_elsewhere_arrives_here(registry: RegistryServer, client: Client) -> None:
    registry.fault("location", form="elsewhere")
    location = start(client)
    with Client(registry.elsewhere.port) as other:
        assert other.ask("PUT", f"{location}?digest={digest(b'new')}", b"new").status == 201
    assert registry.content("a/b", digest(b"new")) == b"new"


# Pushing ---------------------------------------------------------------------------------------------------------------


def test_upload_lost_forgets_the_session(registry: RegistryServer, client: Client) -> None:
    location = start(client)
    registry.fault("upload-lost", kind="upload.finish")
    assert client.ask("PATCH", location, b"abc").status == 202
    assert client.ask("PUT", f"{location}?digest={digest(b'abc')}").codes == ["BLOB_UPLOAD_UNKNOWN"]
    assert client.ask("GET", location).status == 404
    assert client.push_blob("a/b", b"abc") == digest(b"abc")


def test_short_accept_keeps_a_part_and_says_so(registry: RegistryServer, client: Client) -> None:
    location = start(client)
    registry.fault("short-accept", keep=1000)
    answer = client.ask("PATCH", location, BLOB, {"Content-Range": f"0-{len(BLOB) - 1}"})
    assert (answer.status, answer["Range"], answer["Connection"]) == (202, "0-999", None)
    rest = client.ask("PATCH", location, BLOB[1000:], {"Content-Range": f"1000-{len(BLOB) - 1}"})
    assert rest["Range"] == f"0-{len(BLOB) - 1}"
    assert client.ask("PUT", f"{location}?digest={NAME}").status == 201


def test_upload_moves_with_every_answer(registry: RegistryServer, client: Client) -> None:
    registry.fault("upload-moves")
    first = start(client)
    second = str(client.ask("PATCH", first, b"ab")["Location"])
    assert second != first
    assert client.ask("GET", first).status == 404
    third = str(client.ask("GET", second)["Location"])
    assert client.ask("PUT", f"{third}?digest={digest(b'ab')}").status == 201


def test_chunk_refused_is_416_once(registry: RegistryServer, client: Client) -> None:
    location = start(client)
    client.ask("PATCH", location, b"abc")
    registry.fault("chunk-refused")
    refused = client.ask("PATCH", location, b"def", {"Content-Range": "3-5"})
    assert (refused.status, refused["Range"]) == (416, "0-2")
    assert client.ask("PATCH", location, b"def", {"Content-Range": "3-5"})["Range"] == "0-5"


def test_chunk_min_length_refuses_what_follows_a_short_chunk(registry: RegistryServer, client: Client) -> None:
    registry.fault("chunk-min-length", size=4)
    opened = client.ask("POST", "/v2/a/b/blobs/uploads/")
    assert opened["OCI-Chunk-Min-Length"] == "4"
    location = str(opened["Location"])
    statuses = [client.ask("PATCH", location, part).status for part in (b"abcd", b"ef", b"ghij")]
    assert statuses == [202, 202, 400]
    assert client.ask("PUT", f"{location}?digest={digest(b'abcdef')}").status == 201  # a last chunk may be short


def test_exists_lies_about_an_absent_blob(registry: RegistryServer, client: Client) -> None:
    absent = digest(b"absent")
    registry.fault("exists-lies", size=6)
    assert client.ask("HEAD", TARGET).status == 200
    answer = client.ask("HEAD", f"/v2/a/b/blobs/{absent}")
    assert (answer.status, answer["Content-Length"]) == (200, "6")
    assert client.push_manifest("a/b", image(b"absent")).codes == ["MANIFEST_BLOB_UNKNOWN"]
    assert client.ask("HEAD", f"/v2/a/b/blobs/{absent}").status == 404


def test_commit_lies_and_mount_lies_confirm_what_is_not_there(registry: RegistryServer, client: Client) -> None:
    registry.fault("commit-lies")
    name = client.push_blob("a/b", b"new")
    assert client.ask("HEAD", f"/v2/a/b/blobs/{name}").status == 404
    registry.fault("mount-lies")
    mount = f"/v2/c/d/blobs/uploads/?mount={NAME}&from=a/b"
    answer = client.ask("POST", mount)
    assert (answer.status, answer["Location"]) == (201, f"/v2/c/d/blobs/{NAME}")
    assert client.ask("HEAD", f"/v2/c/d/blobs/{NAME}").status == 404
    assert client.ask("POST", mount).status == 201
    assert client.ask("HEAD", f"/v2/c/d/blobs/{NAME}").status == 200


def test_mount_ignored_and_mount_refused_do_not_mount(registry: RegistryServer, client: Client) -> None:
    mount = f"/v2/c/d/blobs/uploads/?mount={NAME}&from=a/b"
    with registry.fault("mount-ignored"):
        answer = client.ask("POST", mount)
        assert answer.status == 202
        assert client.ask("PUT", f"{answer['Location']}?digest={NAME}", BLOB).status == 201
    with registry.fault("mount-refused", code=403):
        assert client.ask("POST", mount).status == 403


def test_manifest_refused_whatever_is_there(registry: RegistryServer, client: Client) -> None:
    registry.fault("manifest-refused")
    registry.fault("manifest-refused", code="MANIFEST_UNKNOWN")
    assert client.push_manifest("a/b", DOCUMENT, "v9").codes == ["MANIFEST_UNKNOWN"]
    assert client.push_manifest("a/b", DOCUMENT, "v9").codes == ["MANIFEST_BLOB_UNKNOWN"]
    assert client.push_manifest("a/b", DOCUMENT, "v9").status == 201


# Content ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 300_000, -1])
def test_wrong_bytes_differ_in_one_place(registry: RegistryServer, client: Client, at: int) -> None:
    registry.fault("wrong-bytes", at=at)
    body = client.ask("GET", TARGET).body
    assert [place for place in range(len(BLOB)) if body[place] != BLOB[place]] == [at % len(BLOB)]
    assert len(body) == len(BLOB)
    assert whole(client)


def test_headers_lie_about_digest_type_and_size(registry: RegistryServer, client: Client) -> None:
    target = "/v2/a/b/manifests/v1"
    registry.fault("wrong-digest-header", value="sha256:nonsense")
    assert client.ask("HEAD", target)["Docker-Content-Digest"] == "sha256:nonsense"
    registry.fault("wrong-content-type", value=OCI_INDEX)
    assert client.ask("GET", target)["Content-Type"] == OCI_INDEX
    registry.fault("wrong-content-type", value=None)
    assert client.ask("GET", target)["Content-Type"] is None
    registry.fault("wrong-size-header", value="7")
    assert client.ask("HEAD", TARGET)["Content-Length"] == "7"


def test_huge_manifest_is_padded(registry: RegistryServer, client: Client) -> None:
    registry.fault("huge-manifest", size=5_000_000)
    answer = client.ask("GET", "/v2/a/b/manifests/v1")
    assert (len(answer.body), answer.json()) == (5_000_000, DOCUMENT)


@pytest.mark.parametrize("bomb", [0, 3 << 20])
def test_gzip_encodes_what_nobody_asked_to(registry: RegistryServer, client: Client, bomb: int) -> None:
    registry.fault("gzip", bomb=bomb)
    answer = client.ask("GET", TARGET)
    assert (answer["Content-Encoding"], gzip.decompress(answer.body)) == ("gzip", BLOB + bytes(bomb))


def test_gzip_may_only_be_said(registry: RegistryServer, client: Client) -> None:
    registry.fault("gzip", only_say=True)
    answer = client.ask("GET", TARGET)
    assert (answer["Content-Encoding"], answer.body) == ("gzip", BLOB)


def test_substitute_is_sound_and_not_what_was_asked_for(registry: RegistryServer, client: Client) -> None:
    other = image(CONFIG, annotations={"n": "2"})
    client.push_manifest("a/b", other)
    with registry.fault("substitute", to=describe(other)["digest"]):
        answer = client.ask("GET", f"/v2/a/b/manifests/{DIGEST}")
        assert (answer.json(), answer["Content-Type"]) == (other, OCI_MANIFEST)
        assert answer["Docker-Content-Digest"] == describe(other)["digest"]
    with registry.fault("substitute", to=digest(CONFIG)):
        assert client.ask("GET", TARGET).body == CONFIG


def test_foreign_urls_lead_layers_elsewhere(registry: RegistryServer, client: Client) -> None:
    client.push_manifest("a/b", image(CONFIG, BLOB), "v1")
    registry.fault("foreign-urls")
    bent = client.ask("GET", "/v2/a/b/manifests/v1")
    assert bent["Docker-Content-Digest"] == digest(bent.body)
    assert bent.json()["layers"][0]["urls"] == [registry.elsewhere.url + TARGET]
    with Client(registry.elsewhere.port) as other:
        assert other.ask("GET", TARGET).body == BLOB


def test_ignore_range_gives_the_whole_and_range_refused_nothing(registry: RegistryServer, client: Client) -> None:
    asked = {"Range": "bytes=5-9"}
    with registry.fault("ignore-range"):
        answer = client.ask("GET", TARGET, headers=asked)
        assert (answer.status, answer.body, answer["Accept-Ranges"]) == (200, BLOB, None)
    assert registry.requests[-1].headers.get("Range") == "bytes=5-9"
    registry.fault("range-refused")
    answer = client.ask("GET", TARGET, headers=asked)
    assert (answer.status, answer["Content-Range"]) == (416, f"bytes */{len(BLOB)}")
    assert client.ask("GET", TARGET, headers=asked).status == 206


@pytest.mark.parametrize(
    ("form", "said", "start", "stop"),
    [
        ("offset", "bytes 500-999/{size}", 510, 1010),
        ("start", "bytes 510-1009/{size}", 500, 1000),
        ("total", "bytes 500-999/1048586", 500, 1000),
        ("missing", None, 500, 1000),
        ("junk", "bytes of some kind", 500, 1000),
        ("short", "bytes 500-989/{size}", 500, 990),
    ],
)
def test_lying_range_says_other_things_than_it_sends(
    registry: RegistryServer, client: Client, *, form: str, said: str | None, start: int, stop: int
) -> None:
    registry.fault("lying-range", form=form, by=10)
    answer = client.ask("GET", TARGET, headers={"Range": "bytes=500-999"})
    assert (answer.status, answer.body) == (206, BLOB[start:stop])
    assert answer["Content-Range"] == (said.format(size=len(BLOB)) if said is not None else None)


def test_tag_moves_between_head_and_get(registry: RegistryServer, client: Client) -> None:
    other = image(CONFIG, annotations={"n": "2"})
    client.push_manifest("a/b", other)
    registry.fault("tag-moves", to=describe(other)["digest"])
    assert client.ask("HEAD", f"/v2/a/b/manifests/{DIGEST}")["Docker-Content-Digest"] == DIGEST
    assert client.ask("HEAD", "/v2/a/b/manifests/v1")["Docker-Content-Digest"] == DIGEST
    assert client.ask("GET", "/v2/a/b/manifests/v1").json() == other


@pytest.mark.parametrize("form", CONFUSIONS)
def test_confusion_is_served_with_its_own_digest(registry: RegistryServer, client: Client, form: str) -> None:
    registry.fault("confusion", form=form)
    head = client.ask("HEAD", "/v2/a/b/manifests/v1")
    bent = client.ask("GET", "/v2/a/b/manifests/v1")
    assert bent["Docker-Content-Digest"] == head["Docker-Content-Digest"] == digest(bent.body)
    assert client.ask("GET", f"/v2/a/b/manifests/{digest(bent.body)}").body == bent.body
    taken = True
    try:
        manifest.parse(bent.body, manifest.describe(bent.body, bent["Content-Type"]))
    except TranshipError:
        taken = False
    assert taken == (
        form in {"huge-size", "small-size", "wrong-data", "control-media-type"}
    )  # the document alone is sound


# Lists -----------------------------------------------------------------------------------------------------------------


def test_pages_loop_and_lead_elsewhere(registry: RegistryServer, client: Client) -> None:
    for target in ("/v2/a/b/tags/list?n=1", "/v2/_catalog", f"/v2/a/b/referrers/{DIGEST}"):
        with registry.fault("pages-loop"):
            assert client.ask("GET", target)["Link"] == f'<{target}>; rel="next"'
        with registry.fault("pages-elsewhere"):
            assert client.ask("GET", target)["Link"] == f'<{registry.elsewhere.url}{target}>; rel="next"'
        with registry.fault("pages-elsewhere", url="file:///etc"):
            assert client.ask("GET", target)["Link"] == '<file:///etc>; rel="next"'


def test_pages_endless_always_have_another(registry: RegistryServer, client: Client) -> None:
    registry.fault("pages-endless")
    target, found = "/v2/a/b/tags/list", []
    for _ in range(3):
        answer = client.ask("GET", target)
        found += answer.json()["tags"]
        target = str(answer["Link"])[1:].partition(">")[0]
    assert found == ["page-1", "page-2", "page-3"]


def test_pages_relative_give_only_the_query(registry: RegistryServer, client: Client) -> None:
    registry.fault("pages-relative")
    assert client.ask("GET", "/v2/a/b/tags/list?n=2")["Link"] == '<?n=2&last=v2>; rel="next"'
    assert client.ask("GET", "/v2/a/b/tags/list?n=3")["Link"] is None


def test_list_junk_is_no_list_of_names(registry: RegistryServer, client: Client) -> None:
    got: dict[str, Any] = {}
    for form in ("names", "types", "null", "not-object", "huge", "not-json"):
        with registry.fault("list-junk", form=form):
            got[form] = client.ask("GET", "/v2/a/b/tags/list")
    assert "\x1b[2Jgone" in got["names"].json()["tags"]
    assert got["types"].json()["tags"][1] is None
    assert got["null"].json()["tags"] is None
    assert got["not-object"].json() == ["v1"]
    assert len(got["huge"].body) > 32_000_000
    assert got["not-json"].body == b"<html>"


def test_filter_ignored_gives_all_referrers(registry: RegistryServer, client: Client) -> None:
    registry.fault("filter-ignored")
    for kind in ("application/x", "application/y"):
        client.push_manifest("a/b", image(CONFIG, subject=describe(DOCUMENT), artifactType=kind))
    answer = client.ask("GET", f"/v2/a/b/referrers/{DIGEST}?artifactType=application/x")
    assert (len(answer.json()["manifests"]), answer["OCI-Filters-Applied"]) == (2, None)
    assert registry.requests[-1].query == {"artifactType": "application/x"}


def test_no_socket_outlives_a_registry_that_broke_many_connections(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    with RegistryServer(tmp_path) as registry:
        registry.put_blob("a/b", BLOB)
        registry.fault("drop", after=10, times=None)
        registry.fault("stall", after=10, times=5)
        with socket.create_connection(("127.0.0.1", registry.port)), Client(registry.port, timeout=0.05) as client:
            for _ in range(8):
                with pytest.raises((TimeoutError, http.client.IncompleteRead)):
                    client.ask("GET", TARGET)
            registry.elsewhere.forget()
    assert len(os.listdir("/dev/fd")) == before
