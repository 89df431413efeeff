"""Registries on the command line: pull, push, copy, looking, listing, deleting, and what it costs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import put_sbom, stock
from tranship.model import platform
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = "docker.io/library/app:1"


@pytest.fixture(autouse=True)
def on_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image of these tests has amd64, arm64 and arm/v7, wherever they run."""
    monkeypatch.setattr(platform, "host", lambda: platform.Platform("linux", "amd64"))


@pytest.fixture
def other() -> Iterator[RegistryServer]:
    with RegistryServer() as server:
        yield server


def kinds(server: RegistryServer, since: int = 0) -> dict[str, int]:
    return dict(Counter(exchange.kind for exchange in server.requests[since:] if exchange.kind != "ping"))


def team(server: RegistryServer, tag: str = "1") -> str:
    return f"{server.host}/team/app:{tag}"


# --- pull -------------------------------------------------------------------------------------------------------------


def test_pull_takes_this_machines_platform_and_keeps_the_index(tranship, registry):
    ran = tranship("pull", team(registry))
    digest = registry.tags("team/app")["1"]
    assert ran.lines == [f"{team(registry)} {digest}"]
    assert f"{team(registry)}: 1 of 3 platforms" in ran.err
    (image,) = tranship("ls", "--json").json["images"]
    assert (image["digest"], image["platforms"]) == (digest, ["linux/amd64"])
    assert " partial " in tranship("check").out


def test_pull_again_moves_nothing_and_asks_once(tranship, registry):
    tranship("pull", team(registry))
    before = len(registry.requests)
    assert tranship("pull", "--json", team(registry)).json["objects"].keys() == {"present"}
    assert kinds(registry, before) == {"manifest.head": 1}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--platform", "linux/arm64"], ["linux/arm64/v8"]),
        (["--platform", "linux/arm64,linux/arm/v7"], ["linux/arm64/v8", "linux/arm/v7"]),
        (["--all-platforms"], ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]),
    ],
)
def test_pull_takes_other_platforms_when_asked_to(tranship, registry, words, found):
    tranship("pull", *words, team(registry))
    (image,) = tranship("ls", "--json").json["images"]
    assert image["platforms"] == found


def test_pull_of_a_platform_that_is_not_there_says_what_is(tranship, registry, monkeypatch):
    monkeypatch.setattr(platform, "host", lambda: platform.Platform("linux", "s390x"))
    for words in ([], ["--platform", "linux/s390x"]):
        ran = tranship.failing("pull", *words, team(registry))
        assert ran.code == 3
        assert "linux/s390x; the index names linux/amd64" in ran.err


def test_pull_calls_the_image_as_it_is_told(tranship, registry):
    ran = tranship("pull", "--as", "mine", "--as", "example.com/x:2", team(registry))
    assert [line.split()[0] for line in ran.lines] == ["docker.io/library/mine:latest", "example.com/x:2"]
    assert tranship.failing("pull", "--as", "mine", team(registry), team(registry, "old")).code == 2


def test_pull_takes_several_at_once_over_few_connections(tranship, registry):
    before = len(registry.requests)
    tranship("pull", team(registry), team(registry, "old"))
    assert tranship("ls", "-q").lines == [team(registry), team(registry, "old")]
    assert len({exchange.connection for exchange in registry.requests[before:]}) <= 8


def test_pull_brings_referrers_along(tranship, registry):
    tranship("pull", "--all-platforms", "--referrers", team(registry))
    assert (
        tranship("referrers", "-q", f"store:{team(registry)}").lines
        == tranship("referrers", "-q", team(registry)).lines
    )


@pytest.mark.parametrize(
    ("reference", "code", "told"),
    [
        ("team/app:absent", 3, "tag absent of team/app is not at registry"),
        ("absent:1", 3, "absent"),
        ("team/app@sha256:" + "0" * 64, 3, "team/app"),
        ("team/App:1", 2, "uppercase is not allowed"),
        ("team/", 2, "is a place for images"),
    ],
)
def test_pull_names_what_it_cannot_get(tranship, registry, reference, code, told):
    ran = tranship.failing("pull", f"{registry.host}/{reference}")
    assert ran.code == code
    assert told in ran.err
    assert "Traceback" not in ran.err


