"""Docker's archives of every age give up their images, and nothing that lies outside them."""

import hashlib
import json

import pytest

from support.raw_tar import END, member, pax, record
from tranship.errors import DigestMismatch, InvalidArgument, NotFound, Unsupported
from tranship.formats import docker_archive, docker_legacy
from tranship.formats.docker_archive import ManifestEntry, parse_manifest, resolve, saved_images, table
from tranship.formats.tar import read_index
from tranship.model import manifest, mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest

A, B = (Digest.of(text) for text in (b"a", b"b"))
ID = {n: hashlib.sha256(n.encode()).hexdigest() for n in ("base", "middle", "top", "other")}


class Archive:
    """A tar of the given members, its table, and the bytes of each."""

    def __init__(self, *members: bytes) -> None:
        self.data = b"".join(members) + END
        self.table = table(read_index(lambda offset, count: self.data[offset : offset + count], len(self.data)))

    def read(self, one) -> bytes:
        return self.data[one.data_offset : one.data_offset + one.size]


def file(name: str, data: bytes = b"") -> bytes:
    return (pax(record(b"path", name.encode())) if len(name) > 100 else b"") + member(name.encode()[:100], data)


def link(name: str, target: str, kind: bytes = b"2") -> bytes:
    return pax(record(b"path", name.encode()), record(b"linkpath", target.encode())) + member(b"x", kind=kind)


