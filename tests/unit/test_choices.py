"""What is no choice is refused when a value is made, and what is no end before a transfer begins."""

from __future__ import annotations

import pytest

from tranship import Archive, Layout, Pack, Selection, Store, plan, transfer
from tranship.errors import InvalidArgument


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: Archive("a.tar", format="dcker"),
            "format of an archive is one of 'auto', 'oci', 'docker'; found 'dcker'",
        ),
        (
            lambda: Archive("a.tar", compression="xz"),
            "compression of an archive is one of None, 'gzip', 'zstd'; found 'xz'",
        ),
        (lambda: Archive("a.tar", durability="ful"), "durability of an archive is one of 'full', 'process'"),
        (lambda: Store(durability="ful"), "durability of a store is one of 'full', 'process'; found 'ful'"),
        (lambda: Store(sharing="isolatd"), "sharing of a store is one of 'shared', 'isolated'; found 'isolatd'"),
        (lambda: Layout("dir", durability=None), "durability of a layout"),
        (lambda: Pack("dir", compression="xz"), "compression of a layer"),
        (lambda: Pack("dir", mode="normla"), "mode of a packed tree"),
        (lambda: Selection(index="rewrit"), "index of a selection is one of None, 'keep', 'single', 'rewrite'"),
        (lambda: Selection(platforms="linux/amd64"), "platforms are Platform values, found 'linux/amd64'"),
        (lambda: Selection(platforms=("linux/amd64",)), "platforms are Platform values, found ('linux/amd64',)"),
    ],
)
def test_a_word_that_is_no_choice_is_refused_with_those_that_are(make, words):
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert words in caught.value.message


def test_a_transfer_wants_values_and_says_so(tmp_path):
    layout = Layout(tmp_path / "layout")
    for act in (transfer, plan):
        with pytest.raises(InvalidArgument, match="'docs:1' is no source of a transfer") as caught:
            act("docs:1", layout)
        assert caught.value.hint
        with pytest.raises(InvalidArgument, match=r"'out\.tar' is no destination of a transfer"):
            act(layout, "out.tar")
    with pytest.raises(
        InvalidArgument, match="verification is one of 'parallel', 'trusted', 'strict'; found 'paralel'"
    ):
        transfer(layout, Layout(tmp_path / "other"), verification="paralel")
    assert list(tmp_path.iterdir()) == []
