"""Descriptors: read strictly, written again without loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.errors import InvalidArgument
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.platform import Platform

DIGEST = Digest.of(b"x")
PLAIN = {"mediaType": mediatypes.OCI_LAYER_GZIP, "digest": str(DIGEST), "size": 1}
FULL = {
    **PLAIN,
    "platform": {"architecture": "ARM64", "os": "linux", "variant": "v8", "features": ["x"]},
    "annotations": {"b": "1", "a": "2"},
    "urls": ["https://example.com/layer"],
    "data": "eA==",
    "artifactType": "application/x",
    "x-vendor": {"nested": [None, 1.5]},
}


def test_every_field_is_read_and_written_again():
    descriptor = Descriptor.from_json(FULL, "x")
    assert descriptor.to_json() == FULL
    assert (descriptor.media_type, descriptor.digest, descriptor.size) == (mediatypes.OCI_LAYER_GZIP, DIGEST, 1)
    assert descriptor.platform == Platform("linux", "ARM64", "v8", extra={"features": ["x"]})
    assert dict(descriptor.extra) == {key: FULL[key] for key in ("urls", "data", "artifactType", "x-vendor")}


def test_a_descriptor_can_be_a_key_whatever_it_carries():
    one, other = Descriptor.from_json(FULL, "x"), Descriptor.from_json(FULL, "y")
    assert one == other
    assert len({one, other, one.plain}) == 2


def test_plain_is_the_object_without_what_was_said_of_it():
    assert Descriptor.from_json(FULL, "x").plain.to_json() == PLAIN


def test_annotations_are_set_and_removed():
    descriptor = Descriptor.from_json(FULL, "x").annotated({"a": None, "c": "3"})
    assert descriptor.annotations == {"b": "1", "c": "3"}
    assert "annotations" not in descriptor.annotated({"b": None, "c": None}).to_json()


def test_what_go_writes_for_nothing_is_nothing():
    descriptor = Descriptor.from_json({**PLAIN, "platform": None, "annotations": None}, "x")
    assert descriptor == Descriptor.from_json(PLAIN, "x")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"mediaType": 1}, "mediaType must be a string"),
        ({"mediaType": None}, "mediaType must be a string"),
        ({"digest": None}, "must be a string"),
        ({"digest": "sha256:zz"}, "hexadecimal"),
        ({"digest": "sha1:" + "0" * 40}, "algorithm"),
        ({"size": None}, "number of bytes"),
        ({"size": "1"}, "number of bytes"),
        ({"size": -1}, "number of bytes"),
        ({"size": 1.0}, "number of bytes"),
        ({"size": True}, "number of bytes"),
        ({"size": 1 << 63}, "number of bytes"),
        ({"annotations": []}, "object of strings"),
        ({"annotations": {"a": 1}}, "object of strings"),
        ({"annotations": {"a": None}}, "object of strings"),
        ({"platform": "linux/amd64"}, "platform: expected a JSON object"),
        ({"platform": {"OS": "linux"}}, "platform is ambiguous"),
        ({"Digest": str(DIGEST)}, "ambiguous"),
        ({"SIZE": 2}, "ambiguous"),
        ({"URLs": []}, "ambiguous"),
    ],
)
def test_a_field_of_another_shape_is_refused_with_its_place(change, word):
    with pytest.raises(InvalidArgument, match=word) as caught:
        Descriptor.from_json({**PLAIN, **change}, "layers[3]")
    assert str(caught.value).startswith("layers[3]")


def test_annotations_may_hold_any_key():
    annotations = {"Digest": "1", "digest": "2", "": "3"}
    assert Descriptor.from_json({**PLAIN, "annotations": annotations}, "x").annotations == annotations


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        (mediatypes.OCI_INDEX, "index"),
        (mediatypes.DOCKER_INDEX, "index"),
        (mediatypes.OCI_MANIFEST, "manifest"),
        (mediatypes.DOCKER_MANIFEST, "manifest"),
        (mediatypes.OCI_CONFIG, "config"),
        (mediatypes.DOCKER_CONFIG, "config"),
        (mediatypes.OCI_LAYER_ZSTD, "layer"),
        (mediatypes.DOCKER_LAYER_GZIP, "layer"),
        ("application/vnd.in-toto+json", "attestation"),
        (mediatypes.OCI_EMPTY, "blob"),
        ("", "blob"),
    ],
)
def test_each_kind_has_the_fields_word(media_type, kind):
    descriptor = Descriptor(media_type=media_type, digest=DIGEST, size=1)
    assert descriptor.kind == kind
    assert descriptor.is_document is (kind in ("index", "manifest"))
    assert str(descriptor) == f"{kind} {DIGEST.short}"


@pytest.mark.parametrize(
    ("media_type", "compression", "distributable"),
    [
        (mediatypes.OCI_LAYER, None, True),
        (mediatypes.OCI_LAYER_GZIP, "gzip", True),
        (mediatypes.DOCKER_LAYER_ZSTD, "zstd", True),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "gzip", False),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "gzip", False),
    ],
)
def test_a_layers_media_type_tells_its_compression_and_whether_it_may_be_given_away(
    media_type, compression, distributable
):
    assert mediatypes.is_layer(media_type)
    assert mediatypes.compression(media_type) == compression
    assert mediatypes.is_non_distributable(media_type) is not distributable


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*FULL, "Size", "unknown"]), JSON), st.booleans())
def test_any_value_is_a_descriptor_or_a_mistake(changes, sound):
    value = {**FULL, **changes} if sound else changes
    try:
        descriptor = Descriptor.from_json(value, "x")
    except InvalidArgument:
        return
    assert Descriptor.from_json(descriptor.to_json(), "x") == descriptor
