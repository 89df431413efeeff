"""The files of an OCI layout are read strictly and written as containerd writes them."""

import json

import pytest

from tranship.errors import InvalidArgument, Unsupported
from tranship.formats import layout
from tranship.model.descriptor import Descriptor, Root
from tranship.model.digest import Digest
from tranship.model.mediatypes import OCI_INDEX, OCI_MANIFEST

A = Digest.of(b"a")
B = Digest.of(b"b", "sha512")
IMAGE = Descriptor(media_type=OCI_MANIFEST, digest=A, size=1)


def index(*manifests: object, **fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, **fields}).encode()


def listed(**annotations: str) -> dict[str, object]:
    return {**IMAGE.to_json(), "annotations": {key.replace("_", "."): value for key, value in annotations.items()}}


def test_blob_paths_go_both_ways():
    assert layout.blob_path(A) == f"blobs/sha256/{A.hex}"
    for digest in (A, B):
        assert layout.digest_of_path(layout.blob_path(digest)) == digest


@pytest.mark.parametrize(
    "path",
    [
        "blobs",
        "blobs/sha256",
        "blobs/sha256/abc",
        f"blobs/sha256/{A.hex}/x",
        f"blobs/sha256/{A.hex.upper()}",
        f"blobs/sha256/{A.hex}\n",
        f"blobs/sha512/{A.hex}",
        "blobs/md5/" + "a" * 32,
        f"blob/sha256/{A.hex}",
        f"./blobs/sha256/{A.hex}",
        "index.json",
        "",
    ],
)
def test_other_paths_name_no_digest(path):
    assert layout.digest_of_path(path) is None


def test_the_marker_must_say_this_version():
    layout.check_marker(layout.MARKER_BYTES)
    layout.check_marker(b'{ "imageLayoutVersion": "1.0.0", "more": 1 }\n')
    with pytest.raises(Unsupported, match=r"1\.1\.0"):
        layout.check_marker(b'{"imageLayoutVersion":"1.1.0"}')
    for raw in (b"", b"[]", b"{}", b'{"imageLayoutVersion":1}', b'{"ImageLayoutVersion":"1.0.0"}', b" " * 5000):
        with pytest.raises(InvalidArgument):
            layout.check_marker(raw)


def test_an_index_is_read_in_order_with_names():
    full, tag = "io_containerd_image_name", "org_opencontainers_image_ref_name"
    raw = index(
        listed(**{full: "docker.io/library/a:1", tag: "1"}),
        listed(**{tag: "v2"}),
        listed(),
        listed(io_containerd_manifest_subject=str(B)),
    )
    roots = layout.parse_index(raw)
    assert [root.name for root in roots] == ["docker.io/library/a:1", "v2", None, None]
    assert [root.subject for root in roots] == [None, None, None, B]
    assert all(root.descriptor.plain == IMAGE for root in roots)
    assert layout.parse_index(b'{"schemaVersion":2,"manifests":null}') == ()


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        (b"", "JSON"),
        (b"[]", "object"),
        (b'{"manifests":[]}', "schemaVersion"),
        (b'{"schemaVersion":1,"manifests":[]}', "schemaVersion"),
        (b'{"schemaVersion":true,"manifests":[]}', "schemaVersion"),
        (index(mediaType=OCI_MANIFEST), "mediaType"),
        (index(mediaType=7), "mediaType"),
        (index(config={}), "manifest and as an index"),
        (index(layers=[]), "manifest and as an index"),
        (b'{"schemaVersion":2,"manifests":{}}', "list"),
        (b'{"schemaVersion":2,"Manifests":[]}', "ambiguous"),
        (b'{"schemaVersion":2,"manifests":[],"manifests":[]}', "ambiguous"),
        (index({"digest": str(A), "size": 1}), "mediaType"),
        (index({"mediaType": "x", "digest": "../../etc/passwd", "size": 1}), r"manifests\[0\]"),
        (index({"mediaType": "x", "digest": str(A), "size": -1}), "size"),
        (index(IMAGE.to_json(), {"mediaType": "x", "digest": str(A), "size": 1.5}), r"manifests\[1\]"),
        (index(listed(io_containerd_manifest_subject="x")), "subject"),
        (b" " * (layout.MAX_INDEX + 1), "at most"),
    ],
)
def test_an_unsound_index_is_refused(raw, word):
    with pytest.raises(InvalidArgument, match=word):
        layout.parse_index(raw)


def test_the_index_is_written_byte_for_byte_as_containerd_does():
    """Against what `ctr images export` wrote (the order of fields, sorted annotations, Go's escapes)."""
    root = Root(IMAGE.annotated({"z.note": "<a&b>\u2028", "artist": "é"}), "docker.io/library/hello:latest")
    raw = layout.index_json([layout.entry(root, {"containerd.io/distribution.source.docker.io": "library/hello"})])
    assert raw.decode() == (
        '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":['
        f'{{"mediaType":"{OCI_MANIFEST}","digest":"{A}","size":1,"annotations":{{'
        '"artist":"é",'
        '"containerd.io/distribution.source.docker.io":"library/hello",'
        '"io.containerd.image.name":"docker.io/library/hello:latest",'
        '"org.opencontainers.image.ref.name":"latest",'
        '"z.note":"\\u003ca\\u0026b\\u003e\\u2028"}}]}'
    )


def test_what_was_read_is_written_again_without_loss():
    item = {
        **listed(org_opencontainers_image_ref_name="v1"),
        "urls": ["https://example.com/x"],
        "data": "YQ==",
        "platform": {"architecture": "amd64", "os": "linux", "os.features": ["x"]},
        "artifactType": "application/x",
        "unknown": {"b": 1, "a": 2},
    }
    (root,) = layout.parse_index(index(item))
    raw = layout.index_json([root.descriptor])
    assert json.loads(raw)["manifests"] == [item]
    assert list(json.loads(raw)["manifests"][0])[:6] == ["mediaType", "digest", "size", "urls", "annotations", "data"]
    assert layout.parse_index(raw) == (root,)


def test_a_root_that_refers_to_another_says_so_and_no_longer():
    referrer = layout.entry(Root(IMAGE, None, B))
    (root,) = layout.parse_index(layout.index_json([referrer]))
    assert root.subject == B
    assert layout.entry(Root(root.descriptor, "docker.io/library/a:1")).annotations.get(layout.SUBJECT) is None


def test_a_layout_inside_counts_before_dockers_files():
    assert layout.recognise({"oci-layout", "index.json", "manifest.json", "repositories"}) == "layout"
    assert layout.recognise({"manifest.json", "repositories", "index.json"}) == "docker"
    assert layout.recognise({"repositories", "x"}) == "docker-legacy"
    with pytest.raises(InvalidArgument, match=r"without index\.json"):
        layout.recognise({"oci-layout", "manifest.json"})
    with pytest.raises(InvalidArgument, match="found bin"):
        layout.recognise(["bin", "etc"])
    with pytest.raises(InvalidArgument, match="found nothing"):
        layout.recognise([])


def test_a_decisive_file_may_come_twice_only_with_the_same_bytes():
    documents: dict[str, bytes] = {}
    for name in layout.DECISIVE:
        layout.keep_decisive(documents, name, b"1")
        layout.keep_decisive(documents, name, b"1")
        with pytest.raises(InvalidArgument, match=name):
            layout.keep_decisive(documents, name, b"2")
    assert set(documents.values()) == {b"1"}