def test_an_end_of_another_kind_is_not_pulled(stocked):
    for word in ("store:app:1", "oci:layout"):
        ran = stocked.failing("pull", word)
        assert (ran.code, f"if it is, write docker://{word}" in ran.err) == (2, True)


def test_what_one_of_several_lacks_keeps_the_others_from_nothing(tranship, registry):
    wanted = [team(registry), team(registry, "absent"), team(registry, "old")]
    assert tranship.failing("pull", *wanted).code == 3
    assert tranship("ls", "-q").lines == []
    ran = tranship.failing("pull", "--keep-going", "--json", *wanted)
    assert ran.code == 9
    assert [image["name"] for image in ran.json["images"]] == [wanted[0], wanted[2]]
    assert [(one["name"], one["exitCode"]) for one in ran.json["failures"]] == [(f"docker://{wanted[1]}", 3)]
    assert f"1 of 3 failed: docker://{wanted[1]}" in ran.err
    assert tranship("ls", "-q").lines == [wanted[0], wanted[2]]


def test_a_registry_that_does_not_answer_is_unavailable(tranship, registry):
    registry.fault("status", code=503, times=None)
    before = len(registry.requests)
    ran = tranship.failing("pull", "--retries", "0", team(registry))
    assert ran.code == 6
    assert len(registry.requests) - before <= 3  # a ping, a HEAD, and the GET that would tell why
    with RegistryServer() as gone:
        pass
    assert tranship.failing("pull", "--retries", "0", team(gone)).code == 6


@pytest.mark.parametrize(("fault", "how"), [("stall", {"after": 100}), ("silence", {"kind": "manifest.get"})])
def test_a_registry_that_falls_silent_is_given_up(tranship, registry, fault, how):
    registry.fault(fault, times=None, **how)
    ran = tranship.failing("pull", "--timeout", "1s", "--retries", "0", team(registry))
    assert ran.code == 6
    assert tranship("ls", "-q").lines == []


# --- push -------------------------------------------------------------------------------------------------------------


def test_push_to_a_place_names_it_and_a_repeat_does_so_too(stocked, registry):
    digest = stocked("digest", "app:1").lines[0]
    for _ in range(2):
        assert stocked("push", "app:1", team(registry, "new")).lines == [f"{team(registry, 'new')} {digest}"]
    assert registry.tags("team/app")["new"] == digest


def test_push_without_a_place_goes_where_the_names_say(stocked, registry, other):
    here, there = f"{registry.host}/x:1", f"{other.host}/y:2"
    stocked("tag", "app:1", here)
    stocked("tag", "models:1", there)
    assert len(stocked("push", here).lines) == 1
    assert [line.split()[0] for line in stocked("push", here, there, here).lines] == [there, here]
    assert (list(registry.tags("x")), list(other.tags("y"))) == (["1"], ["2"])


def test_push_of_several_keeps_their_paths_below_a_prefix(stocked, registry):
    stocked("push", "*/app:*", "models:1", f"{registry.host}/mirror/")
    assert set(registry.tags("mirror/library/app")) == {"1", "new"}
    assert list(registry.tags("mirror/library/models")) == ["1"]
    stocked("push", "--scoped", "models:1", f"docker://{registry.host}/")
    assert list(registry.tags("docker.io/library/models")) == ["1"]


def test_push_does_not_guess_which_of_two_images_is_a_place(stocked, registry):
    stocked("tag", "models:1", team(registry))
    before = registry.tags("team/app")["1"]
    ran = stocked.failing("push", "app:new", team(registry))
    assert ran.code == 0, "models:1 and app:new are one image"
    stocked("push", team(registry))
    ran = stocked.failing("push", "app:1", team(registry))
    assert (ran.code, "is an image of the store, too" in ran.err) == (2, True)
    assert registry.tags("team/app")["1"] == stocked("digest", "models:1").lines[0] != before
    stocked("push", "app:1", f"docker://{team(registry)}")
    assert registry.tags("team/app")["1"] == stocked("digest", "app:1").lines[0]


