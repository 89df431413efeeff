"""References: docker's completion, containerd's strictness, and carets under mistakes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tranship.errors import InvalidReference
from tranship.model.digest import Digest
from tranship.model.reference import Reference

DIGEST = Digest.of(b"an image")
HEX = DIGEST.hex


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("acme/app", "docker.io/acme/app:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("docker.io/library/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/acme/app:1", "docker.io/acme/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("localhost:5000", "docker.io/library/localhost:5000"),  # without a slash, 5000 is a tag
        ("build:5000/app", "build:5000/app:latest"),
        ("ghcr.io/acme/app:1", "ghcr.io/acme/app:1"),
        ("Registry/app", "Registry/app:latest"),  # no path has uppercase, so it is a host
        ("127.0.0.1:5000/a/b/c:v1", "127.0.0.1:5000/a/b/c:v1"),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest"),
        (f"alpine@{DIGEST}", f"docker.io/library/alpine@{DIGEST}"),
        (f"alpine:3@{DIGEST}", f"docker.io/library/alpine:3@{DIGEST}"),
        ("a/a__b.c-d--e/f_g", "docker.io/a/a__b.c-d--e/f_g:latest"),
        (f"library/{HEX}", f"docker.io/library/{HEX}:latest"),
        (f"{HEX}:1", f"docker.io/library/{HEX}:1"),
        ("a:_T.-" + "x" * 124, "docker.io/library/a:_T.-" + "x" * 124),
    ],
)
def test_what_people_type_is_completed_as_docker_does(text, full):
    assert str(Reference.parse(text)) == full


def test_without_a_default_tag_a_bare_name_stays_bare():
    assert str(Reference.parse("ghcr.io/acme/app", None)) == "ghcr.io/acme/app"
    assert Reference.parse("alpine", default_tag="edge").tag == "edge"
    assert Reference.parse(f"alpine@{DIGEST}", default_tag="edge").tag is None


MISTAKES = [  # text, what the carets stand under, a word of the reason
    ("", (0, 1), "empty"),
    ("ghcr.io/Acme/app:1", (8, 9), "uppercase"),
    ("Alpine", (0, 1), "uppercase"),
    ("https://ghcr.io/app", (0, 8), "scheme"),
    ("ghcr.io//app", (8, 9), "empty"),
    ("ghcr.io/app/", (12, 13), "empty"),
    ("/app", (0, 1), "empty"),
    ("ghcr.io/a b", (9, 10), "this character"),
    ("alpine\n", (6, 7), "this character"),
    ("ghcr.io/café", (11, 12), "this character"),
    ("ghcr.io/-app", (8, 9), "begins and ends"),
    ("ghcr.io/app__", (11, 13), "begins and ends"),
    ("ghcr.io/a..b", (9, 11), "one dot"),
    ("ghcr.io/a___b", (9, 12), "one dot"),
    ("ghcr.io/a.-b", (9, 11), "one dot"),
    ("ghcr.io/../etc/passwd", (8, 10), "begins and ends"),
    ("alpine:", (7, 8), "tag is empty"),
    ("alpine:3:4", (8, 9), "this character"),
    ("ghcr.io/app:a/b", (13, 14), "this character"),
    ("alpine:-3", (7, 8), "begins with"),
    ("alpine:" + "x" * 130, (135, 137), "at most 128"),
    (HEX, (0, 64), "image ID"),
    ("::1/app", (0, 3), "brackets"),
    ("[::1/app", (0, 4), "brackets"),
    ("[fe80::1%eth0]/app", (0, 14), "zone"),
    ("[::1]x/app", (5, 6), "expected :"),
    ("ghcr.io:http/app", (8, 12), "port"),
    ("ghcr.io:/app", (8, 9), "port"),
    ("ghcr.io:70000/app", (8, 13), "port"),
    ("ghcr.io:٣/app", (8, 9), "port"),
    ("ghcr..io/app", (5, 6), "empty"),
    ("-ghcr.io/app", (0, 5), "begins and ends"),
    ("ghcr_io:80/app", (4, 5), "this character"),
    ("a" * 300 + ".io/app", (0, 303), "host has at most"),
    ("ghcr.io/" + "a" * 256, (263, 264), "at most 255"),
    ("a" * 248, (247, 248), "at most 255"),
    ("alpine@", (7, 8), "ALGORITHM:HEX"),
    ("alpine@md5:00", (7, 10), "algorithm"),
    ("alpine@sha256:XY", (14, 15), "hexadecimal"),
    ("alpine@sha256:00", (14, 16), "64 digits"),
    (f"alpine@{DIGEST}@{DIGEST}", (78, 79), "hexadecimal"),
]


@pytest.mark.parametrize(("text", "span", "word"), MISTAKES)
def test_a_mistake_is_marked_where_it_is(text, span, word):
    with pytest.raises(InvalidReference, match=word) as caught:
        Reference.parse(text)
    assert caught.value.span == span
    assert caught.value.text == text


def test_the_caret_stands_under_the_mistake():
    with pytest.raises(InvalidReference) as caught:
        Reference.parse("ghcr.io/Acme/app:1")
    assert str(caught.value) == (
        "invalid reference: uppercase is not allowed in a repository\n    ghcr.io/Acme/app:1\n            ^"
    )


@pytest.mark.parametrize(
    ("text", "domain", "path", "thing"),
    [
        ("docker.io/library/alpine:3", "docker.io", "library/alpine", "3"),
        ("docker.io/alpine", "docker.io", "alpine", ""),  # nothing is completed
        ("registry/app:1", "registry", "app", "1"),
        (f"ghcr.io/app@{DIGEST}", "ghcr.io", "app", f"@{DIGEST}"),
        (f"ghcr.io/app:1@{DIGEST}", "ghcr.io", "app", f"1@{DIGEST}"),
    ],
)
def test_the_strict_form_completes_nothing(text, domain, path, thing):
    reference = Reference.parse_strict(text)
    assert (reference.domain, reference.path, reference.object) == (domain, path, thing)
    assert str(reference) == text


@pytest.mark.parametrize("text", ["alpine", "alpine:3", "", "/app", "http://ghcr.io/app", "ghcr.io/"])
def test_the_strict_form_wants_a_host_and_a_path(text):
    with pytest.raises(InvalidReference):
        Reference.parse_strict(text)


@pytest.mark.parametrize(
    ("full", "familiar"),
    [
        ("docker.io/library/alpine:latest", "alpine:latest"),
        ("docker.io/acme/app:1", "acme/app:1"),
        ("ghcr.io/acme/app:1", "ghcr.io/acme/app:1"),
        ("docker.io/library/a/b:1", "library/a/b:1"),
        (f"docker.io/library/alpine:3@{DIGEST}", f"alpine:3@{DIGEST}"),
        ("docker.io/quay.io/app:1", "docker.io/quay.io/app:1"),  # quay.io/app:1 would be another image
        ("docker.io/localhost/app:1", "docker.io/localhost/app:1"),
    ],
)
def test_the_familiar_form_is_as_short_as_it_can_be_without_changing_its_meaning(full, familiar):
    assert Reference.parse(full).familiar == familiar


def test_a_familiar_name_of_64_digits_keeps_its_host():
    assert Reference.parse(f"library/{HEX}", None).familiar == f"docker.io/library/{HEX}"


def test_tag_and_digest_are_exchanged_and_removed():
    reference = Reference.parse("ghcr.io/acme/app:1")
    assert reference.repository == "ghcr.io/acme/app"
    assert str(reference.with_tag("2")) == "ghcr.io/acme/app:2"
    assert str(reference.with_digest(DIGEST)) == f"ghcr.io/acme/app:1@{DIGEST}"
    assert str(reference.with_digest(DIGEST).with_tag(None)) == f"ghcr.io/acme/app@{DIGEST}"
    with pytest.raises(InvalidReference) as caught:
        reference.with_tag("a/b")
    assert caught.value.span == (1, 2)


COMPONENT = st.from_regex(r"[a-z0-9]{1,8}(([._]|__|-{1,3})[a-z0-9]{1,8}){0,2}", fullmatch=True)
PATH = st.lists(COMPONENT, min_size=1, max_size=4).map("/".join)
HOST = st.sampled_from(
    ["", "docker.io/", "ghcr.io/", "localhost/", "h:5000/", "[::1]:80/", "index.docker.io/", "A-b.C/"]
)
TAG = st.one_of(st.just(""), st.from_regex(r":[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}", fullmatch=True))
END = st.sampled_from(["", f"@{DIGEST}", "@" + Digest.of(b"x", "sha512")])


@given(HOST, PATH, TAG, END)
def test_what_was_read_reads_the_same_again(host, path, tag, end):
    if not host:
        path = path.replace(".", "-")  # else its first component may be taken for a host, and be a wrong one
    reference = Reference.parse(host + path + tag + end)
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse_strict(str(reference)) == reference
    assert Reference.parse(reference.familiar) == reference
    assert Reference.parse(str(reference)).object == reference.object


@given(st.one_of(st.text(max_size=80), st.text("aA0./:@[]-_ ~s", max_size=40)))
@example("a" * 100_000 + "!")
@example("a-" * 50_000)
@example("a/" * 50_000)
@example("." * 100_000 + "/a")
@example("[" + ":" * 200 + "/a")
@example("\ud800/a:\u202e")
def test_any_text_is_a_reference_or_a_marked_mistake(text):
    for read in (Reference.parse, Reference.parse_strict):
        try:
            reference = read(text)
        except InvalidReference as error:
            start, end = error.span
            assert 0 <= start < end <= max(len(text), start) + 1
            str(error).encode()  # printable, whatever the text holds
        else:
            assert read(str(reference)) == reference
