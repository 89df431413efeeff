"""The table of images that are wrong in one place, and of those that are odd and right; the same for archives and layouts.

Each row is a function that fills a bundle, with what a transfer of it must say. `moved` marks what can be known only when the
bytes of a blob pass, so that other blobs may have gone before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.hostile import CONFIG, DROP, INDEX, LAYER, MANIFEST, OCI, Bundle, digest_of, dumps, sound
from tranship import Selection, errors
from tranship.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Callable

Make = "Callable[[Bundle], object]"
HEX = "0123456789abcdef" * 4
LIMIT = 4_393_216  # bytes of a document


@dataclass(frozen=True)
class Refused:
    make: Callable[[Bundle], object]
    error: type[errors.TranshipError]
    says: str  # a regular expression
    moved: bool = False
    selection: Selection | None = None


@dataclass(frozen=True)
class Accepted:
    make: Callable[[Bundle], object]
    images: int = 1
    selection: Selection | None = None


REFUSED: dict[str, Refused] = {}
ACCEPTED: dict[str, Accepted] = {}
NEITHER = errors.InvalidArgument  # what is no sound document


def refused(
    error: type[errors.TranshipError], says: str, **more: Any
) -> Callable[[Callable[[Bundle], object]], object]:
    def enter(make: Callable[[Bundle], object]) -> object:
        REFUSED[make.__name__] = Refused(make, error, says, **more)
        return make

    return enter


def accepted(**more: Any) -> Callable[[Callable[[Bundle], object]], object]:
    def enter(make: Callable[[Bundle], object]) -> object:
        ACCEPTED[make.__name__] = Accepted(make, **more)
        return make

    return enter


def layer_with(bundle: Bundle, **changes: Any) -> None:
    """An image whose layer's descriptor has these fields instead of the right ones."""
    layer = {**bundle.put(b"layer", LAYER), **changes}
    bundle.root(bundle.image(layers=[{k: v for k, v in layer.items() if v is not DROP}]))


def root_with(bundle: Bundle, **changes: Any) -> None:
    root = {**bundle.image(), **changes}
    bundle.root({k: v for k, v in root.items() if v is not DROP})


def raw_document(bundle: Bundle, raw: bytes, media_type: str = MANIFEST) -> None:
    bundle.root(bundle.put(raw, media_type))


# --------------------------------------------------------------------------------------------------------------- digests

STRANGE_DIGESTS = {
    "upper_case": "sha256:" + HEX.upper(),
    "sha1": "sha1:" + HEX[:40],
    "md5": "md5:" + HEX[:32],
    "sha384": "sha384:" + HEX + HEX[:32],
    "too_short": "sha256:" + HEX[:63],
    "too_long": "sha256:" + HEX + "0",
    "sha512_with_too_few_digits": "sha512:" + HEX,
    "climbing": "sha256:../../../../../../etc/passwd",
    "climbing_of_the_right_length": "sha256:" + "../" * 21 + "x",
    "absolute": "/etc/passwd",
    "line_end": "sha256:" + HEX + "\n",
    "zero_byte": "sha256:" + HEX[:63] + "\0",
    "other_scripts_digits": "sha256:" + "٣" * 64,  # Arabic digits, which int() and \d take
    "no_algorithm": HEX,
    "empty": "",
    "number": 7,
    "null": None,
    "list": ["sha256:" + HEX],
    "absent": DROP,
    "long": "sha256:" + "a" * 100_000,
    "coloured": "sha256:\x1b[31m" + HEX,
}
for _name, _value in STRANGE_DIGESTS.items():
    REFUSED[f"layer_digest_{_name}"] = Refused(lambda b, v=_value: layer_with(b, digest=v), NEITHER, "digest")
    REFUSED[f"root_digest_{_name}"] = Refused(lambda b, v=_value: root_with(b, digest=v), NEITHER, "digest")

STRANGE_SIZES = {
    "negative": -1,
    "two_to_the_63": 1 << 63,
    "true": True,
    "fraction": 5.0,
    "text": "5",
    "null": None,
    "absent": DROP,
    "list": [5],
}
for _name, _value in STRANGE_SIZES.items():
    REFUSED[f"layer_size_{_name}"] = Refused(lambda b, v=_value: layer_with(b, size=v), NEITHER, r"layers\[0\].*size")
    REFUSED[f"root_size_{_name}"] = Refused(lambda b, v=_value: root_with(b, size=v), NEITHER, "index.json.*size")