def test_a_name_that_says_no_registry_is_not_pushed(stocked, registry):
    stocked("copy", "oci:layout:1.0", "store:")  # called import-DATE:1.0
    name = next(name for name in stocked("ls", "-q").lines if name.startswith("import-"))
    ran = stocked.failing("push", name)
    assert (ran.code, "names no registry" in ran.err) == (2, True)
    stocked("push", name, f"{registry.host}/named:1")


def test_a_registry_takes_an_index_whole_or_as_it_is_told(stocked, registry):
    place = f"{registry.host}/some:1"
    ran = stocked.failing("push", "--platform", "linux/amd64,linux/arm64", "app:1", place)
    assert (ran.code, "--index" in ran.err) == (8, True)
    assert not registry.tags("some")
    stocked("push", "--platform", "linux/amd64,linux/arm64", "--index", "rewrite", "app:1", place)
    ran = stocked("push", "--platform", "linux/arm64", "app:1", f"{registry.host}/one:1")
    assert "the manifest of linux/arm64/v8 takes the index's place" in ran.err
    assert registry.tags("one")["1"] == stocked("digest", "--platform", "linux/arm64", "app:1").lines[0]


def test_no_clobber_leaves_tags_where_they_lead(stocked, registry):
    stocked("push", "--no-clobber", "app:1", f"{registry.host}/x:1")
    stocked("push", "--no-clobber", "app:1", f"{registry.host}/x:1")
    for words in ([], ["--dry-run"]):
        ran = stocked.failing("push", "--no-clobber", *words, "models:1", f"{registry.host}/x:1")
        assert (ran.code, "is at the registry already" in ran.err) == (10, True)
    assert registry.tags("x")["1"] == stocked("digest", "app:1").lines[0]


def test_blobs_go_in_pieces_when_asked_to(stocked, registry):
    before = len(registry.requests)
    stocked("push", "--chunk", "4k", "models:1", f"{registry.host}/x:1")
    assert kinds(registry, before)["upload.chunk"] > 3
    assert stocked("digest", f"docker://{registry.host}/x:1").lines == stocked("digest", "models:1").lines
    assert stocked.failing("push", "--chunk", "0", "models:1", f"{registry.host}/x:1").code == 2


def test_a_limit_of_the_rate_is_kept(stocked, registry, monkeypatch):
    from tranship.http import limits

    rates = []
    before = limits.Throttle.__init__
    monkeypatch.setattr(
        limits.Throttle, "__init__", lambda self, rate, clock: (rates.append(rate), before(self, rate, clock))[1]
    )
    stocked("push", "--limit-rate", "50M", "models:1", f"{registry.host}/x:1")
    assert set(rates) == {50_000_000}


# --- copy -------------------------------------------------------------------------------------------------------------


def test_copy_from_registry_to_registry(tranship, registry, other):
    tranship("copy", team(registry), f"{other.host}/a:1")
    tranship("copy", f"docker://{team(registry)}", f"docker://{other.host}/b:1")
    assert other.tags("a")["1"] == other.tags("b")["1"] == registry.tags("team/app")["1"]
    assert not tranship.root.exists()


def test_what_a_bare_source_was_taken_for_is_said(stocked, registry):
    ran = stocked("copy", team(registry), "x.tar")
    assert "at its registry" not in ran.err  # it is written in full
    Path("team").mkdir()
    ran = stocked("copy", f"{registry.host}/team/app@{registry.tags('team/app')['1']}", "y.tar")
    assert stocked("digest", "y.tar").lines == [registry.tags("team/app")["1"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["store:app:1", "somewhere"], "does not say what it is"),
        (["store:app:1", "some/where:1"], "does not say what it is"),
        (["store:", "docker://HOST/one:1"], "the source has 2 images"),
        (["oci:layout", "docker://HOST/prefix/"], "is called 1.0, which says no repository"),
        (["docker://HOST/prefix/", "x.tar"], "is a place for images"),
        (["docker://HOST/team/app:1", "oci:x", "--dest-plain-http"], "--dest-plain-http means nothing"),
        (["oci:layout", "docker://HOST/x:1", "--key-file", "app.tar"], "--cert-file"),
        (["oci:layout", "docker://HOST/x:1", "--header", "secret"], "a header is written"),
        (["oci:layout", "docker://HOST/x:1", "--header", "a b: secret"], "no header may hold"),
    ],
)
def test_wrong_ends_are_told_in_a_sentence(stocked, registry, words, told):
    before = len(registry.requests)
    ran = stocked.failing("copy", *(word.replace("HOST", registry.host) for word in words))
    assert (ran.code, told in ran.err) == (2, True), ran.err
    assert "secret" not in ran.err
    assert not [exchange for exchange in registry.requests[before:] if exchange.method not in ("GET", "HEAD")]


