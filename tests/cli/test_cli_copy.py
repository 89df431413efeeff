"""Moving images with the commands: ends, options, results, and what is refused."""

from __future__ import annotations

import errno
import gzip
import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from support.images import blobs

APP = "docker.io/library/app:1"


def test_pack_export_import_gives_back_the_same_digest(tranship, tmp_path):
    Path("site").mkdir()
    Path("site/f").write_text("content")
    (packed,) = tranship("pack", "site", "app:1").lines
    name, digest = packed.split()
    assert name == APP
    tranship("export", "app:1", "-o", "app.tar")
    tranship("import", "--root", tmp_path / "other", "app.tar")
    assert tranship("digest", "--root", tmp_path / "other", "app:1").lines == [digest]
    assert tranship("ls", "-q", "--root", tmp_path / "other").lines == [APP]


def test_options_before_the_command_mean_the_same(stocked):
    assert stocked("-n", "nowhere", "ls", "-q").lines == []
    assert stocked("--namespace=default", "-q", "ls").lines == stocked("ls", "-q").lines
    assert stocked("--root", stocked.root, "content", "ls", "-q").lines


def test_options_may_stand_anywhere_among_the_arguments(stocked):
    stocked("copy", "app.tar", "--json", "store:models:1", "-q", "oci:out")
    assert len(stocked("ls", "oci:out", "-q", "app:1").lines) == 3
    assert stocked("--json", "ls", "-q", "--", "app:1").json["images"][0]["name"] == APP


def test_exporting_twice_gives_the_same_bytes_to_a_file_and_to_stdout(stocked):
    stocked("export", "app:1", "-o", "one.tar")
    assert Path("one.tar").read_bytes() == stocked("export", "app:1").raw == Path("app.tar").read_bytes()


@pytest.mark.parametrize(
    ("name", "magic"), [("x.tar.gz", b"\x1f\x8b"), ("x.tar.zst", b"\x28\xb5\x2f\xfd"), ("x.tar", b"oci")]
)
def test_the_ending_of_an_archive_says_its_compression(stocked, tmp_path, name, magic):
    stocked("export", "app:1", "-o", name)
    assert Path(name).read_bytes().startswith(magic)
    stocked("import", "--root", tmp_path / "other", name)
    assert stocked("digest", "--root", tmp_path / "other", "app:1").lines == stocked("digest", "app:1").lines


def test_compression_can_be_said_aloud(stocked):
    stocked("export", "--compression", "gzip", "app:1", "-o", "x.tar")
    assert gzip.decompress(Path("x.tar").read_bytes()) == Path("app.tar").read_bytes()


def test_an_archive_from_a_pipe_is_imported(tranship, furnished):
    ran = tranship("import", "-", stdin=(furnished / "here" / "app.tar").read_bytes())
    assert ran.out.startswith(APP + " sha256:")


def test_import_calls_the_one_image_as_it_is_told(stocked):
    assert [line.split()[0] for line in stocked("import", "--as", "a:1", "--as", "b", "app.tar").lines] == [
        "docker.io/library/a:1",
        "docker.io/library/b:latest",
    ]


def test_import_names_as_ctr_does(stocked):
    ran = stocked("import", "--base-name", "example.com/app", "--digests", "--overwrite", "app.tar")
    digest = stocked("digest", "app:1").lines[0]
    assert [line.split()[0] for line in ran.lines] == [APP, f"example.com/app@{digest}"]


def test_an_image_without_a_name_is_called_by_date_and_digest_and_that_is_said(tranship, images):
    layout = Path("layout")
    shutil.copytree(images("small"), layout)
    index = json.loads((layout / "index.json").read_text())
    del index["manifests"][0]["annotations"]
    (layout / "index.json").write_text(json.dumps(index))
    ran = tranship("copy", "oci:layout", "store:")
    name = ran.lines[0].split()[0]
    assert re.fullmatch(r"import-\d{4}-\d\d-\d\d@sha256:[0-9a-f]{64}", name)
    assert f"stored as {name}" in ran.err


def test_several_sources_go_into_one_archive(stocked):
    stocked("copy", "store:app:1", "store:models:1", "oci:layout:1.0", "all.tar")
    assert sorted(stocked("ls", "-q", "all.tar").lines) == ["1.0", APP, "docker.io/library/models:1"]