# ------------------------------------------------------------------------------------------------- bytes and what is said


@refused(errors.DataLoss, "layer sha256:.*has 5 bytes.*4")
def layer_is_longer_than_said(b: Bundle) -> None:
    layer_with(b, size=4)


@refused(errors.DataLoss, "layer sha256:.*has 5 bytes.*6")
def layer_is_shorter_than_said(b: Bundle) -> None:
    layer_with(b, size=6)


@refused(errors.DataLoss, "layer sha256:")
def layer_of_eight_exbibytes_said(b: Bundle) -> None:
    layer_with(b, size=(1 << 63) - 1)


@refused(errors.DataLoss, "layer sha256:")
def layer_of_no_bytes_said(b: Bundle) -> None:
    layer_with(b, size=0)


@refused(errors.DataLoss, "manifest sha256:")
def manifest_is_longer_than_said(b: Bundle) -> None:
    root_with(b, size=40)


@refused(errors.DataLoss, "manifest sha256:")
def manifest_is_shorter_than_said(b: Bundle) -> None:
    root_with(b, size=4000)


@refused(NEITHER, "at most 4393216")
def manifest_of_eight_exbibytes_said(b: Bundle) -> None:
    root_with(b, size=(1 << 63) - 1)


@refused(errors.DigestMismatch, "sha256:", moved=True)
def layer_has_other_bytes(b: Bundle) -> None:
    layer_with(b)
    b.files["blobs/" + digest_of(b"layer").replace(":", "/")] = b"LAYER"


@refused(errors.DigestMismatch, "sha256:")
def manifest_has_other_bytes(b: Bundle) -> None:
    found = b.image()
    b.root(found)
    b.files[b.path(found)] = b.files[b.path(found)].replace(b"schemaVersion", b"sChemaVersion")


@refused(errors.DigestMismatch, "sha256:", moved=True)
def config_has_other_bytes(b: Bundle) -> None:
    b.root(b.image())
    path = next(path for path, data in b.files.items() if b"diff_ids" in data)
    b.files[path] = b.files[path].replace(b"amd64", b"arm64")


@refused(errors.NotFound, "layer sha256:.*is not there")
def layer_is_absent(b: Bundle) -> None:
    layer_with(b)
    del b.files["blobs/" + digest_of(b"layer").replace(":", "/")]


@refused(errors.NotFound, "manifest sha256:")
def manifest_is_absent(b: Bundle) -> None:
    found = b.image()
    b.root(found)
    del b.files[b.path(found)]


@refused(errors.DataLoss, "layer sha256:|is corrupt")
def one_platform_of_two_has_a_cut_layer(b: Bundle) -> None:
    good, bad = b.image(label="good"), b.image(label="bad")
    b.root(b.index([good, bad]))
    layer = json.loads(b.files[b.path(bad)])["layers"][0]
    b.files[b.path(layer)] = b.files[b.path(layer)][:-512]


@refused(errors.DataLoss, "has 5 bytes")
def two_sizes_for_one_layer(b: Bundle) -> None:
    layer = b.put(b"layer", LAYER)
    b.root(b.index([b.image(layers=[layer]), b.image(layers=[{**layer, "size": 6}])]))


@refused(errors.NotFound, "is not there|no image of")
def layer_is_elsewhere_at_a_url(b: Bundle) -> None:
    layer_with(b, digest=digest_of(b"elsewhere"), urls=["http://127.0.0.1:1/evil", "file:///etc/passwd"])


# ----------------------------------------------------------------------------------------------------- confused documents


@refused(NEITHER, "manifest and as an index")
def manifest_and_index_at_once(b: Bundle) -> None:
    b.root(b.image(manifests=[b.image(label="other")]))


@refused(NEITHER, "manifest and as an index|fields of a manifest")
def index_and_manifest_at_once(b: Bundle) -> None:
    b.root(b.index([], layers=[], config=b.put(b"{}", CONFIG)))


@refused(NEITHER, "mediaType")
def manifest_calls_itself_an_index(b: Bundle) -> None:
    b.root(b.image(mediaType=INDEX))


@refused(NEITHER, "mediaType")
def root_calls_a_manifest_an_index(b: Bundle) -> None:
    root_with(b, mediaType=INDEX)


