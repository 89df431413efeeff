"""Archives of docker's own kinds that nobody should trust, and those of every age that are right."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from support import raw_tar
from support.hostile import FORMS, Bundle, Untouched, check_store, digest_of, dumps, presented, refuses, sound
from support.hostile_images import FOUL
from tranship import Store, errors, transfer

if TYPE_CHECKING:
    from pathlib import Path


Files = dict[str, bytes]


def saved(layer: bytes = b"layer" + bytes(507) + raw_tar.END, diff: bytes | None = None, **changes: Any) -> Files:
    """An archive as docker has saved it since 1.10. `diff` is what the config says that the layer's bytes are."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(diff or layer)]},
    }
    entry = {"Config": "config.json", "RepoTags": ["localhost/evil:1"], "Layers": ["one/layer.tar"], **changes}
    return {"config.json": dumps(config), "one/layer.tar": layer, "manifest.json": dumps([entry])}


def changed(**files: bytes) -> Files:
    return {**saved(), **{name.replace("_json", ".json"): data for name, data in files.items()}}


def bundle_from(files: Files, **special: tuple[str, str]) -> Bundle:
    return Bundle(
        dict(files), {name.replace("__", "/").replace("_tar", ".tar"): what for name, what in special.items()}
    )


def without(files: Files, *names: str) -> Files:
    return {name: data for name, data in files.items() if name not in names}


def legacy(ids: list[str], repositories: Any, **more: bytes) -> Files:
    files: Files = {"repositories": dumps(repositories)}
    for number, identity in enumerate(ids):
        files[f"{identity}/json"] = dumps({"id": identity, **({"parent": ids[number - 1]} if number else {})})
        files[f"{identity}/layer.tar"] = f"{number}".encode() + raw_tar.END
    return {**files, **{name.replace("__", "/"): data for name, data in more.items()}}


A, B = "a" * 64, "b" * 64
LAYER_NAME = "one__layer_tar"
DOCKER: dict[str, tuple[Bundle, type[errors.TranshipError], str]] = {
    "no list": (bundle_from(changed(manifest_json=b"{}")), errors.InvalidArgument, "manifest.json"),
    "an entry that is no object": (bundle_from(changed(manifest_json=b"[7]")), errors.InvalidArgument, "manifest.json"),
    "a key twice": (
        bundle_from(changed(manifest_json=b'[{"Config":"a","Config":"b"}]')),
        errors.InvalidArgument,
        "twice",
    ),
    "no config's name": (bundle_from(saved(Config="")), errors.InvalidArgument, "Config"),
    "a config that is a number": (bundle_from(saved(Config=7)), errors.InvalidArgument, "Config"),
    "a config that climbs": (bundle_from(saved(Config="../../../../etc/passwd")), errors.NotFound, "etc/passwd"),
    "an absolute config": (bundle_from(saved(Config="/etc/passwd")), errors.NotFound, "etc/passwd"),
    "a config of control characters": (bundle_from(saved(Config=FOUL)), errors.NotFound, r"x1b"),
    "a layer that climbs": (bundle_from(saved(Layers=["../../../../etc/passwd"])), errors.NotFound, "etc/passwd"),
    "an absent layer": (bundle_from(without(saved(), "one/layer.tar")), errors.NotFound, "one/layer.tar"),
    "layers that are no list": (bundle_from(saved(Layers="one/layer.tar")), errors.InvalidArgument, "Layers"),
    "layers that are numbers": (bundle_from(saved(Layers=[1])), errors.InvalidArgument, "Layers"),
    "one layer too many": (bundle_from(saved(Layers=["one/layer.tar"] * 2)), errors.InvalidArgument, "lists 1 layers"),
    "one layer too few": (bundle_from(saved(Layers=[])), errors.InvalidArgument, "lists 1 layers"),
    "a million layers": (bundle_from(saved(Layers=["a"] * 900_000)), errors.InvalidArgument, "would take more than"),
    "names that are no references": (bundle_from(saved(RepoTags=["Evil:1"])), errors.InvalidArgument, "RepoTags"),
    "names of control characters": (bundle_from(saved(RepoTags=[FOUL])), errors.InvalidArgument, "RepoTags"),
    "a config that is no JSON": (bundle_from(changed(config_json=b"\x7fELF")), errors.InvalidArgument, "config"),
    "a config without layers": (bundle_from(changed(config_json=b"{}")), errors.InvalidArgument, "rootfs"),
    "a config of 5 MiB": (bundle_from(changed(config_json=b" " * (5 << 20))), errors.InvalidArgument, "config"),
    "a config of foul platform": (
        bundle_from(changed(config_json=dumps({"os": 7, "architecture": FOUL}))),
        errors.InvalidArgument,
        "config",
    ),
    "other bytes than the config says": (bundle_from(saved(diff=b"other")), errors.DigestMismatch, "one/layer.tar"),
    "other gzipped bytes than the config says": (
        bundle_from(saved(gzip.compress(b"layer"), b"other")),
        errors.DigestMismatch,
        "one/layer.tar",
    ),
    "a gzipped layer that is cut": (
        bundle_from(saved(gzip.compress(bytes(5000))[:-9], bytes(5000))),
        errors.Truncated,
        "one/layer.tar",
    ),
    "a layer in bzip2": (bundle_from(saved(b"BZh91AY&SY" + bytes(900))), errors.Unsupported, "one/layer.tar.*bzip2"),
    "a layer that is a FIFO": (
        bundle_from(without(saved(), "one/layer.tar"), one__layer_tar=("fifo", "")),
        errors.InvalidArgument,
        "one/layer.tar",
    ),
    "a layer that links out of the archive": (
        bundle_from(without(saved(), "one/layer.tar"), one__layer_tar=("symlink", "../../../../etc/passwd")),
        errors.InvalidArgument,
        "outside the archive",
    ),
    "a layer that links to an absolute name": (
        bundle_from(without(saved(), "one/layer.tar"), one__layer_tar=("symlink", "/etc/passwd")),
        errors.InvalidArgument,
        "outside the archive",
    ),
    "a layer that is a hard link out of the archive": (
        bundle_from(without(saved(), "one/layer.tar"), one__layer_tar=("hardlink", "../etc/passwd")),
        errors.InvalidArgument,
        "outside the archive",
    ),
    "a layer that links to itself": (
        bundle_from(without(saved(), "one/layer.tar"), one__layer_tar=("symlink", "layer.tar")),
        errors.InvalidArgument,
        "more than 16 links",
    ),
    "two different manifest.json": (
        bundle_from({**saved(), "./manifest.json": saved(RepoTags=None)["manifest.json"]}),
        errors.InvalidArgument,
        "stands twice",
    ),
    "two images of one name": (
        bundle_from(
            {
                **saved(),
                "other.json": saved(b"other" + raw_tar.END)["config.json"],
                "two/layer.tar": b"other" + raw_tar.END,
                "manifest.json": dumps(
                    [
                        json.loads(saved()["manifest.json"])[0],
                        {
                            **json.loads(saved()["manifest.json"])[0],
                            "Config": "other.json",
                            "Layers": ["two/layer.tar"],
                        },
                    ]
                ),
            }
        ),
        errors.InvalidArgument,
        "localhost/evil:1",
    ),
    "no image": (bundle_from(changed(manifest_json=b"[]")), errors.NotFound, "no image"),
    "legacy: an ID that climbs": (bundle_from(legacy([], {"evil": {"1": "../../etc"}})), errors.InvalidArgument, "ID"),
    "legacy: an ID that is absent": (bundle_from(legacy([], {"evil": {"1": A}})), errors.NotFound, A[:12]),
    "legacy: repositories that are a list": (bundle_from(legacy([], [])), errors.InvalidArgument, "repositories"),
    "legacy: a circle of parents": (
        bundle_from(legacy([A, B], {"evil": {"1": B}}, **{f"{A}__json": dumps({"id": A, "parent": B})})),
        errors.InvalidArgument,
        "circle",
    ),
    "legacy: a layer that calls itself another": (
        bundle_from(legacy([A], {"evil": {"1": A}}, **{f"{A}__json": dumps({"id": B})})),
        errors.InvalidArgument,
        B[:12],
    ),
    "legacy: a description of 2 MiB": (
        bundle_from(legacy([A], {"evil": {"1": A}}, **{f"{A}__json": b" " * (2 << 20)})),
        errors.InvalidArgument,
        "json",
    ),
}


