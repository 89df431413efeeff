"""Export and import through the Transfer service: names, platforms, labels, and archives that are whole."""

import gzip
import io
import json
import tarfile

import pytest

from support import graphs
from support.transfers import NAMED, Transfers
from tranship import Layout
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship.containerd.methods import Leases
from tranship.containerd.wire import WireImageStore, WireImportStream
from tranship.endpoints.archive import Archive
from tranship.endpoints.store import Store
from tranship.engine.transfer import transfer
from tranship.errors import InvalidArgument, NotFound, TranshipError
from tranship.formats.stream_window import WINDOW
from tranship.model.digest import Digest
from tranship.model.naming import ExtraName
from tranship.model.platform import Platform

MULTI = "localhost/multi:v1"
AMD64, ARM64, S390X = (Platform("linux", name) for name in ("amd64", "arm64", "s390x"))


def members(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}


def unpacked(data, folder):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        tar.extractall(folder, filter="data")
    return folder


# ---------------------------------------------------------------------------------------------------------------- export


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "large", "tiny-30"])
def test_archive_has_every_byte_when_the_answer_comes(lab, tmp_path, kind):
    lab.fill(kind)
    data = lab.client.export(f"localhost/{kind}:v1", all_platforms=True)
    assert graphs.images(unpacked(data, tmp_path / "out")) == graphs.images(lab.images(kind))


def test_thirty_exports_in_a_row_are_whole(lab, tmp_path):
    lab.fill("large")
    first = lab.client.export("localhost/large:v1").rstrip(b"\0")
    assert all(lab.client.export("localhost/large:v1").rstrip(b"\0") == first for _ in range(29))


def test_archive_is_followed_by_no_more_zeros_than_a_window(lab):
    lab.fill("large")
    data = lab.client.export("localhost/large:v1")
    plain = io.BytesIO()
    transfer(Store("localhost/large:v1", opened=lab.store, namespace="lab"), Archive(plain))
    assert data.startswith(plain.getvalue())
    assert len(data) <= len(plain.getvalue()) + WINDOW + 512
    assert not data[len(plain.getvalue()) :].strip(b"\0")


def test_names_of_an_export_are_exact_and_in_order(lab):
    lab.fill("many-3")
    data = members(lab.client.export("localhost/many-3:v2", "localhost/many-3:v0", "localhost/many-3:v2"))
    entries = json.loads(data["index.json"])["manifests"]
    assert [e["annotations"]["io.containerd.image.name"] for e in entries] == [
        "localhost/many-3:v2",
        "localhost/many-3:v0",
    ]
    for name in ("localhost/many-3:*", "many-3:v1", "localhost/many-3"):
        with pytest.raises(NotFound, match=r'^image ".*": not found$'):
            lab.client.export(name)


def test_export_by_a_prefix_takes_all_names_below_it(lab):
    lab.fill("many-3")
    lab.fill("small")
    source = WireImageStore(extra_references=(ExtraName(name="localhost/many-3", is_prefix=True),))
    entries = json.loads(members(lab.client.export(source=source))["index.json"])["manifests"]
    assert [e["annotations"]["org.opencontainers.image.ref.name"] for e in entries] == ["v0", "v1", "v2"]
    source = WireImageStore(extra_references=(ExtraName(name="localhost/man", is_prefix=True),))
    with pytest.raises(NotFound, match="below"):
        lab.client.export(source=source)
    with pytest.raises(InvalidArgument, match="names no image"):
        lab.client.export(source=WireImageStore())


def test_export_takes_the_hosts_platform_alone_unless_told(lab):
    lab.fill("multi")
    host = members(lab.client.export(MULTI))
    some = members(lab.client.export(MULTI, platforms=(ARM64, AMD64)))
    every = members(lab.client.export(MULTI, all_platforms=True))
    assert len(host) < len(some) < len(every)
    entries = [json.loads(data["index.json"])["manifests"] for data in (host, some, every)]
    assert entries[0] == entries[1] == entries[2]  # the index stays as it is
    with pytest.raises(NotFound, match="no manifest of localhost/multi:v1 matches linux/s390x"):
        lab.client.export(MULTI, platforms=(S390X,))