@refused(NEITHER, "fields of a manifest")
def root_calls_an_untyped_manifest_an_index(b: Bundle) -> None:
    b.root({**b.image(mediaType=DROP), "mediaType": INDEX})


@refused(NEITHER, "fields of an index")
def root_calls_an_untyped_index_a_manifest(b: Bundle) -> None:
    b.root({**b.index([b.image()], mediaType=None), "mediaType": MANIFEST})


@refused(NEITHER, "manifest sha256:|index sha256:")
def one_document_listed_under_two_types(b: Bundle) -> None:
    untyped = b.document({"schemaVersion": 2}, INDEX)
    b.root({**untyped, "mediaType": MANIFEST}, "localhost/evil:as-manifest")
    b.root(untyped, "localhost/evil:as-index")


@refused(errors.TranshipError, "sha256:")
def one_document_listed_under_two_sizes(b: Bundle) -> None:
    found = b.image()
    b.root({**found, "size": found["size"] + 1}, "localhost/evil:longer")
    b.root(found, "localhost/evil:right")


@refused(NEITHER, "manifest sha256:.*layer|both")
def one_document_is_an_image_and_a_layer(b: Bundle) -> None:
    inner = b.image(label="inner")
    b.root(inner, "localhost/evil:inner")
    b.root(b.image(layers=[{**inner, "mediaType": LAYER}]), "localhost/evil:outer")


@refused(errors.Unsupported, "schema 1")
def schema_1_by_its_media_type(b: Bundle) -> None:
    raw = dumps({"schemaVersion": 1, "name": "evil", "tag": "1", "fsLayers": []})
    raw_document(b, raw, "application/vnd.docker.distribution.manifest.v1+prettyjws")


@refused(errors.Unsupported, "schema 1")
def schema_1_under_another_media_type(b: Bundle) -> None:
    raw_document(b, dumps({"schemaVersion": 1, "name": "evil", "tag": "1", "fsLayers": []}))


@refused(NEITHER, "neither a manifest nor an index")
def root_is_no_document(b: Bundle) -> None:
    b.root(b.put(b"data", "application/octet-stream\x1b[31m"))


# ------------------------------------------------------------------------------------------------------------ JSON tricks


def _manifest_text(b: Bundle) -> str:
    found = b.image()
    return b.files[b.path(found)].decode()


JSON_TRICKS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "a_key_twice": (lambda t: t.replace("{", '{"layers":[],', 1).encode(), "twice"),
    "a_key_twice_by_escape": (lambda t: t.replace("{", '{"layer\\u0073":[],', 1).encode(), "twice"),
    "a_key_of_other_case": (lambda t: t.replace("{", '{"Layers":[],', 1).encode(), "Layers"),
    "a_key_folded": (lambda t: t.replace("{", '{"layer\u017f":[],', 1).encode(), "ambiguous"),
    "a_byte_order_mark": (lambda t: b"\xef\xbb\xbf" + t.encode(), "BOM|JSON"),
    "utf_16": (lambda t: t.encode("utf-16"), "UTF-8"),
    "utf_32": (lambda t: t.encode("utf-32-le"), "UTF-8|JSON"),
    "latin_1": (lambda t: t.replace("amd64", "é").encode("latin-1") + b"\xe9", "UTF-8"),
    "nan": (lambda t: t.replace("2", "NaN", 1).encode(), "NaN"),
    "infinity": (lambda t: t.replace("2", "-Infinity", 1).encode(), "Infinity"),
    "a_number_of_a_thousand_digits": (lambda t: t.replace("2", "2" * 1000, 1).encode(), "digits"),
    "a_number_beyond_all_floats": (lambda t: t.replace("2", "1e999", 1).encode(), "range"),
    "deep_nesting": (lambda t: t.replace("{", '{"x":' + "[" * 10_000 + "]" * 10_000 + ",", 1).encode(), "nested"),
    "deep_objects": (lambda t: t.replace("{", '{"x":' + '{"y":' * 900 + "1" + "}" * 900 + ",", 1).encode(), "nested"),
    "trailing_bytes": (lambda t: t.encode() + b"{}", "JSON"),
    "a_trailing_zero_byte": (lambda t: t.encode() + b"\0", "JSON"),
    "half_a_surrogate_pair": (lambda t: t.replace("{", '{"x":"\\ud800",', 1).encode(), "surrogate"),
    "a_control_character": (lambda t: t.replace("{", '{"x":"\x01",', 1).encode(), "JSON"),
    "a_comment": (lambda t: t.encode() + b"// fine", "JSON"),
    "one_byte_less": (lambda t: t.encode()[:-1], "JSON"),
    "a_list_instead": (lambda t: f"[{t}]".encode(), "object"),
    "null_instead": (lambda t: b"null", "object"),
    "nothing": (lambda t: b"", "JSON"),
}
for _name, (_trick, _says) in JSON_TRICKS.items():
    REFUSED[f"manifest_with_{_name}"] = Refused(
        lambda b, trick=_trick: raw_document(b, trick(_manifest_text(b))), NEITHER, f"manifest sha256:(.|\n)*({_says})"
    )

    def _index_trick(b: Bundle, trick: Callable[[str], bytes] = _trick) -> None:
        b.root(b.image())
        text = b.files["index.json"].decode().replace('"manifests"', '"layers":null,"manifests"')
        b.files["index.json"] = trick(text)

    def _marker_trick(b: Bundle, trick: Callable[[str], bytes] = _trick) -> None:
        b.root(b.image())
        b.files["oci-layout"] = trick('{"layers":2,"imageLayoutVersion":"1.0.0"}')[:4000]

    REFUSED[f"index_json_with_{_name}"] = Refused(_index_trick, NEITHER, f"index.json(.|\n)*({_says})")
    if "deep" not in _name and "key_of_other" not in _name and "folded" not in _name:
        REFUSED[f"oci_layout_with_{_name}"] = Refused(_marker_trick, NEITHER, f"oci-layout(.|\n)*({_says})")


