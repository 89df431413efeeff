"""URLs and headers from servers: what is taken, what is refused, what is shown."""

from __future__ import annotations

import copy
import pickle
from dataclasses import asdict

import pytest

from tranship.errors import InvalidArgument, NotFound, PolicyRefused, Unavailable
from tranship.formats import scopes
from tranship.formats.messages import (
    Flow,
    Headers,
    Origin,
    Request,
    Response,
    drive,
    join,
    media_type,
    redacted,
    retry_after,
    split,
)
from tranship.model.secret import Credential, Secret


@pytest.mark.parametrize(
    ("url", "origin", "authority"),
    [
        ("https://ghcr.io/v2/", ("https", "ghcr.io", 443), "ghcr.io"),
        ("https://GHCR.io:443/v2/", ("https", "ghcr.io", 443), "ghcr.io"),
        ("http://localhost:5000", ("http", "localhost", 5000), "localhost:5000"),
        ("http://[::1]:5000/v2", ("http", "::1", 5000), "[::1]:5000"),
        ("https://example.com./x", ("https", "example.com", 443), "example.com"),
    ],
)
def test_origins(url: str, origin: tuple[str, str, int], authority: str) -> None:
    assert Origin.of(url) == origin
    assert Origin.of(url).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "//host/x",
        "/v2/x",
        "",
        "https://",
        "https://user@host/",
        "https://user:pass@host/",
        "https://good.com\\@evil.com/",
        "https://host/\r\nX-Header: 1",
        "https://host/with space",
        "https://host\t.com/",
        "https://ho<st/",
        "https://host:99999/",
        "https://host:x/",
        "https://host:0/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://höst/",
        "https://-host/",
        "https://a@b@c/",
        "https://host/" + "x" * 20_000,
    ],
)
def test_urls_that_parsers_may_read_differently_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument):
        split(url)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/a/blobs/uploads/1?_state=ab%3D%3D", "https://r.io:5000/v2/a/blobs/uploads/1?_state=ab%3D%3D"),
        ("1?x=y", "https://r.io:5000/v2/a/1?x=y"),
        ("../b", "https://r.io:5000/v2/b"),
        ("?only=query", "https://r.io:5000/v2/a/b?only=query"),
        ("//cdn.io/x", "https://cdn.io/x"),
        ("https://cdn.io/x?sig=1&a=%2F#part", "https://cdn.io/x?sig=1&a=%2F"),
        ("  /x ", "https://r.io:5000/x"),
    ],
)
def test_locations_are_joined_and_keep_their_query(location: str, expected: str) -> None:
    assert join("https://r.io:5000/v2/a/b", location, "it leads") == expected


@pytest.mark.parametrize(
    "location", [None, "", "file:///etc/passwd", "data:x", "https://user@evil/", "http://[", "/a b"]
)
def test_a_location_that_leads_nowhere_is_an_error_that_says_whose(location: str | None) -> None:
    with pytest.raises(Unavailable, match=r"registry r\.io sends the upload"):
        join("https://r.io/v2/", location, "registry r.io sends the upload")


def test_from_https_to_http_is_refused() -> None:
    with pytest.raises(PolicyRefused, match="not encrypted"):
        join("https://r.io/v2/", "http://r.io/v2/x", "it leads")
    assert join("http://r.io/v2/", "http://r.io/x", "it leads") == "http://r.io/x"
    assert join("http://r.io/v2/", "https://r.io/x", "it leads") == "https://r.io/x"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://u:secret@host/path?token=secret#secret", "https://host/path?…"),
        ("https://host/x?X-Amz-Signature=secret", "https://host/x?…"),
        ("//u:secret@host/x", "//host/x"),
        ("https://a:secret@b:secret@host/x", "https://host/x"),
        ("https://host/\x1b[31m", "https://host/\\x1b[31m"),
    ],
)
def test_a_url_is_shown_without_secrets_and_control_characters(url: str, shown: str) -> None:
    assert redacted(url) == shown


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("Thu, 01 Jan 1970 00:02:00 GMT", 20.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        (None, None),
        ("soon", None),
        ("9" * 30, None),
        ("١٢", None),
        ("Thu, 99 Jan 1970 00:02:00 GMT", None),
        ("x" * 1000, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_never_negative(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, 100.0) == seconds


def test_headers_know_no_case_and_keep_repeated_fields_apart() -> None:
    headers = Headers([("Link", " <a> "), ("LINK", "<b>"), ("Content-Type", "Application/JSON; charset=utf-8")])
    assert headers.get("link") == "<a>"
    assert headers.all("Link") == (" <a> ", "<b>")
    assert headers.get("absent") is None
    assert media_type(headers) == "application/json"
    assert "json" not in repr(Headers([("Set-Cookie", "json=secret")]))


def test_a_flow_hears_of_errors_and_may_go_on() -> None:
    def flow() -> Flow[str]:
        try:
            yield Request(method="GET", url="http://a/1")
        except NotFound:
            response = yield Request(method="GET", url="http://a/2")
            return f"{response.status} from {response.url}"
        return "unreached"

    def send(request: Request) -> Response:
        if request.url.endswith("1"):
            raise NotFound("no 1")
        return Response(status=200, url=request.url)

    assert drive(flow(), send) == "200 from http://a/2"


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret("hunter2")
    credential = Credential(username="alice", password=secret, identity_token=secret)
    request = Request(method="GET", url="https://a/", headers={"Authorization": "hunter2"}, body=b"hunter2")
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret]  # noqa: UP031
    shown += [
        repr(credential),
        str(credential),
        repr(request),
        repr(asdict(credential)),
        repr(copy.deepcopy(credential)),
    ]
    assert not [text for text in shown if "hunter2" in text]
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
    assert secret != Secret("other")
    assert Credential(username="x", password=Secret("")).is_empty


def test_scopes_are_sets_that_merge_and_cover() -> None:
    merged = scopes.push("a/b") | scopes.pull("c") | scopes.parse("repository:a/b:pull,delete junk :: repository:x")
    assert scopes.spell(merged) == ("repository:a/b:delete,pull,push", "repository:c:pull")
    assert scopes.pull("a/b") <= scopes.push("a/b")
    assert scopes.spell(scopes.parse("repository:host:5000/a:pull")) == ("repository:host:5000/a:pull",)
    assert scopes.spell(scopes.CATALOG) == ("registry:catalog:*",)
