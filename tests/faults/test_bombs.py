"""Small sources that ask for much: memory, disk or time. Each is refused, or costs no more than what it holds."""

from __future__ import annotations

import gzip
import io
import os
import random
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from support import raw_tar
from support.children import ran
from support.hostile import (
    CONFIG,
    LAYER,
    Bundle,
    Untouched,
    assert_readable,
    check_store,
    digest_of,
    dumps,
    presented,
    refuses,
    sound,
)
from tranship import Archive, Layout, Limits, Store, errors, transfer
from tranship.endpoints.archive import contents, docker_reading
from tranship.engine import graph, settling

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 300 << 20  # bytes; from 256 MiB on a bomb is told by its ratio
MEMORY = 256  # MiB that no input makes us use


def zeros(into: Any, count: int) -> None:
    chunk = bytes(1 << 20)
    for _ in range(count >> 20):
        into.write(chunk)


def packed(kind: str, head: bytes, count: int, tail: bytes = b"") -> bytes:
    """A compressed stream of `count` zeros between two ends."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6) if kind == "gzip" else zstd.ZstdFile(out, "wb") as file:
        file.write(head)
        zeros(file, count)
        file.write(tail)
    return out.getvalue()


def scratch_is_empty(folder: Path) -> bool:
    """Is nothing left of what a transfer received into the store's scratch?"""
    return not [name for name in os.listdir(folder / "run") if name != "gate"]


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_around_an_archive_is_refused_within_its_bounds(kind: str, tmp_path: Path) -> None:
    bomb = packed(kind, raw_tar.header(b"blobs/sha256/" + b"0" * 64, SIZE), SIZE, sound().tar())
    assert len(bomb) < 6_000_000
    (tmp_path / "bomb").write_bytes(bomb)
    said = ran(("archive", {"file": tmp_path / "bomb"}), ("store", {"root": tmp_path / "store"}))
    assert (said["error"], said["exit"]) == ("PolicyRefused", 8)
    assert "bomb: " in said["message"]
    assert said["peak"] < MEMORY
    assert scratch_is_empty(tmp_path / "store")


def test_scratch_takes_no_more_than_it_is_allowed(ends: Untouched, tmp_path: Path) -> None:
    data = sound().tar() + raw_tar.member(b"x", bytes(5 << 20))
    big = raw_tar.member(b"x", bytes(5 << 20)) + sound().tar()
    store = Store(root=tmp_path / "store", durability="process")
    with presented(data, "pipe", tmp_path) as end:  # what stands behind the end is not received
        transfer(end, store, limits=Limits(max_scratch=1 << 20))
    with presented(big, "pipe", tmp_path) as end, pytest.raises(errors.NoSpace) as caught:
        transfer(end, ends.store, limits=Limits(max_scratch=1 << 20))
    assert_readable(caught.value)
    assert (caught.value.exit_code, caught.value.needed) == (11, 5 << 20)
    ends.check()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch lies that no destination has a place for."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def stretchy(count: int) -> bytes:
    """Bytes that zstd packs well and gzip, whose window is small, not at all."""
    return random.Random(1).randbytes(1 << 18) * (count >> 18)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_layers_that_become_gzip_take_no_more_scratch_than_is_allowed(
    compression: Any, temporary: Path, tmp_path: Path
) -> None:
    bundle = Bundle()
    layers = [bundle.put(zstd.compress(stretchy(5 << 18) + bytes([n])), LAYER + "+zstd") for n in range(2)]
    source = Layout(bundle.root(bundle.image(layers=layers), "localhost/app:1").write(tmp_path / "source"))
    out = Archive(tmp_path / "out.tar", format="docker", recompress=True, compression=compression)
    with pytest.raises(errors.NoSpace, match="scratch") as caught:
        transfer(source, out, limits=Limits(max_scratch=2 << 20))  # one of the two fits
    assert_readable(caught.value)
    assert caught.value.path is not None
    assert caught.value.path.startswith(str(temporary))
    assert not (tmp_path / "out.tar").exists()
    assert list(temporary.iterdir()) == []
    transfer(source, out, limits=Limits(max_scratch=3 << 20))
    assert (tmp_path / "out.tar").stat().st_size > 0
    assert list(temporary.iterdir()) == []


