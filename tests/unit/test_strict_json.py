"""JSON from strangers: what two readers could read differently is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.errors import InvalidArgument
from tranship.model import strict_json

KNOWN = frozenset({"layers", "schemaVersion", "mediaType", "config"})


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not JSON"),
        (b"{} {}", "Extra data at character 3 of 5"),
        (b"{}\0", "Extra data"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 1 // x\n}', "not JSON"),
        (b'["\t"]', "control character"),
        (b"[1", "not JSON"),
        (b"[01]", "not JSON"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"a": "\xff"}', "not UTF-8: byte 7 is 0xff"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'["\xed\xa0\xbd"]', "not UTF-8"),  # half of a surrogate pair, encoded
        (b'["\\ud83d"]', "half of a surrogate pair"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b'{"a": 1, "a": 1}', "'a' stands there twice"),
        (b'{"x": [{"a": 1, "\\u0061": 2}]}', "'a' stands there twice"),
        (b'{"\\u001b[2J": 1, "\\u001b[2J": 2}', r"\\x1b\[2J' stands there twice"),
        (b"[NaN]", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "out of range"),
        (b"[-1e999]", "out of range"),
        (b"[" + b"9" * 65 + b"]", "65 digits"),
        (b"[0." + b"9" * 65 + b"]", "67 digits"),
        (b"[" * 66 + b"]" * 66, "nested too deeply"),
        (b'{"a":' * 66 + b"1" + b"}" * 66, "nested too deeply"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data, word):
    with pytest.raises(InvalidArgument, match=word) as caught:
        strict_json.loads(data, "the index of app.tar")
    assert str(caught.value).startswith("the index of app.tar ")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'{"size": 9223372036854775807}', {"size": 2**63 - 1}),
        (b'["\\ud83d\\ude00\xc3\xa9"]', ["😀é"]),
        (b' \n\t{"a": [1.5, -0, true, null]} \r\n', {"a": [1.5, 0, True, None]}),
        (b"[" * 64 + b"]" * 64, None),
        (b"[" + b"[],{}," * 500 + b"1]", None),  # many, not deep
        (b'{"a": {"b": 1}, "b": {"b": 1}}', {"a": {"b": 1}, "b": {"b": 1}}),
    ],
)
def test_what_is_sound_is_read(data, value):
    assert strict_json.loads(data, "x") == (json.loads(data) if value is None else value)


@pytest.mark.parametrize("key", ["Layers", "LAYERS", "layerS", "schemaverſion", "mediatype", "MediaType"])
def test_a_key_that_go_takes_for_a_known_one_is_refused(key):
    with pytest.raises(InvalidArgument, match="ambiguous"):
        strict_json.fields({key: 1}, KNOWN, "manifest")
    with pytest.raises(InvalidArgument, match="ambiguous"):
        strict_json.fields({"layers": [], key: 1}, KNOWN, "manifest")


def test_unknown_keys_stay():
    value = {"layers": [], "x-vendor": 1, "Layer": 2}
    assert strict_json.fields(value, KNOWN, "manifest") is value


@pytest.mark.parametrize(("value", "kind"), [([], "list"), ("x", "str"), (None, "NoneType"), (1, "int")])
def test_only_an_object_has_fields(value, kind):
    with pytest.raises(InvalidArgument, match=f"manifest: expected a JSON object, found {kind}"):
        strict_json.fields(value, KNOWN, "manifest")


def test_our_own_documents_are_the_same_bytes_everywhere():
    assert strict_json.dumps({"b": [1, True], "a": "é<"}) == '{"a":"é<","b":[1,true]}'.encode()


def test_gos_bytes_keep_the_order_of_keys_and_escape_what_html_would():
    assert (
        strict_json.dumps_as_go({"b": "<&>", "a": "é\u2028"}) == '{"b":"\\u003c\\u0026\\u003e","a":"é\\u2028"}'.encode()
    )


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), TEXT
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@given(VALUE)
def test_what_is_written_reads_the_same(value):
    assert strict_json.loads(strict_json.dumps(value), "x") == value
    assert strict_json.loads(strict_json.dumps_as_go(value), "x") == value
    assert strict_json.loads(json.dumps(value).encode(), "x") == value  # with every character escaped


@given(st.one_of(st.binary(max_size=40), st.text('{}[]",:\\u0dD1eE+-.naN ', max_size=30).map(str.encode)))
def test_any_bytes_are_json_or_a_mistake(data):
    try:
        value = strict_json.loads(data, "x")
    except InvalidArgument:
        return
    assert strict_json.loads(strict_json.dumps(value), "x") == value
