"""The head of a response: what is well-formed is read as Python reads it, and what two parsers could read differently is refused."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.errors import Unavailable
from tranship.formats.response_head import MAX_FIELDS, Framing, framing, parse

OK = b"HTTP/1.1 200 OK\r\n"
NAMES = st.text("!#$%&'*+.^_`|~0123456789ABCXYZabcxyz-", min_size=1, max_size=12)
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f\x85"), max_size=30)
FRAMES = ["Content-Length: 5", "Transfer-Encoding: chunked", "Connection: close", "Connection: keep-alive"]


class Sent:
    """A socket of which somebody has sent something."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self.raw)


@given(
    st.sampled_from(["1.0", "1.1"]),
    st.sampled_from([200, 204, 206, 301, 304, 401, 404, 503]),
    st.lists(st.tuples(NAMES, VALUES), max_size=8),
    st.lists(st.sampled_from(FRAMES), unique=True, max_size=3),
    st.sampled_from(["GET", "HEAD"]),
)
def test_a_well_formed_head_is_read_as_python_reads_it(
    version: str, status: int, fields: list[tuple[str, str]], frames: list[str], method: str
) -> None:
    lines = [f"HTTP/{version} {status} Fine", *(f"{name}: {value}" for name, value in fields), *frames, "", ""]
    raw = "\r\n".join(lines).encode("latin-1")
    theirs = http.client.HTTPResponse(Sent(raw), method=method)  # type: ignore[arg-type]  # of a socket it uses this alone
    theirs.begin()
    head = parse(raw)
    assert (head.minor + 10, head.status, head.reason) == (theirs.version, theirs.status, theirs.reason)
    assert [(name.lower(), value.strip(" \t")) for name, value in theirs.getheaders()] == list(head.fields)
    ours = framing(head, method)
    if sum(frame.startswith("Conn") for frame in frames) < 2 and not {FRAMES[0], FRAMES[1]} <= set(frames):
        old_chunks = version == "1.0" and ours.chunked  # which Python takes for possible
        assert ours.stays == (not theirs.will_close and not old_chunks)
    if method == "GET" and status not in (204, 304):
        assert (ours.chunked, ours.length) == (bool(theirs.chunked), theirs.length)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(raw: bytes) -> None:
    for data in (raw, OK + raw, OK + b"A: " + raw + b"\r\n\r\n"):
        try:
            head = parse(data)
        except Unavailable:
            continue
        assert all("\n" not in value and "\0" not in value for _, value in head.fields)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", r"no HTTP status line, but 'SSH-2\.0"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "no HTTP status line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "no HTTP status line"),
        (b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n", "no HTTP status line"),
        (OK + b"A: b\r\nno colon\r\n\r\n", "field 2 of the head is none"),
        (OK + b"A : b\r\n\r\n", "field 1 of the head is none"),
        (OK + b": b\r\n\r\n", "field 1 of the head is none"),
        (OK + b"A: b\rB: c\r\n\r\n", "field 1 of the head is none"),
        (OK + b"A: b\0\r\n\r\n", "field 1 of the head is none"),
        (OK + b" A: b\r\n\r\n", "field 1 of the head is none"),
        (OK + b"A: b\r\n", "field 2 of the head is none"),
        (OK + b"A: b\r\n" * (MAX_FIELDS + 1) + b"\r\n", f"{MAX_FIELDS + 1} header fields"),
    ],
)
def test_what_is_no_head_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(Unavailable, match=words):
        parse(raw)


def test_a_line_that_goes_on_is_one_line() -> None:
    assert parse(OK + b"A: b\r\n\t c\r\nD: e\n\r\n").fields == (("a", "b  c"), ("d", "e"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", Framing(chunked=False, length=None, stays=False)),
        (b"Content-Length: 5\r\n", Framing(chunked=False, length=5, stays=True)),
        (b"Content-Length: 5\r\ncontent-length: 5\r\n", Framing(chunked=False, length=5, stays=True)),
        (b"Content-Length: 5\r\nConnection: foo, Close\r\n", Framing(chunked=False, length=5, stays=False)),
        (b"Transfer-Encoding: identity\r\nContent-Length: 5\r\n", Framing(chunked=False, length=5, stays=True)),
        (b"Transfer-Encoding: Chunked\r\n", Framing(chunked=True, length=None, stays=True)),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Framing(chunked=True, length=None, stays=False)),
    ],
)
def test_the_end_of_a_body_is_known(fields: bytes, expected: Framing) -> None:
    assert framing(parse(OK + fields + b"\r\n"), "GET") == expected


def test_some_answers_have_no_body() -> None:
    for method, status in (("HEAD", b"200"), ("GET", b"204"), ("GET", b"304"), ("GET", b"100")):
        head = parse(b"HTTP/1.1 " + status + b" \r\nContent-Length: 5\r\n\r\n")
        assert framing(head, method) == Framing(chunked=False, length=0, stays=True)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 0x5\r\n",
        b"Content-Length: 5_0\r\n",
        b"Content-Length: \xb2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: " + b"9" * 30 + b"\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ],
)
def test_an_unclear_end_of_a_body_is_refused(fields: bytes) -> None:
    with pytest.raises(Unavailable, match=r"length|coding"):
        framing(parse(OK + fields + b"\r\n"), "GET")


def test_it_takes_time_that_grows_with_the_head() -> None:
    """64 KiB of what makes patterns go back and forth: a quadratic one would take minutes."""
    for filling in (b" " * 65_000, b"\t" * 65_000, b"A" * 65_000, b"\r\n " * 21_000, b":" * 65_000):
        ((name, value),) = parse(OK + b"A: " + filling + b"x\r\n\r\n").fields
        assert (name, value[-1:]) == ("a", "x")
        with pytest.raises(Unavailable, match="field 1 of the head is none"):
            parse(OK + b"A: " + filling + b"\0\r\n\r\n")
        with pytest.raises(Unavailable, match="field 1 of the head is none"):
            parse(OK + filling + b"\r\n\r\n")
