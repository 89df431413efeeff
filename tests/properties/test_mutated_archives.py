"""Archives with anything changed in them: refused in our own words, or taken with every byte right; nothing else ever happens."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support import graphs
from support.hostile import (
    CONFIG,
    FORMS,
    INDEX,
    LAYER,
    MANIFEST,
    Bundle,
    assert_readable,
    digest_of,
    dumps,
    presented,
    rows,
)
from tranship import Archive, Layout, Store, transfer
from tranship.errors import TranshipError

if TYPE_CHECKING:
    from collections.abc import Iterator

bounded = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def good() -> Bundle:
    bundle = Bundle()
    bundle.root(bundle.index([bundle.image(2), bundle.image(1, "other")]))
    return bundle.root(bundle.image(1, "third"), "localhost/third:1")


def dockers() -> Bundle:
    config = dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest_of(b"layer")]}})
    entry = {"Config": "config.json", "RepoTags": ["evil:1"], "Layers": ["a/layer.tar"]}
    return Bundle({"config.json": config, "a/layer.tar": b"layer", "manifest.json": dumps([entry])})


SEEDS = [good().tar(), dockers().tar()]


class Box:
    """A store in a folder of its own, and what else is in there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(root=folder / "store", durability="process")
        self.store.open().close()

    def judge(self, end: Any) -> None:
        """Transfer, look at what became of it, and forget it."""
        try:
            self._judge(end)
        finally:
            if names := self.images():
                with self.store.open() as store:
                    for name in names:
                        store.namespace("default").images.delete(name)
                    store.gc()

    def _judge(self, end: Any) -> None:
        try:
            summary = transfer(end, self.store)
        except TranshipError as error:
            assert_readable(error)
            assert self.images() == []
        else:
            self.check(summary)
        assert sorted(os.listdir(self.folder)) == ["store"]
        assert [name for name in os.listdir(self.folder / "store" / "run") if name != "gate"] == []

    def images(self) -> list[str]:
        return [name for _namespace, name, *_ in rows(self.folder / "store")["images"]]

    def check(self, summary: Any) -> None:
        assert sorted({root.name for root in summary.roots}) == sorted(self.images())
        with tempfile.TemporaryDirectory() as folder:
            transfer(self.store, Layout(folder, durability="process"))
            for entry in graphs.index(Path(folder)):  # an independent look: every byte, every edge
                graphs.closure(Path(folder), entry["digest"], partial=True)
        with self.store.open() as store:
            assert store.fsck(deep=True).ok


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Box:
    return Box(tmp_path_factory.mktemp("box"))


@contextlib.contextmanager
def as_archive(data: bytes, form: str) -> Iterator[Any]:
    with tempfile.TemporaryDirectory() as folder, presented(data, form, Path(folder)) as end:
        yield end


# ----------------------------------------------------------------------------------------------------------- any bytes


@given(st.binary(max_size=3000), st.sampled_from(["file", "pipe"]))
@bounded
def test_any_bytes_are_refused_or_right(box: Box, data: bytes, form: str) -> None:
    with as_archive(data, form) as end:
        box.judge(end)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good archive with some bytes flipped, cut out, put in, or moved."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.sampled_from([1, 2, 8, 512, 1024, 700]))
        how = draw(st.sampled_from(["flip", "cut", "insert", "copy", "end", "digit"]))
        if how == "flip" and data:
            data[at] ^= draw(st.integers(1, 255))
        elif how == "cut":
            del data[at : at + length]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8)) if length < 512 else bytes(length)
        elif how == "copy":
            block = at // 512 * 512
            data[block:block] = data[draw(st.integers(0, len(data))) // 512 * 512 :][:length]
        elif how == "end":
            del data[at:]
        elif data:
            data[at] = draw(st.sampled_from(b'0179{}[],:"- '))
    return bytes(data)


@given(mutated(), st.sampled_from(FORMS))
@bounded
def test_a_good_archive_with_bytes_changed_is_refused_or_right(box: Box, data: bytes, form: str) -> None:
    with as_archive(data, form) as end:
        box.judge(end)


# -------------------------------------------------------------------------------------------- documents that are consistent

STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from([{}, [], [{}], {"": ""}, "sha256:", MANIFEST, INDEX, LAYER, CONFIG, "linux", "../x"]),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value within a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield (*path, key)
        yield from places(child, (*path, key))


def changed(draw: st.DrawFn, document: Any) -> Any:
    """The document with one of its values replaced, dropped, doubled or named otherwise."""
    document = copy.deepcopy(document)
    *parents, last = draw(st.sampled_from(sorted(places(document), key=str)))
    holder = document
    for key in parents:
        holder = holder[key]
    how = draw(st.sampled_from(["replace", "replace", "drop", "double", "rename"]))
    if how == "replace":
        holder[last] = draw(STRANGE)
    elif how == "drop":
        del holder[last]
    elif isinstance(holder, list):
        holder.append(holder[last])
    elif how == "rename":
        holder[draw(st.sampled_from([str(last).upper(), f"{last} ", "mediaType", "size", "layers", "manifests"]))] = (
            holder.pop(last)
        )
    return document


@st.composite
def consistent(draw: st.DrawFn) -> bytes:
    """An archive whose documents are strange in one place each, with digests and sizes that fit them."""
    bundle = Bundle()
    layers = [bundle.put(b"layer%d" % n, LAYER) for n in range(2)]
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}
    manifest: Any = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": bundle.document(config, CONFIG),
        "layers": layers,
    }
    which = draw(st.sampled_from(["manifest", "index", "root", "index.json", "docker"]))
    if which == "docker":
        bundle = dockers()
        name = draw(st.sampled_from(["manifest.json", "config.json"]))
        bundle.files[name] = dumps(changed(draw, json.loads(bundle.files[name])))
        return bundle.tar()
    described = bundle.document(changed(draw, manifest) if which == "manifest" else manifest, MANIFEST)
    index: Any = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [{**described, "platform": {"os": "linux", "architecture": "arm"}}],
    }
    root = bundle.document(changed(draw, index) if which == "index" else index, INDEX)
    bundle.root(root)
    bundle.root(described, "localhost/alone:1")
    if which == "root":
        bundle.roots[0] = changed(draw, bundle.roots[0])
        bundle.close()
    if which == "index.json":
        bundle.files["index.json"] = dumps(changed(draw, json.loads(bundle.files["index.json"])))
    return bundle.tar()


@given(consistent(), st.sampled_from(["file", "pipe"]))
@settings(bounded, max_examples=100)
def test_documents_with_strange_values_are_refused_or_right(box: Box, data: bytes, form: str) -> None:
    with as_archive(data, form) as end:
        box.judge(end)


@given(consistent())
@settings(bounded, max_examples=60)
def test_a_file_and_a_pipe_are_judged_alike(data: bytes) -> None:
    verdicts = []
    for form in ("file", "pipe"):
        with as_archive(data, form) as end:
            try:
                verdicts.append(
                    sorted((r.name or "", r.descriptor.digest) for r in transfer(end, Archive(io.BytesIO())).roots)
                )
            except TranshipError as error:
                verdicts.append([type(error).__name__])
    assert verdicts[0] == verdicts[1]
