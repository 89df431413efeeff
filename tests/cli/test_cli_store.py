"""Looking at images and keeping the store with the commands."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from support.images import blobs
from tranship.cli import options, output
from tranship.errors import InvalidArgument

APP, NEW, OLD, MODELS = (f"docker.io/library/{name}" for name in ("app:1", "app:new", "old:1", "models:1"))


# --- looking ----------------------------------------------------------------------------------------------------------


def test_ls_shows_names_digests_sizes_and_platforms(stocked):
    ran = stocked("ls")
    header, first, *_ = ran.lines
    assert header.split() == ["NAME", "DIGEST", "SIZE", "PLATFORMS"]
    digest = stocked("digest", "app:1").lines[0]
    everything = output.size(stocked("inspect", "app:1").json[0]["bytes"])
    assert first.split() == [APP, digest[:19], *everything.split(), "linux/amd64,linux/arm64/v8,linux/arm/v7"]
    assert stocked("ls", "-q").lines == [APP, NEW, MODELS, OLD]


def test_ls_takes_names_patterns_and_other_ends(stocked):
    assert stocked("ls", "-q", "app:1").lines == [APP]
    assert stocked("ls", "-q", "*/app:*", "app.tar", "oci:layout").lines == [APP, NEW, APP, "1.0"]
    assert stocked("ls", "-q", "-", stdin=Path("app.tar").read_bytes()).lines == [APP]


def test_ls_as_json_counts_every_object_once(stocked):
    (image,) = stocked("ls", "--json", "oci:layout").json["images"]
    assert image["bytes"] == sum(path.stat().st_size for path in blobs(Path("layout")).values())
    assert image["name"] == "1.0"


def test_a_store_that_nobody_has_made_yet_lists_nothing(tranship, monkeypatch):
    monkeypatch.delenv("TRANSHIP_ROOT")
    monkeypatch.setenv("XDG_DATA_HOME", str(tranship.root.parent / "data"))
    monkeypatch.setattr(os, "getuid", lambda: 1000)  # root's store is elsewhere
    assert tranship("ls").lines == ["NAME  DIGEST  SIZE  PLATFORMS"]
    assert tranship("ls", "--json").json == {"images": []}
    assert tranship.failing("check").code == 3


def test_a_store_that_was_named_and_is_not_there_is_an_error(tranship):
    for words in ("ls", "check", "gc", "df", "verify", "fsck", "content ls", "rm x", "digest x"):
        ran = tranship.failing(*words.split())
        assert ran.code == 3
        assert f"there is no store at {tranship.root}\n  hint: nothing is stored yet" in ran.err, words
    Path("file").touch()
    for words in ("ls", "check", "pack . app:1"):
        ran = tranship.failing(*words.split(), "--root", "file")
        assert ran.code == 2
        assert "file is not a folder" in ran.err, words
    assert not tranship.root.exists()


def test_inspect_shows_configs_and_layers_of_each_platform(stocked):
    (image,) = stocked("inspect", "app:1").json
    assert image["name"] == APP
    assert image["complete"] is True
    assert [manifest["platform"].get("architecture") for manifest in image["manifests"]] == [
        "amd64",
        "arm64",
        "arm",
        "unknown",
    ]
    first = image["manifests"][0]
    assert first["config"]["Cmd"] == ["/bin/sh"]
    assert [child["mediaType"].rpartition(".")[2] for child in first["objects"]] == ["v1+json", *["tar+gzip"] * 3]
    assert len(stocked("inspect", "store:").json) == 4


def test_inspect_prints_documents_byte_by_byte(stocked):
    digest = stocked("digest", "app:1").lines[0]
    raw = stocked("inspect", "--raw", "app:1").raw
    assert raw == (stocked.root / "blobs" / "sha256" / digest[7:]).read_bytes()
    arm = next(m["digest"] for m in json.loads(raw)["manifests"] if m["platform"]["architecture"] == "arm64")
    manifest = stocked("inspect", "--raw", "--platform", "linux/arm64", "app:1").raw
    assert manifest == (stocked.root / "blobs" / "sha256" / arm[7:]).read_bytes()
    config = json.loads(stocked("inspect", "--config", "--platform", "linux/arm64", "app:1").raw)
    assert config["architecture"] == "arm64"


def test_inspect_draws_the_tree_and_what_is_not_there(stocked):
    stocked("copy", "--platform", "linux/amd64", "store:app:1", "oci:part:x")
    lines = stocked("inspect", "--tree", "oci:part:x").lines
    assert lines[0] == "x"
    assert lines[1].startswith("index  sha256:")
    assert lines[2].startswith("├─ manifest  linux/amd64  sha256:")
    assert lines[3].startswith("│  ├─ config  sha256:")
    assert lines[6].startswith("│  └─ layer  sha256:")
    assert lines[-1].startswith("└─ manifest  unknown/unknown  sha256:")
    assert lines[-1].endswith("  (not there)")


def test_check_tells_complete_partial_and_incomplete_images_apart(stocked):
    stocked("copy", "--platform", "linux/amd64", "store:app:1", "oci:part:x")
    ran = stocked("check", "app:1", "oci:part:x")
    assert [line.split()[2] for line in ran.lines] == ["STATUS", "complete", "partial"]
    path = max(blobs(Path("part")).values(), key=lambda path: path.stat().st_size)
    path.unlink()
    ran = stocked.failing("check", "--json", "app:1", "oci:part:x")
    assert ran.code == 3
    whole, broken = ran.json["images"]
    assert (whole["status"], broken["status"]) == ("complete", "incomplete")
    assert path.name in {descriptor["digest"][7:] for descriptor in broken["missing"]}


def test_digest_of_a_platform_is_its_manifests(stocked):
    wanted = json.loads(stocked("inspect", "--raw", "app:1").raw)["manifests"]
    assert stocked("digest", "--platform", "linux/arm/v7", "app:1", "oci:layout").lines == [wanted[2]["digest"]] * 2


# --- verify and fsck --------------------------------------------------------------------------------------------------


def corrupt(path: Path) -> str:
    os.chmod(path, 0o600)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return f"sha256:{path.name}"


def largest(folder: Path) -> Path:
    return max(blobs(folder).values(), key=lambda path: path.stat().st_size)


def test_verify_finds_a_flipped_bit_in_the_store_and_forgets_the_blob(stocked):
    assert stocked("verify").lines[-1].endswith(": all right")
    digest = corrupt(stocked.largest_blob("app:1"))
    ran = stocked.failing("verify")
    assert ran.code == 7
    assert ran.lines[0] == f"corrupt: {digest}"
    assert stocked.failing("content", "info", digest).code == 3
    assert " partial " in stocked("check", "app:1").out
    stocked("import", "app.tar")
    assert " complete " in stocked("check", "app:1").out


def test_verify_looks_at_other_ends_too(stocked):
    assert stocked("verify", "--json", "app.tar", "oci:layout").json["corrupt"] == []
    digest = corrupt(largest(Path("layout")))
    ran = stocked.failing("verify", "--json", "oci:layout")
    assert (ran.code, ran.json["corrupt"]) == (7, [digest])
    largest(Path("layout")).unlink()
    ran = stocked.failing("verify", "--json", "oci:layout")
    assert (ran.code, ran.json["missing"]) == (3, [digest])


def test_verify_tells_a_corrupt_manifest(stocked):
    digest = stocked("digest", "oci:layout:1.0").lines[0]
    corrupt(blobs(Path("layout"))[digest])
    ran = stocked.failing("verify", "--json", "oci:layout")
    assert (ran.code, ran.json["corrupt"]) == (7, [digest])


def test_fsck_finds_and_repairs(stocked):
    assert stocked("fsck", "--deep").lines[-1].startswith("the store is in order: ")
    path = stocked.largest_blob("app:1")
    path.unlink()
    ran = stocked.failing("fsck", "--json")
    assert (ran.code, ran.json["ok"]) == (7, False)
    assert [(p["kind"], p["subject"], p["repaired"]) for p in ran.json["problems"]] == [
        ("missing", f"sha256:{path.name}", False)
    ]
    assert stocked("fsck", "--repair").lines[0].endswith("(repaired)")
    assert stocked("fsck").code == 0


def test_fsck_names_incomplete_images_and_does_not_blame_the_store(stocked):
    stocked("content", "rm", stocked("digest", "app:new").lines[0])
    stocked("rm", "old:1", "models:1")
    ran = stocked("fsck")
    assert ran.lines[0].startswith(f"incomplete: {NEW} in namespace default: ")
    assert ran.lines[-1].startswith("the store is in order, but 1 image is incomplete: ")
    assert "comes back when the image is pulled" in ran.err


# --- removing and labelling -------------------------------------------------------------------------------------------


def test_rm_frees_what_nothing_else_needs(stocked):
    ran = stocked("rm", "app:1")
    assert ran.lines == [APP]
    assert "freed" in ran.err
    assert stocked("ls", "-q").lines == [NEW, MODELS, OLD]
    assert stocked("gc").lines == ["0 blobs, 0 B, freed"]


def test_rm_without_collection_leaves_content_to_gc(stocked):
    before = len(blobs(stocked.root))
    stocked("rm", "--no-gc", "*/app:1")
    assert len(blobs(stocked.root)) == before
    counted = stocked("gc", "--dry-run", "--json").json
    assert counted["blobs"] > 0
    done = stocked("gc", "--json").json
    assert (done["blobs"], done["bytes"]) == (counted["blobs"], counted["bytes"])
    assert len(blobs(stocked.root)) == before - done["blobs"]


def test_rm_of_one_absent_name_removes_nothing(stocked):
    assert stocked.failing("rm", "app:1", "absent").code == 3
    assert APP in stocked("ls", "-q").lines
    assert stocked("rm", "--dry-run", "docker.io/library/").lines == [APP, NEW, MODELS, OLD]
    assert APP in stocked("ls", "-q").lines


def test_tag_gives_several_names_to_one_image(stocked):
    stocked("tag", "app:1", "a", "example.com/b:2")
    digest = stocked("digest", "app:1").lines[0]
    assert stocked("digest", "docker.io/library/a:latest", "example.com/b:2").lines == [digest] * 2


def test_labels_of_images_are_set_shown_and_removed(stocked):
    assert stocked("label", "app:1", "b=2", "a=1=1").lines == ["a=1=1", "b=2"]
    assert stocked("label", "app:1", "b=").lines == ["a=1=1"]
    assert stocked("label", "--json", "app:1").json == {"a": "1=1"}


# --- content, leases, namespaces --------------------------------------------------------------------------------------


def test_content_is_listed_shown_labelled_and_removed(stocked):
    digest = stocked("digest", "app:new").lines[0]
    assert digest in stocked("content", "ls", "-q").lines
    assert stocked("content", "get", digest).raw == stocked("inspect", "--raw", "app:new").raw
    info = stocked("content", "info", digest).json
    assert (info["digest"], info["size"]) == (digest, len(stocked("inspect", "--raw", "app:new").raw))
    stocked("content", "label", digest, "seen=yes")
    assert stocked("content", "ls", "-q", 'labels."seen"==yes').lines == [digest]
    assert stocked("content", "label", digest, "seen=").lines == [
        f"{key}={value}" for key, value in sorted(info["labels"].items())
    ]
    assert stocked("content", "rm", digest).lines == [digest]
    assert stocked.failing("content", "info", digest).code == 3


def test_unfinished_content_is_listed_and_dropped(stocked):
    from tranship import Store

    with Store(root=stocked.root).open() as store:
        writer = store.namespace("default").content.writer("layer-one", total=100)
        writer.write(b"x" * 10)
        writer.close()
    assert stocked("content", "active", "-q").lines == ["layer-one"]
    (one,) = stocked("content", "active", "--json").json["ingests"]
    assert (one["ref"], one["offset"], one["total"]) == ("layer-one", 10, 100)
    assert stocked("content", "active").lines[1].split()[:4] == ["layer-one", "10", "B", "100"]
    stocked("content", "abort", "layer-one")
    assert stocked("content", "active", "-q").lines == []


def test_leases_are_made_listed_and_removed(stocked):
    (made,) = stocked("lease", "create", "--expires", "1h").lines
    stocked("lease", "create", "--id", "mine", "--expires", "0s", "for=me")
    leases = {one["id"]: one for one in stocked("lease", "ls", "--json").json["leases"]}
    assert leases["mine"]["labels"] == {"for": "me"}
    assert "containerd.io/gc.expire" in leases[made]["labels"]
    assert stocked("lease", "ls", "-q", "id==mine").lines == ["mine"]
    stocked("lease", "rm", "mine", made)
    assert stocked("leases", "list", "-q").lines == []
    assert stocked.failing("lease", "rm", "mine").code == 3


def test_namespaces_are_made_listed_labelled_and_removed_when_empty(stocked):
    stocked("namespace", "create", "build", "a=b")
    assert stocked("ns", "ls", "--json").json["namespaces"] == [
        {"name": "build", "labels": {"a": "b"}},
        {"name": "default", "labels": {}},
    ]
    assert stocked("ns", "label", "build", "c=d", "a=").lines == ["c=d"]
    stocked("copy", "--dest-namespace", "build", "store:app:1", "store:")
    assert stocked.failing("ns", "rm", "build").code == 10
    stocked("rm", "-n", "build", "app:1")
    stocked("ns", "rm", "build")
    assert stocked("ns", "ls", "-q").lines == ["default"]


def test_df_counts_by_namespace(stocked):
    usage = stocked("df", "--json").json
    assert usage["blobs"] == len(blobs(stocked.root))
    assert usage["bytes"] == sum(path.stat().st_size for path in blobs(stocked.root).values())
    assert usage["namespaces"]["default"]["images"] == 4
    assert usage["reclaimableBytes"] == 0
    assert stocked("df").lines[0].split() == [str(stocked.root), "COUNT", "SIZE"]


def test_a_store_is_no_other_folder(tranship):
    Path("home").mkdir()
    Path("home/diary").write_text("dear diary")
    ran = tranship.failing("import", "--root", "home", "-", stdin=empty_tar())
    assert ran.code == 2
    assert os.listdir("home") == ["diary"]


def empty_tar() -> bytes:
    data = io.BytesIO()
    tarfile.open(fileobj=data, mode="w").close()
    return data.getvalue()


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("0", 0),
        ("4096", 4096),
        ("500M", 500_000_000),
        ("1.5GiB", 1_610_612_736),
        ("2k", 2000),
        ("2KB", 2000),
        ("1 TB", 10**12),
    ],
)
def test_sizes_are_read_as_people_write_them(text, count):
    assert options.bytes_of(text) == count


@pytest.mark.parametrize("text", ["", "x", "-1", "1Q", "1e3", "1 2"])
def test_other_sizes_are_refused(text):
    with pytest.raises(InvalidArgument, match="a size is written"):
        options.bytes_of(text)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("24h", 86400), ("1d12h", 129600), ("0s", 0)])
def test_times_are_read_as_people_write_them(text, seconds):
    assert options.duration_of(text).total_seconds() == seconds


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (12_345_678, "12.3 MB")],
)
def test_sizes_are_written_in_thousands(count, text):
    from tranship.cli.output import size

    assert size(count) == text