@refused(NEITHER, "ImageLayoutVersion")
def oci_layout_with_a_key_of_other_case(b: Bundle) -> None:
    b.root(b.image())
    b.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0","ImageLayoutVersion":"2.0.0"}'


@refused(errors.Unsupported, "version '9.0")
def oci_layout_of_another_version(b: Bundle) -> None:
    b.root(b.image())
    b.files["oci-layout"] = b'{"imageLayoutVersion":"9.0\\u001b[31m"}'


@refused(NEITHER, "oci-layout.* has 5000 bytes")
def oci_layout_too_long(b: Bundle) -> None:
    b.root(b.image())
    b.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'.ljust(5000)


@refused(NEITHER, "index.json.* has [0-9]+ bytes")
def index_json_too_long(b: Bundle) -> None:
    b.root(b.image())
    b.files["index.json"] = b.files["index.json"].ljust((20 << 20) + 1)


@refused(NEITHER, "at most 4393216")
def manifest_too_long(b: Bundle) -> None:
    raw_document(b, _manifest_text(b).encode().ljust(LIMIT + 1))


@refused(NEITHER, "index.json")
def index_json_is_absent(b: Bundle) -> None:
    b.root(b.image())
    del b.files["index.json"]


TYPES = {"a_number": 7, "a_text": "x", "an_object": {"0": {}}, "true": True}
for _name, _value in TYPES.items():
    REFUSED[f"layers_are_{_name}"] = Refused(
        lambda b, v=_value: b.root(b.image(layers=v)), NEITHER, "layers must be a list"
    )
    REFUSED[f"manifests_are_{_name}"] = Refused(
        lambda b, v=_value: b.root(b.index(v)), NEITHER, "manifests must be a list"
    )
    REFUSED[f"roots_are_{_name}"] = Refused(
        lambda b, v=_value: b.close(manifests=v), NEITHER, "manifests must be a list"
    )
    if not isinstance(_value, dict):
        REFUSED[f"config_is_{_name}"] = Refused(
            lambda b, v=_value: b.root(b.image(config=v)), NEITHER, "config.*object"
        )
        REFUSED[f"annotations_are_{_name}"] = Refused(
            lambda b, v=_value: b.root(b.image(annotations=v)), NEITHER, "annotations must be an object"
        )
