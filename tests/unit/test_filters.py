"""containerd's filter language: what it selects, and what it says of mistakes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tranship.errors import InvalidArgument
from tranship.formats import filters

HELLO = filters.adaptor(
    {
        "name": "docker.io/library/hello:1",
        "target.digest": "sha256:" + "a" * 64,
        "target.mediatype": "application/vnd.oci.image.index.v1+json",
    },
    {
        "labels": {"m": "m", "a.b/c": "yes", "a.b": "dotted", "empty": "", "q": 'say "hi"'},
        "annotations": {"org.opencontainers.image.ref.name": "1"},
    },
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("name", True),
        ("name==docker.io/library/hello:1", True),  # a value is one word: dots, colons and slashes are its own
        ("name==docker.io/library/hello", False),
        ("name!=docker.io/library/hello:1", False),
        ("name~=^docker", True),
        ("name~=library", True),  # anywhere
        ("name~=^library", False),
        ("name~=/^docker.io.library/", True),
        ("name~=|hello:[0-9]$|", True),
        ("name~=hello:[1", False),  # an invalid expression matches nothing
        ("name~=(?=docker)", False),  # nor does what RE2 has not
        ('name=="docker.io/library/hello:1"', True),
        ("target.digest==sha256:" + "a" * 64, True),
        ("target.mediatype~=index", True),
        ("target", False),
        ("labels.m==m", True),
        ("labels.m=='m'", False),  # single quotes are characters
        ('labels."a.b/c"==yes', True),
        ("labels.a.b==dotted", True),  # the rest of the path is one key
        ('labels."a.b"', True),
        ("labels.empty", True),
        ("labels.empty==", None),
        ('labels.empty==""', True),
        ('labels.q=="say \\"hi\\""', True),
        ('labels."\\x6d"=="\\155"', True),
        ("labels", False),
        ("labels.none", False),
        ("labels.none!=x", True),  # an absent field differs from everything …
        ('labels.none!=""', False),  # … but from the empty string, as which it compares
        ("labels.none==x", False),
        ('labels.none==""', False),
        ("labels.none~=^.*", True),
        ('annotations."org.opencontainers.image.ref.name"==1', True),
        ("name,labels.m", True),
        ("name, labels.m == m", True),
        ("name,labels.none", False),
        ("nothing", False),
        ("name.more", True),
    ],
)
def test_a_filter_selects(text, expected):
    if expected is None:
        with pytest.raises(InvalidArgument):
            filters.parse([text])
    else:
        assert filters.parse([text]).matches(HELLO) is expected


def test_of_several_filters_one_must_match_and_no_filter_matches_everything():
    assert filters.parse(["name==x", "labels.m==m"]).matches(HELLO)
    assert not filters.parse(["name==x", "labels.m==x"]).matches(HELLO)
    assert filters.parse([]).matches(HELLO)
    assert filters.parse(["name==x", ""]).matches(HELLO)


def test_only_what_a_thing_has_is_there():
    blob = filters.adaptor({"digest": "sha256:0"}, {"labels": {"containerd.io/gc.root": "now"}})
    assert filters.parse(['labels."containerd.io/gc.root"']).matches(blob)
    assert filters.parse(["digest~=^sha256"]).matches(blob)
    assert not filters.parse(["size"]).matches(blob)
    assert not filters.parse(["annotations.a"]).matches(blob)


OPERATOR = 'expected an operator ("=="|"!="|"~=")'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size>1000", f"[size >|>|< 1000]: {OPERATOR}"),  # this and the next as recorded from containerd 2.1.9
        ("topic==/images/create", "[topic== >|/|< images/create]: invalid quote encountered"),
        ("name=x", '[name >|=|< x]: unsupported operator "="'),
        ("name===x", '[name >|=|< ==x]: unsupported operator "==="'),
        ("name==", "[name==]: expected value or quoted"),
        ("name==,x", "[name== >|,|< x]: expected value or quoted"),
        ("name==.x", "[name== >|.|< x]: expected value or quoted"),
        ("name ", f"[name ]: {OPERATOR}"),
        ("==x", "[ >|=|< =x]: expected field or quoted"),
        (",", "[ >|,|< ]: expected field or quoted"),
        ("name,", "[name,]: expected field or quoted"),
        ("labels.", "[labels.]: expected field or quoted"),
        ("labels./a/", "[labels. >|/|< a/]: invalid quote encountered"),
        ("name==x y", "[name==x >| |< y]: unexpected input:  "),
        ('name=="x"y', '[name=="x" >|y|< ]: unexpected input: y'),
        ('name=="x', '[name== >|"|< x]: quoted literal not terminated'),
        ('name=="x\ny"', '[name== >|"|< x\\ny"]: quoted literal not terminated'),
        ('name=="\\q"', '[name== >|"|< \\q"]: illegal escape sequence'),
        ('name=="\\x1"', '[name== >|"|< \\x1"]: illegal numeric escape sequence'),
        ('name=="\\777"', '[name== >|"|< \\777"]: unquoting failed: quote syntax error'),
        ('name=="\\UFFFFFFFF"', '[name== >|"|< \\UFFFFFFFF"]: unquoting failed: quote syntax error'),
        ("name==\0", "[name== >|\\x00|< ]: unexpected null"),
        ("ñ", "[ >|ñ|< ]: expected field or quoted"),
    ],
)
def test_a_mistake_is_told_in_containerds_words(text, message):
    with pytest.raises(InvalidArgument) as caught:
        filters.parse([text])
    assert str(caught.value) == f"filters: parse error: {message}"


WORD = st.text(max_size=8)
SELECTOR = st.builds(
    filters.Selector,
    st.lists(WORD, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["", "==", "!=", "~="]),
    WORD,
).map(lambda s: s if s.operator else filters.Selector(s.path))


@given(st.lists(SELECTOR, min_size=1, max_size=3))
@example([filters.Selector(('"\\\n\0\ufffd\udc80é\u2028',), "==", '"\\|/')])
def test_what_is_written_reads_the_same_again(selectors):
    written = str(filters.Filter((tuple(selectors),)))
    assert filters.parse([written]) == filters.Filter((tuple(selectors),))


@given(st.one_of(st.text(max_size=60), st.text('name.labels==!~,"/|\\x u0\n\ud800\ufffd', max_size=40)))
def test_any_text_is_a_filter_or_a_mistake(text):
    try:
        message = str(filters.parse([text]).matches(HELLO))
    except InvalidArgument as error:
        message = str(error)
    assert message.encode().startswith((b"filters: parse error: [", b"True", b"False"))


def test_an_endless_filter_is_refused():
    with pytest.raises(InvalidArgument, match="at most"):
        filters.parse(["name==" + "x" * filters.MAX_FILTER])