def test_layers_of_dockers_that_become_gzip_take_no_more_scratch_than_is_allowed(
    temporary: Path, tmp_path: Path
) -> None:
    layer = raw_tar.member(b"x", random.Random(1).randbytes(2 << 20)) + bytes(1024)
    config = dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(layer)]}})
    manifest = dumps([{"Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l/layer.tar"]}])
    (tmp_path / "a.tar").write_bytes(Bundle({"c.json": config, "l/layer.tar": layer, "manifest.json": manifest}).tar())
    source = Archive(tmp_path / "a.tar", compress_layers=True)
    with pytest.raises(errors.NoSpace, match="scratch"):
        transfer(source, Layout(tmp_path / "layout"), limits=Limits(max_scratch=1 << 20))
    assert list(temporary.iterdir()) == []
    transfer(source, Layout(tmp_path / "layout"), limits=Limits(max_scratch=3 << 20))


def test_a_bomb_inside_a_layer_of_dockers_is_refused_and_named(tmp_path: Path) -> None:
    layer = packed("gzip", b"", 270 << 20)
    config = dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(b"")]}})
    manifest = dumps([{"Config": "c.json", "RepoTags": None, "Layers": ["evil/layer.tar"]}])
    bundle = Bundle({"c.json": config, "evil/layer.tar": layer, "manifest.json": manifest})
    (tmp_path / "bomb").write_bytes(bundle.tar())
    said = ran(("archive", {"file": tmp_path / "bomb"}), ("store", {"root": tmp_path / "store"}))
    assert (said["error"], said["exit"], said["side"]) == ("PolicyRefused", 8, "source")
    assert "evil/layer.tar" in said["message"]
    assert said["peak"] < MEMORY


def test_a_bomb_that_is_a_layer_of_an_image_is_just_its_bytes(tmp_path: Path) -> None:
    bundle = Bundle()
    bundle.root(bundle.image(layers=[bundle.put(packed("gzip", b"", 50 << 20), LAYER + "+gzip")]))
    with presented(bundle, "file", tmp_path) as end:
        transfer(end, Store(root=tmp_path / "store", durability="process"))
    assert check_store(Store(root=tmp_path / "store")) == 1


@pytest.mark.parametrize("filler", ["{},", '{"a":1},', '"ab",', "0,"])
@pytest.mark.parametrize("name", ["index.json", "manifest.json", "blob"])
def test_json_of_millions_of_values_takes_little_memory(name: str, filler: str, tmp_path: Path) -> None:
    count = (20 << 20 if name != "blob" else 4_300_000) // len(filler) - 30
    many = '{"schemaVersion":2,"x":[' + filler * count + "0]}"
    if name == "manifest.json":
        bundle = Bundle({name: f"[{many}]".encode()})
    elif name == "index.json":
        bundle = sound()
        bundle.files[name] = many.encode()
    else:
        bundle = Bundle()
        bundle.root(bundle.put(many.encode(), "application/vnd.oci.image.manifest.v1+json"))
    (tmp_path / "a.tar").write_bytes(bundle.tar())
    said = ran(("archive", {"file": tmp_path / "a.tar"}), ("store", {"root": tmp_path / "store"}))
    if name != "blob":
        assert (said["error"], said["exit"]) == ("InvalidArgument", 2)
    assert said["peak"] < MEMORY


@pytest.mark.parametrize("dense", ["annotations", "objects", "wide", "many"])
def test_the_documents_of_an_image_take_no_more_than_64_mib(dense: str, tmp_path: Path) -> None:
    bundle = Bundle()
    if dense == "many":
        notes = {f"{n:x}": f"{n:x}" for n in range(1_000)}
        bundle.root(bundle.index([bundle.image(label=str(n), annotations={**notes, "n": str(n)}) for n in range(130)]))
    else:
        more = {
            "annotations": {"annotations": {f"{n:x}": f"{n:x}" for n in range(125_000)}},
            "objects": {"x": [{"a": {"b": {"c": 1}}} for _ in range(32_000)]},
            "wide": {"annotations": {"smile": "\U0001f600" + "x" * 4_300_000}},
        }[dense]
        bundle.root(bundle.image(**more))
    (tmp_path / "a.tar").write_bytes(bundle.tar())
    said = ran(("archive", {"file": tmp_path / "a.tar"}), ("store", {"root": tmp_path / "store"}))
    assert said.get("outcomes"), said
    assert said["peak"] < 64


