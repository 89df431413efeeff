"""Documents: checked against their descriptor, read for their edges, kept as the bytes that came."""

import json

import pytest

from tranship.errors import DigestMismatch, InvalidArgument, Unsupported
from tranship.model import manifest, mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.manifest import Index, Manifest


def blob(content: bytes, media_type: str = mediatypes.OCI_LAYER) -> dict:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


CONFIG = blob(b"{}", mediatypes.OCI_CONFIG)
LAYERS = [blob(b"1"), {**blob(b"2"), "urls": ["https://example.com/2"], "data": "Mg=="}]
MANIFEST = {"schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "config": CONFIG, "layers": LAYERS}
CHILD = {**blob(b"3", mediatypes.OCI_MANIFEST), "platform": {"architecture": "amd64", "os": "linux"}}
INDEX = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [CHILD]}


def parse(value: object, media_type: str) -> manifest.Document:
    raw = value if isinstance(value, bytes) else json.dumps(value, indent=3).encode()
    return manifest.parse(raw, manifest.describe(raw, media_type))


def test_a_manifest_has_its_config_and_layers_in_order():
    raw = json.dumps({**MANIFEST, "annotations": {"a": "b"}, "artifactType": "application/x", "more": 1}).encode()
    document = manifest.parse(raw, manifest.describe(raw))
    assert isinstance(document, Manifest)
    assert document.raw == raw
    assert [child.to_json() for child in document.children] == [CONFIG, *LAYERS]
    assert (document.annotations, document.artifact_type, document.subject) == ({"a": "b"}, "application/x", None)


def test_an_index_has_its_manifests_in_order():
    other = {**CHILD, "digest": str(Digest.of(b"4"))}
    document = parse({**INDEX, "manifests": [CHILD, other, CHILD]}, mediatypes.OCI_INDEX)
    assert isinstance(document, Index)
    assert [child.to_json() for child in document.children] == [CHILD, other, CHILD]


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ({**MANIFEST, "mediaType": mediatypes.DOCKER_MANIFEST}, mediatypes.DOCKER_MANIFEST),
        ({**INDEX, "mediaType": mediatypes.DOCKER_INDEX}, mediatypes.DOCKER_INDEX),
        ({key: MANIFEST[key] for key in ("schemaVersion", "config", "layers")}, mediatypes.OCI_MANIFEST),
        ({**MANIFEST, "mediaType": ""}, mediatypes.OCI_MANIFEST),
        ({**MANIFEST, "layers": None}, mediatypes.OCI_MANIFEST),  # Go's empty list
        ({**MANIFEST, "manifests": None}, mediatypes.OCI_MANIFEST),
        ({**INDEX, "layers": None, "config": None}, mediatypes.OCI_INDEX),
        ({"schemaVersion": 2, "manifests": []}, mediatypes.OCI_INDEX),
    ],
)
def test_what_is_sound_is_read(value, media_type):
    document = parse(value, media_type)
    assert document.descriptor.media_type == media_type


def test_a_subject_is_an_edge_but_no_child():
    document = parse({**MANIFEST, "subject": CHILD}, mediatypes.OCI_MANIFEST)
    assert document.subject is not None
    assert document.subject.to_json() == CHILD
    assert document.subject not in document.children


