"""Digests: one strict grammar."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.errors import InvalidReference
from tranship.model.digest import ALGORITHMS, Digest, new_hash

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_content_is_named_by_its_hash():
    assert Digest.of(b"") == "sha256:" + EMPTY
    assert Digest.of(bytearray(b"x"), "sha512") == "sha512:" + hashlib.sha512(b"x").hexdigest()
    assert Digest.of(memoryview(b"abc")[1:]) == Digest.of(b"bc")


def test_a_digest_has_parts():
    digest = Digest.parse("sha256:" + EMPTY)
    assert (digest.algorithm, digest.hex, digest.short) == ("sha256", EMPTY, "sha256:e3b0c44298fc…")
    assert Digest.of(b"x", "sha512").algorithm == "sha512"
    assert len(Digest.of(b"x", "sha512").hex) == ALGORITHMS["sha512"]


def test_a_hash_in_progress_names_what_it_has_seen():
    state = Digest.of(b"x", "sha512").hasher()
    state.update(b"ab")
    state.update(b"c")
    assert Digest.from_hash("sha512", state) == Digest.of(b"abc", "sha512")


def test_a_digest_is_a_string_like_any_other():
    assert {Digest.of(b""): 1}["sha256:" + EMPTY] == 1
    assert Digest.parse(Digest.of(b"")) == Digest.of(b"")


@pytest.mark.parametrize(
    ("text", "span", "word"),
    [
        ("", (0, 0), "ALGORITHM:HEX"),
        (EMPTY, (0, 64), "ALGORITHM:HEX"),
        ("md5:" + "0" * 32, (0, 3), "algorithm must be"),
        ("SHA256:" + EMPTY, (0, 6), "algorithm must be"),
        ("sha256:" + EMPTY.upper(), (7, 8), "lower-case"),
        ("sha256:" + EMPTY[:-1], (7, 70), "64 digits, found 63"),
        ("sha256:" + EMPTY + "0", (7, 72), "64 digits, found 65"),
        ("sha512:" + EMPTY, (7, 71), "128 digits, found 64"),
        ("sha256:" + EMPTY + "\n", (71, 72), "lower-case"),  # `$` would let it pass
        ("sha256:" + EMPTY[:-1] + "٣", (70, 71), "lower-case"),  # as would `\d`
        ("sha256:../../../../etc/passwd", (7, 8), "lower-case"),
        ("sha256::" + EMPTY, (7, 8), "lower-case"),
        (" sha256:" + EMPTY, (0, 7), "algorithm must be"),
    ],
)
def test_a_mistake_is_marked(text, span, word):
    with pytest.raises(InvalidReference, match=word) as caught:
        Digest.parse(text)
    assert caught.value.span == span
    assert str(caught.value).startswith("invalid digest: ")


@pytest.mark.parametrize("value", [None, 1, b"sha256:" + EMPTY.encode(), ["sha256:" + EMPTY]])
def test_only_a_string_is_a_digest(value):
    with pytest.raises(InvalidReference, match="must be a string"):
        Digest.parse(value)


def test_an_unknown_algorithm_is_refused_and_never_unverified():
    with pytest.raises(InvalidReference, match="unknown digest algorithm"):
        new_hash("md5")


@given(st.text("sha256:512abcdefg0/ \n", max_size=140))
def test_any_text_is_a_digest_or_a_mistake(text):
    try:
        digest = Digest.parse(text)
    except InvalidReference:
        return
    assert len(digest.hex) == ALGORITHMS[digest.algorithm]
