"""What people who are new to it type, and what they are told."""

from __future__ import annotations

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