def test_export_leaves_out_what_it_is_told_to(lab):
    lab.fill("foreign")
    data = members(
        lab.client.export("localhost/foreign:v1", skip_compatibility_manifest=True, skip_non_distributable=True)
    )
    assert "manifest.json" not in data
    assert "manifest.json" in members(lab.client.export("localhost/foreign:v1"))


def test_export_says_from_which_registry_an_image_came(lab):
    lab.fill("small")
    (image,) = lab.space.images.list()
    label = "containerd.io/distribution.source.ghcr.io"
    changed = {label: "acme/app", "other": "x"}  # the others hold its content
    lab.space.content.update(image.target.digest, changed, [f"labels.{key}" for key in changed])
    (entry,) = json.loads(members(lab.client.export(image.name))["index.json"])["manifests"]
    assert entry["annotations"] == {
        label: "acme/app",
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": "v1",
    }


def test_export_of_an_image_without_its_content_fails_before_the_first_byte(lab):
    """containerd gives a valid archive of nothing, and in the middle of a tar an error."""
    lab.fill("python")
    space = lab.space
    (image,) = space.images.list()
    for victim in (
        json.loads(space.content.read_bytes(image.target.digest, 10**6))["layers"][0]["digest"],
        image.target.digest,
    ):
        space.content.delete(Digest.parse(victim))
        with pytest.raises(NotFound, match="is not there"):
            lab.client.export(image.name)
        assert lab.client.events[-1].event.startswith("Failed export: ")


# ---------------------------------------------------------------------------------------------------------------- import


