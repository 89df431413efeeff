"""What people who are new to it type, and what they are told."""

from __future__ import annotations

import fcntl
import signal
import sys
import termios
import time
from functools import partial
from pathlib import Path

import pytest

from support.waiting import eventually
from tranship.cli import output

APP, NEW, OLD, MODELS = (f"docker.io/library/{name}" for name in ("app:1", "app:new", "old:1", "models:1"))


# --- names and patterns -----------------------------------------------------------------------------------------------


def test_a_pattern_without_a_slash_is_held_against_short_names_alone(stocked):
    stocked("tag", "app:1", "docs.example/app:1")
    ran = stocked("rm", "--dry-run", "do*")  # and not all of docker.io
    assert ran.lines == ["docs.example/app:1"]
    assert "do* is 1 image" in ran.err
    ran = stocked("rm", "--dry-run", "app:*")
    assert ran.lines == [APP, NEW]
    assert "app:* is 2 images" in ran.err
    assert len(stocked("rm", "--dry-run", "docker.io/*").lines) == 4


def test_an_image_may_be_called_by_the_digits_of_its_digest(stocked):
    digest = stocked("digest", "app:1").lines[0]
    for word in (digest, digest[:19], digest[7:19], digest[7:]):
        assert stocked("ls", "-q", word).lines == [APP], word
        assert stocked("inspect", word).json[0]["digest"] == digest
    shared = stocked("digest", "app:new").lines[0][7:19]
    assert stocked("ls", "-q", shared).lines == [NEW, MODELS, OLD]
    stocked("export", digest[7:19], "-o", "one.tar")
    assert stocked("ls", "-q", "one.tar").lines == [APP]
    assert stocked.failing("rm", digest[7:18]).code == 3  # too few
    stocked("rm", digest[7:19])
    assert APP not in stocked("ls", "-q").lines


def test_a_hint_names_what_is_spelled_alike_and_no_more(stocked):
    assert "did you mean app:1" in stocked.failing("rm", "app:2").err
    assert "did you mean models:1?" in stocked.failing("rm", "model:1").err
    assert "did you mean" not in stocked.failing("rm", "nosuch:1").err


# --- looking changes nothing ------------------------------------------------------------------------------------------


def test_looking_makes_no_namespace(stocked):
    for words in (["ls"], ["check"], ["inspect", "store:"], ["export", "-o", "none.tar"]):
        stocked.failing(*words, "-n", "typo")
    assert stocked("namespace", "ls", "-q").lines == ["default"]


def test_looking_takes_up_nothing_that_was_forgotten(stocked):
    digest = stocked("digest", "app:new").lines[0]
    stocked("content", "rm", digest)
    for _ in range(2):
        assert stocked.failing("check", "app:new").code == 3
    assert digest not in stocked("content", "ls", "-q").lines


# --- ends that are something else -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("copy containers-storage:foo oci:x", "no ends of the kind containers-storage: here", "podman save NAME"),
        ("copy dir:foo oci:x", "no ends of the kind dir: here", "oci:DIR is a directory"),
        ("copy app.tar dir:foo", "no ends of the kind dir: here", "docker://REF"),
        ("pull ostree:foo", "no ends of the kind ostree: here", "docker://REF"),
        ("push app:1 127.0.0.1:5000", "127.0.0.1:5000 is a registry: which repository?", "127.0.0.1:5000/ as a place"),
        ("push app:1 localhost", "localhost is a registry: which repository?", "localhost/REPOSITORY:TAG"),
        ("tags 127.0.0.1:5000", "127.0.0.1:5000 is a registry", "`tranship catalog 127.0.0.1:5000`"),
        ("tags registry.example", "registry.example is a registry", "`tranship catalog registry.example`"),
        ("copy registry.example:5000 oci:x", "registry.example:5000 is a registry", "REPOSITORY"),
        ("copy docker://[::1]:5000 oci:x", "[::1]:5000 is a registry", "REPOSITORY"),
        ("copy app.tar out", "'out' does not say what it is", "archive:out or out.tar, oci:out, store:out"),
        ("copy store:app:1 new.tar:1", "'new.tar:1' does not say what it is", "oci-archive:new.tar:1"),
        ("copy No/Such oci:x", "'No/Such' is no end", "archive:FILE"),
        ("export app:1 -o x.tar.xz", "x.tar.xz names a compression in which archives are not written", "*.tar.zst"),
        (
            "export app:1 --recompress -o x.tar",
            "--recompress is for archives of docker's own format",
            "--format docker",
        ),
    ],
)
def test_an_end_that_is_something_else_is_refused_with_what_to_write(stocked, words, said, hint):
    ran = stocked.failing(*words.split())
    assert ran.code == 2, ran
    assert said in ran.err
    assert hint in ran.err.partition("hint: ")[2]
    assert not Path("x").exists()


def test_an_output_that_exists_is_told_alike_everywhere(stocked):
    for words in (
        "copy store:app:1 app.tar",
        "export app:1 --no-clobber -o app.tar",
        "copy --no-clobber store:app:1 archive:app.tar",
    ):
        ran = stocked.failing(*words.split())
        assert ran.code == 10, words
        assert "app.tar exists already" in ran.err, words


