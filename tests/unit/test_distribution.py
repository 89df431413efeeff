"""Requests to registries, what their answers say, and the errors that they mean."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tranship import errors
from tranship.errors import (
    DataLoss,
    DigestMismatch,
    InvalidArgument,
    InvalidReference,
    OutOfRange,
    PolicyRefused,
    Unavailable,
)
from tranship.formats import distribution, pages, referrers, refusals, scopes
from tranship.formats.distribution import Claims, RateLimit, Repository
from tranship.formats.messages import Headers, Request, Response, drive
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Repository("https://reg.example/v2", "acme/app")
DIGEST = Digest.of(b"content")


def reply(status: int = 200, body: Any = b"", url: str = "https://reg.example/v2/", **headers: str) -> Response:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response(status=status, url=url, headers=Headers(fields), body=raw)


def error(code: str, message: str = "", detail: Any = None) -> dict[str, Any]:
    return {"errors": [{"code": code, "message": message, "detail": detail}]}


# ------------------------------------------------------------------------------------------------------------ requests


def test_a_manifest_is_asked_for_with_every_kind_that_we_read() -> None:
    request = REPOSITORY.get_manifest("1.2")
    assert (request.method, request.url) == ("GET", "https://reg.example/v2/acme/app/manifests/1.2")
    for kind in mediatypes.DOCUMENTS:
        assert kind in request.headers["Accept"]
    assert request.scopes == scopes.pull("acme/app")
    assert request.object == "tag 1.2"
    assert REPOSITORY.head_manifest(DIGEST).url.endswith(f"/manifests/{DIGEST}")
    assert REPOSITORY.head_manifest(DIGEST).object == f"manifest {DIGEST.short}"


def test_a_mirror_is_told_whose_content_is_meant() -> None:
    mirror = Repository("https://mirror.example/proxy/v2", "library/alpine", "docker.io")
    assert mirror.head_manifest("3").url == "https://mirror.example/proxy/v2/library/alpine/manifests/3?ns=docker.io"
    assert mirror.tags(5).url == "https://mirror.example/proxy/v2/library/alpine/tags/list?n=5&ns=docker.io"


def test_ranges() -> None:
    assert "Range" not in REPOSITORY.get_blob(DIGEST).headers
    assert REPOSITORY.get_blob(DIGEST, 7).headers["Range"] == "bytes=7-"
    assert REPOSITORY.get_blob(DIGEST, 7, 3).headers["Range"] == "bytes=7-9"
    assert REPOSITORY.get_blob(DIGEST, 0, 1).headers["Range"] == "bytes=0-0"


def test_writing_and_deleting_ask_for_the_right_to() -> None:
    put = REPOSITORY.put_manifest("1", b"{}", mediatypes.OCI_MANIFEST)
    assert (put.method, put.body, put.headers) == ("PUT", b"{}", {"Content-Type": mediatypes.OCI_MANIFEST})
    assert put.scopes == scopes.push("acme/app")
    assert REPOSITORY.delete_manifest("1").scopes == scopes.delete("acme/app")
    assert REPOSITORY.delete_blob(DIGEST).url.endswith(f"/blobs/{DIGEST}")
    assert REPOSITORY.catalog().url == "https://reg.example/v2/_catalog?n=1000"
    assert REPOSITORY.catalog().scopes == scopes.CATALOG
    assert REPOSITORY.ping().url == "https://reg.example/v2/"


def test_names_cannot_leave_their_place_in_the_url() -> None:
    assert Repository("https://r/v2", "a b/ü?#").tags().url == "https://r/v2/a%20b/%C3%BC%3F%23/tags/list?n=1000"
    assert REPOSITORY.get_manifest("../../x?y#z").url == "https://reg.example/v2/acme/app/manifests/..%2F..%2Fx%3Fy%23z"
    for name in ("..", "a/../b", "a//b", "/a", "a/", "./a"):
        with pytest.raises(InvalidReference):
            Repository("https://r/v2", name)


# ------------------------------------------------------------------------------------------------------------ responses


def test_what_a_head_claims() -> None:
    headers = Headers([("Content-Type", "a/b; x=1"), ("Content-Length", "12"), ("Docker-Content-Digest", DIGEST)])
    assert distribution.claims(headers) == Claims("a/b", 12, DIGEST)
    junk = Headers([("Content-Length", "-1"), ("Docker-Content-Digest", "md5:../../etc")])
    assert distribution.claims(junk) == Claims("", None, None)
    assert distribution.claims(Headers([("Content-Length", "١")])) == Claims("", None, None)


def document(**fields: Any) -> bytes:
    return strict_json.dumps({"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [], **fields})


def test_a_document_is_described_by_its_bytes_and_not_by_its_headers() -> None:
    raw = document()
    answer = reply(body=raw, content_type=mediatypes.OCI_INDEX, docker_content_digest=DIGEST, content_length="1")
    descriptor, body = distribution.read_document(REPOSITORY.get_manifest("1"), answer)
    assert (descriptor.digest, descriptor.size, descriptor.media_type) == (
        Digest.of(raw),
        len(raw),
        mediatypes.OCI_INDEX,
    )
    assert body == raw


@pytest.mark.parametrize(
    "vague",
    ["", "text/plain", "application/json; charset=utf-8", "application/octet-stream", "binary/octet-stream"],
)
def test_a_vague_content_type_gives_way_to_the_document(vague: str) -> None:
    descriptor, _ = distribution.read_document(REPOSITORY.get_manifest("1"), reply(body=document(), content_type=vague))
    assert descriptor.media_type == mediatypes.OCI_INDEX


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_other_bytes_than_were_asked_for_are_refused(algorithm: str) -> None:
    raw = document()
    wanted = Digest.of(raw, algorithm)
    request = REPOSITORY.get_manifest(wanted)
    assert distribution.read_document(request, reply(body=raw), wanted)[0].digest == wanted
    with pytest.raises(DigestMismatch, match=r"registry reg\.example gave other bytes") as caught:
        distribution.read_document(request, reply(body=raw + b" ", docker_content_digest=wanted), wanted)
    assert caught.value.side == "source"


@pytest.mark.parametrize(
    ("answer", "offset", "place"),
    [
        (reply(200), 0, (0, 100)),
        (reply(200, content_length="100"), 40, (0, 100)),
        (reply(206, content_range="bytes 40-99/100"), 40, (40, 60)),
        (reply(206, content_range="bytes 40-99/*"), 40, (40, 60)),
        (reply(206, content_range="bytes 40-49/100"), 40, (40, 10)),
    ],
)
def test_where_a_body_begins(answer: Response, offset: int, place: tuple[int, int]) -> None:
    assert distribution.body_offset(REPOSITORY.get_blob(DIGEST, offset), answer, offset, 100) == place


@pytest.mark.parametrize(
    "said",
    ["bytes 0-99/100", "bytes 41-99/100", "bytes 40-99/200", "bytes 40-100/*", "bytes 99-40/100", "bytes */100", "40-99/100", "junk", "", "bytes 40-" + "9" * 50 + "/*"],
)  # fmt: skip
def test_a_range_that_was_not_asked_for_is_refused(said: str) -> None:
    with pytest.raises(OutOfRange, match="asked for the bytes from 40 of 100"):
        distribution.body_offset(REPOSITORY.get_blob(DIGEST, 40), reply(206, content_range=said), 40, 100)
    with pytest.raises(OutOfRange):
        distribution.body_offset(REPOSITORY.get_blob(DIGEST, 40), reply(206), 40, 100)


def test_a_blob_of_another_size_is_refused_before_it_is_read() -> None:
    with pytest.raises(DataLoss, match="has 99 bytes, its descriptor says 100"):
        distribution.body_offset(REPOSITORY.get_blob(DIGEST), reply(200, content_length="99"), 0, 100)


def test_warnings_are_for_people_and_printable() -> None:
    headers = Headers(
        [
            ("Warning", '299 - "this repository \\"moves\\" \x1b[31msoon"'),
            ("Warning", '299 host "and another"'),
            ("Warning", '199 - "other code"'),
            ("Warning", "junk"),
            ("Warning", '199 - "no, 299 - \\"x\\"", 299 - "two, in one", 299 - "field"'),
            ("Warning", '299 - "' + "\\" * 50_000),
        ]
    )
    assert distribution.warnings(headers) == (
        'this repository "moves" \\x1b[31msoon',
        "and another",
        "two, in one",
        "field",
    )
    assert len(distribution.warnings(Headers([("Warning", '299 - "x"')] * 100))) == 10


def test_docker_hubs_count_of_pulls() -> None:
    headers = Headers([("RateLimit-Limit", "100;w=21600"), ("RateLimit-Remaining", "76;w=21600")])
    assert distribution.rate_limit(headers) == RateLimit(100, 76, 21600)
    assert distribution.rate_limit(Headers([("RateLimit-Limit", "100"), ("RateLimit-Remaining", "x")])) is None
    assert distribution.rate_limit(Headers()) is None


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (reply(401, error("UNAUTHORIZED", "authentication required")), errors.Unauthenticated,
         "registry reg.example refused pull access to acme/app, scope repository:acme/app:pull (401, UNAUTHORIZED: authentication required)"),
        (reply(403, error("DENIED")), errors.PermissionDenied,
         "registry reg.example denied pull access to acme/app, scope repository:acme/app:pull (403, DENIED)"),
        (reply(404, error("MANIFEST_UNKNOWN", "manifest unknown")), errors.NotFound,
         "tag 1 of acme/app is not at registry reg.example (404, MANIFEST_UNKNOWN: manifest unknown)"),
        (reply(404, error("NAME_UNKNOWN")), errors.NotFound, "repository acme/app is not at registry reg.example (404, NAME_UNKNOWN)"),
        (reply(404), errors.NotFound, "tag 1 of acme/app is not at registry reg.example (404)"),
        (reply(410), errors.NotFound, "tag 1 of acme/app is not at registry reg.example (410)"),
        (reply(429, error("TOOMANYREQUESTS")), errors.RateLimited, "registry reg.example limits our rate for tag 1 of acme/app (429, TOOMANYREQUESTS)"),
        (reply(405), errors.Unsupported, "registry reg.example does not support GET of tag 1 of acme/app (405)"),
        (reply(400, error("UNSUPPORTED")), errors.Unsupported, "registry reg.example does not support GET of tag 1 of acme/app (400, UNSUPPORTED)"),
        (reply(413), errors.FailedPrecondition, "registry reg.example finds tag 1 of acme/app too large (413)"),
        (reply(416), errors.OutOfRange, "registry reg.example has no such range of tag 1 of acme/app (416)"),
        (reply(400, error("DIGEST_INVALID")), errors.DigestMismatch, "registry reg.example says that it received other bytes for tag 1 of acme/app (400, DIGEST_INVALID)"),
        (reply(400, error("SIZE_INVALID")), errors.DataLoss, "registry reg.example says that it received other bytes for tag 1 of acme/app (400, SIZE_INVALID)"),
        (reply(400, error("MANIFEST_INVALID", "no")), errors.FailedPrecondition, "registry reg.example refused GET of tag 1 of acme/app (400, MANIFEST_INVALID: no)"),
        (reply(409), errors.FailedPrecondition, "registry reg.example refused GET of tag 1 of acme/app (409)"),
        (reply(500), errors.Unavailable, "registry reg.example failed at tag 1 of acme/app (500)"),
        (reply(503, b"<html>busy</html>"), errors.Unavailable, "registry reg.example failed at tag 1 of acme/app (503)"),
        (reply(304), errors.Unavailable, "registry reg.example answered tag 1 of acme/app with a redirect that cannot be followed (304)"),
        (reply(204), errors.Unavailable, "registry reg.example answered GET of tag 1 of acme/app with an unexpected status (204)"),
    ],
)  # fmt: skip
def test_a_refusal_becomes_the_error_that_it_means(answer: Response, kind: type[Exception], text: str) -> None:
    found = refusals.refusal(REPOSITORY.get_manifest("1"), answer)
    assert type(found) is kind
    assert str(found) == text


def test_a_refusal_knows_when_to_come_back_and_how_often_it_was_tried() -> None:
    answer = Response(status=429, url="https://reg.example/", retry_after=7.0, attempts=5)
    found = refusals.refusal(REPOSITORY.get_manifest("1"), answer)
    assert isinstance(found, errors.RateLimited)
    assert found.retry_after == 7.0
    assert "after 5 attempts" in str(found)


def test_what_a_registry_says_cannot_fool_a_terminal_or_flood_it() -> None:
    found = refusals.refusal(REPOSITORY.get_manifest("1"), reply(400, error("X\r\nY", "\x1b]0;" + "long " * 1000)))
    assert "\x1b" not in str(found)
    assert "\n" not in str(found)
    assert len(str(found)) < 500


def test_docker_hub_is_called_as_everybody_calls_it() -> None:
    request = Repository("https://registry-1.docker.io/v2", "library/x").get_manifest("1")
    assert "registry docker.io" in str(refusals.refusal(request, reply(404)))


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"errors": 5}', b'{"errors": [5, null, {"code": 5}]}', b"\xff", b"[" * 9999, b" " * (2 << 20)]
)  # fmt: skip
def test_error_documents_that_are_none_are_no_trouble(body: bytes) -> None:
    assert isinstance(refusals.refusal(REPOSITORY.get_manifest("1"), reply(500, body)), Unavailable)


def test_the_blobs_that_a_manifest_lacks_are_read_from_every_spelling() -> None:
    one, two, three = (Digest.of(text) for text in (b"1", b"2", b"3"))
    value = {
        "errors": [
            {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": {"digest": one}},
            {"code": "manifest_blob_unknown", "detail": two},
            {"code": "BLOB_UNKNOWN", "message": f"cannot find '{three}'."},
            {"code": "MANIFEST_BLOB_UNKNOWN", "detail": {"digest": "sha256:../../x"}},
            {"code": "DENIED", "detail": Digest.of(b"4")},
        ]
    }
    assert refusals.missing_blobs(reply(404, value)) == (one, two, three)
    assert "MANIFEST_BLOB_UNKNOWN" in refusals.codes(reply(404, value))


# --------------------------------------------------------------------------------------------------------------- pages


def serve(answers: dict[str, Response]) -> Callable[[Request], Response]:
    def send(request: Request) -> Response:
        path = request.url.partition("/v2/")[2]
        answer = answers.get(path, reply(404))
        return Response(status=answer.status, url=request.url, headers=answer.headers, body=answer.body)

    return send


def tags_page(*names: str, link: str = "") -> Response:
    return reply(body={"name": "acme/app", "tags": names}, **({"link": link} if link else {}))


def test_pages_are_followed_to_their_end() -> None:
    send = serve(
        {
            "acme/app/tags/list?n=1000": tags_page("a", "b", link='</v2/acme/app/tags/list?last=b>; rel="next"'),
            "acme/app/tags/list?last=b": tags_page("c", link='<list?last=c>;rel=next, <x>; rel="first"'),
            "acme/app/tags/list?last=c": tags_page("d", link='<https://reg.example/v2/x>; rel="prev"'),
        }
    )
    assert drive(pages.tags(REPOSITORY), send) == ["a", "b", "c", "d"]


def test_behind_a_full_page_without_a_link_comes_what_follows_its_last_name() -> None:
    names = [f"t{number:04}" for number in range(2000)]
    asked = "acme/app/tags/list?n=1000"
    last_page = tags_page()
    pages_of = {
        asked: tags_page(*names[:1000]),
        f"{asked}&last=t0999": tags_page(*names[1000:]),
        f"{asked}&last=t1999": last_page,
    }
    assert drive(pages.tags(REPOSITORY), serve(pages_of)) == names
    knows_no_last = {**pages_of, f"{asked}&last=t0999": pages_of[asked]}
    assert drive(pages.tags(REPOSITORY), serve(knows_no_last)) == names[:1000]
    knows_no_n = {asked: tags_page(*names)}
    assert drive(pages.tags(REPOSITORY), serve(knows_no_n)) == names


def test_a_full_page_that_leads_back_to_one_that_was_read_is_the_last() -> None:
    asked = 0

    def send(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return tags_page(f"new{asked}", *(f"t{number}" for number in range(998)), "z")

    assert {"new1", "z"} < set(drive(pages.tags(REPOSITORY), send))
    assert asked == 2  # what follows "z" was asked for once


def test_go_writes_null_for_an_empty_list() -> None:
    assert drive(pages.tags(REPOSITORY), serve({"acme/app/tags/list?n=1000": reply(body={"tags": None})})) == []
    send = serve({"_catalog?n=1000": reply(body={"repositories": ["x"]})})
    assert drive(pages.catalog(REPOSITORY), send) == ["x"]


@pytest.mark.parametrize(
    ("link", "kind", "text"),
    [
        ("<?n=1000>; rel=next", Unavailable, "read before"),
        ("<https://evil.example/x>; rel=next", PolicyRefused, "another host"),
        ("<https://reg.example:8443/x>; rel=next", PolicyRefused, "another host"),
        ("<http://reg.example/x>; rel=next", PolicyRefused, "not encrypted"),
        ("<file:///etc/passwd>; rel=next", Unavailable, "unusable"),
        ("<//user@reg.example/x>; rel=next", Unavailable, "unusable"),
    ],
)
def test_a_next_page_may_not_lead_astray(link: str, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        drive(pages.tags(REPOSITORY), serve({"acme/app/tags/list?n=1000": tags_page("a", link=link)}))


def test_a_list_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "_FEW_PAGES", 20)
    asked = 0

    def send(request: Request) -> Response:
        nonlocal asked
        asked += 1
        return Response(
            status=200, url=request.url, headers=Headers([("Link", f"<?last={asked}>; rel=next")]), body=b"{}"
        )

    with pytest.raises(Unavailable, match="without end"):
        drive(pages.tags(REPOSITORY), send)
    assert asked == 21


def test_a_list_of_many_bytes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few items there are on its pages: what is kept of each of them is the registry's choice."""
    monkeypatch.setattr(pages, "MAX_BYTES", 10_000)
    asked = 0

    def send(request: Request) -> Response:
        nonlocal asked
        asked += 1
        names = json.dumps({"tags": [f"{asked}-{number}-{'x' * 200}" for number in range(4)]})
        link = Headers([("Link", f"<?last={asked}>; rel=next")])
        return Response(status=200, url=request.url, headers=link, body=names.encode())

    with pytest.raises(Unavailable, match="without end"):
        drive(pages.tags(REPOSITORY), send)
    assert asked == 12


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"tags": 5}', b'{"tags": [5]}', b'{"tags":["a"],"tags":["b"]}'])
def test_a_list_that_is_none_is_an_error_that_names_the_registry(body: bytes) -> None:
    with pytest.raises(Unavailable, match=r"registry reg\.example"):
        drive(pages.tags(REPOSITORY), serve({"acme/app/tags/list?n=1000": reply(body=body)}))


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ('<a>; rel="next"', "a"),
        ("<a>;REL=Next", "a"),
        ('<a>; title="x"; rel="prev next"', "a"),
        ('<a>; rel="prev", <b>; rel="next"', "b"),
        ('<a>; rel="nextish"', None),
        ("<a>", None),
        ("<<<>>>;;;rel=next", None),
        ("<" * 30_000, None),
        ("<>;" * 10_000, None),
    ],
)
def test_link_headers(link: str, target: str | None) -> None:
    assert pages.next_link(Headers([("Link", link)])) == target