@pytest.mark.parametrize(
    ("value", "media_type", "word"),
    [
        # one document, two readings (CVE-2021-41190)
        ({**MANIFEST, "manifests": [CHILD]}, mediatypes.OCI_MANIFEST, "as a manifest and as an index"),
        (
            {**MANIFEST, "mediaType": mediatypes.OCI_INDEX, "manifests": []},
            mediatypes.OCI_INDEX,
            "as a manifest and as an index",
        ),
        ({**INDEX, "config": CONFIG}, mediatypes.OCI_INDEX, "as a manifest and as an index"),
        ({"layers": []}, mediatypes.OCI_INDEX, "fields of a manifest"),
        ({"manifests": []}, mediatypes.OCI_MANIFEST, "fields of an index"),
        (MANIFEST, mediatypes.DOCKER_MANIFEST, "it says mediaType"),
        (MANIFEST, mediatypes.OCI_INDEX, "it says mediaType"),
        ({**MANIFEST, "mediaType": ["x"]}, mediatypes.OCI_MANIFEST, "it says mediaType"),
        ({**MANIFEST, "mediaType": 0}, mediatypes.OCI_MANIFEST, "it says mediaType"),
        ({**MANIFEST, "Layers": []}, mediatypes.OCI_MANIFEST, "ambiguous"),
        ({**MANIFEST, "MANIFESTS": []}, mediatypes.OCI_MANIFEST, "ambiguous"),
        ({**MANIFEST, "Config": CONFIG}, mediatypes.OCI_MANIFEST, "ambiguous"),
        (b'{"layers": [], "layers": []}', mediatypes.OCI_MANIFEST, "twice"),
        # other shapes
        ([], mediatypes.OCI_MANIFEST, "expected a JSON object"),
        ({**MANIFEST, "layers": {}}, mediatypes.OCI_MANIFEST, "layers must be a list"),
        ({**MANIFEST, "layers": [1]}, mediatypes.OCI_MANIFEST, r"layers\[0\]: expected a JSON object"),
        (
            {**MANIFEST, "layers": [{**CONFIG, "digest": "sha256:.."}]},
            mediatypes.OCI_MANIFEST,
            r"layers\[0\].*hexadecimal",
        ),
        ({**MANIFEST, "config": "x"}, mediatypes.OCI_MANIFEST, "config: expected"),
        ({**MANIFEST, "subject": {}}, mediatypes.OCI_MANIFEST, "subject: "),
        ({**MANIFEST, "annotations": {"a": 1}}, mediatypes.OCI_MANIFEST, "annotations must be"),
        ({**MANIFEST, "artifactType": 1}, mediatypes.OCI_MANIFEST, "artifactType must be a string"),
        (
            {**INDEX, "manifests": [{**CHILD, "platform": {"os": 1}}]},
            mediatypes.OCI_INDEX,
            r"manifests\[0\]: platform: os",
        ),
        ({}, "application/json", "no media type of a document"),
    ],
)
def test_an_unsound_document_is_refused(value, media_type, word):
    with pytest.raises(InvalidArgument, match=word):
        parse(value, media_type)


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ({"schemaVersion": 1, "name": "x", "fsLayers": []}, mediatypes.OCI_MANIFEST),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({}, "application/vnd.docker.distribution.manifest.v1+json"),
    ],
)
def test_schema_1_is_not_supported_and_the_way_out_is_told(value, media_type):
    with pytest.raises(Unsupported, match="schema 1") as caught:
        parse(value, media_type)
    assert "push it again" in str(caught.value.hint)


def test_other_bytes_than_described_are_refused():
    raw = json.dumps(MANIFEST).encode()
    descriptor = manifest.describe(raw)
    changed = raw.replace(b'"size": 1', b'"size": 9', 1)
    with pytest.raises(DigestMismatch) as caught:
        manifest.parse(changed, descriptor)
    assert caught.value.descriptor == descriptor
    assert caught.value.actual == Digest.of(changed)
    with pytest.raises(DigestMismatch, match=f"expected {len(raw)} bytes, found {len(raw) - 1}"):
        manifest.parse(raw[:-1], descriptor)


def test_a_document_may_be_named_by_sha512():
    raw = json.dumps(INDEX).encode()
    descriptor = manifest.describe(raw, algorithm="sha512")
    assert descriptor.digest.algorithm == "sha512"
    assert manifest.parse(raw, descriptor).descriptor == descriptor


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ({"mediaType": mediatypes.DOCKER_INDEX, "manifests": []}, mediatypes.DOCKER_INDEX),
        ({"manifests": []}, mediatypes.OCI_INDEX),
        ({"layers": []}, mediatypes.OCI_MANIFEST),
        ({"config": CONFIG}, mediatypes.OCI_MANIFEST),
        ({"mediaType": 7, "manifests": []}, mediatypes.OCI_INDEX),
    ],
)
def test_a_document_of_which_only_bytes_are_known_tells_what_it_is(value, media_type):
    assert manifest.describe(json.dumps(value).encode()).media_type == media_type


@pytest.mark.parametrize("value", [{}, [], "manifests", {"schemaVersion": 2}])
def test_what_is_no_document_is_not_described(value):
    with pytest.raises(InvalidArgument, match="neither a manifest nor an index"):
        manifest.describe(json.dumps(value).encode())


def test_a_document_has_a_limit_in_bytes():
    raw = b'{"manifests":[]}' + b" " * manifest.MAX_DOCUMENT
    with pytest.raises(InvalidArgument, match=f"at most {manifest.MAX_DOCUMENT}"):
        manifest.describe(raw)
    assert manifest.describe(raw[: manifest.MAX_DOCUMENT]).size == manifest.MAX_DOCUMENT


def test_a_document_has_a_limit_of_children():
    many = {"manifests": [CHILD] * (manifest.MAX_CHILDREN + 1)}
    with pytest.raises(InvalidArgument, match="10001 entries; at most 10000"):
        parse(json.dumps(many, separators=(",", ":")).encode(), mediatypes.OCI_INDEX)


def test_a_mistake_in_a_document_names_it_and_is_safe_to_print():
    with pytest.raises(InvalidArgument) as caught:
        parse({**MANIFEST, "mediaType": "\x1b]0;owned\x07"}, mediatypes.OCI_MANIFEST)
    assert str(caught.value).startswith("manifest sha256:")
    assert "\x1b" not in str(caught.value)


def test_a_descriptor_of_no_document_is_no_document():
    layer = Descriptor(media_type=mediatypes.OCI_LAYER, digest=Digest.of(b"{}"), size=2)
    with pytest.raises(InvalidArgument, match="no media type of a document"):
        manifest.parse(b"{}", layer)
