"""The documents and compressed streams of archives: anything is read or refused, and what is written is read back."""

import io
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.raw_tar import Trickle
from tranship.errors import TranshipError
from tranship.formats import compression, docker_archive, docker_legacy, layout
from tranship.formats.docker_archive import ManifestEntry
from tranship.formats.tar import Member
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest
from tranship.model.mediatypes import OCI_MANIFEST
from tranship.pump import pump

DIGEST = Digest.of(b"x")
IDENTITY = "a" * 64
words = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "manifests", "digest", "size", "annotations", "platform", "os", "architecture"),
        *("Config", "RepoTags", "Layers", "LayerSources", "rootfs", "type", "layers", "diff_ids", "id", "parent"),
        *("imageLayoutVersion", "1.0.0", OCI_MANIFEST, DIGEST, IDENTITY, "a:1", "\ud800", "é\x1b[2J"),
    ]
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), words, st.text(max_size=5))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=6)),
    max_leaves=20,
)
raws = st.one_of(values.map(json.dumps).map(str.encode), st.binary(max_size=200))
names = st.text("abc/.\\\u202e", max_size=12)
members = st.lists(
    st.builds(
        Member,
        names,
        st.sampled_from(["file", "directory", "symlink", "hardlink", "other"]),
        st.integers(0, 9),
        st.just(0),
        names,
        *[st.just(0)] * 4,
    ),
    max_size=6,
)


@given(raws)
@example(b'{"schemaVersion":2,"manifests":[{"mediaType":"\\ud800"}]}')
@settings(max_examples=400, deadline=None)
def test_any_document_is_read_or_refused(raw):
    table = docker_archive.table(
        [Member(f"{IDENTITY}/{n}", "file", 1, 0, "", 0, 0, 0, 0) for n in ("json", "layer.tar")]
    )
    readers = [
        layout.check_marker,
        layout.parse_index,
        docker_archive.parse_manifest,
        lambda raw: docker_archive.read_config(raw, 0),
        lambda raw: docker_legacy.saved_images(raw, table, lambda _: b"{}"),
        lambda raw: docker_legacy.saved_images(json.dumps({"a": {"b": IDENTITY}}).encode(), table, lambda _: raw),
    ]
    for read in readers:
        try:
            read(raw)
        except TranshipError as error:
            str(error).encode()


@given(members, names)
@settings(max_examples=300, deadline=None)
def test_any_table_of_links_gives_a_file_of_it_or_is_refused(listed, wanted):
    table = docker_archive.table(listed)
    try:
        found = docker_archive.resolve(table, wanted, "layer")
    except TranshipError as error:
        str(error).encode()
    else:
        assert found.kind == "file"
        assert found in table.values()


tags = st.lists(st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8})?:[a-z0-9]{1,5}", fullmatch=True), max_size=3, unique=True)
entries = st.lists(
    st.builds(ManifestEntry, st.text(min_size=1, max_size=9), tags.map(tuple), st.lists(names, max_size=3).map(tuple)),
    max_size=4,
)


@given(entries, st.randoms())
@settings(max_examples=150, deadline=None)
def test_manifest_json_is_read_back_and_its_order_does_not_matter(wanted, random):
    raw = docker_archive.manifest_json(wanted)
    found = docker_archive.parse_manifest(raw)
    key = repr
    assert sorted(found, key=key) == sorted(
        (ManifestEntry(e.config, tuple(sorted(e.tags)), e.layers) for e in wanted), key=key
    )
    random.shuffle(wanted)
    assert docker_archive.manifest_json(wanted) == raw


descriptors = st.builds(
    Descriptor,
    media_type=st.just(OCI_MANIFEST),
    digest=st.just(DIGEST),
    size=st.integers(0, 1 << 62),
    annotations=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
)
names = st.sampled_from([None, "docker.io/library/a:1", "v1", "example.com:5000/x/y@" + DIGEST])
# What has a name is an image of its own, whatever it refers to; a referrer has none.
roots = st.builds(Root, descriptors, names) | st.builds(Root, descriptors, st.none(), st.just(DIGEST))


@given(st.lists(roots, max_size=4))
@settings(max_examples=150, deadline=None)
def test_an_index_is_read_back(wanted):
    found = layout.parse_index(layout.index_json([layout.entry(root) for root in wanted]))
    assert [(r.descriptor.plain, r.name, r.subject) for r in found] == [
        (r.descriptor.plain, r.name, r.subject) for r in wanted
    ]
    assert layout.parse_index(layout.index_json([r.descriptor for r in found])) == found


@given(
    st.binary(max_size=2000),
    st.sampled_from(["gzip", "zstd"]),
    st.integers(1, 400),
    st.binary(max_size=8),
    st.integers(0, 3000),
)
@settings(max_examples=300, deadline=None)
def test_a_damaged_stream_gives_the_right_bytes_or_an_error(data, kind, step, damage, place):
    out = bytearray()
    writer = compression.Compressing(out.extend, kind)
    writer.write(memoryview(data))
    writer.finish()
    whole = bytes(out)
    place %= len(whole) + 1
    damaged = whole[:place] + damage + whole[place + len(damage) :]
    found = bytearray()
    try:
        pump(compression.opened(Trickle(damaged, step))[1], found.extend)
    except TranshipError:
        return
    if damaged == whole:
        assert found == data
    elif kind == "gzip" and compression.detect(damaged[:10]) == "gzip" and damaged[:10] == whole[:10]:
        assert found == data, "a wrong checksum must be found"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_stream_is_opened_or_refused(raw):
    for head in (b"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"):
        try:
            pump(compression.opened(io.BytesIO(head + raw))[1], lambda _: None)
        except TranshipError:
            continue
