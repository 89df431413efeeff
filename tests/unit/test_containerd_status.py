"""Errors become containerd's status and come back as the same class."""

import pytest

from tranship import errors
from tranship.containerd.status import MAX_TEXT, STATUS, from_status, to_status


def classes(root=errors.TranshipError):
    yield root
    for child in root.__subclasses__():
        yield from classes(child)


def make(found):
    if found is errors.InvalidReference:
        return found("reason", "text", (0, 1))
    return found("layer x is not there")


@pytest.mark.parametrize("found", list(classes()), ids=lambda c: c.__name__)
def test_every_error_survives_the_wire_with_its_code(found):
    error = make(found)
    code, text = to_status(error)
    assert code == error.code
    back = from_status(code, text)
    assert back.code == error.code
    assert back.message == text
    assert to_status(back) == (code, text)


@pytest.mark.parametrize(
    ("code", "suffix"),
    [
        ("INVALID_ARGUMENT", "invalid argument"),
        ("NOT_FOUND", "not found"),
        ("ALREADY_EXISTS", "already exists"),
        ("FAILED_PRECONDITION", "failed precondition"),
        ("OUT_OF_RANGE", "out of range"),
        ("UNIMPLEMENTED", "not implemented"),
        ("UNAVAILABLE", "unavailable"),
        ("DATA_LOSS", "data loss"),
    ],
)
def test_text_ends_in_the_codes_suffix_once(code, suffix):
    found, _ = STATUS[code]
    assert to_status(found("something")) == (code, f"something: {suffix}")
    assert to_status(found(f"something: {suffix}")) == (code, f"something: {suffix}")


def test_codes_are_grpcs():
    grpc = pytest.importorskip("grpc", reason="grpcio is in the `daemon` extra")
    assert set(STATUS) == {code.name for code in grpc.StatusCode} - {"OK"}


def test_reference_with_a_caret_is_said_in_one_line():
    error = errors.InvalidReference("uppercase is not allowed", "ghcr.io/Acme", (8, 9))
    assert to_status(error)[1] == 'invalid reference: uppercase is not allowed: "ghcr.io/Acme": invalid argument'


def test_hint_comes_before_the_suffix():
    error = errors.Unsupported("no such thing", hint="use another")
    assert to_status(error)[1] == "no such thing (use another): not implemented"


def test_long_text_is_cut_and_keeps_its_suffix():
    _, text = to_status(errors.NotFound("x" * 100_000))
    assert len(text) < MAX_TEXT + 20
    assert text.endswith("…: not found")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("already exists", errors.AlreadyExists),
        ("stream x: not found", errors.NotFound),
        (
            "unexpected status from HEAD request to http://r/v2/a/blobs/sha256:0: 401 Unauthorized",
            errors.Unauthenticated,
        ),
        ("failed to copy: write /x/ingest/data: no space left on device", errors.NoSpace),
        ("unexpected EOF", errors.Truncated),
        ("unrecognized image format", errors.TranshipError),
    ],
)
def test_unknown_status_is_told_apart_by_its_text(text, expected):
    assert type(from_status("UNKNOWN", text)) is expected


def test_control_characters_of_a_server_do_not_reach_the_terminal():
    assert "\x1b" not in str(from_status("NOT_FOUND", "image \x1b[31m: not found"))
    assert from_status("NOT_FOUND", "").message