REFUSED["annotation_is_a_number"] = Refused(
    lambda b: b.root(b.image(annotations={"x": 1})), NEITHER, "annotations must"
)
REFUSED["media_type_is_a_number"] = Refused(lambda b: layer_with(b, mediaType=7), NEITHER, "mediaType must be a string")
REFUSED["platform_is_a_text"] = Refused(lambda b: root_with(b, platform="linux"), NEITHER, "platform")
REFUSED["variant_is_a_number"] = Refused(
    lambda b: root_with(b, platform={"os": "linux", "variant": 7}), NEITHER, "variant"
)
REFUSED["root_of_no_media_type"] = Refused(lambda b: root_with(b, mediaType=DROP), NEITHER, "mediaType")
REFUSED["index_json_of_schema_version_1"] = Refused(
    lambda b: b.root(b.image()).close(schemaVersion=1), NEITHER, "schemaVersion"
)
REFUSED["index_json_calls_itself_a_manifest"] = Refused(
    lambda b: b.root(b.image()).close(mediaType=MANIFEST), NEITHER, "mediaType"
)
REFUSED["index_json_has_layers_too"] = Refused(
    lambda b: b.root(b.image()).close(layers=[]), NEITHER, "manifest and as an"
)
REFUSED["no_image_at_all"] = Refused(lambda b: b.close(), errors.NotFound, "no image")
REFUSED["subject_of_a_root_is_no_digest"] = Refused(
    lambda b: b.root(b.image(), **{"io.containerd.manifest.subject": "../x"}), NEITHER, "subject|digest"
)


# -------------------------------------------------------------------------------------------------- texts that are printed

FOUL = "\x1b[31mred\x07\r\n\u202e\u2066\x9b\x7f\u200b\u2028"


@refused(errors.NotFound, r"\\x1b\[31m.*is not there|is not there.*\\x1b")
def foul_name_of_a_root_that_is_absent(b: Bundle) -> None:
    found = b.image()
    b.root(found, f"localhost/evil:{FOUL}")
    del b.files[b.path(found)]


@refused(NEITHER, "media ?[tT]ype")
def foul_media_type_inside(b: Bundle) -> None:
    b.root(b.image(mediaType=MANIFEST + FOUL))


@refused(NEITHER, "neither a manifest nor an index")
def media_type_of_a_million_characters(b: Bundle) -> None:
    root_with(b, mediaType="application/" + "x" * 1_000_000)


@refused(NEITHER, "mediaType")
def media_type_inside_of_a_million_characters(b: Bundle) -> None:
    b.root(b.image(mediaType="x" * 1_000_000))


@refused(
    errors.NotFound,
    "matches linux/s390x|is an image for",
    selection=Selection(platforms=(Platform.parse("linux/s390x"),)),
)
def foul_platforms_of_an_index(b: Bundle) -> None:
    b.root(b.index([{**b.image(), "platform": {"os": FOUL, "architecture": FOUL, "variant": FOUL * 1000}}]))


@refused(errors.NotFound, "is an image for", selection=Selection(platforms=(Platform.parse("linux/s390x"),)))
def foul_platform_of_a_config(b: Bundle) -> None:
    config = b.document({"os": FOUL, "architecture": FOUL, "variant": FOUL * 1000}, CONFIG)
    b.root(b.image(config=config))


@refused(NEITHER, "JSON", selection=Selection(platforms=(Platform.parse("linux/amd64"),)))
def config_is_no_json_and_its_platform_matters(b: Bundle) -> None:
    b.root(b.image(config=b.put(b"\x7fELF", CONFIG)))


@refused(errors.TranshipError, "config sha256:", selection=Selection(platforms=(Platform.parse("linux/amd64"),)))
def config_of_eight_exbibytes_said_and_its_platform_matters(b: Bundle) -> None:
    b.root(b.image(config={**b.put(b"{}", CONFIG), "size": (1 << 63) - 1}))


@refused(errors.DigestMismatch, "sha256:", selection=Selection(platforms=(Platform.parse("linux/arm64"),)), moved=True)
def config_lies_of_its_platform(b: Bundle) -> None:
    config_has_other_bytes(b)


@refused(errors.TranshipError, "localhost/evil")
def two_images_of_one_name(b: Bundle) -> None:
    b.root(b.image(label="scanned"))
    b.root(b.image(label="run"))


# ---------------------------------------------------------------------------------------------------------- too many, deep


def nested(b: Bundle, depth: int, width: int = 1) -> dict[str, Any]:
    """Indexes within indexes, each naming the next one `width` times."""
    found = b.image()
    for _ in range(depth):
        found = b.index([found] * width)
    return found