def test_a_file_is_not_taken_for_a_registry_to_write_to(stocked):
    Path("example.com").mkdir()
    Path("example.com/x").write_text("")
    ran = stocked.failing("copy", "store:app:1", "example.com/x")
    assert (ran.code, "write docker://example.com/x" in ran.err) == (2, True)


def test_the_image_called_docker_is_no_scheme(stocked, monkeypatch):
    from tranship.cli import ends

    assert ends.split("docker:24-dind") == (None, "docker:24-dind")
    assert ends.split("docker://docker:24-dind") == ("docker", "docker:24-dind")


def test_export_streams_a_registrys_image_as_the_store_would(tranship, registry):
    tranship("export", f"docker://{team(registry)}", "-o", "remote.tar")
    assert not tranship.root.exists()
    tranship("pull", "--all-platforms", team(registry))
    assert tranship("export", team(registry)).raw == Path("remote.tar").read_bytes()


def test_a_registrys_image_goes_through_a_pipe_into_a_store(tranship, registry):
    ran = tranship.shell(f"tranship export docker://{team(registry)} | tranship import -")
    assert ran.code == 0, ran.err
    assert tranship("digest", team(registry)).lines == [registry.tags("team/app")["1"]]


def test_several_sources_of_all_kinds_go_into_one_archive(stocked, registry, other):
    stocked("push", "models:1", f"{other.host}/m:1")
    stocked("copy", team(registry), "oci:layout", f"docker://{other.host}/m:1", "store:app:1", "all.tar")
    assert len(stocked("ls", "-q", "all.tar").lines) == 4
    assert " incomplete " not in stocked("check", "all.tar").out


def test_keep_going_mirrors_what_it_can(stocked, registry, other):
    ran = stocked.failing(
        "copy", "--keep-going", team(registry), team(registry, "absent"), team(registry, "old"), f"{other.host}/mirror/"
    )
    assert ran.code == 9
    assert sorted(other.tags("mirror/team/app")) == ["1", "old"]