@pytest.mark.parametrize("kind", ["small", "multi", "docker", "zstd", "raw", "large", "tiny-30", "many-3"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_import_brings_every_byte(lab, tmp_path, kind, pack):
    lab.client.load(pack(lab.archive(kind)))
    transfer(Store(opened=lab.store, namespace="lab"), Layout(tmp_path / "out"))
    assert graphs.images(tmp_path / "out") == graphs.images(lab.images(kind))


NAMINGS = [
    ({"extra_references": NAMED}, ["localhost/small:v1"]),
    ({"extra_references": (ExtraName(name="example.com/foo", is_prefix=True),)}, []),
    (
        {"extra_references": (ExtraName(name="example.com/foo", is_prefix=True, add_digest=True),)},
        ["example.com/foo@DIGEST"],
    ),
    ({"extra_references": (ExtraName(name="localhost/small", is_prefix=True),)}, ["localhost/small:v1"]),
    ({"name": "example.com/idx:1", "extra_references": NAMED}, ["example.com/idx:1", "localhost/small:v1"]),
    ({"name": "example.com/idx:1"}, ["example.com/idx:1"]),
    ({"extra_references": (ExtraName(name="example.com/idx:2"),)}, ["example.com/idx:2"]),
    ({}, []),
]


@pytest.mark.parametrize(("options", "expected"), NAMINGS)
def test_import_names_images_as_containerd_does(lab, options, expected):
    lab.client.load(lab.archive("small"), WireImageStore(**options))
    (root,) = graphs.index(lab.images("small"))
    assert lab.names() == sorted(name.replace("DIGEST", root["digest"]) for name in expected)
    saved = [event.name for event in lab.client.events if event.event == "saved"]
    assert sorted(saved) == lab.names()


def test_index_of_an_archive_becomes_an_image_of_its_images(lab, tmp_path):
    lab.client.load(lab.archive("many-3"), WireImageStore(name="example.com/all:1"))
    space = lab.space
    index = json.loads(space.content.read_bytes(space.images.get("example.com/all:1").target.digest, 10**6))
    assert {m["digest"] for m in index["manifests"]} == graphs.images(lab.images("many-3")).keys()
    lab.store.gc()
    data = lab.client.export("example.com/all:1", all_platforms=True)
    out = unpacked(data, tmp_path / "out")
    (found,) = graphs.images(out).values()
    assert found > set().union(*graphs.images(lab.images("many-3")).values())


def test_docker_archives_of_old_are_imported_under_their_tags(lab, tmp_path):
    path = tmp_path / "old.tar"
    transfer(Layout(lab.images("docker")), Archive(path, "docker.io/library/busy:1", format="docker"))
    lab.client.load(path.read_bytes(), WireImageStore(name="example.com/all:1", extra_references=NAMED))
    assert lab.names() == ["docker.io/library/busy:1", "example.com/all:1"]


def test_nothing_but_named_images_stays_after_an_import(lab):
    lab.client.load(lab.archive("small"), WireImageStore(extra_references=(ExtraName(name="nowhere", is_prefix=True),)))
    assert any("no image is stored" in event.event for event in lab.client.events)
    lab.store.gc()
    assert not list(lab.space.content.walk())
    assert not lab.space.leases.list()
    lab.client.load(lab.archive("small"))
    before = {info.digest for info in lab.space.content.walk()}
    lab.store.gc()
    assert {info.digest for info in lab.space.content.walk()} == before


def test_lease_of_the_caller_keeps_what_arrives(lab):
    lease = lab.channel.unary(Leases.CREATE, le.CreateRequest(id="mine")).lease.id
    Transfers(lab.channel.with_lease(lease)).load(lab.archive("small"), WireImageStore())
    lab.store.gc()
    assert list(lab.space.content.walk())
    lab.channel.unary(Leases.DELETE, le.DeleteRequest(id="mine", sync=True))
    assert not list(lab.space.content.walk())


def test_lease_that_is_none_is_refused(lab):
    with pytest.raises(NotFound, match="lease"):
        Transfers(lab.channel.with_lease("nobody's")).load(lab.archive("small"))
    assert lab.names() == []


def test_labels_are_for_images_alone(lab):
    lab.client.load(lab.archive("small"), WireImageStore(labels={"a": "b"}, extra_references=NAMED))
    (image,) = lab.space.images.list()
    assert image.labels == {"a": "b"}
    content = lab.space.content
    labels = content.info(image.target.digest).labels
    manifest = json.loads(content.read_bytes(image.target.digest, 10**6))
    assert labels == {
        "containerd.io/gc.ref.content.config": manifest["config"]["digest"],
        "containerd.io/gc.ref.content.l.0": manifest["layers"][0]["digest"],
    }


def test_import_of_one_platform_keeps_the_manifests_of_others(lab):
    lab.client.load(lab.archive("multi"), WireImageStore(platforms=(ARM64,), extra_references=NAMED))
    lab.store.gc()
    held = {info.digest for info in lab.space.content.walk()}
    (root,) = graphs.index(lab.images("multi"))
    index = json.loads(graphs.blob(lab.images("multi"), root["digest"]))
    assert held.issuperset(m["digest"] for m in index["manifests"])
    amd64 = json.loads(graphs.blob(lab.images("multi"), index["manifests"][0]["digest"]))
    assert amd64["layers"][2]["digest"] not in held
    with pytest.raises(NotFound, match="no manifest of localhost/multi:v1 matches linux/s390x"):
        lab.client.load(lab.archive("multi"), WireImageStore(platforms=(S390X,), extra_references=NAMED))


def test_filtered_archive_is_imported_by_its_platform_and_refused_as_a_whole(lab):
    lab.fill("multi")
    data = lab.client.export(MULTI, platforms=(AMD64,))
    for image in lab.space.images.list():
        lab.space.images.delete(image.name)
    lab.store.gc()
    with pytest.raises(NotFound, match="is not there"):
        lab.client.load(data)
    assert lab.names() == []
    lab.client.load(data, WireImageStore(platforms=(AMD64,), extra_references=NAMED))
    assert lab.names() == [MULTI]


@pytest.mark.parametrize("cut", [0, 700, 100_000, -1024])
def test_archive_that_ends_early_is_refused_and_leaves_no_name(lab, cut):
    data = lab.archive("multi")
    with pytest.raises(TranshipError) as caught:
        lab.client.load(data[:cut] if cut >= 0 else data[: len(data) // 2])
    assert caught.value.code in {"INVALID_ARGUMENT", "DATA_LOSS"}
    assert lab.client.events[-1].event.startswith("Failed import: ")
    assert lab.names() == []
    assert not lab.space.leases.list()


def test_garbage_is_refused(lab):
    with pytest.raises(InvalidArgument):
        lab.client.load(b"apiVersion: v1\nkind: Pod\n" * 100)
    assert lab.names() == []


# ------------------------------------------------------------------------------------------------------------ tag, echo


def test_tag_gives_further_names_and_moves_existing_ones(lab):
    lab.fill("many-3")
    space = lab.space
    target = space.images.get("localhost/many-3:v0").target
    source = WireImageStore(name="localhost/many-3:v0")
    extra = (
        ExtraName(name="localhost/other:2"),
        ExtraName(name="localhost/by", is_prefix=True, add_digest=True),
        ExtraName(name="localhost/unused", is_prefix=True),
    )
    lab.client.transfer(source, WireImageStore(name="localhost/many-3:v1", labels={"a": "b"}, extra_references=extra))
    assert lab.names() == [
        f"localhost/by@{target.digest}",
        "localhost/many-3:v0",
        "localhost/many-3:v1",
        "localhost/many-3:v2",
        "localhost/other:2",
    ]
    assert space.images.get("localhost/many-3:v1").target.digest == target.digest
    assert space.images.get("localhost/many-3:v1").labels == {"a": "b"}
    assert lab.client.events == []


def test_tag_needs_a_source_and_a_name(lab):
    lab.fill("small")
    with pytest.raises(NotFound, match=r'^image "nope": not found$'):
        lab.client.transfer(WireImageStore(name="nope"), WireImageStore(name="x"))
    with pytest.raises(NotFound, match="no image name found"):
        lab.client.transfer(WireImageStore(name="localhost/small:v1"), WireImageStore())


def test_tag_does_not_look_at_content(lab):
    lab.fill("small")
    space = lab.space
    (image,) = space.images.list()
    space.content.delete(image.target.digest)
    lab.client.transfer(WireImageStore(name=image.name), WireImageStore(name="x"))
    assert lab.names() == [image.name, "x"]


@pytest.mark.parametrize("size", [0, 1, WINDOW, 3_000_001])
def test_echo_returns_every_byte(lab, size):
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with lab.client.stream() as sending:
        import threading

        thread = threading.Thread(target=lab.client._send, args=(sending, data))
        thread.start()
        assert lab.client.export(source=WireImportStream(stream=sending.id)) == data
        thread.join(30)
    assert lab.client.events == []


# ---------------------------------------------------------------------------------------------------------- compression


def test_raw_layers_of_docker_archives_are_compressed_where_that_is_asked_for(lab, tmp_path):
    path = tmp_path / "old.tar"
    transfer(Layout(lab.images("raw")), Archive(path, "docker.io/library/busy:1", format="docker"))
    lab.client.load(path.read_bytes(), force_compress=True)
    space = lab.space
    read = lambda digest: space.content.read_bytes(Digest.parse(digest), 10**8)  # noqa: E731
    manifest = json.loads(read(space.images.get("docker.io/library/busy:1").target.digest))
    diff_ids = json.loads(read(manifest["config"]["digest"]))["rootfs"]["diff_ids"]
    assert {layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]} == {"gzip"}
    assert [Digest.of(gzip.decompress(read(layer["digest"]))) for layer in manifest["layers"]] == diff_ids


def test_layouts_are_imported_whatever_is_said_of_compression(lab):
    lab.client.load(lab.archive("raw"), force_compress=True)
    assert lab.names() == ["localhost/raw:v1"]