@refused(NEITHER, "more than 16")
def indexes_17_deep(b: Bundle) -> None:
    b.root(nested(b, 17))


@refused(NEITHER, "10001 entries")
def index_of_10001_entries(b: Bundle) -> None:
    b.root(b.index([b.image()] * 10_001))


@refused(NEITHER, "10001 entries")
def manifest_of_10001_layers(b: Bundle) -> None:
    b.root(b.image(layers=[b.put(b"layer", LAYER)] * 10_001))


@refused(NEITHER, "more than 10000 objects")
def manifests_of_many_layers_below_one_index(b: Bundle) -> None:
    layer = b.put(b"layer", LAYER)
    b.root(b.index([b.image(layers=[layer] * 3000, annotations={"n": str(n)}) for n in range(4)]))


@refused(NEITHER, "sha256:")
def index_that_names_itself_by_a_guess(b: Bundle) -> None:
    """A cycle needs a digest that is known before its bytes are; what comes nearest is a file that claims to be it."""
    inner = b.index([{"mediaType": INDEX, "digest": "sha256:" + HEX, "size": 400}])
    b.files["blobs/sha256/" + HEX] = b.files[b.path(inner)].ljust(400)
    b.root({"mediaType": INDEX, "digest": "sha256:" + HEX, "size": 400})


REFUSED["index_that_names_itself_by_a_guess"] = Refused(
    index_that_names_itself_by_a_guess, errors.DigestMismatch, "sha256[:/]0123456789ab"
)


# ============================================================================================== odd, and right nevertheless


@accepted()
def plain_image(b: Bundle) -> None:
    b.root(b.image(3))


@accepted()
def image_of_no_layers(b: Bundle) -> None:
    b.root(b.image(layers=[]))


@accepted()
def image_whose_layers_are_null(b: Bundle) -> None:
    b.root(b.image(layers=None))


@accepted()
def image_whose_layers_are_absent(b: Bundle) -> None:
    b.root(b.image(layers=DROP))


@accepted()
def artifact_without_a_config(b: Bundle) -> None:
    b.root(b.image(config=DROP, artifactType="application/vnd.example"))


@accepted()
def index_of_no_manifests(b: Bundle) -> None:
    b.root(b.index([]))


@accepted()
def index_whose_manifests_are_null(b: Bundle) -> None:
    b.root(b.document({"schemaVersion": 2, "mediaType": INDEX, "manifests": None}, INDEX))


@accepted()
def annotations_are_null(b: Bundle) -> None:
    b.roots.append({**b.image(annotations=None), "annotations": None})
    b.close()


@accepted()
def media_type_is_absent_or_empty(b: Bundle) -> None:
    b.root(b.index([b.image(mediaType=DROP), b.image(mediaType="", label="other")], mediaType=None))


@accepted()
def index_json_without_a_media_type(b: Bundle) -> None:
    b.root(b.image())
    b.files["index.json"] = dumps({"schemaVersion": 2, "manifests": b.roots})


@accepted()
def unknown_fields(b: Bundle) -> None:
    b.root(b.image(**{"org.example.unknown": {"deep": [1, 2.5, None, True]}}), unknown="kept")
    b.close(unknown=[{"x": 1}])


@accepted()
def platform_with_unknown_fields(b: Bundle) -> None:
    platform = {
        "os": "linux",
        "architecture": "amd64",
        "features": ["sse4"],
        "os.version": "10",
        "os.features": ["win32k"],
    }
    b.root(b.index([{**b.image(), "platform": platform}]))


@accepted(images=3)
def names_of_every_kind(b: Bundle) -> None:
    b.root(b.image(label="nameless"), None)
    b.root(b.image(label="tag"), None, **{"org.opencontainers.image.ref.name": "v1"})
    b.root(b.image(label="full"), "docker.io/library/full:1")


@accepted(images=2)
def two_names_of_one_image(b: Bundle) -> None:
    found = b.image()
    b.root(found, "localhost/evil:1")
    b.root(found, "localhost/evil:2")


@accepted()
def one_entry_twice(b: Bundle) -> None:
    found = b.image()
    b.root(found)
    b.root(found)


@accepted()
def foul_names_and_annotations(b: Bundle) -> None:
    b.root(b.image(annotations={FOUL: FOUL * 1000}), f"localhost/evil:{FOUL}", **{FOUL: FOUL})