def test_a_source_that_the_store_has_too_is_said(stocked):
    assert (
        "the store has an image of that name, too: to take that one, write store:app:1"
        in stocked.failing("copy", "app:1", "x").err
    )
    assert "too" not in stocked.failing("copy", "app:2", "x").err


def test_an_oci_layout_is_imported_as_it_is_copied(tranship, stocked):
    stocked("rm", "app:1")
    stocked("import", "--as", "again:1", "layout")
    assert "docker.io/library/again:1" in stocked("ls", "-q").lines


def test_zstd_layers_may_become_gzip_in_an_archive_for_old_docker(stocked):
    stocked("pack", "--compression", "zstd", "site", "site:1")
    stocked("export", "--format", "docker", "--recompress", "site:1", "-o", "old.tar")
    stocked("copy", "--recompress", "store:site:1", "docker-archive:other.tar")
    assert Path("old.tar").read_bytes() == Path("other.tar").read_bytes()
    kinds = [one["mediaType"] for one in stocked("inspect", "old.tar").json[0]["manifests"][0]["objects"]]
    assert not any(kind.endswith("zstd") for kind in kinds)


# --- mistyped options -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        ("copy a b --index foo", "--index is one of keep, single, rewrite; found foo", "`tranship copy --help`"),
        ("copy a b --jobs many", "--jobs is a number; found many", "--help"),
        ("export -o", "--output wants a value", "--help"),
        ("inspect --raw --tree app:1", "--tree and --raw exclude each other", "--help"),
        ("ls --json=yes", "--json takes no value; found yes", "--help"),
        ("copy", "SRC, DST is missing", "--help"),
        ("version now", "now: that is too much", "--help"),
        ("copy a b --plattform linux/arm64", "there is no option --plattform", "did you mean --platform"),
        ("copy a b --tls-verify=maybe", "--tls-verify is true or false, found 'maybe'", ""),
        ("push --all a", "there is no option --all", "--all-platforms demands"),
        ("login -p secret registry.example", "there is no option -p", "--password-stdin reads it"),
        ("copy -f a b", "there is no option -f", "nothing is asked here"),
        ("content ls --jsn", "there is no option --jsn", "did you mean --json?"),
        ("--root", "no command follows --root", "`tranship --help`"),
        ("-q", "no command follows -q", "`tranship --help`"),
    ],
)
def test_a_mistyped_option_is_told_in_our_words(tranship, words, said, hint):
    ran = tranship.failing(*words.split())
    assert ran.code == 2
    assert said in ran.err
    assert hint in ran.err.partition("hint: ")[2]
    assert "secret" not in ran.err


def test_options_of_other_tools_that_mean_the_same_are_taken_and_not_shown(stocked, registry):
    place = f"{registry.host}/habit:1"
    stocked("push", "--tls-verify=false", "--retry-times", "2", "--digestfile", "sum", "app:1", place)
    digest = stocked("digest", "app:1").lines
    assert Path("sum").read_text().split() == digest
    stocked("copy", "-a", "--src-tls-verify", "--dest-tls-verify=1", f"docker://{place}", "oci:whole:1")
    assert stocked("digest", "-k", f"docker://{place}").lines == stocked("digest", "oci:whole").lines == digest
    stocked("copy", "--platform", "linux/arm64", "oci:whole:1", "oci:part:1")
    assert "is not there" in stocked.failing("copy", "--all", "oci:part:1", "oci:more:1").err
    for word in ("tls-verify", "digestfile", "retry-times", "--all,", "skip-verify"):
        assert word not in stocked("copy", "--help").out


@pytest.mark.parametrize("words", ["--tls-verify=false", "--tls-verify=F", "-k"])
def test_a_certificate_is_not_asked_for_by_any_words_for_it(words):
    from tranship.cli.catalogue import every
    from tranship.cli.parsing import parse

    for command, ends in (("copy", ("a", "b")), ("pull", ("a",)), ("tags", ("a",)), ("login", ("a",))):
        assert parse(every()[command], [words, *ends]).insecure is True
        assert not parse(every()[command], ["--tls-verify", *ends]).insecure
    sides = parse(every()["copy"], ["--src-tls-verify=false", "--dest-tls-verify=true", "a", "b"])
    assert (sides.insecure, sides.src_insecure, sides.dest_insecure) == (None, True, None)


def test_removing_by_force_takes_what_is_not_there_for_removed(stocked):
    ran = stocked("rmi", "-f", "app:1", "no/such:1")
    assert ran.lines == ["docker.io/library/app:1"]
    assert "there is no image 'no/such:1'" in ran.err
    assert stocked("rm", "--force", "--json", "no/such:1").json == {"removed": []}
    assert stocked.failing("rm", "no/such:1").code == 3