# ----------------------------------------------------------------------------------------------------------- referrers


def entry(name: str, artifact_type: str = "application/x.sig") -> dict[str, Any]:
    return {
        "mediaType": mediatypes.OCI_MANIFEST,
        "digest": Digest.of(name.encode()),
        "size": 5,
        "artifactType": artifact_type,
    }


def index(*entries: dict[str, Any], content_type: str = mediatypes.OCI_INDEX, **headers: str) -> Response:
    return reply(body=document(manifests=list(entries)), content_type=content_type, **headers)


def names(found: tuple[Descriptor, ...]) -> set[Digest]:
    return {descriptor.digest for descriptor in found}


def test_referrers_come_in_pages_sorted_filtered_and_once_each() -> None:
    send = serve(
        {
            f"acme/app/referrers/{DIGEST}?artifactType=application%2Fx.sig": index(
                entry("a"), entry("b", "application/other"), link="<?p=2>; rel=next"
            ),
            f"acme/app/referrers/{DIGEST}?p=2": index(entry("c"), entry("a")),
        }
    )
    found = drive(referrers.referrers(REPOSITORY, DIGEST, "application/x.sig"), send)
    assert [descriptor.digest for descriptor in found] == sorted(Digest.of(text) for text in (b"a", b"c"))


@pytest.mark.parametrize("answer", [reply(404), reply(405), reply(200, b"<html>", content_type="text/html")])
def test_without_the_api_the_fallback_tag_is_read(answer: Response) -> None:
    path, tag = f"acme/app/referrers/{DIGEST}", f"acme/app/manifests/sha256-{DIGEST.hex}"
    assert names(drive(referrers.referrers(REPOSITORY, DIGEST), serve({path: answer, tag: index(entry("a"))}))) == {
        Digest.of(b"a")
    }
    assert drive(referrers.referrers(REPOSITORY, DIGEST), serve({path: answer})) == ()