@accepted()
def name_of_thousands_of_characters(b: Bundle) -> None:
    b.root(b.image(), "localhost/" + "evil" * 5000 + ":1")


@accepted()
def layers_twice(b: Bundle) -> None:
    layer = b.put(b"layer", LAYER)
    b.root(b.image(layers=[layer, layer, b.put(b"", LAYER), layer]))


@accepted()
def zero_bytes(b: Bundle) -> None:
    b.root(b.image(layers=[b.put(b"", LAYER)], config=b.put(b"", "application/vnd.oci.empty.v1+json")))


@accepted()
def sha512(b: Bundle) -> None:
    layer, config = b.put(b"layer", LAYER, "sha512"), b.put(b"{}", CONFIG, "sha512")
    body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    b.root(b.put(dumps(body), MANIFEST, "sha512"))


@accepted()
def config_is_no_json(b: Bundle) -> None:
    b.root(b.image(config=b.put(b"\x7fELF", CONFIG)))


@accepted()
def data_that_is_other_than_the_blob(b: Bundle) -> None:
    layer_with(b, data="b3RoZXI=")


@accepted()
def layer_without_a_media_type(b: Bundle) -> None:
    layer_with(b, mediaType=DROP)


@accepted()
def layer_that_calls_itself_a_manifest(b: Bundle) -> None:
    layer_with(b, mediaType=MANIFEST)


@accepted()
def layer_that_nobody_may_hand_on_is_absent(b: Bundle) -> None:
    urls = ["http://127.0.0.1:1/evil", "file:///etc/passwd"]
    layer_with(b, mediaType=OCI + "layer.nondistributable.v1.tar", digest=digest_of(b"elsewhere"), urls=urls)


@accepted()
def platform_of_an_index_is_absent(b: Bundle) -> None:
    good, bad = b.image(label="good"), b.image(label="bad")
    b.root(b.index([good, bad]))
    del b.files[b.path(bad)]


@accepted()
def blob_of_an_index(b: Bundle) -> None:
    """As buildkit writes its cache: an index whose children are layers and a config of its own."""
    b.root(b.index([b.put(b"layer", LAYER), b.put(b"{}", "application/vnd.buildkit.cacheconfig.v0")]))


@accepted()
def indexes_16_deep(b: Bundle) -> None:
    b.root(nested(b, 16))


@accepted()
def graph_of_a_trillion_paths(b: Bundle) -> None:
    b.root(nested(b, 16, width=50))


@accepted()
def graph_of_a_trillion_paths_to_no_image(b: Bundle) -> None:
    found = b.image(config=DROP)
    for _ in range(16):
        found = b.index([found] * 50)
    b.root(found)


@accepted()
def index_of_nearly_ten_thousand_entries_for_one_manifest(b: Bundle) -> None:
    b.root(b.index([b.image()] * 9_990))


@accepted(images=2)
def subject_that_is_absent(b: Bundle) -> None:
    subject = {"mediaType": MANIFEST, "digest": "sha256:" + HEX, "size": 7}
    b.root(b.image())
    b.root(b.image(subject=subject), "localhost/evil:signature")


@accepted()
def image_that_is_called_a_referrer_and_has_a_name(b: Bundle) -> None:
    b.root(b.image(), **{"io.containerd.manifest.subject": "sha256:" + HEX})


@accepted()
def referrer_alone(b: Bundle) -> None:
    b.root(b.image(), None, **{"io.containerd.manifest.subject": "sha256:" + HEX})


@accepted()
def blobs_that_nothing_refers_to(b: Bundle) -> None:
    b.root(b.image())
    b.put(b"nobody's", LAYER)
    b.files["README"] = b"nobody's either"
    b.files["blobs/sha256/short"] = b"no digest"
    b.files["blobs/sha1/" + HEX[:40]] = b"no algorithm of ours"


@accepted()
def document_of_the_largest_size(b: Bundle) -> None:
    raw_document(b, _manifest_text(b).encode().ljust(LIMIT))


def bundle_of(make: Callable[[Bundle], object]) -> Bundle:
    bundle = Bundle()
    make(bundle)
    return bundle


__all__ = ["ACCEPTED", "REFUSED", "Accepted", "Refused", "bundle_of", "sound"]
