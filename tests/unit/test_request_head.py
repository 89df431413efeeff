"""The head of a request: what a line asks for, and what must not get into one."""

from __future__ import annotations

import pytest

from tranship.errors import InvalidArgument
from tranship.formats.request_head import build, target


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://reg.test/v2/", "/v2/"),
        ("https://reg.test:5000/v2/a/blobs/uploads/1?_state=a%2Fb&x=?/", "/v2/a/blobs/uploads/1?_state=a%2Fb&x=?/"),
        ("http://reg.test", "/"),
        ("http://reg.test?a=b", "/?a=b"),
        ("http://[::1]:5000/v2/?q#fragment", "/v2/?q"),
        ("http://reg.test/a/../b", "/a/../b"),  # as it was signed
        ("HTTPS://reg.test/v2/", "/v2/"),
    ],
)
def test_a_line_asks_for_path_and_query(url: str, asked: str) -> None:
    assert target(url) == asked


@pytest.mark.parametrize("url", ["", "ftp://reg.test/", "/v2/", "http:/reg.test/"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidArgument, match="no http"):
        target(url)


def test_a_head_is_its_lines_and_an_empty_one() -> None:
    head = build("GET", "/v2/", [("Host", "reg.test"), ("X-Note", "caf\xe9"), ("X-Note", "")])
    assert head == b"GET /v2/ HTTP/1.1\r\nHost: reg.test\r\nX-Note: caf\xe9\r\nX-Note: \r\n\r\n"


@pytest.mark.parametrize(
    ("method", "asked", "fields"),
    [
        ("GET", "/v2/", [("X-Note", "a\r\nAuthorization: Basic x")]),
        ("GET", "/v2/", [("X-Note", "a\nb")]),
        ("GET", "/v2/", [("X-Note", "a\0b")]),
        ("GET", "/v2/", [("X Note", "a")]),
        ("GET", "/v2/", [("X-Note:", "a")]),
        ("GET", "/v2/", [("", "a")]),
        ("GET", "/v2/ HTTP/1.1\r\nX: y", []),
        ("GET", "/v2/a b", []),
        ("GET", "", []),
        ("GET /", "/v2/", []),
    ],
)
def test_nothing_adds_lines_of_its_own(method: str, asked: str, fields: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidArgument, match="a value with a line end"):
        build(method, asked, fields)


def test_a_secret_is_not_in_what_is_said_of_it() -> None:
    for value in ("hunter2\n", "hunter2\u20ac"):
        with pytest.raises(InvalidArgument) as raised:
            build("GET", "/v2/?signature=hunter2", [("Authorization", value)])
        assert "hunter2" not in str(raised.value)