def test_many_entries_of_dockers_that_share_a_large_config_cost_one_config(tmp_path: Path) -> None:
    config = dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).ljust(4 << 20)
    entries = [{"Config": "c.json", "RepoTags": [f"localhost/evil:{n}"], "Layers": []} for n in range(3000)]
    bundle = Bundle({"c.json": config, "manifest.json": dumps(entries)})
    (tmp_path / "a.tar").write_bytes(bundle.tar())
    said = ran(("archive", {"file": tmp_path / "a.tar"}), ("store", {"root": tmp_path / "store"}))
    assert said.get("outcomes"), said
    assert said["peak"] < MEMORY


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that are reached sooner; how they are kept does not hang on their height."""
    monkeypatch.setattr(contents, "MAX_MEMBERS", 50)
    monkeypatch.setattr(contents, "MAX_NAMES", 100_000)
    monkeypatch.setattr(docker_reading, "MAX_METADATA", 100_000)
    monkeypatch.setattr(graph, "MAX_READ", 100_000)


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("form", ["file", "pipe", "gzip"])
def test_members_and_their_names_are_limited(form: str, ends: Untouched, tmp_path: Path) -> None:
    with presented(b"".join(raw_tar.member(b"%d" % n) for n in range(51)), form, tmp_path) as end:
        refuses(end, ends, errors.InvalidArgument, "more than 50 members")
    for key in (b"path", b"linkpath", b"SCHILY.xattr.user.x"):
        names = b"".join(
            raw_tar.pax(raw_tar.record(key, b"n" * 9000 + b"%d" % n)) + raw_tar.member(b"m%d" % n) for n in range(12)
        )
        with presented(names, form, tmp_path) as end:
            refuses(end, ends, errors.InvalidArgument, "characters of names")


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("form", ["file", "pipe"])
def test_documents_are_limited_together(form: str, ends: Untouched, tmp_path: Path) -> None:
    bundle = Bundle()
    for n in range(30):
        bundle.root(bundle.image(annotations={"x": f"{n}" * 3000}), f"localhost/evil:{n}")
    with presented(bundle, form, tmp_path) as end:
        refuses(end, ends, errors.InvalidArgument, "more than 100000 bytes")
    with presented(bundle, "file", tmp_path, names="localhost/evil:7") as end:
        transfer(end, Store(root=tmp_path / "store", durability="process"))


@pytest.mark.usefixtures("low")
@pytest.mark.parametrize("form", ["file", "pipe"])
def test_configs_of_dockers_are_limited_together(form: str, ends: Untouched, tmp_path: Path) -> None:
    config = dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": []}})
    files = {f"{n}.json": config.ljust(10_000 + n) for n in range(12)}
    entries = [{"Config": name, "RepoTags": None, "Layers": []} for name in files]
    with presented(Bundle({**files, "manifest.json": dumps(entries)}), form, tmp_path) as end:
        refuses(end, ends, errors.InvalidArgument, "configs and manifests of the images")


def test_ten_thousand_names_of_one_index_are_planned_once_not_ten_thousand_times(tmp_path: Path) -> None:
    bundle = Bundle()
    index = bundle.index([bundle.image()] * 5000)
    bundle.roots = [
        {**index, "annotations": {"io.containerd.image.name": f"localhost/evil:{n}"}} for n in range(10_000)
    ]
    bundle.close()
    with presented(bundle, "file", tmp_path) as end:
        summary = transfer(end, Archive(io.BytesIO()))
    assert len(summary.roots) == 10_000


def test_a_config_shared_by_many_images_is_asked_for_its_platform_once(tmp_path: Path, monkeypatch: Any) -> None:
    from tranship import Selection
    from tranship.model.platform import Platform

    bundle = Bundle()
    config = bundle.put(dumps({"os": "linux", "architecture": "amd64"}), CONFIG)
    for n in range(20):
        bundle.root(bundle.image(config=config, annotations={"n": f"{n}"}), f"localhost/evil:{n}")
    read, read_all = [], settling.read_all

    def counted(source: Any, descriptor: Any, limit: int = 1 << 22) -> bytes:
        read.append(descriptor.digest)
        return read_all(source, descriptor, limit)

    monkeypatch.setattr(settling, "read_all", counted)
    with presented(bundle, "file", tmp_path) as end:
        transfer(end, Archive(io.BytesIO()), selection=Selection(platforms=(Platform.parse("linux/amd64"),)))
    assert read.count(config["digest"]) == 1
