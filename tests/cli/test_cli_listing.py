"""A store's list is looked at in a quick way; what it shows is what a look at each image shows."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from support.counting import counting
from support.hostile import Bundle
from torture.content import image
from tranship import Archive, Layout, Store, transfer
from tranship.cli import images, listing, looking
from tranship.engine.run import Run
from tranship.store.images import Images
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Commands
    from tranship.engine.protocols import Source


def as_looked_at(source: Source) -> list[tuple[int, list[str]]]:
    tops = [images.graph(source, root) for root in source.roots()]
    return [(top.size, images.platforms_of(source, top)) for top in tops]


@pytest.mark.parametrize("many", [0, 1000], ids=["all digests at once", "one by one"])
@pytest.mark.parametrize("seed", range(12))
def test_the_list_of_whole_and_partial_images_is_that_of_their_graphs(
    seed: int, many: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MANY", many)
    chance, end = random.Random(seed), Store(root=tmp_path / "store", durability="process")
    transfer(random_images(chance, count=6, largest=500), end)
    with end.open() as store, end.open_source(Run()) as source:
        content = store.namespace("default").content
        for digest in sorted(content.digests()):
            if seed and chance.random() < 0.1:
                content.delete(content.info(digest).digest)
        assert [*listing.shown(source, looking.roots_of(source))] == as_looked_at(source)


def test_what_is_not_plain_is_listed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, end = Bundle(), Store(root=tmp_path / "store", durability="process")
    nested = bundle.image()
    for _ in range(6):
        nested = bundle.index([nested])
    bundle.root(nested, "example.com/nested:1").root(bundle.image(), "example.com/small:1")
    transfer(Layout(bundle.write(tmp_path / "layout")), end)
    with end.open_source(Run()) as source:
        whole = as_looked_at(source)
        assert [*listing.shown(source, source.roots())] == whole
        monkeypatch.setattr(listing, "PLAIN", 10)
        assert [*listing.shown(source, source.roots())] == whole
    assert [platforms for _, platforms in whole] == [["linux/amd64"]] * 2


def test_a_manifest_of_other_bytes_is_told(stocked: Commands) -> None:
    (target,) = stocked("ls", "app:new", "--json").json["images"]
    path = stocked.root / "blobs/sha256" / target["digest"].removeprefix("sha256:")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"layers"', b'"Layers"'))
    ran = stocked.failing("ls")
    assert (ran.code, target["digest"][:19] in ran.err) == (7, True)
    assert len(stocked("ls", "-q").lines) == 4


@pytest.mark.parametrize("words", [["ls"], ["ls", "-q"], ["ls", "--json"]], ids=" ".join)
def test_a_list_asks_the_database_as_often_for_many_images_as_for_few(tranship: Commands, words: list[str]) -> None:
    asked = []
    for count in (100, 200):
        some = Memory()
        for number in range(count):
            image(some, f"example.com/app:{number}", number, [70])
        transfer(some, Archive("in.tar", durability="process"))
        transfer(Archive("in.tar"), Store(root=tranship.root, durability="process"))
        with counting() as cost:
            assert len(tranship(*words).lines) >= count
        asked.append(cost.statements.total())
        assert cost.commits == 0
        assert cost.calls["open"] <= 20 + 2 * count * (words != ["ls", "-q"])
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    "words",
    [["ls", "example.com/app:7"], ["digest", "app:7"], ["tag", "app:7", "new:1"], ["export", "app:7", "-o", "out.tar"]],
    ids=" ".join,
)
def test_a_name_is_found_without_a_look_at_all_of_them(
    tranship: Commands, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = Memory()
    for name in ("example.com/app:7", "docker.io/library/app:7", "docker.io/library/other:1"):
        image(some, name, len(name), [70])
    transfer(some, Archive("in.tar", durability="process"))
    transfer(Archive("in.tar"), Store(root=tranship.root, durability="process"))
    monkeypatch.setattr(Images, "list", lambda _: pytest.fail("all images were read"))
    assert "app:7" in tranship(*words).out + tranship("ls", "-q", "app:7").out