def test_export_takes_patterns_and_other_ends(stocked):
    stocked("export", "docker.io/library/*:1", "oci:layout:1.0", "-o", "x.tar")
    assert sorted(stocked("ls", "-q", "x.tar").lines) == [
        "1.0",
        APP,
        "docker.io/library/models:1",
        "docker.io/library/old:1",
    ]


def test_one_platform_leaves_the_index_and_says_how_many_there_are(stocked):
    ran = stocked("copy", "--platform", "linux/arm64", "store:app:1", "oci:one:x")
    assert f"{APP}: 1 of 3 platforms" in ran.err
    assert stocked("digest", "oci:one:x").lines == stocked("digest", "app:1").lines
    (image,) = stocked("ls", "--json", "oci:one").json["images"]
    assert image["platforms"] == ["linux/arm64/v8"]


def test_one_platform_can_take_the_place_of_the_index(stocked):
    stocked("copy", "--platform", "linux/arm64", "--index", "single", "store:app:1", "oci:one:x")
    wanted = stocked("digest", "--platform", "linux/arm64", "app:1").lines
    assert stocked("digest", "oci:one:x").lines == wanted


def test_results_as_one_document(stocked):
    value = stocked("copy", "--json", "store:app:1", "oci:out:x").json
    assert value["images"][0]["digest"] == stocked("digest", "app:1").lines[0]
    assert sum(value["bytes"].values()) == sum(p.stat().st_size for p in blobs(Path("out")).values())
    assert value["partial"] == []
    assert stocked("copy", "--json", "store:app:1", "oci:out:x").json["objects"] == {
        "present": sum(value["objects"].values())
    }


def test_a_dry_run_shows_bytes_and_writes_nothing(stocked):
    value = stocked("copy", "--dry-run", "--json", "store:app:1", "oci:out").json
    assert value["bytes"] == value["bytesToMove"] > 0
    assert not Path("out").exists()
    ran = stocked("export", "--dry-run", "app:1", "-o", "dry.tar")
    assert "would move" in ran.out
    assert not Path("dry.tar").exists()


def test_digests_are_written_to_a_file(stocked):
    stocked("copy", "--digest-file", "digests", "store:", "oci:out")
    assert Path("digests").read_text().splitlines() == stocked("digest", "store:").lines


def test_a_dry_run_makes_no_store(tranship, furnished):
    ran = tranship("import", "--dry-run", furnished / "here" / "app.tar")
    assert "would move" in ran.out
    assert not tranship.root.exists()


def test_the_index_of_an_archive_can_be_kept_as_an_image(stocked):
    stocked("import", "--index-name", "example.com/all:1", "--root", "other", "app.tar")
    assert stocked("ls", "-q", "--root", "other").lines == [APP, "example.com/all:1"]
    with tarfile.open("app.tar") as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        assert stocked("inspect", "--raw", "--root", "other", "example.com/all:1").raw == index.read()
    assert stocked("check", "--root", "other").code == 0
    stocked("rm", "--root", "other", "app:1")  # the other name keeps everything
    assert " complete " in stocked("check", "--root", "other", "example.com/all:1").out
    assert stocked.failing("import", "--index-name", "x:1", "oci:layout").code == 2


def test_keep_going_moves_what_it_can_and_tells_the_rest(stocked):
    Path("broken.tar").write_bytes(b"no tar at all" * 100)
    ran = stocked.failing("copy", "--keep-going", "broken.tar", "store:app:1", "oci:out")
    assert ran.code == 9
    assert ran.err.count("tranship: error:") == 2
    assert "1 of 2 failed: archive:broken.tar" in ran.err
    assert stocked("ls", "-q", "oci:out").lines == [APP]
    assert stocked.failing("copy", "--keep-going", "broken.tar", "store:app:1", "x.tar").code == 2
    ran = stocked.failing("copy", "--keep-going", "--json", "broken.tar", "store:app:1", "store:models:1", "oci:out")
    assert [image["name"] for image in ran.json["images"]] == [APP, "docker.io/library/models:1"]
    assert [(failure["name"], failure["exitCode"]) for failure in ran.json["failures"]] == [("archive:broken.tar", 2)]


def test_without_keep_going_nothing_arrives(stocked):
    Path("broken.tar").write_bytes(b"no tar at all" * 100)
    assert stocked.failing("copy", "store:app:1", "broken.tar", "oci:out").code == 2
    assert not Path("out/index.json").exists()