def entry(**fields: object) -> bytes:
    return json.dumps([{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l"], **fields}]).encode()


# --- manifest.json ----------------------------------------------------------------------------------------------------


def test_manifest_json_is_read():
    source = Descriptor(media_type=mediatypes.OCI_LAYER, digest=B, size=7)
    raw = json.dumps(
        [
            {
                "Config": "blobs/sha256/c",
                "RepoTags": ["busybox:1.36", "example.com/x/y:z"],
                "Layers": ["one", "two", "one"],
                "LayerSources": {str(A): source.to_json()},
            },
            {"Config": "c2", "RepoTags": None, "Layers": None, "Parent": "sha256:x"},
        ]
    ).encode()
    assert parse_manifest(raw) == (
        ManifestEntry("blobs/sha256/c", ("busybox:1.36", "example.com/x/y:z"), ("one", "two", "one"), {A: source}),
        ManifestEntry("c2", (), ()),
    )
    assert parse_manifest(b"[]") == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[1]",
        b"[{}]",
        entry(Config=""),
        entry(Config=3),
        entry(RepoTags="a:1"),
        entry(RepoTags=[1]),
        entry(Layers={"a": 1}),
        entry(Layers=[None]),
        entry(layers=["b"]),
        entry(LayerSources=[]),
        entry(LayerSources={"sha256:x": {}}),
        entry(LayerSources={str(A): {}}),
        b" " * (docker_archive.MAX_MANIFEST + 1),
    ],
)
def test_an_unsound_manifest_json_is_refused(raw):
    with pytest.raises(InvalidArgument):
        parse_manifest(raw)


def test_manifest_json_is_written_sorted_in_containerds_form():
    entries = [
        ManifestEntry("blobs/sha256/2", ("hello:latest", "busy:1"), ("blobs/sha256/l",)),
        ManifestEntry("blobs/sha256/9", (), ()),
        ManifestEntry("blobs/sha256/1", ("a<b:1",), ("blobs/sha256/l", "blobs/sha256/l")),
    ]
    raw = docker_archive.manifest_json(entries)
    assert raw.decode() == (
        '[{"Config":"blobs/sha256/9","RepoTags":null,"Layers":[]},'
        '{"Config":"blobs/sha256/1","RepoTags":["a\\u003cb:1"],"Layers":["blobs/sha256/l","blobs/sha256/l"]},'
        '{"Config":"blobs/sha256/2","RepoTags":["busy:1","hello:latest"],"Layers":["blobs/sha256/l"]}]'
    )
    assert docker_archive.manifest_json(reversed(entries)) == raw
    assert [e.tags for e in parse_manifest(raw)] == [(), ("a<b:1",), ("busy:1", "hello:latest")]


# --- finding parts ----------------------------------------------------------------------------------------------------


def test_layers_are_found_through_links_within_the_archive():
    archive = Archive(
        file("one/layer.tar", b"layer"),
        link("two/layer.tar", "../one/layer.tar"),
        link("three/layer.tar", "../two/layer.tar"),
        link("four/layer.tar", "one/layer.tar", b"1"),
        file("c.json", b"{}"),
    )
    names = [f"{n}/layer.tar" for n in ("one", "two", "three", "four")]
    (image,) = saved_images(
        [ManifestEntry("./c.json", ("hello", "docker.io/library/hello:latest"), tuple(names))], archive.table
    )
    assert image.names == ("docker.io/library/hello:latest",)
    assert [layer.name for layer in image.layers] == ["one/layer.tar"] * 4
    assert archive.read(image.config) == b"{}"


def test_links_that_leave_the_archive_or_go_round_are_refused():
    archive = Archive(
        link("a", "b"),
        link("b", "a"),
        link("self", "self"),
        link("x/up", "../../etc/passwd"),
        link("abs", "/etc/passwd"),
        link("hard", "../etc/passwd", b"1"),
        link("folder-link", "folder"),
        member(b"folder/", kind=b"5"),
        member(b"fifo", kind=b"6"),
        link("nowhere", "gone"),
        file("etc/passwd", b"root"),
    )
    for name in ("a", "self"):
        with pytest.raises(InvalidArgument, match="16 links"):
            resolve(archive.table, name, "layer")
    for name in ("x/up", "abs", "hard"):
        with pytest.raises(InvalidArgument, match="outside the archive"):
            resolve(archive.table, name, "layer")
    for name, kind in (("folder", "directory"), ("folder-link", "directory"), ("fifo", "other")):
        with pytest.raises(InvalidArgument, match=f"is a {kind}"):
            resolve(archive.table, name, "layer")
    with pytest.raises(NotFound, match="'gone', which is absent"):
        resolve(archive.table, "nowhere", "layer")
    for name in ("gone", "../etc/passwd", "/etc/passwd", ""):
        with pytest.raises(NotFound, match="image config"):
            resolve(archive.table, name, "image config")


def test_sixteen_links_are_followed_and_seventeen_are_not():
    archive = Archive(file("l0", b"x"), *(link(f"l{n}", f"l{n - 1}") for n in range(1, 18)))
    assert resolve(archive.table, "l16", "layer").name == "l0"
    with pytest.raises(InvalidArgument, match="16 links"):
        resolve(archive.table, "l17", "layer")


def test_of_two_members_of_one_name_the_last_counts():
    archive = Archive(file("x", b"old"), file("./x", b"new"))
    assert archive.read(archive.table["x"]) == b"new"


def test_names_that_docker_would_refuse_are_refused():
    archive = Archive(file("c.json"), file("l"))
    with pytest.raises(InvalidArgument, match="RepoTags"):
        saved_images([ManifestEntry("c.json", ("a/Case:1",), ("l",))], archive.table)


# --- making a manifest ------------------------------------------------------------------------------------------------


def config(**fields: object) -> bytes:
    value = {"architecture": "arm64", "os": "linux", "variant": "v8", "rootfs": {"type": "layers", "diff_ids": [A, B]}}
    return json.dumps({**value, **fields}).encode()


def test_a_config_gives_its_platform_and_diff_ids():
    found = docker_archive.read_config(config(), 2)
    assert str(found.platform) == "linux/arm64/v8"
    assert found.diff_ids == (A, B)
    assert docker_archive.read_config(config(os="", architecture=""), 2).platform is None
    assert docker_archive.read_config(config(rootfs={"type": "layers"}), 0).diff_ids == ()


@pytest.mark.parametrize(
    ("raw", "layers", "word"),
    [
        (b"not json", 2, "JSON"),
        (b"[]", 2, "object"),
        (b"{}", 0, "rootfs"),
        (config(rootfs={"type": "tree", "diff_ids": [A, B]}), 2, "tree"),
        (config(rootfs={"type": "layers", "diff_ids": "x"}), 2, "list"),
        (config(rootfs={"type": "layers", "diff_ids": ["sha256:x", A]}), 2, "diff_ids"),
        (config(RootFS={}), 2, "ambiguous"),
        (config(), 1, "lists 2 layers, and the archive gives the image 1"),
        (config(os=7), 2, "os"),
        (b" " * (docker_archive.MAX_CONFIG + 1), 2, "at most"),
    ],
)
def test_what_is_no_image_config_is_refused(raw, layers, word):
    with pytest.raises(InvalidArgument, match=word):
        docker_archive.read_config(raw, layers)


def test_layers_are_described_by_their_first_bytes():
    heads = {
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff": mediatypes.DOCKER_LAYER_GZIP,
        b"\x28\xb5\x2f\xfd\x04\x00": mediatypes.DOCKER_LAYER_ZSTD,
        b"etc/passwd": mediatypes.DOCKER_LAYER,
        b"": mediatypes.DOCKER_LAYER,
    }
    for head, media_type in heads.items():
        assert docker_archive.describe_layer(A, 5, head) == Descriptor(media_type=media_type, digest=A, size=5)
    with pytest.raises(Unsupported, match="bzip2"):
        docker_archive.describe_layer(A, 5, b"BZh91AY&SY")


def test_the_manifest_is_the_one_that_containerd_makes():
    raw_config = config()
    layers = [docker_archive.describe_layer(A, 1, b""), docker_archive.describe_layer(B, 2, b"\x1f\x8b\x08")]
    raw = docker_archive.synthesise(docker_archive.describe_config(raw_config), layers)
    assert raw.decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json",'
        '"config":{"mediaType":"application/vnd.docker.container.image.v1+json",'
        f'"digest":"{Digest.of(raw_config)}","size":{len(raw_config)}}},'
        f'"layers":[{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","digest":"{A}","size":1}},'
        f'{{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":"{B}","size":2}}]}}'
    )
    document = manifest.parse(raw, manifest.describe(raw))
    assert document.children == (docker_archive.describe_config(raw_config), *layers)