@pytest.mark.parametrize("words", [["push"], ["copy"], ["pull"], ["copy", "registry"]])
def test_a_dry_run_tells_the_requests_and_makes_none_that_writes(stocked, registry, other, words):
    if words == ["push"]:
        line = ["push", "app:1", f"{other.host}/x:1"]
    elif words == ["copy"]:
        line = ["copy", "oci:layout:1.0", f"docker://{other.host}/x:1"]
    elif words == ["pull"]:
        line = ["pull", "--root", "elsewhere", team(registry)]
    else:
        line = ["copy", team(registry), f"{other.host}/x:1"]
    stocked("push", "models:1", f"{other.host}/x:2")  # so that a layer of it is there
    before = len(other.requests)
    ran = stocked(*line, "--dry-run")
    told = stocked(*line, "--dry-run", "--json").json
    assert f"in about {told['requests']} requests" in ran.out
    assert not [exchange for exchange in other.requests[before:] if exchange.method not in ("GET", "HEAD")]
    assert not Path("elsewhere").exists()
    start = len(registry.requests), len(other.requests)
    moved = stocked(*line, "--json").json
    made = sum(kinds(registry, start[0]).values()) + sum(kinds(other, start[1]).values())
    assert abs(made - told["requests"]) <= max(2, made // 5), (made, told["requests"])
    assert sum(size for outcome, size in moved["bytes"].items() if outcome != "present") == told["bytesToMove"]


# --- looking ----------------------------------------------------------------------------------------------------------


def test_digest_costs_one_head(tranship, registry):
    before = len(registry.requests)
    assert tranship("digest", f"docker://{team(registry)}").lines == [registry.tags("team/app")["1"]]
    assert kinds(registry, before) == {"manifest.head": 1}


def test_one_platforms_digest_and_documents_cost_the_index_and_one_manifest(tranship, registry):
    index = json.loads(registry.content("team/app", "1"))
    arm = next(m["digest"] for m in index["manifests"] if m["platform"]["architecture"] == "arm64")
    for words, found in (
        (["digest", "--platform", "linux/arm64"], f"{arm}\n".encode()),
        (["inspect", "--raw", "--platform", "linux/arm64"], registry.content("team/app", arm)),
    ):
        before = len(registry.requests)
        assert tranship(*words, f"docker://{team(registry)}").raw == found
        assert kinds(registry, before) == {"manifest.head": 1, "manifest.get": 2}
    before = len(registry.requests)
    assert tranship("inspect", "--raw", f"docker://{team(registry)}").raw == registry.content("team/app", "1")
    assert kinds(registry, before) == {"manifest.head": 1, "manifest.get": 1}
    assert json.loads(tranship("inspect", "--config", f"docker://{team(registry)}").raw)["architecture"] == "amd64"


def test_inspect_shows_an_image_at_a_registry(tranship, registry):
    (image,) = tranship("inspect", f"docker://{team(registry)}").json
    assert [m["platform"]["architecture"] for m in image["manifests"]] == ["amd64", "arm64", "arm", "unknown"]
    (image,) = tranship("inspect", "--platform", "linux/arm64", f"docker://{team(registry)}").json
    assert [m["platform"]["architecture"] for m in image["manifests"]] == ["arm64"]


def test_ls_lists_the_tags_of_a_repository_and_the_image_of_a_tag(tranship, registry):
    before = len(registry.requests)
    assert tranship("ls", "-q", f"docker://{registry.host}/team/app").lines == [team(registry), team(registry, "old")]
    assert kinds(registry, before) == {"tags": 1}
    assert tranship("ls", f"docker://{registry.host}/team/app").lines[1].split() == [team(registry), "-", "-", "-"]
    (image,) = tranship("ls", "--json", f"docker://{team(registry)}").json["images"]
    assert image["platforms"] == ["linux/amd64", "linux/arm64/v8", "linux/arm/v7"]


def test_check_asks_a_registry_for_every_object(tranship, registry):
    assert " complete " in tranship("check", f"docker://{team(registry, 'old')}").out
    manifest = json.loads(registry.content("team/app", "old"))
    layer = manifest["layers"][0]["digest"]
    registry.state.remove_blob("team/app", layer)
    ran = tranship.failing("check", "--json", f"docker://{team(registry, 'old')}")
    assert ran.code == 3
    assert [one["digest"] for one in ran.json["images"][0]["missing"]] == [layer]


def test_verify_hashes_what_a_registry_gives(tranship, registry):
    end = f"docker://{team(registry, 'old')}"
    assert tranship("verify", end).lines[-1].endswith(": all right")
    manifest = json.loads(registry.content("team/app", "old"))
    layer = manifest["layers"][0]["digest"]
    with registry.fault("wrong-bytes", at=-1, times=None, kind="blob.get"):
        ran = tranship.failing("verify", "--json", end)
        assert (ran.code, layer in ran.json["corrupt"]) == (7, True)
    registry.state.remove_blob("team/app", layer)
    ran = tranship.failing("verify", "--json", end)
    assert (ran.code, ran.json["missing"], ran.json["corrupt"]) == (3, [layer], [])


# --- tags, catalog, referrers -----------------------------------------------------------------------------------------


def test_tags_are_listed_page_by_page(tranship, images):
    with RegistryServer(page_size=1) as registry:
        stock(registry, images)
        _check_tags(tranship, registry)
        assert registry.count("tags") >= 6


def _check_tags(tranship, registry):
    for word in (f"{registry.host}/team/app", f"docker://{registry.host}/team/app"):
        assert tranship("tags", word).lines == ["1", "old"]
    assert tranship("tags", "--json", f"{registry.host}/team/app").json == {
        "repository": f"{registry.host}/team/app",
        "tags": ["1", "old"],
    }
    assert tranship.failing("tags", team(registry)).code == 2
    assert tranship.failing("tags", f"{registry.host}/absent").code == 3


def test_names_of_a_registry_cannot_reach_the_terminal(tranship, registry):
    registry.fault("list-junk", form="names")
    for words in (["tags", f"{registry.host}/team/app"], ["catalog", registry.host]):
        ran = tranship.failing(*words)
        assert not {c for c in ran.out + ran.err if ord(c) < 32 and c != "\n"}


def test_the_catalog_is_listed(tranship, registry):
    assert tranship("catalog", registry.host).lines == ["team/app"]
    assert tranship("catalog", "--json", f"{registry.host}/").json["repositories"] == ["team/app"]
    assert tranship.failing("catalog", f"{registry.host}/team").code == 2
    assert tranship.failing("catalog", "").code == 2


def test_referrers_are_listed_by_type_and_platform(tranship, registry):
    (row,) = tranship("referrers", "--json", team(registry)).json["referrers"]
    assert row["artifactType"] == "application/vnd.example.sbom"
    assert row["subject"] == registry.tags("team/app")["1"]
    table = tranship("referrers", team(registry)).lines
    assert table[0].split() == ["DIGEST", "TYPE", "SIZE"]
    assert table[1].split()[:2] == [row["digest"], row["artifactType"]]
    assert tranship("referrers", "-q", "--type", "other/type", team(registry)).lines == []
    index = json.loads(registry.content("team/app", "1"))
    first = index["manifests"][0]
    mine = put_sbom(registry, first["digest"], first["size"], first["mediaType"])
    assert tranship("referrers", "-q", "--platform", "linux/amd64", team(registry)).lines == [mine]


def test_referrers_of_a_layout_are_listed_too(stocked, registry):
    stocked("copy", "--referrers", team(registry), "oci:with:x")
    (row,) = stocked("referrers", "--json", "oci:with:x").json["referrers"]
    assert row["artifactType"] == "application/vnd.example.sbom"


# --- delete -----------------------------------------------------------------------------------------------------------


def test_delete_takes_a_tag_and_leaves_the_manifest(tranship, registry):
    digest = registry.tags("team/app")["old"]
    assert tranship("delete", team(registry, "old")).lines == [team(registry, "old")]
    assert "old" not in registry.tags("team/app")
    assert registry.content("team/app", digest)


def test_delete_takes_a_manifest_with_its_tags(stocked, registry):
    stocked("push", "app:1", team(registry, "same"))
    digest = registry.tags("team/app")["1"]
    stocked("delete", "--manifest", team(registry))
    assert list(registry.tags("team/app")) == ["old"]
    with pytest.raises(KeyError):
        registry.content("team/app", digest)
    stocked("delete", f"{registry.host}/team/app@{registry.tags('team/app')['old']}")
    assert registry.tags("team/app") == {}


def test_delete_wants_a_tag_and_tells_what_the_registry_says(tranship, registry):
    assert tranship.failing("delete", f"{registry.host}/team/app").code == 2
    assert tranship.failing("delete", team(registry, "absent")).code == 3
    registry.fault("no-delete")
    ran = tranship.failing("delete", team(registry, "old"))
    assert (ran.code, "--manifest" in ran.err) == (12, True)


def test_dockers_registry_deletes_manifests_and_no_tags(stocked, docker_registry):
    place = f"{docker_registry.host}/delete/app:1"
    stocked("push", "app:1", place)
    ran = stocked.failing("delete", place)
    assert (ran.code, "does not delete a tag alone" in ran.err, "--manifest" in ran.err) == (12, True, True)
    stocked("delete", "--manifest", place)
    assert stocked.failing("pull", place).code == 3


@pytest.mark.parametrize(("answer", "stays"), [(b"y\n", False), (b"n\n", True), (b"\n", True)])
def test_delete_asks_on_a_terminal(tranship, registry, answer, stays):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tranship", "delete", team(registry, "old")], stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    os.write(parent, answer)
    text = b""
    while b"[y/N]" not in text:
        text += os.read(parent, 1024)
    assert process.wait(60) == 0
    os.close(parent)
    assert ("old" in registry.tags("team/app")) == stays