def test_no_clobber_leaves_names_and_files_as_they_are(stocked):
    before = Path("app.tar").read_bytes()
    assert stocked.failing("export", "--no-clobber", "app:new", "-o", "app.tar").code == 10
    assert Path("app.tar").read_bytes() == before
    digest = stocked("digest", "app:1").lines
    assert stocked.failing("copy", "--no-clobber", "store:app:new", "store:app:1").code == 10
    layout = stocked("digest", "oci:layout:1.0").lines
    assert stocked.failing("copy", "--no-clobber", "store:app:new", "oci:layout:1.0").code == 10
    assert stocked.failing("copy", "--dry-run", "--no-clobber", "store:app:new", "oci:layout:1.0").code == 10
    assert stocked("digest", "oci:layout:1.0").lines == layout
    assert stocked.failing("tag", "--no-clobber", "app:new", "app:1").code == 10
    assert stocked("digest", "app:1").lines == digest
    stocked("tag", "--no-clobber", "app:1", "app:1")


# --- ends -------------------------------------------------------------------------------------------------------------


def test_bare_sources_are_what_stands_there(stocked):
    stocked("copy", "app.tar", "layout", "oci:out")
    assert sorted(stocked("ls", "-q", "oci:out").lines) == ["1.0", APP]


def test_bare_destinations_never_overwrite(stocked):
    before = Path("app.tar").read_bytes()
    ran = stocked.failing("copy", "store:models:1", "app.tar")
    assert (ran.code, Path("app.tar").read_bytes()) == (10, before)
    assert "write archive:app.tar to replace it" in ran.err
    stocked("copy", "store:models:1", "archive:app.tar")
    assert stocked("ls", "-q", "app.tar").lines == ["docker.io/library/models:1"]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["copy", "./nothing", "store:x"], 2, "'./nothing' is no end"),
        (["copy", "absent.tar", "store:x"], 3, "there is no file absent.tar"),
        (["copy", "oci:absent", "store:x"], 3, "no directory absent"),
        (["copy", "store:absent", "oci:x"], 3, "no image 'absent'"),
        (["copy", "oci:", "oci:x"], 2, "names no file"),
        (["copy", "app.tar", "nothing"], 2, "'nothing' does not say what it is"),
        (["copy", "weird://x", "oci:y"], 2, "'weird' is no kind of end"),
        (["copy", "--dest-namespace", "x", "app.tar", "oci:y"], 2, "--dest-namespace means nothing for oci:y"),
        (["copy", "--retries", "-1", "app.tar", "oci:y"], 2, "--retries"),
        (["copy", "--timeout", "0s", "app.tar", "oci:y"], 2, "--timeout"),
        (["copy", "--limit-rate", "0", "app.tar", "oci:y"], 2, "--limit-rate"),
        (["copy", "-", "-", "oci:y"], 2, "standard input is an archive already"),
        (["copy", "app.tar"], 2, "DST is missing"),
        (["copy", "--platform", "not a platform", "app.tar", "oci:y"], 2, "invalid platform"),
        (["copy", "--platform", "linux/s390x", "app.tar", "oci:y"], 3, "linux/s390x"),
        (["copy", "--all-platforms", "--platform", "linux/arm64", "app.tar", "oci:y"], 2, "choose one"),
        (["copy", "--jobs", "0", "app.tar", "oci:y"], 2, "--jobs"),
        (["copy", "--max-scratch", "lots", "app.tar", "oci:y"], 2, "a size is written"),
        (["copy", "app.tar", "store:app:not a tag"], 2, "invalid reference"),
        (["import", "absent.tar"], 3, "there is no file absent.tar"),
        (["import", "--as", "x", "--digests", "app.tar"], 2, "--as"),
        (["pack", "absent", "x"], 3, "no directory or tar absent"),
        (["pack", "--owner", "root", "site", "x"], 2, "UID:GID"),
        (["pack", "--owner", "1", "--keep", "owner", "site", "x"], 2, "choose one"),
        (["tag", "*", "x"], 2, "4 images"),
        (["rm", "oci:layout"], 12, "cannot be removed"),
        (["ls", "nothing"], 3, "no image 'nothing'"),
        (["ls", "--nonsense"], 2, "--nonsense"),
        (["nonsense"], 2, "no command"),
        (["exprot"], 2, "did you mean export"),
        (["lease", "create", "--expires", "soon"], 2, "a time is written"),
        (["label", "app:1", "novalue"], 2, "KEY=VALUE"),
        (["content", "get", "sha256:short"], 2, "invalid digest"),
        (["content", "get", "sha256:" + "0" * 64], 3, "not found"),
        (["digest", "--platform", "linux/s390x", "app:1"], 3, "there is linux/amd64"),
        (["inspect", "--raw", "store:"], 2, "the bytes of one"),
    ],
)
def test_mistakes_are_told_in_a_sentence_with_their_exit_code(stocked, words, code, told):
    before = stocked("ls").out
    ran = stocked.failing(*words)
    assert ran.code == code, ran.err
    assert told in ran.err
    assert "tranship: error: " in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""
    assert stocked("ls").out == before