def test_an_image_of_an_archive_may_be_named_behind_the_file(stocked):
    assert stocked("ls", "-q", "app.tar:1").lines == ["docker.io/library/app:1"]
    stocked("copy", "app.tar:1", "oci:out:1")
    assert stocked("digest", "oci:out").lines == stocked("digest", "app:1").lines
    assert "app.tar" in stocked.failing("copy", "app.tar:2", "oci:out:2").err
    Path("app.tar").rename("app.tar:1")  # a file of that very name is what was meant
    assert stocked("ls", "-q", "app.tar:1").lines == ["docker.io/library/app:1"]


def test_a_rate_counts_what_moved(stocked):
    assert "/s; objects: " in stocked("copy", "store:app:1", "oci:new").err
    assert "(nothing had to move; objects: " in stocked("copy", "store:app:1", "oci:new").err


# --- what is no image, and what is not whole --------------------------------------------------------------------------


def test_empty_input_is_told_as_what_it_is(tranship):
    ran = tranship.shell("true | tranship import -")
    assert ran.code == 7
    assert "<stdin>: it is empty" in ran.err
    assert "did the command that was to write it fail?" in ran.err
    Path("empty.tar").touch()
    assert "archive:empty.tar: it is empty" in tranship.failing("copy", "empty.tar", "oci:x").err


def test_the_tar_of_a_tree_is_to_be_packed(stocked):
    assert "hint: `tranship pack FILE NAME` makes an image" in stocked.failing("import", "rootfs.tar").err


def test_a_file_is_named_once_and_an_end_as_it_was_typed(stocked):
    assert "error: there is no file absent\n" in stocked.failing("copy", "docker-archive:absent", "oci:x").err
    assert "error: there is no directory absent\n" in stocked.failing("copy", "oci:absent", "oci:x").err
    assert "error: docker-archive:rootfs.tar: " in stocked.failing("copy", "docker-archive:rootfs.tar", "oci:x").err


def test_of_many_images_the_incomplete_one_is_named(stocked):
    objects = stocked("inspect", "app:new").json[0]["manifests"][0]["objects"]
    stocked("rm", "old:1", "models:1")
    stocked("content", "rm", objects[0]["digest"])
    ran = stocked.failing("export", "-o", "all.tar")
    assert ran.code == 3
    assert f"{NEW} is incomplete: config {objects[0]['digest'][:19]}" in ran.err
    assert not Path("all.tar").exists()


def test_a_drawing_is_no_json(stocked):
    assert stocked.failing("inspect", "--tree", "--json", "app:1").code == 2


def test_what_a_failed_copy_leaves_is_a_layout_without_images_to_go_on_with(stocked):
    digests = [one["digest"] for one in stocked("inspect", "app:1").json[0]["manifests"][0]["objects"]]
    layer = stocked.root / "blobs" / "sha256" / digests[-1][7:]
    layer.chmod(0o600)
    layer.write_bytes(bytes(layer.stat().st_size))
    assert stocked.failing("copy", "store:app:1", "oci:new").code == 7
    assert Path("new/oci-layout").exists()
    assert "has not come to its end: run it again" in stocked.failing("inspect", "oci:new").err
    stocked("copy", "app.tar", "oci:new")
    assert stocked("ls", "-q", "oci:new").lines == [APP]


def test_a_dry_run_prints_the_names_that_the_run_will(stocked, registry):
    for words in (
        ["copy", "oci:layout", "store:"],
        ["copy", "oci:layout", "store:again:1"],
        ["copy", "store:app:1", "oci:new:2.0"],
        ["copy", "store:app:1", "oci-archive:new.tar:2.0"],
        ["push", "app:1", "models:1", f"{registry.host}/mirror/"],
    ):
        planned = stocked(words[0], "--dry-run", *words[1:]).lines
        done = stocked(*words).lines
        assert done
        assert planned[: len(done)] == done


# --- on a terminal ----------------------------------------------------------------------------------------------------


def test_a_table_fits_into_a_narrow_terminal(stocked, monkeypatch):
    whole = stocked("ls").lines
    monkeypatch.setattr(output, "_room", lambda: 60)
    narrow = stocked("ls").lines
    assert [len(line) <= 60 for line in narrow] == [True] * 5
    assert all(full.startswith(line.removesuffix("…")) for full, line in zip(whole, narrow, strict=True))
    monkeypatch.setattr(output, "_room", lambda: 30)
    assert stocked("ls").lines == [line.split()[0] for line in whole]
    monkeypatch.setattr(output, "_room", lambda: 10)  # a name is whole, or of no use
    assert stocked("ls").lines == whole


def taken(pipe):
    """Has the other side read all that was written?"""
    return not int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_who_interrupts_a_transfer_is_told_whether_it_is_kept(stocked):
    data = Path("app.tar").read_bytes()
    for words, kept in ((["import", "-"], True), (["copy", "-", "archive:out.tar"], False)):
        process = stocked.process(*words)
        process.stdin.write(data[: len(data) // 2])
        process.stdin.flush()
        eventually(partial(taken, process.stdin))  # and it waits for more
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)  # two at once would be one
        process.send_signal(signal.SIGINT)
        process.wait(60)  # before its input ends, which would be another reason to fail
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert ("run it again: what has arrived is kept" in err.decode()) == kept, err
