"""Uploads against a registry in a few lines, which keeps its sessions and goes wrong in every way that registries do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest

from tranship.errors import (
    DataLoss,
    DigestMismatch,
    FailedPrecondition,
    PermissionDenied,
    PolicyRefused,
    RateLimited,
    TranshipError,
    Unauthenticated,
    Unavailable,
)
from tranship.formats import scopes, upload
from tranship.formats.distribution import Repository
from tranship.formats.messages import Headers, Request, Response, drive
from tranship.formats.upload import Session
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

CONTENT = bytes(range(256)) * 40
BLOB = Descriptor(media_type=mediatypes.OCI_LAYER, digest=Digest.of(CONTENT), size=len(CONTENT))
REPOSITORY = Repository("https://reg.example/v2", "acme/app")
Fault = Callable[[Request, "FakeRegistry"], Response | None]


class FakeRegistry:
    """Holds blobs and sessions. `faults` are looked at, in order, before a request is served; one that answers is used up."""

    def __init__(
        self, *faults: Fault, location: str = "/v2/acme/app/blobs/uploads/{id}?state=a%2Fb", least: int = 0
    ) -> None:
        self.blobs: dict[str, bytes] = {}
        self.sessions: dict[int, bytearray] = {}
        self.faults = list(faults)
        self.location = location
        self.least = least
        self.made = 0
        self.log: list[tuple[str, tuple[int, int] | None]] = []

    def __call__(self, request: Request) -> Response:
        self.log.append((request.method, request.span))
        for fault in self.faults:
            answer = fault(request, self)
            if answer is not None:
                self.faults.remove(fault)
                return answer
        if request.method == "HEAD":
            return self.reply(request, 200 if urlsplit(request.url).path.rpartition("/")[2] in self.blobs else 404)
        if request.method == "POST":
            self.made += 1
            self.sessions[self.made] = bytearray()
            return self.session_reply(request, 202, self.made)
        found = re.search(r"uploads/(\d+)\?state=a%2Fb", request.url)
        if found is None or int(found[1]) not in self.sessions:
            return self.reply(request, 404, code="BLOB_UPLOAD_UNKNOWN")
        number = int(found[1])
        if request.method == "PATCH":
            return self.patch(request, number)
        if request.method == "DELETE":
            del self.sessions[number]
            return self.reply(request, 204)
        return self.put(request, number) if request.method == "PUT" else self.session_reply(request, 204, number)

    def patch(self, request: Request, number: int) -> Response:
        assert request.span is not None
        offset, count = request.span
        assert request.headers["Content-Range"] == f"{offset}-{offset + count - 1}"
        if offset != len(self.sessions[number]):
            return self.session_reply(request, 416, number)
        self.take(request, number)
        return self.session_reply(request, 202, number)

    def put(self, request: Request, number: int) -> Response:
        self.take(request, number)
        digest = parse_qs(urlsplit(request.url).query)["digest"][0]
        if Digest.of(bytes(self.sessions[number])) != digest:
            return self.reply(request, 400, code="DIGEST_INVALID")
        self.blobs[digest] = bytes(self.sessions.pop(number))
        return self.reply(request, 201)

    def take(self, request: Request, number: int, limit: int | None = None) -> None:
        assert request.span is not None
        offset, count = request.span
        self.sessions[number] += CONTENT[offset : offset + (count if limit is None else min(limit, count))]

    def reply(self, request: Request, status: int, code: str = "", **headers: str) -> Response:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        body = json.dumps({"errors": [{"code": code}]}).encode() if code else b""
        return Response(status=status, url=request.url, headers=Headers(fields), body=body)

    def session_reply(self, request: Request, status: int, number: int) -> Response:
        more = {"oci_chunk_min_length": str(self.least)} if self.least else {}
        location, last = self.location.format(id=number), max(0, len(self.sessions[number]) - 1)
        return self.reply(request, status, location=location, range=f"0-{last}", **more)

    @property
    def methods(self) -> str:
        return " ".join(method for method, _ in self.log)


def push(registry: FakeRegistry, blob: Descriptor = BLOB, **options: object) -> None:
    drive(upload.upload(REPOSITORY, blob, **options), registry)  # type: ignore[arg-type]


def broken(*methods: str, arrived: int | None = None, error: type[TranshipError] = Unavailable) -> Fault:
    """The connection breaks in such a request, after `arrived` bytes of it (None: all, and the registry acted on it)."""

    def fault(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method not in methods:
            return None
        if arrived is None:
            registry.faults.remove(fault)
            registry(request)
            registry.log.pop()
            registry.faults.append(fault)
        elif request.span:
            registry.take(request, registry.made, arrived)
        registry.faults.remove(fault)
        raise error("the connection broke")

    return fault


def answers(method: str, status: int, code: str = "", **headers: str) -> Fault:
    def fault(request: Request, registry: FakeRegistry) -> Response | None:
        return registry.reply(request, status, code, **headers) if request.method == method else None

    return fault


# ------------------------------------------------------------------------------------------------------------ all well


def test_a_blob_goes_in_one_put() -> None:
    registry = FakeRegistry()
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.log == [("POST", None), ("PUT", (0, BLOB.size))]


def test_an_empty_blob_is_a_blob() -> None:
    registry, empty = FakeRegistry(), Descriptor(media_type=mediatypes.OCI_LAYER, digest=Digest.of(b""), size=0)
    push(registry, empty)
    push(registry, empty, chunk=10)
    assert registry.blobs[empty.digest] == b""
    assert "PATCH" not in registry.methods


def test_chunks_are_as_large_as_the_registry_wants_them() -> None:
    registry = FakeRegistry()
    push(registry, chunk=4096)
    assert [span for method, span in registry.log if method == "PATCH"] == [(0, 4096), (4096, 4096), (8192, 2048)]
    assert registry.log[-1] == ("PUT", (BLOB.size, 0))
    registry = FakeRegistry(least=6000)
    push(registry, chunk=4096)
    assert [span for method, span in registry.log if method == "PATCH"] == [(0, 6000), (6000, 4240)]
    assert registry.blobs[BLOB.digest] == CONTENT


def test_requests_say_what_they_need_and_that_only_this_machine_repeats_them() -> None:
    requests: list[Request] = []
    registry = FakeRegistry()
    drive(upload.upload(REPOSITORY, BLOB), lambda request: requests.append(request) or registry(request))  # type: ignore[func-returns-value]
    assert {request.scopes for request in requests} == {scopes.push("acme/app")}
    assert [request.retry for request in requests] == [True, False]
    assert requests[1].headers["Content-Type"] == "application/octet-stream"


# ------------------------------------------------------------------------------------------------------------ Location


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/v2/x/{id}?_state=a%3D%3D", "https://reg.example/v2/x/1?_state=a%3D%3D&digest=sha256%3A"),
        ("{id}", "https://reg.example/v2/acme/app/blobs/uploads/1?digest=sha256%3A"),
        ("https://store.example/{id}?sig=1", "https://store.example/1?sig=1&digest=sha256%3A"),
        ("//store.example/{id}#x", "https://store.example/1?digest=sha256%3A"),
    ],
)
def test_the_location_keeps_its_query_and_gets_the_digest(location: str, url: str) -> None:
    registry, urls = FakeRegistry(location=location), []

    def send(request: Request) -> Response:
        urls.append(request.url)
        return registry(request) if request.method == "POST" else registry.reply(request, 201)

    drive(upload.upload(REPOSITORY, BLOB), send)
    assert urls[1].startswith(url)


def test_a_location_over_plain_http_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="not encrypted"):
        push(FakeRegistry(location="http://reg.example/x/{id}"))


def test_a_missing_location_names_registry_and_repository() -> None:
    with pytest.raises(
        Unavailable, match=r"registry reg\.example sends the upload of layer .* to acme/app without saying where"
    ):
        push(FakeRegistry(answers("POST", 202)))


def test_a_later_location_replaces_the_earlier() -> None:
    registry, urls = FakeRegistry(), []

    def send(request: Request) -> Response:
        urls.append(request.url)
        answer = registry(request)
        if request.method == "PATCH":
            moved = [(name, value + "&step=2" if name == "location" else value) for name, value in answer.headers]
            return Response(status=202, url=request.url, headers=Headers(moved))
        return answer

    drive(upload.upload(REPOSITORY, BLOB, chunk=BLOB.size), send)
    assert "&step=2&digest=" in urls[-1]


# ---------------------------------------------------------------------------------------------------------- going wrong


def test_after_a_break_the_rest_is_sent() -> None:
    registry = FakeRegistry(broken("PUT", arrived=1000))
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.log == [("POST", None), ("PUT", (0, BLOB.size)), ("GET", None), ("PATCH", (1000, BLOB.size - 1000)), ("PUT", (BLOB.size, 0))]  # fmt: skip


def test_a_break_before_anything_arrived_sends_the_whole_again_to_a_new_session() -> None:
    registry = FakeRegistry(broken("PUT", arrived=0))
    push(registry)
    assert registry.methods == "POST PUT GET DELETE POST PUT"


def test_what_a_busy_registry_reads_late_does_not_mix_with_what_is_sent_again() -> None:
    """It says that it has nothing, and only then reads what the broken connection had brought."""

    def late(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method != "GET":
            return None
        said = registry.session_reply(request, 204, 1)
        registry.sessions[1] += CONTENT[:1000]
        return said

    registry = FakeRegistry(broken("PUT", arrived=0), late)
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert [span for method, span in registry.log if method == "PUT"] == [(0, BLOB.size)] * 2


def test_every_break_with_progress_is_forgiven() -> None:
    registry = FakeRegistry(*(broken("PUT", "PATCH", arrived=1500) for _ in range(6)))
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.made == 1


def test_breaks_without_progress_cost_the_session_and_then_the_upload() -> None:
    registry = FakeRegistry(*(broken("PUT", arrived=0) for _ in range(7)))
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    registry = FakeRegistry(*(broken("PUT", arrived=0) for _ in range(20)))
    with pytest.raises(Unavailable, match="the connection broke"):
        push(registry)
    assert registry.methods.count("PUT") == 8
    assert len(registry.sessions) == 1  # the last, for whoever gives the upload up


def test_a_session_that_always_loses_what_it_had_ends_the_upload() -> None:
    def loses(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method != "PATCH" or request.span != (8192, 2048):
            return None
        registry.faults.remove(loses)
        registry.sessions[registry.made].clear()
        raise Unavailable("the connection broke")

    registry = FakeRegistry(*[loses] * 50)
    with pytest.raises(Unavailable, match="the connection broke"):
        push(registry, chunk=4096)
    assert registry.made == 4


def test_a_registry_that_drops_broken_sessions_gets_the_blob_from_the_start() -> None:
    def forgets(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method == "GET" and registry.sessions:
            registry.sessions.clear()
            return registry.reply(request, 404, "BLOB_UPLOAD_INVALID")
        return None

    registry = FakeRegistry(*(broken("PUT", arrived=1000) for _ in range(3)), forgets, forgets, forgets)
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.made == 4


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_an_answer_that_was_lost_is_found_out(method: str) -> None:
    registry = FakeRegistry(broken(method))
    push(registry, chunk=None if method == "PUT" else 4096)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.made == 1


def test_a_lost_session_is_begun_again_once() -> None:
    def lost(_request: Request, registry: FakeRegistry) -> Response | None:
        if registry.sessions and _request.method == "PATCH":
            registry.sessions.clear()
        return None

    registry = FakeRegistry(answers("PATCH", 404, "BLOB_UPLOAD_UNKNOWN"))
    push(registry, chunk=4096)
    assert registry.made == 2
    registry = FakeRegistry(lost)
    with pytest.raises(TranshipError, match="BLOB_UPLOAD_UNKNOWN"):
        push(registry, chunk=4096)
    assert registry.made == 2


@pytest.mark.parametrize("status", [408, 409, 416, 429, 500, 502, 503, 504])
def test_a_refused_chunk_is_resumed_from_where_the_registry_stands(status: int) -> None:
    def refuses(request: Request, registry: FakeRegistry) -> Response | None:
        second = request.method == "PATCH" and request.span == (4096, 4096)
        return registry.reply(request, status) if second else None

    registry = FakeRegistry(refuses)
    push(registry, chunk=4096)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.made == 1


def test_a_session_that_loses_what_it_had_does_not_make_chunks_seem_refused() -> None:
    def loses(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method == "GET" and registry.sessions.get(1):
            registry.sessions[1].clear()
        return None

    def breaks(request: Request, registry: FakeRegistry) -> Response | None:
        if request.span == (8192, 2048):
            registry.faults.remove(breaks)
            raise Unavailable("the connection broke")
        return None

    registry = FakeRegistry(breaks, loses)
    push(registry, chunk=4096)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.made == 2


def test_a_chunk_that_was_taken_in_part_is_followed_by_the_rest() -> None:
    def short(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method != "PATCH":
            return None
        registry.take(request, 1, 100)
        return registry.session_reply(request, 202, 1)

    registry = FakeRegistry(short, short)
    push(registry, chunk=4096)
    assert [span for method, span in registry.log if method == "PATCH"][:3] == [(0, 4096), (100, 4096), (200, 4096)]
    assert registry.blobs[BLOB.digest] == CONTENT


def test_a_registry_that_takes_nothing_ends_the_upload() -> None:
    def deaf(request: Request, registry: FakeRegistry) -> Response | None:
        return registry.session_reply(request, 202, registry.made) if request.method == "PATCH" else None

    with pytest.raises(Unavailable, match="makes no progress"):
        push(FakeRegistry(*[deaf] * 50), chunk=4096)


def test_a_registry_that_claims_more_than_was_sent_is_not_believed() -> None:
    registry = FakeRegistry(answers("PATCH", 202, location="/x", range="0-9000"))
    with pytest.raises(DataLoss, match="only 4096 were sent"):
        push(registry, chunk=4096)


def test_without_a_range_a_taken_chunk_is_taken_whole() -> None:
    def quiet(request: Request, registry: FakeRegistry) -> Response | None:
        if request.method != "PATCH":
            return None
        registry.take(request, 1)
        return registry.reply(request, 202, location=registry.location.format(id=1))

    registry = FakeRegistry(quiet)
    push(registry, chunk=4096)
    assert registry.blobs[BLOB.digest] == CONTENT


def test_a_registry_without_chunks_gets_the_blob_in_one() -> None:
    registry = FakeRegistry(answers("PATCH", 400, "UNSUPPORTED"))
    push(registry, chunk=4096)
    assert registry.methods == "POST PATCH HEAD DELETE POST PUT"


def test_a_resumed_upload_put_together_wrongly_is_sent_whole() -> None:
    def wrong(_request: Request, registry: FakeRegistry) -> Response | None:
        if _request.method == "GET":
            registry.sessions[1][:] = b"x" * 500
        return None

    registry = FakeRegistry(broken("PUT", arrived=500), wrong)
    push(registry)
    assert registry.blobs[BLOB.digest] == CONTENT
    assert registry.log[-1] == ("PUT", (0, BLOB.size))


def test_a_whole_blob_with_a_wrong_digest_is_not_sent_twice() -> None:
    registry = FakeRegistry(answers("PUT", 400, "DIGEST_INVALID"))
    with pytest.raises(DigestMismatch):
        push(registry)
    assert registry.methods == "POST PUT"


def test_a_put_too_large_for_a_proxy_is_sent_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SMALLER_CHUNKS", (6000, 5000))
    registry = FakeRegistry(answers("PUT", 413))
    push(registry)
    assert [span for method, span in registry.log if method == "PATCH"] == [(0, 6000), (6000, 4240)]
    assert registry.blobs[BLOB.digest] == CONTENT
    registry = FakeRegistry(answers("PUT", 413), answers("PATCH", 413))
    push(registry)
    assert [span for method, span in registry.log if method == "PATCH"] == [
        (0, 6000),
        (0, 5000),
        (5000, 5000),
        (10000, 240),
    ]
    assert registry.blobs[BLOB.digest] == CONTENT
    small = Descriptor(media_type=mediatypes.OCI_LAYER, digest=BLOB.digest, size=5000)
    with pytest.raises(FailedPrecondition, match="too large"):
        push(FakeRegistry(answers("PUT", 413)), small)


@pytest.mark.parametrize(
    ("status", "error"), [(401, Unauthenticated), (403, PermissionDenied), (400, FailedPrecondition)]
)
def test_a_plain_refusal_is_the_end(status: int, error: type[TranshipError]) -> None:
    registry = FakeRegistry(answers("PUT", status))
    with pytest.raises(error):
        push(registry)
    assert registry.made == 1


# --------------------------------------------------------------------------------------------------- sessions and mounts


def test_an_upload_goes_on_in_a_later_run() -> None:
    registry = FakeRegistry(broken("PATCH", arrived=500, error=Unauthenticated))
    seen: list[Session] = []
    with pytest.raises(Unauthenticated):
        push(registry, chunk=4096, opened=seen.append)
    push(registry, session=seen[-1])
    assert registry.made == 1
    assert registry.log[-2:] == [("PATCH", (500, BLOB.size - 500)), ("PUT", (BLOB.size, 0))]
    assert "state=" not in repr(seen[-1])


@pytest.mark.parametrize("refused", [None, 404, 405, 503, "broken"])
def test_a_session_that_is_left_for_another_is_cancelled_if_that_can_be(
    refused: int | str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "SMALLER_CHUNKS", (6000, 5000))
    for faults in (
        [broken("PUT", arrived=0)],
        [answers("PUT", 413), answers("PATCH", 413)],
        [broken("PUT", arrived=500), answers("PATCH", 400)],
    ):
        refusing = broken("DELETE", arrived=0) if refused == "broken" else answers("DELETE", refused or 0)
        registry = FakeRegistry(*faults, *([refusing] if refused else []))
        push(registry)
        assert registry.blobs[BLOB.digest] == CONTENT
        assert registry.methods.count("DELETE") == registry.made - 1
        assert len(registry.sessions) == (1 if refused else 0)


def test_a_session_that_has_expired_meanwhile_costs_no_attempt() -> None:
    registry = FakeRegistry(answers("PUT", 404))
    push(registry, session=Session("https://reg.example/v2/acme/app/blobs/uploads/77?state=a%2Fb"))
    assert registry.methods == "GET HEAD POST PUT HEAD POST PUT"


def mount(registry: FakeRegistry) -> Session | bool:
    return drive(upload.mount(REPOSITORY, BLOB, "other/app"), registry)


def test_a_mount_asks_to_read_from_the_other_repository() -> None:
    requests: list[Request] = []

    def send(request: Request) -> Response:
        requests.append(request)
        return Response(status=201, url=request.url)

    assert drive(upload.mount(REPOSITORY, BLOB, "other/app"), send) is True
    assert parse_qs(urlsplit(requests[0].url).query) == {"mount": [BLOB.digest], "from": ["other/app"]}
    assert requests[0].scopes == scopes.push("acme/app") | scopes.pull("other/app")


def test_a_mount_that_becomes_an_upload_gives_the_session() -> None:
    registry = FakeRegistry()
    session = mount(registry)
    assert isinstance(session, Session)
    push(registry, session=session)
    assert registry.made == 1
    session = mount(registry)
    assert isinstance(session, Session)
    drive(upload.cancel(REPOSITORY, session), registry)
    assert registry.log[-1][0] == "DELETE"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 501, 502, 503, 504])
def test_a_mount_that_is_declined_is_no_error(status: int) -> None:
    assert mount(FakeRegistry(answers("POST", status))) is False


def test_a_mount_without_a_token_for_the_source_is_declined() -> None:
    assert mount(FakeRegistry(broken("POST", arrived=0, error=Unauthenticated))) is False
    with pytest.raises(RateLimited):
        mount(FakeRegistry(answers("POST", 429)))