def test_a_layer_that_is_not_the_configs_is_named():
    layer = Archive(file("one/layer.tar", b"x")).table["one/layer.tar"]
    docker_archive.check_layer(layer, A, A)
    with pytest.raises(DigestMismatch, match=r"one/layer\.tar") as caught:
        docker_archive.check_layer(layer, A, B)
    assert caught.value.actual == B


# --- the oldest kind --------------------------------------------------------------------------------------------------


def layer_json(name: str, parent: str | None = None, **fields: object) -> bytes:
    value = {"id": ID[name], "created": f"2014-0{len(name)}-01T00:00:00.5Z", **fields}
    return json.dumps({**value, "parent": ID[parent]} if parent else value).encode()


def old(name: str, parent: str | None = None, **fields: object) -> bytes:
    return (
        file(f"{ID[name]}/VERSION", b"1.0")
        + file(f"{ID[name]}/json", layer_json(name, parent, **fields))
        + file(f"{ID[name]}/layer.tar", name.encode())
    )


def images_of(archive: Archive, repositories: object):
    return docker_legacy.saved_images(json.dumps(repositories).encode(), archive.table, archive.read)


def test_an_image_of_the_oldest_kind_is_put_together_from_its_layers_parents():
    archive = Archive(
        old(
            "top", "middle", architecture="arm", os="linux", config={"Cmd": ["/bin/sh"]}, Size=7, docker_version="1.9.1"
        ),
        old("middle", "base", author="me", comment="c", container_config={"Cmd": ["/bin/sh", "-c", "make"]}),
        old("base", container_config={"Cmd": None}),
        old("other", "base"),
    )
    top, other = images_of(
        archive, {"busybox": {"1.0": ID["top"], "latest": ID["top"]}, "example.com/x": {"y": ID["other"]}}
    )
    assert top.names == ("docker.io/library/busybox:1.0", "docker.io/library/busybox:latest")
    assert other.names == ("example.com/x:y",)
    assert [archive.read(layer) for layer in top.layers] == [b"base", b"middle", b"top"]
    assert top.config is None
    raw = docker_legacy.image_config(top.history, [Digest.of(archive.read(layer)) for layer in top.layers])
    value = json.loads(raw)
    assert raw == docker_legacy.image_config(top.history, [Digest.of(archive.read(layer)) for layer in top.layers])
    assert list(value) == sorted(value)
    assert not {"id", "parent", "Size"} & value.keys()
    assert (value["architecture"], value["docker_version"], value["config"]) == ("arm", "1.9.1", {"Cmd": ["/bin/sh"]})
    assert value["history"] == [
        {"created": "2014-04-01T00:00:00.5Z"},
        {"created": "2014-06-01T00:00:00.5Z", "author": "me", "created_by": "/bin/sh -c make", "comment": "c"},
        {"created": "2014-03-01T00:00:00.5Z"},
    ]
    assert docker_archive.read_config(raw, 3).diff_ids == tuple(Digest.of(archive.read(layer)) for layer in top.layers)
    plain = docker_legacy.image_config(other.history, [A, B])
    assert str(docker_archive.read_config(plain, 2).platform) == "linux/amd64"