def test_source_and_destination_may_be_different_stores_and_namespaces(stocked, tmp_path):
    stocked("copy", "--dest-root", tmp_path / "b", "--dest-namespace", "build", "store:app:1", "store:")
    assert stocked("ls", "-q", "--root", tmp_path / "b", "-n", "build").lines == [APP]
    assert stocked("ls", "-q", "--root", tmp_path / "b").lines == []
    stocked("copy", "--src-root", tmp_path / "b", "--src-namespace", "build", "store:app:1", "oci:out")
    assert stocked("ls", "-q", "oci:out").lines == [APP]


def test_the_default_store_is_in_the_users_data_folder(tranship, monkeypatch, tmp_path):
    monkeypatch.delenv("TRANSHIP_ROOT")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("os.getuid", lambda: 1000)
    Path("d").mkdir()
    tranship("pack", "d", "x")
    assert (tmp_path / "data" / "tranship" / "state.db").exists()


# --- pack -------------------------------------------------------------------------------------------------------------


def test_source_date_epoch_is_the_time_of_everything(stocked, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    stocked("pack", "--compression", "none", "site", "oci:out:x")
    assert json.loads(stocked("inspect", "--config", "oci:out:x").raw)["created"] == "1970-01-02T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert stocked.failing("pack", "site", "oci:out:x").code == 2


def test_pack_options_reach_the_image(stocked):
    words = ["--entrypoint", "/run.sh", "--cmd", "a", "--cmd", "b", "--env", "A=1", "--user", "7", "--workdir", "/w"]
    stocked("pack", *words, "--label", "k=v", "--annotation", "n=m", "--platform", "linux/arm64", "site", "x:1")
    (image,) = stocked("inspect", "x:1").json
    (manifest,) = image["manifests"]
    assert manifest["config"] == {
        "Cmd": ["a", "b"],
        "Entrypoint": ["/run.sh"],
        "Env": ["A=1"],
        "Labels": {"k": "v"},
        "User": "7",
        "WorkingDir": "/w",
    }
    assert manifest["annotations"] == {"n": "m"}
    assert manifest["platform"] == {"architecture": "arm64", "os": "linux"}


# --- output -----------------------------------------------------------------------------------------------------------


def test_quiet_leaves_results_alone(stocked):
    ran = stocked("copy", "-q", "--platform", "linux/arm64", "store:app:1", "oci:out:x")
    assert ran.err == ""
    assert ran.lines == [f"x {stocked('digest', 'app:1').lines[0]}"]


def test_names_from_outside_cannot_reach_the_terminal(stocked):
    index = json.loads(Path("layout/index.json").read_text())
    index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = "evil\x1b[2J\u202e"
    Path("layout/index.json").write_text(json.dumps(index))
    for words in (["ls", "oci:layout"], ["check", "oci:layout"], ["inspect", "--tree", "oci:layout"]):
        ran = stocked(*words)
        assert "\x1b" not in ran.out and "\u202e" not in ran.out
        assert "evil\\x1b[2J\\u202e" in ran.out
    assert json.loads(stocked("ls", "--json", "oci:layout").raw)["images"][0]["name"] == "evil\x1b[2J\u202e"


def test_the_store_of_names_is_searched_as_docker_would_and_what_was_taken_is_said(stocked):
    ran = stocked("digest", "app:1")
    assert f"tranship: app:1 is {APP}" in ran.err
    assert stocked("digest", APP).err == ""


def test_debug_shows_where_an_error_comes_from_and_verbose_its_notes(stocked):
    path = next(iter(blobs(Path("layout")).values()))
    for candidate in blobs(Path("layout")).values():
        if candidate.stat().st_size > path.stat().st_size:
            path = candidate
    os.chmod(path, 0o600)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    words = ["copy", "oci:layout", "oci:out"]
    plain, verbose, debug = (stocked.failing(*words, *more) for more in ([], ["-v"], ["--debug"]))
    assert {plain.code, verbose.code, debug.code} == {7}
    assert "is corrupt" in plain.err and "while moving" not in plain.err
    assert "while moving" in verbose.err and "Traceback" not in verbose.err
    assert "Traceback" in debug.err


def test_a_bug_is_called_one(stocked, monkeypatch):
    monkeypatch.setattr("tranship.cli.commands.ls.run", failing(ZeroDivisionError("oops\x1b")))
    ran = stocked.failing("ls")
    assert ran.code == 70
    assert "internal error: ZeroDivisionError: oops\\x1b" in ran.err
    assert "Traceback" not in ran.err


def test_an_error_of_the_system_names_its_file(stocked, monkeypatch):
    codes = {
        errno.ENOENT: 3,
        errno.EACCES: 4,
        errno.EIO: 7,
        errno.EISDIR: 2,
        errno.EMFILE: 6,
        errno.EBUSY: 10,
        errno.EL2HLT: 1,
    }
    for number, code in codes.items():
        monkeypatch.setattr("tranship.cli.commands.ls.run", failing(OSError(number, "x", "a\x1bfile")))
        ran = stocked.failing("ls")
        assert (ran.code, ran.err) == (code, f"tranship: error: a\\x1bfile: {os.strerror(number)}\n")
    monkeypatch.setattr("tranship.cli.commands.ls.run", failing(OSError(errno.ENOSPC, "x", "f")))
    ran = stocked.failing("ls")
    assert (ran.code, "hint: free some space" in ran.err) == (11, True)


def test_a_disk_that_fails_is_named_by_what_was_read_from_it(stocked, monkeypatch):
    from tranship import pump

    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EIO, "x")

    for name, when in (("copy_range", "moving layer"), ("read_at", "reading oci-layout")):
        monkeypatch.setattr(pump, name, fail)
        ran = stocked.failing("copy", "oci:layout", f"oci:{name}")
        assert ran.code == 7
        assert ran.err.startswith(f"tranship: error: Input/output error while {when}")
    ran = stocked.failing("copy", "--keep-going", "--json", "oci:layout", "store:app:new", "oci:out")
    assert ran.code == 9
    assert [failure["exitCode"] for failure in ran.json["failures"]] == [7, 7]