@pytest.mark.parametrize("form", ["file", "pipe"])
@pytest.mark.parametrize("case", DOCKER)
def test_a_wrong_archive_of_dockers_is_refused(case: str, form: str, ends: Untouched, tmp_path: Path) -> None:
    bundle, error, says = DOCKER[case]
    with presented(bundle, form, tmp_path) as end:
        refuses(end, ends, error, says)


def linked(files: Files) -> Bundle:
    return bundle_from(
        without(files, "one/layer.tar") | {"base": files["one/layer.tar"]}, one__layer_tar=("symlink", "../base")
    )


DOCKER_ODD = {
    "v1.1": bundle_from(saved()),
    "v1.2, a link to a layer": linked(saved()),
    "nameless": bundle_from(saved(RepoTags=None)),
    "a layer used twice": bundle_from(
        {
            **saved(Layers=["one/layer.tar", "one/layer.tar"]),
            "config.json": dumps(
                {"rootfs": {"type": "layers", "diff_ids": [digest_of(saved()["one/layer.tar"])] * 2}, "os": "linux"}
            ),
        }
    ),
    "an empty layer": bundle_from(saved(b"")),
    "gzipped layers": bundle_from(saved(gzip.compress(b"layer"), b"layer")),
    "no layers": bundle_from(
        {**saved(Layers=None), "config.json": dumps({"rootfs": {"type": "layers", "diff_ids": None}})}
    ),
    "unknown keys": bundle_from(saved(Unknown=[1], LayerSources=None, Parent="sha256:" + A)),
    "v1.0": bundle_from(legacy([A, B], {"evil": {"1": B, "2": B}})),
    "v25": bundle_from({**sound().files, "manifest.json": b"not even read", "repositories": b"{"}),
    "the same entry a thousand times": bundle_from(
        {**saved(), "manifest.json": dumps(json.loads(saved()["manifest.json"]) * 1000)}
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", DOCKER_ODD)
def test_archives_of_docker_of_every_age_are_read(case: str, form: str, tmp_path: Path) -> None:
    store = Store(root=tmp_path / "store", durability="process")
    with presented(DOCKER_ODD[case], form, tmp_path) as end:
        transfer(end, store)
    assert check_store(store) == (2 if case == "v1.0" else 1)


@pytest.mark.parametrize("form", ["file", "pipe"])
def test_a_layout_asked_for_as_dockers_is_none(form: str, ends: Untouched, tmp_path: Path) -> None:
    with presented(sound(), form, tmp_path, format="docker") as end:
        refuses(end, ends, errors.InvalidArgument, "no image")
    with presented(bundle_from(saved()), form, tmp_path, format="oci") as end:
        refuses(end, ends, errors.InvalidArgument, "docker's, and an OCI layout was asked for")
