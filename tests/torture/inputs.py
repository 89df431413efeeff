"""Bytes that nobody should trust: archives and documents made wrong at random, read by every way in.

Only our own errors may come out, in words that a terminal shows; and whatever was half read, the store stays sound.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from support import raw_tar
from support.hostile import FORMS, Bundle, assert_readable, presented, sound
from support.hostile_images import FOUL
from torture.box import part
from tranship import Store, TranshipError, transfer
from tranship.errors import Internal

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.box import Box

BLOCK = 512
STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 63,
    1e308,
    "",
    "x" * 300,
    FOUL,
    [],
    {},
    [[]],
    "sha256:" + "0" * 64,
    {"a": {}},
)


def mutated(raw: bytes, chance: random.Random) -> bytes:
    """The same bytes with a few changes: flipped, cut, doubled, moved, stretched; tar headers get right checksums again."""
    data = bytearray(raw)
    for _ in range(chance.randint(1, 4)):
        if data:
            chance.choice(CHANGES)(data, chance)
    return bytes(with_checksums(data) if chance.random() < 0.7 else data)


def _flip(data: bytearray, chance: random.Random) -> None:
    data[_place(data, chance)] = chance.choice((0, 1, 0x20, 0x2F, 0x30, 0x37, 0x7F, 0x80, 0xFF, chance.randrange(256)))


def _place(data: bytearray, chance: random.Random) -> int:
    """Anywhere; or, most times, in the first 512 bytes of a block, where headers are."""
    return chance.randrange(len(data)) if chance.random() < 0.3 else _field(data, chance)


def _field(data: bytearray, chance: random.Random) -> int:
    block = chance.randrange(-(-len(data) // BLOCK)) * BLOCK
    start, length = chance.choice(((0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (257, 8), (345, 155)))
    return min(block + start + chance.randrange(length), len(data) - 1)


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def _drop_block(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(-(-len(data) // BLOCK)) * BLOCK
    del data[start : start + BLOCK]


def _double_block(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(-(-len(data) // BLOCK)) * BLOCK
    data[start:start] = data[start : start + BLOCK]


def _zero_block(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(-(-len(data) // BLOCK)) * BLOCK
    data[start:start] = bytes(BLOCK)


def _number(data: bytearray, chance: random.Random) -> None:
    """Another size in a header."""
    block = chance.randrange(-(-len(data) // BLOCK)) * BLOCK
    size = chance.choice((0, 1, 511, 512, 513, 8 << 30, (1 << 63) - 1))
    field = b"%011o\0" % size if size < 8 << 30 else b"\x80" + size.to_bytes(11, "big")
    data[block + 124 : block + 136] = chance.choice(
        (field, b"-0000000001\0", b" " * 12, b"\xff" * 12, field[:-1] + b"8")
    )


def _extension(data: bytearray, chance: random.Random) -> None:
    """A pax header before a block."""
    key, value = chance.choice(
        ((b"size", b"7"), (b"path", b"../x"), (b"linkpath", b"/x"), (b"path", b"a\0b"), (b"GNU.sparse.major", b"1"))
    )
    block = chance.randrange(-(-len(data) // BLOCK)) * BLOCK
    data[block:block] = raw_tar.pax(raw_tar.record(key, value), kind=chance.choice((b"x", b"g")))


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip,
    _flip,
    _cut,
    _drop_block,
    _double_block,
    _zero_block,
    _number,
    _extension,
)


def with_checksums(data: bytearray) -> bytearray:
    """What looks like headers gets right checksums."""
    for start in range(0, len(data) - BLOCK + 1, BLOCK):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + BLOCK])
    return data


def strange(value: Any, chance: random.Random) -> Any:
    """A JSON value with one part replaced, removed or doubled."""
    if isinstance(value, dict) and value and chance.random() < 0.85:
        key = chance.choice(list(value))
        if chance.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: strange(value[key], chance)}
    if isinstance(value, list) and value and chance.random() < 0.85:
        at = chance.randrange(len(value))
        if chance.random() < 0.2:
            return [*value, value[at]]
        return [*value[:at], strange(value[at], chance), *value[at + 1 :]]
    return chance.choice(STRANGE)


def strange_bundle(chance: random.Random) -> Bundle:
    """An image of which one document says something strange, and whose digests are right all the same."""
    bundle = Bundle()
    found = bundle.image(chance.randint(0, 3))
    body = strange(json.loads(bundle.files[bundle.path(found)]), chance)
    root = bundle.put(json.dumps(body).encode(), found["mediaType"])
    if chance.random() < 0.4:
        root = bundle.index([root, bundle.image(1, "other")])
    bundle.root(root)
    if chance.random() < 0.4:
        bundle.files["index.json"] = json.dumps(strange(json.loads(bundle.files["index.json"]), chance)).encode()
    return bundle


@part("inputs")
def inputs(box: Box) -> None:
    """Mutated archives and strange documents, as files, pipes, compressed and as layouts, into one store."""
    with box.scratch() as folder:
        store = Store(root=folder / "store", durability="process")
        transfer(*_good(folder), store)
        whole = [sound(2).tar(), _docker(folder)]
        with store.open() as opened:
            into = Store(opened=opened)
            for number in box.rounds():
                form = (*FORMS, "layout")[number % 5]
                content: Bundle | bytes = strange_bundle(box.chance)
                if form != "layout" and box.chance.random() < 0.7:
                    content = mutated(box.chance.choice(whole), box.chance)
                with box.unbroken(f"input {number} as {form}"), box.scratch() as place:
                    _one(box, into, content, form, place)
            with box.unbroken("the store after all of them"):
                report = opened.fsck(deep=True)
                assert report.ok, report.problems
                assert not report.incomplete, report.incomplete


def _good(folder: Any) -> tuple[Any]:
    from tranship import Layout

    return (Layout(sound(1, "localhost/good:1").write(folder / "good")),)


def _docker(folder: Any) -> bytes:
    """The same image in docker's own format."""
    from tranship import Archive, Layout

    transfer(Layout(sound(2).write(folder / "source")), Archive(folder / "docker.tar", format="docker"))
    return bytes((folder / "docker.tar").read_bytes())


def _one(box: Box, store: Any, content: Any, form: str, place: Any) -> None:
    try:
        with presented(content, form, place) as end:
            transfer(end, store)
    except TranshipError as error:
        assert_readable(error)
        if isinstance(error, Internal):
            raise AssertionError("a bug of ours") from error
        box.count("refused")
    else:
        box.count("taken")
    box.count("inputs")
