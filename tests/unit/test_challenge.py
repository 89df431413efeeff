"""WWW-Authenticate as registries send it, and as nobody should."""

from __future__ import annotations

import sys

import pytest

from tranship.formats.challenge import MAX_LENGTH, Challenge, parse


def read(*headers: str) -> list[tuple[str, dict[str, str]]]:
    return [(challenge.scheme, dict(challenge.parameters)) for challenge in parse(headers)]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://auth.docker.io/token", "service": "registry.docker.io", "scope": "repository:a/b:pull,push"})],
        ),
        ('Basic realm="Registry Realm"', [("basic", {"realm": "Registry Realm"})]),
        ("Basic", [("basic", {})]),
        ('BASIC  Realm = "x"', [("basic", {"realm": "x"})]),
        ("Basic realm=plain", [("basic", {"realm": "plain"})]),
        ('Basic realm="a \\"quoted\\" word"', [("basic", {"realm": 'a "quoted" word'})]),
        ('Basic realm=""', [("basic", {"realm": ""})]),
        ('Bearer realm="one", realm="two"', [("bearer", {"realm": "one"})]),
        ('Bearer realm="x" service="y"', [("bearer", {"realm": "x", "service": "y"})]),
        ('Bearer realm="x",,, ,service="y",', [("bearer", {"realm": "x", "service": "y"})]),
        ('Negotiate, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Negotiate abc/d+e==, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('NTLM TlRMTVNT, Basic realm="x"', [("ntlm", {}), ("basic", {"realm": "x"})]),
        ('Digest realm="x, Basic", nonce="1", Basic realm="y"', [("digest", {"realm": "x, Basic", "nonce": "1"}), ("basic", {"realm": "y"})]),
    ],
)  # fmt: skip
def test_challenges_are_read_as_the_grammar_means_them(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert read(header) == expected


def test_several_headers_are_several_challenges() -> None:
    assert read("Negotiate", 'Basic realm="x"') == [("negotiate", {}), ("basic", {"realm": "x"})]


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", []),
        (",,,;;", []),
        ('="x"', []),
        ('realm="without a scheme"', []),
        ('Bearer realm="never ends, service=x', [("bearer", {})]),
        ('Bearer realm=, service="x"', [("bearer", {"service": "x"})]),
        ('Bearer realm="x\\', [("bearer", {})]),
        ('Bearer {"realm"} service="x"', [("bearer", {"service": "x"})]),
        ("Bearer réalm=x", [("bearer", {"alm": "x"})]),
    ],
)
def test_junk_is_stepped_over(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert read(header) == expected


def test_what_lies_beyond_the_cap_is_not_read() -> None:
    long = 'Bearer realm="' + "x" * MAX_LENGTH + '"'
    assert read(long, 'Basic realm="x"') == []
    assert read('Basic realm="x"', long) == [("basic", {"realm": "x"})]


@pytest.mark.parametrize(
    "piece", ['"', '\\"', "a=", 'a="', "a ", ",", "a=b,", '"\\', 'x="y" ', "=", "a" * 50 + " "], ids=repr
)
def test_hostile_headers_cost_a_bounded_number_of_steps(piece: str) -> None:
    header = "Bearer " + piece * (MAX_LENGTH // len(piece) - 7)
    lines = 0

    def count(*_args: object) -> object:
        nonlocal lines
        lines += 1
        return count

    old = sys.gettrace()
    sys.settrace(count)  # type: ignore[arg-type]
    try:
        parse([header])
    finally:
        sys.settrace(old)
    assert lines < 40 * len(header)


def test_a_challenge_is_a_plain_value() -> None:
    assert parse(["Basic realm=x"]) == (Challenge("basic", {"realm": "x"}),)