def failing(error: Exception):
    def run(*_: object) -> None:
        raise error

    return run


def test_standard_output_by_name_is_standard_output(stocked):
    """Replacing /dev/stdout by a new file, as any other name, would take it from the whole machine."""
    link = os.readlink("/dev/stdout")
    stocked.shell(
        "tranship export app:1 -o /dev/stdout > out.tar; tranship export app:1 > plain.tar; cmp out.tar plain.tar"
    )
    wanted = stocked("digest", "store:").lines
    ran = stocked.shell("tranship copy -q --digest-file /dev/stdout store: oci:out > digests")
    assert ran.err == ""
    assert Path("digests").read_text().splitlines()[-len(wanted) :] == wanted
    assert os.readlink("/dev/stdout") == link
    ran = stocked.failing("export", "app:1", "-o", "-", "--digest-file", "-")
    assert (ran.code, ran.raw) == (2, b"")


def test_digests_go_to_a_device_or_a_fifo_as_it_is(stocked):
    os.mkfifo("fifo")
    os.symlink("fifo", "link")
    ran = stocked.shell("cat fifo > digests & tranship copy --digest-file link store: oci:out; wait")
    assert Path("digests").read_text().splitlines() == stocked("digest", "store:").lines, ran
    assert os.path.islink("link")


def test_digests_on_standard_error_come_behind_what_is_there(stocked):
    stocked.shell("(echo before >&2; tranship copy -q --digest-file /dev/stderr store: oci:out) 2> log")
    assert Path("log").read_text().splitlines() == ["before", *stocked("digest", "store:").lines]