def test_a_failing_registry_is_not_taken_for_one_without_referrers() -> None:
    with pytest.raises(Unavailable):
        drive(referrers.referrers(REPOSITORY, DIGEST), serve({f"acme/app/referrers/{DIGEST}": reply(503)}))


def test_the_fallback_tag_of_a_long_digest_is_cut_as_the_specification_says() -> None:
    long = Digest.of(b"x", "sha512")
    assert referrers.fallback_tag(long) == f"sha512-{long.hex[:64]}"


def test_a_referrer_is_noted_in_the_fallback_index_once() -> None:
    tag = f"acme/app/manifests/{referrers.fallback_tag(DIGEST)}"
    kept: dict[str, Response] = {}

    def send(request: Request) -> Response:
        if request.method == "PUT":
            kept[tag] = reply(body=request.body, content_type=request.headers["Content-Type"])
            return reply(201)
        return serve(kept)(request)

    one, two = (Descriptor.from_json(entry(name), "test") for name in ("one", "two"))
    assert drive(referrers.note_referrer(REPOSITORY, DIGEST, one), send)
    assert drive(referrers.note_referrer(REPOSITORY, DIGEST, two), send)
    assert not drive(referrers.note_referrer(REPOSITORY, DIGEST, one), send)
    assert names(drive(referrers.referrers(REPOSITORY, DIGEST), send)) == {one.digest, two.digest}
    assert referrers.keeps_referrers(reply(201, oci_subject=DIGEST))
    assert not referrers.keeps_referrers(reply(201))


