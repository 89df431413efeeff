"""Platforms: containerd's grammar, its normalisation, and which of several fits best."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tranship.errors import InvalidArgument, InvalidReference
from tranship.model import platform as platforms
from tranship.model.platform import Platform, any_of, only, only_strict, ordered

HOST = platforms.host()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("Linux/x86_64", Platform("linux", "amd64")),
        ("linux/x86-64", Platform("linux", "amd64")),
        ("linux/amd64/v1", Platform("linux", "amd64")),
        ("linux/amd64/v3", Platform("linux", "amd64", "v3")),
        ("linux/i386", Platform("linux", "386")),
        ("linux/i386/v2", Platform("linux", "386")),
        ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/arm64/v8", Platform("linux", "arm64", "v8")),  # so containerd sends it
        ("linux/arm64/8", Platform("linux", "arm64", "v8")),
        ("linux/arm64/v9.0", Platform("linux", "arm64", "v9")),
        ("linux/arm", Platform("linux", "arm")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("linux/arm/6", Platform("linux", "arm", "v6")),
        ("linux/armhf", Platform("linux", "arm")),
        ("linux/armel", Platform("linux", "arm", "v6")),
        ("macos/arm64", Platform("darwin", "arm64")),
        ("plan10/z80/turbo", Platform("plan10", "z80", "turbo")),  # two and three words need not be known
        ("windows(10.0.17763)/amd64", Platform("windows", "amd64", os_version="10.0.17763")),
        ("windows(10.0.17763+win32k)/amd64", Platform("windows", "amd64", "", "10.0.17763", ("win32k",))),
        ("linux(+b+a)/amd64", Platform("linux", "amd64", os_features=("a", "b"))),
        ("linux(a%2Fb+%C3%A9)/amd64", Platform("linux", "amd64", os_version="a/b", os_features=("é",))),
        ("linux()/amd64", Platform("linux", "amd64")),
        ("linux", Platform("linux", HOST.architecture)),
        ("windows(10.0.17763)", Platform("windows", HOST.architecture, os_version="10.0.17763")),
        ("s390x", Platform(HOST.os, "s390x")),
        ("x86_64", Platform(HOST.os, "amd64")),
        ("armhf", Platform(HOST.os, "arm")),
        ("armel", Platform(HOST.os, "arm", "v6")),
    ],
)
def test_text_is_read_as_containerd_reads_it(text, expected):
    assert Platform.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "span", "word"),
    [
        ("", (0, 0), "expected OS"),
        ("linux/", (6, 6), "expected letters"),
        ("linux/*", (6, 7), "wildcards"),
        ("linux/amd64/v1/x", (15, 16), "at most"),
        ("linux/amd64/v1/x/y", (15, 18), "at most"),
        ("linux/am d64", (6, 12), "expected letters"),
        ("/amd64", (0, 0), "expected OS"),
        ("li.nux/amd64", (0, 6), "expected OS"),
        ("windows(10/amd64", (0, 10), "expected OS"),
        ("windows(+)/amd64", (0, 10), "expected OS"),
        ("windows(%zz)/amd64", (8, 9), "hexadecimal"),
        ("windows(%ff)/amd64", (8, 11), "UTF-8"),
        ("toaster", (0, 7), "unknown operating system or architecture"),
        ("linux\n", (0, 6), "expected OS"),
    ],
)
def test_a_mistake_is_marked(text, span, word):
    with pytest.raises(InvalidReference, match=word) as caught:
        Platform.parse(text)
    assert caught.value.span == span
    assert str(caught.value).startswith("invalid platform: ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Platform("linux", "arm64", "v8"), "linux/arm64/v8"),
        (Platform("windows", "amd64", "", "10.0.1", ("b", "a")), "windows(10.0.1+a+b)/amd64"),
        (Platform("linux", "amd64", os_version="a+b(c)/%~"), "linux(a%2Bb%28c%29%2F%25%7E)/amd64"),
        (Platform("", "amd64"), "unknown"),
        (Platform("unknown", "unknown"), "unknown/unknown"),
    ],
)
def test_it_is_written_as_containerd_writes_it(value, text):
    assert str(value) == text


def test_json_keeps_the_spelling_and_every_field():
    read = {
        "architecture": "ARM64",
        "os": "Linux",
        "os.version": "10.0.17763.1",
        "os.features": ["win32k", "a"],
        "variant": "V8",
        "features": ["sse4"],
        "vendor": {"x": 1},
    }
    value = Platform.from_json(read, "manifests[0]")
    assert value.to_json() == read
    assert value.normalised() == Platform("linux", "arm64", "", "10.0.17763.1", ("a", "win32k"), value.extra)
    assert hash(value) == hash(Platform.from_json({**read, "vendor": None}, "manifests[0]"))


def test_what_json_leaves_out_is_empty():
    assert Platform.from_json({}, "x") == Platform("", "")
    assert Platform.from_json({"os": None, "architecture": "amd64", "os.features": None}, "x") == Platform("", "amd64")
    assert Platform("linux", "amd64").to_json() == {"architecture": "amd64", "os": "linux"}


@pytest.mark.parametrize(
    "value",
    [[], "linux/amd64", None, {"os": 1}, {"os": "linux", "OS": "windows"}, {"Variant": "v8"}, {"os.features": "x"},
     {"os.features": [1]}, {"os.features": {"a": 1}}, {"os.Version": "1"}],
)  # fmt: skip
def test_json_that_is_no_platform_is_refused(value):
    with pytest.raises(InvalidArgument, match=r"manifests\[3\]: platform"):
        Platform.from_json(value, "manifests[3]")


def names(matcher):
    return str(matcher).replace("linux/", "").split(", ")


@pytest.mark.parametrize(
    ("text", "also"),
    [
        ("linux/amd64", "amd64 386"),
        ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386"),
        ("linux/386", "386"),
        ("linux/arm", "arm/v7 arm/v6 arm/v5"),
        ("linux/arm/v8", "arm/v8 arm/v7 arm/v6 arm/v5"),
        ("linux/arm/v5", "arm/v5"),
        ("linux/arm64", "arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
        ("linux/arm64/v8.2", "arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5"),
        (
            "linux/arm64/v9",
            "arm64/v9 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
        ),
        (
            "linux/arm64/v9.1",
            "arm64/v9.1 arm64/v9 arm64/v8.6 arm64/v8.5 arm64/v8.4 arm64/v8.3 arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v7 arm/v6 arm/v5",
        ),
        ("linux/riscv64", "riscv64"),
        ("linux/amd64/v99999999999", "amd64/v99999999999 386"),  # no processor has it: no long ladder
        ("linux/arm64/v77", "arm64/v77"),
    ],
)
def test_a_platform_takes_what_its_processor_also_runs_closest_first(text, also):
    assert names(only(Platform.parse(text))) == also.split()


def test_strictly_a_platform_takes_itself_in_any_spelling():
    matcher = only_strict(Platform.parse("linux/arm64"))
    assert matcher.match(Platform("Linux", "aarch64", "v8"))
    assert matcher.match(Platform("linux", "arm64", "8"))
    assert not matcher.match(Platform("linux", "arm", "v7"))
    assert not matcher.match(Platform("windows", "arm64"))


def test_armv9_begins_at_the_end_of_armv8_and_not_beyond_it():
    assert names(only(Platform.parse("linux/arm64/v9.6")))[:9] == [
        *("arm64/v9.6", "arm64/v9.5", "arm64/v9.4", "arm64/v9.3", "arm64/v9.2", "arm64/v9.1", "arm64/v9"),
        *("arm64/v8.9", "arm64/v8.8"),
    ]


INDEX = [
    Platform("unknown", "unknown"),  # an attestation
    Platform("linux", "386"),
    Platform("linux", "amd64"),
    None,
    Platform("linux", "arm", "v6"),
    Platform("linux", "arm", "v7"),
    Platform("linux", "arm64", "v8"),
]


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (only(Platform("linux", "amd64")), ["linux/amd64", "linux/386", "None"]),
        (only(Platform("linux", "arm64")), ["linux/arm64/v8", "linux/arm/v7", "linux/arm/v6", "None"]),
        (only_strict(Platform("linux", "arm64")), ["linux/arm64/v8", "None"]),
        (ordered(INDEX[5], INDEX[2]), ["linux/arm/v7", "linux/amd64", "None"]),
        (any_of(INDEX[5], INDEX[2]), ["linux/amd64", "linux/arm/v7", "None"]),
        (only(INDEX[6], INDEX[1]), ["linux/arm64/v8", "linux/arm/v7", "linux/arm/v6", "linux/386", "None"]),
        (only_strict(Platform("linux", "s390x")), ["None"]),
        (ordered(), ["None"]),
    ],
)
def test_the_best_comes_first_and_what_says_no_platform_last(matcher, expected):
    assert [str(one) for one in matcher.best_first(INDEX, lambda one: one)] == expected


def test_all_platforms_takes_everything_as_it_stands():
    everything = platforms.all_platforms()
    assert everything.best_first(INDEX, lambda one: one) == [one for one in INDEX if one is not None] + [None]
    assert everything.match(Platform("unknown", "unknown"))


def test_what_does_not_match_ranks_between_what_does_and_what_says_nothing():
    matcher = only(Platform("linux", "amd64"))
    assert sorted(INDEX, key=matcher.rank)[:2] == [INDEX[2], INDEX[1]]
    assert max(INDEX, key=matcher.rank) is None


@pytest.mark.parametrize("wanted", ["linux/amd64", "linux/arm64", "unknown", "windows/amd64"])
def test_an_attestation_matches_no_real_platform(wanted):
    if wanted == "unknown":
        wanted = "linux/unknown"
    assert not only(Platform.parse(wanted)).match(Platform("unknown", "unknown"))


def test_a_platform_without_a_system_is_of_the_hosts():
    assert only_strict(Platform(HOST.os, "amd64")).match(Platform("", "amd64"))


@pytest.mark.parametrize(
    ("wanted", "offered", "fits"),
    [
        ("linux(+a+b)/amd64", "linux/amd64", True),
        ("linux(+a+b)/amd64", "linux(+b)/amd64", True),
        ("linux(+a+b)/amd64", "linux(+a+b)/amd64", True),
        ("linux(+a+b)/amd64", "linux(+c)/amd64", False),
        ("linux/amd64", "linux(+a)/amd64", False),
        ("linux(5.10)/amd64", "linux(6.1)/amd64", True),  # versions count on Windows alone
        ("windows/amd64", "windows(+win32k)/amd64", True),
        ("windows/amd64", "windows(+other)/amd64", False),
    ],
)
def test_a_platform_may_ask_for_no_more_features_than_are_there(wanted, offered, fits):
    assert only_strict(Platform.parse(wanted)).match(Platform.parse(offered)) is fits


def test_of_equal_ones_that_with_the_most_features_is_best():
    offered = [Platform.parse(f"linux({features})/amd64") for features in ("", "+a", "+a+b", "+c")]
    matcher = only_strict(Platform.parse("linux(+a+b)/amd64"))
    assert [str(one) for one in matcher.best_first(offered, lambda one: one)] == [
        "linux(+a+b)/amd64",
        "linux(+a)/amd64",
        "linux/amd64",
    ]
    assert max(offered, key=matcher.rank) == offered[3]


@pytest.mark.parametrize(
    ("host", "image", "fits"),
    [
        ("10.0.17763", "10.0.17763", True),
        ("10.0.17763.1234", "10.0.17763.99", True),  # the revision does not count
        ("10.0.17763", "10.0.17764", False),
        ("10.0.17763", "10.0.17762", False),
        ("10.0.17763", "6.3.17763", False),
        ("10.0.17763", "", True),
        ("", "10.0.17763", True),
        ("10.0", "10.0.17763", True),  # a version that cannot be read is not told
        ("10.0.17763", "10.0", False),
        ("10.0.20348", "10.0.20348", True),
        ("10.0.20348", "10.0.17763", False),
        ("10.0.22631", "10.0.20348", True),
        ("10.0.22631", "10.0.22000", True),
        ("10.0.22631", "10.0.22632", False),
        ("10.0.26100", "10.0.20348", True),
        ("10.0.26100", "10.0.20347", False),
        ("10.0.26101", "10.0.26100", True),
        ("10.0.26101", "10.0.20348", False),  # one long-term release back, no further
    ],
)
def test_windows_runs_its_own_build_or_since_2022_those_since_the_last_long_term_release(host, image, fits):
    wanted = Platform("windows", "amd64", os_version=host)
    assert only(wanted).match(Platform("windows", "amd64", os_version=image)) is fits


def test_of_windows_versions_that_fit_the_highest_is_best():
    offered = [Platform("windows", "amd64", os_version=f"10.0.{build}") for build in (20348, 22631, 26100, 22000)]
    best = only(Platform("windows", "amd64", os_version="10.0.26100")).best_first(offered, lambda one: one)
    assert [one.os_version for one in best] == ["10.0.26100", "10.0.22631", "10.0.22000", "10.0.20348"]


@pytest.mark.parametrize(
    ("system", "machine", "wide", "expected"),
    [
        ("linux", "x86_64", True, "linux/amd64"),
        ("linux", "x86_64", False, "linux/386"),  # a 32-bit program
        ("linux", "i686", False, "linux/386"),
        ("linux", "aarch64", True, "linux/arm64/v8"),
        ("linux", "aarch64", False, "linux/arm/v8"),
        ("linux", "armv7l", False, "linux/arm/v7"),
        ("linux", "armv6l", False, "linux/arm/v6"),
        ("linux", "armv8l", False, "linux/arm/v8"),
        ("darwin", "arm64", True, "darwin/arm64/v8"),
        ("freebsd", "amd64", True, "freebsd/amd64"),
        ("linux", "ppc64le", True, "linux/ppc64le"),
        ("linux", "s390x", True, "linux/s390x"),
        ("linux", "riscv64", True, "linux/riscv64"),
        ("linux", "loongarch64", True, "linux/loong64"),
    ],
)
def test_the_machines_word_becomes_gos(system, machine, wide, expected):
    assert str(platforms._host(system, machine, wide=wide)) == expected


def test_the_host_runs_its_own_images_and_by_default_what_it_can_run():
    assert platforms.default().match(HOST)
    assert platforms.default_strict().match(HOST)
    assert platforms.default_strict().wanted == (HOST.normalised(),)


def test_a_mac_runs_linux_images(monkeypatch):
    monkeypatch.setattr(platforms.sys, "platform", "darwin")
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Darwin", "mac", "24", "v", "arm64")))
    assert str(platforms.default_strict()) == "darwin/arm64, linux/arm64"
    assert platforms.default().match(Platform("linux", "arm64", "v8"))


WORD = st.from_regex(r"[A-Za-z0-9_-]{1,8}", fullmatch=True)
OPTION = st.text(min_size=1, max_size=5).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text))


@given(WORD, WORD, st.one_of(st.just(""), WORD), OPTION, st.lists(OPTION, max_size=3))
@example("linux", "arm64", "v8", "", [])
def test_what_was_read_reads_the_same_again(system, architecture, variant, version, features):
    written = Platform(system, architecture, variant, version, tuple(features))
    value = Platform.parse(str(written))
    assert Platform.parse(str(value)) == value
    assert value.os_version == version
    assert value.os_features == tuple(sorted(features))
    assert only_strict(value).match(written)
    assert Platform.from_json(value.to_json(), "x") == value


@given(st.one_of(st.text(max_size=40), st.text("linuxarm64/()+%.v8*F", max_size=30)))
@example("linux(" + "+a" * 20_000 + "/x")
@example("a" * 100_000)
def test_any_text_is_a_platform_or_a_marked_mistake(text):
    try:
        value = Platform.parse(text)
    except InvalidReference as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)
    else:
        assert Platform.parse(str(value)) == value


@given(st.lists(st.sampled_from(INDEX), max_size=6), st.permutations(INDEX[1:3] + INDEX[4:]))
def test_ranking_keeps_the_order_of_equals(items, wanted):
    matcher = ordered(*wanted)
    best = matcher.best_first(list(enumerate(items)), lambda pair: pair[1])
    assert [number for number, _ in best] == sorted(
        (number for number, _ in best), key=lambda number: (matcher.rank(items[number]), number)
    )