def test_broken_images_of_the_oldest_kind_are_refused():
    circle = Archive(old("top", "middle"), old("middle", "top"))
    with pytest.raises(InvalidArgument, match="circle"):
        images_of(circle, {"a": {"b": ID["top"]}})
    with pytest.raises(NotFound, match="layer description"):
        images_of(Archive(old("top", "base")), {"a": {"b": ID["top"]}})
    with pytest.raises(NotFound, match=r"layer\.tar"):
        images_of(Archive(file(f"{ID['top']}/json", layer_json("top"))), {"a": {"b": ID["top"]}})
    with pytest.raises(InvalidArgument, match="describes layer"):
        images_of(Archive(file(f"{ID['top']}/json", layer_json("base"))), {"a": {"b": ID["top"]}})
    with pytest.raises(InvalidArgument, match="64 hexadecimal"):
        images_of(
            Archive(file(f"{ID['top']}/json", b'{"id":"%b","parent":"../x"}' % ID["top"].encode())),
            {"a": {"b": ID["top"]}},
        )
    for repositories in ([], {"a": "b"}, {"a": {"b": 1}}, {"a": {"b": "../../x"}}, {"A B": {"c": ID["top"]}}):
        with pytest.raises(InvalidArgument):
            images_of(Archive(old("top")), repositories)


def test_a_layer_description_of_any_size_is_not_read():
    archive = Archive(file(f"{ID['top']}/json", b"{" + b" " * (1 << 20)))
    with pytest.raises(InvalidArgument, match="at most"):
        docker_legacy.saved_images(
            json.dumps({"a": {"b": ID["top"]}}).encode(), archive.table, lambda one: pytest.fail(f"read {one}")
        )


def test_more_layers_than_docker_can_stack_are_refused():
    ids = [f"{n:064x}" for n in range(300)]
    members = []
    for n, identity in enumerate(ids):
        value = {"id": identity, **({"parent": ids[n - 1]} if n else {})}
        members += [file(f"{identity}/json", json.dumps(value).encode()), file(f"{identity}/layer.tar")]
    archive = Archive(*members)
    assert len(images_of(archive, {"a": {"b": ids[255]}})[0].layers) == 256
    with pytest.raises(InvalidArgument, match="over 256"):
        images_of(archive, {"a": {"b": ids[256]}})