def test_what_else_the_fallback_index_says_stays() -> None:
    path = f"acme/app/manifests/{referrers.fallback_tag(DIGEST)}"
    held = {**json.loads(document(annotations={"kept": "by another client"})), "manifests": [entry("one")]}
    put: list[Any] = []

    def send(request: Request) -> Response:
        if request.method == "PUT":
            put.append(json.loads(request.body or b""))
            return reply(201)
        return serve({path: reply(body=held, content_type=mediatypes.OCI_INDEX)})(request)

    drive(referrers.note_referrer(REPOSITORY, DIGEST, Descriptor.from_json(entry("two"), "test")), send)
    drive(referrers.drop_referrer(REPOSITORY, DIGEST, Descriptor.from_json(entry("one"), "test").digest), send)
    assert [[item["digest"] for item in value.pop("manifests")] for value in put] == [
        [entry("one")["digest"], entry("two")["digest"]],
        [],
    ]
    assert all(value == {key: held[key] for key in held if key != "manifests"} for value in put)


def test_the_tags_of_cosign_are_tags() -> None:
    assert len(referrers.cosign_tags(Digest.of(b"x"))) == 3
    assert referrers.cosign_tags(Digest.of(b"x", "sha512")) == ()


def test_an_index_of_referrers_that_is_none_is_refused() -> None:
    for body in (b"{}", b"[]", b'{"schemaVersion":2,"layers":[],"manifests":[]}'):
        answer = reply(200, body, content_type=mediatypes.OCI_INDEX)
        if body == b"{}":
            assert drive(referrers.referrers(REPOSITORY, DIGEST), serve({f"acme/app/referrers/{DIGEST}": answer})) == ()
            continue
        with pytest.raises(InvalidArgument):
            drive(referrers.referrers(REPOSITORY, DIGEST), serve({f"acme/app/referrers/{DIGEST}": answer}))
