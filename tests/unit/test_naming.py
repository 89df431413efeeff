"""Names in stores and archives: containerd's rules as tables, and how words pick among names."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.errors import InvalidArgument, NotFound
from tranship.model import mediatypes, naming
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest
from tranship.model.naming import IMAGE_NAME, REF_NAME, REF_SOURCE, ExtraName, Naming

TODAY = date(2026, 11, 23)
FULL = "docker.io/library/hello:latest"


def image(content: bytes = b"hello", **annotations: str) -> Descriptor:
    keys = {"full": IMAGE_NAME, "tag": REF_NAME}
    return Descriptor(
        media_type=mediatypes.OCI_MANIFEST,
        digest=Digest.of(content),
        size=len(content),
        annotations={keys.get(key, key): value for key, value in annotations.items()},
    )


HELLO = image().digest


def prefix(name: str, **options: bool) -> ExtraName:
    return ExtraName(name=name, is_prefix=True, **options)


@pytest.mark.parametrize(
    ("annotations", "options", "names"),
    [  # observed with ctr images import
        ({"full": FULL}, {}, [FULL]),
        ({"tag": "latest"}, {}, ["import-2026-11-23:latest"]),
        ({"full": FULL}, {"base_name": "example.com/foo"}, []),
        ({"full": FULL}, {"base_name": "example.com/foo", "add_digest": True}, [f"example.com/foo@{HELLO}"]),
        ({"full": FULL}, {"base_name": "docker.io/library/hello"}, [FULL]),
        ({"full": FULL}, {"base_name": "docker.io/library"}, [FULL]),
        ({"full": FULL}, {"base_name": "docker.io/library/hell"}, []),
        ({"full": FULL}, {"base_name": "example.com/foo", "overwrite": True}, [FULL]),
        ({"full": FULL}, {"add_digest": True}, [FULL, f"import-2026-11-23@{HELLO}"]),
        ({"full": FULL}, {"add_digest": True, "skip_named_digest": True}, [FULL]),
        ({"tag": "v1"}, {"base_name": "example.com/foo"}, ["example.com/foo:v1"]),
        ({"tag": "v1", "full": "example.com/foo:v2"}, {"base_name": "example.com/foo"}, ["example.com/foo:v2"]),
        ({"tag": "quay.io/a/b:2"}, {}, ["quay.io/a/b:2"]),  # some tools write the full name there
        ({"tag": "quay.io/a/b:2"}, {"base_name": "example.com/foo"}, []),
        ({"full": "hello", "tag": "v1"}, {}, []),  # a tag alone is no full name, and hides the other annotation
        ({"full": f"example.com/foo@{HELLO}"}, {"base_name": "example.com/foo"}, [f"example.com/foo@{HELLO}"]),
        ({}, {}, [f"import-2026-11-23@{HELLO}"]),  # containerd stores nothing
        ({}, {"base_name": "example.com/foo"}, [f"example.com/foo@{HELLO}"]),
        ({}, {"add_digest": True, "skip_named_digest": True}, [f"import-2026-11-23@{HELLO}"]),
    ],
)
def test_an_import_names_images_by_their_annotations(annotations, options, names):
    assert list(Naming.of_import(TODAY, **options).of_member(Root(image(**annotations)))) == names


def test_containerds_own_way_leaves_a_nameless_image_unnamed():
    assert Naming(extra=(prefix("import-2026-11-23", allow_overwrite=True),)).of_member(Root(image())) == ()


def test_a_roots_own_name_counts_more_than_an_annotation_that_came_with_it():
    root = Root(image(full="docker.io/library/old:1"), "quay.io/acme/new:2")
    assert Naming.of_import(TODAY).of_member(root) == ("quay.io/acme/new:2",)


def test_a_root_named_by_a_tag_alone_gets_the_prefix():
    assert Naming.of_import(TODAY, base_name="a.io/b").of_member(Root(image(), "v1")) == ("a.io/b:v1",)


def test_every_prefix_makes_its_names():
    rules = (prefix("a.io/x"), ExtraName(name="ignored:1"), prefix("b.io/y", add_digest=True))
    assert Naming(extra=rules).of_member(Root(image(tag="v1"))) == ("a.io/x:v1", "b.io/y:v1", f"b.io/y@{HELLO}")


@pytest.mark.parametrize(
    ("given_names", "names"),
    [
        (Naming(name="a.io/x:1"), ["a.io/x:1"]),
        (Naming(name="a.io/x:1", extra=(ExtraName(name="b.io/y:2"),)), ["a.io/x:1", "b.io/y:2"]),
        (Naming(extra=(ExtraName(name="b.io/y:2", add_digest=True),)), ["b.io/y:2"]),
        (Naming(name="a.io/x:1", extra=(prefix("b.io/y"),)), ["a.io/x:1"]),
        (Naming(extra=(prefix("b.io/y", add_digest=True, skip_named_digest=True),)), [f"b.io/y@{HELLO}"]),
        (Naming(name="a.io/x:1", extra=(ExtraName(name="a.io/x:1"),)), ["a.io/x:1"]),
        (Naming.of_import(TODAY, index_name="example.com/idx:1"), ["example.com/idx:1"]),
        (Naming.of_import(TODAY), []),
        (Naming(), []),
    ],
)
def test_the_top_of_a_transfer_gets_its_name_the_further_ones_and_digests_of_prefixes(given_names, names):
    assert list(given_names.of_top(image())) == names


def test_members_become_a_root_for_each_name():
    roots = [Root(image(b"1", full="docker.io/library/busy:1")), Root(image(b"2", full="quay.io/a/b:2"))]
    named = Naming.of_import(TODAY, add_digest=True, base_name="quay.io/a").name_members(roots)
    assert [root.name for root in named] == [
        f"quay.io/a@{Digest.of(b'1')}",
        "quay.io/a/b:2",
        f"quay.io/a@{Digest.of(b'2')}",
    ]
    assert [root.descriptor for root in named] == [roots[0].descriptor, roots[1].descriptor, roots[1].descriptor]


def test_an_import_that_names_nothing_says_what_was_there():
    with pytest.raises(
        NotFound, match=r"no image name found: expected one below example\.com/foo, found docker.*hello"
    ):
        Naming.of_import(TODAY, base_name="example.com/foo").name_members([Root(image(full=FULL))])


@pytest.mark.parametrize(
    ("name", "thing"),
    [
        ("docker.io/library/hello:latest", "latest"),
        (f"docker.io/library/hello:latest@{HELLO}", f"latest@{HELLO}"),
        (f"docker.io/library/hello@{HELLO}", f"docker.io/library/hello@{HELLO}"),
        ("docker.io/library/hello", "docker.io/library/hello"),
        ("import-2026-11-23:latest", "import-2026-11-23:latest"),  # its tag looks like a bad port
        ("hello", "hello"),
        ("localhost:5000/hello:v1", "v1"),
        ("host:bad/hello:v1", "host:bad/hello:v1"),
        ("[::1]:5000/hello:v1", "v1"),
        ("ghcr.io/Acme/Hello:v1", "v1"),  # a store's name need not be a reference of docker's
        ("https://ghcr.io/hello:v1", "https://ghcr.io/hello:v1"),
        ("ghcr.io/../hello:v1", "ghcr.io/../hello:v1"),
        ("ghcr.io/hello:", "ghcr.io/hello:"),
        ("", ""),
    ],
)
def test_the_tag_annotation_is_the_object_of_the_name_or_the_whole_name(name, thing):
    assert naming.object_name(name) == thing


def test_an_image_in_an_archive_says_its_name():
    entry = naming.in_archive(Root(image(zebra="1", full="old", **{REF_SOURCE: "annotation"}), FULL))
    assert list(entry.annotations.items()) == [(IMAGE_NAME, FULL), (REF_NAME, "latest"), ("zebra", "1")]
    assert entry.digest == HELLO


def test_a_tag_alone_is_written_as_a_tag_alone():
    assert naming.in_archive(Root(image(full="old"), "v1")).annotations == {REF_NAME: "v1"}


def test_a_nameless_image_keeps_what_it_says():
    assert naming.in_archive(Root(image(a="b"))).annotations == {"a": "b"}


def test_the_registries_that_hold_an_image_are_told_only_when_asked():
    source = "containerd.io/distribution.source.ghcr.io"
    root = Root(image(**{source: "acme/old"}), FULL)
    assert source not in naming.in_archive(root).annotations
    labels = {source: "acme/hello", "containerd.io/gc.root": "now"}
    assert naming.in_archive(root, labels).annotations == {source: "acme/hello", IMAGE_NAME: FULL, REF_NAME: "latest"}
    assert naming.in_archive(root, {}).annotations[source] == "acme/old"


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        (FULL, "hello:latest"),
        ("docker.io/acme/app:1", "acme/app:1"),
        ("ghcr.io/acme/app", "ghcr.io/acme/app:latest"),
        ("import-2026-11-23:latest", "import-2026-11-23:latest"),
        (f"ghcr.io/acme/app:1@{HELLO}", "ghcr.io/acme/app:1"),
        (f"ghcr.io/acme/app@{HELLO}", None),  # docker load refuses it
        ("ghcr.io/Acme/App:1", None),
    ],
)
def test_repo_tags_are_names_that_docker_loads(name, tag):
    assert naming.repo_tag(name) == tag


def test_repo_tags_for_podman_too_are_full_names():
    assert naming.repo_tag(f"{FULL}@{HELLO}", familiar=False) == FULL
    assert naming.repo_tag(f"ghcr.io/acme/app@{HELLO}", familiar=False) is None


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("busy:1", "docker.io/library/busy:1"),
        ("quay.io/a/b:2", "quay.io/a/b:2"),
        ("busy", "docker.io/library/busy:latest"),
        (f"busy:1@{HELLO}", f"docker.io/library/busy@{HELLO}"),
    ],
)
def test_repo_tags_are_read_as_docker_completes_them(tag, name):
    assert naming.from_repo_tag(tag) == name


def test_names_stay_where_the_destination_gives_none():
    roots = [Root(image(b"1"), "a:1"), Root(image(b"2"))]
    assert naming.rename(roots, []) == roots


def test_one_image_takes_the_names_that_the_destination_gives():
    root = Root(image(), FULL)
    assert naming.rename([root], ["x:1", "y:2", "x:1"]) == [Root(image(), "x:1"), Root(image(), "y:2")]
    assert naming.rename([root, Root(image(), "another name of it")], ["x:1"]) == [Root(image(), "x:1")]


def test_referrers_come_along_and_are_not_counted():
    signature = Root(image(b"signature"), None, HELLO)
    assert naming.rename([Root(image(), FULL), signature], ["x:1"]) == [Root(image(), "x:1"), signature]


@pytest.mark.parametrize("count", [0, 2])
def test_several_images_cannot_take_one_name(count):
    roots = [Root(image(bytes([n])), f"a:{n}") for n in range(count)]
    with pytest.raises(InvalidArgument, match=rf"{count} images, .* 1 name: x:1"):
        naming.rename(roots, ["x:1"])


STORE = (FULL, "docker.io/library/alpine:3", "docker.io/acme/app:1", "ghcr.io/acme/app:2", "alpine:3", "import-x:1")


@pytest.mark.parametrize(
    ("pattern", "how", "names"),
    [
        (FULL, "exact", [FULL]),
        ("alpine:3", "exact", ["alpine:3"]),  # before docker.io/library/alpine:3
        ("hello", "completed", [FULL]),
        ("acme/app:1", "completed", ["docker.io/acme/app:1"]),
        ("*/app:?", "glob", ["docker.io/acme/app:1", "ghcr.io/acme/app:2"]),
        ("hel*", "glob", [FULL]),  # by its familiar form
        ("*:[12]", "glob", ["docker.io/acme/app:1", "ghcr.io/acme/app:2", "import-x:1"]),
        ("ghcr.io/", "prefix", ["ghcr.io/acme/app:2"]),
    ],
)
def test_a_pattern_picks_by_the_first_rule_that_finds_anything(pattern, how, names):
    assert naming.select(STORE, [pattern]) == [naming.Chosen(name, pattern, how) for name in names]


def test_each_name_is_picked_once():
    assert [one.name for one in naming.select(STORE, ["hello", "hello:latest", "*hello*"])] == [FULL]


@pytest.mark.parametrize("pattern", ["helo", "HELLO", "hello:2", "nothing/", "z*", "", "\ud800", "a\x1b[2J"])
def test_what_is_not_there_is_not_found(pattern):
    with pytest.raises(NotFound) as caught:
        naming.select(STORE, [FULL, pattern])
    assert "\x1b" not in str(caught.value)


def test_a_name_that_comes_close_is_hinted_at():
    with pytest.raises(NotFound) as caught:
        naming.select(STORE, ["helo:latest"])
    assert caught.value.hint == "did you mean hello:latest?"
    with pytest.raises(NotFound) as caught:
        naming.select([], ["hello"])
    assert caught.value.hint == "there is none at all"


NAME = st.from_regex(r"[a-z]{1,6}\.io(/[a-z]{1,6}){1,2}:[a-z0-9]{1,6}", fullmatch=True)


@given(NAME)
def test_a_full_name_survives_an_archive(name):
    entry = naming.in_archive(Root(image(), name))
    assert naming.stated_name(entry) == name
    assert Naming.of_import(TODAY).of_member(Root(entry)) == (name,)
    tag = naming.repo_tag(name)
    assert tag is not None
    assert naming.from_repo_tag(tag) == name


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=20), st.booleans(), st.booleans())
def test_names_from_any_annotations_are_never_empty_and_never_leave_a_prefix_that_binds(full, tag, base, digest, skip):
    names = Naming.of_import(TODAY, base_name=base or "b", add_digest=digest, skip_named_digest=skip).of_member(
        Root(image(full=full, tag=tag))
    )
    assert all(name.startswith(base or "b") for name in names)
