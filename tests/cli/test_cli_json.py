"""What `--json` prints is what docs/json.md says, field by field: nothing else, and each of them somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.images import blobs
from tranship import Store
from tranship.cli import catalogue
from tranship.cli.parsing import module_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.commands import Commands
    from tranship.testing.registry import RegistryServer

    Run = Callable[[Commands, RegistryServer], Iterator[Any]]

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", dict: "object"}
SILENT = {"content get", "completion", "daemon"}  # print bytes, a script, a log
FAMILIES = {"content", "lease", "namespace"}


# ------------------------------------------------------------------------------------------------------- what is printed


def moved(run: Commands, registry: RegistryServer) -> Iterator[Any]:
    to = f"docker://{registry.host}"
    yield run("copy", "store:app:1", "oci:new", "--platform", "linux/arm64", "--json").json
    yield run("copy", f"{to}/team/app:1", "oci:more:x", "--referrers", "--json").json
    yield run.failing("copy", "store:app:1", "oci:none:x", "oci:kept", "--keep-going", "--json").json
    yield run("pull", f"{registry.host}/team/app:old", "--json").json
    yield run("push", "app:new", f"{registry.host}/a/b:1", "--json").json
    yield run("export", "app:1", "-o", "out.tar", "--json").json
    yield run("import", "out.tar", "--json").json
    yield run("pack", "site", "site:1", "--json").json


def planned(run: Commands, registry: RegistryServer) -> Iterator[Any]:
    platform = ("--platform", "linux/arm64")
    yield run("copy", "store:app:1", "oci:new:x", *platform, "--dry-run", "--json").json
    yield run("copy", f"docker://{registry.host}/team/app:1", "oci:more:x", "--referrers", "--dry-run", "--json").json
    run("push", "app:new", f"{registry.host}/a/b:1")
    yield run("push", "app:new", f"{registry.host}/a/b:1", "--dry-run", "--json").json


def checked(run: Commands, _: RegistryServer) -> Iterator[Any]:
    run("copy", "store:app:1", "oci:part:x", "--platform", "linux/arm64")
    yield run("check", "oci:part", "app:1", "--json").json


def inspected(run: Commands, _: RegistryServer) -> Iterator[Any]:
    run("copy", "store:app:1", "oci:part:x", "--platform", "linux/arm64")
    yield run("inspect", "oci:part", "app:1", "app:new", "--json").json


def verified(run: Commands, _: RegistryServer) -> Iterator[Any]:
    yield run("verify", "--json").json
    run("copy", "store:app:1", "oci:part:x", "--platform", "linux/arm64")
    flipped = max(blobs(Path("part")).values(), key=lambda path: path.stat().st_size)
    flipped.chmod(0o600)
    flipped.write_bytes(b"x" * flipped.stat().st_size)
    yield run.failing("verify", "oci:part", "--json").json


def found_wrong(run: Commands, _: RegistryServer) -> Iterator[Any]:
    run("content", "rm", run("digest", "app:new").lines[0])
    max(blobs(run.root).values(), key=lambda path: path.stat().st_size).unlink()
    yield run.failing("fsck", "--json").json


def logged_in(run: Commands, registry: RegistryServer) -> Iterator[Any]:
    yield run("login", "-u", "alice", "--password-stdin", registry.host, "--json", stdin=b"secret").json


def logged_out(run: Commands, registry: RegistryServer) -> Iterator[Any]:
    run("login", "-u", "alice", "--password-stdin", registry.host, stdin=b"secret")
    yield run("logout", registry.host, "--json").json


def explained(run: Commands, registry: RegistryServer) -> Iterator[Any]:
    run("login", "-u", "alice", "--password-stdin", registry.host, stdin=b"secret")
    yield run("auth", "explain", f"{registry.host}/team/app", "--json").json


def unfinished(run: Commands, _: RegistryServer) -> Iterator[Any]:
    with Store(root=run.root).open() as store:
        for ref, expected in (("one", None), ("two", store.namespace("default").images.list()[0].target.digest)):
            with store.namespace("other").content.writer(ref, total=100, expected=expected) as writer:
                writer.write(b"x")
    yield run("content", "active", "-n", "other", "--json").json


def leased(run: Commands, _: RegistryServer) -> Iterator[Any]:
    run("lease", "create", "--id", "mine", "for=me")
    with Store(root=run.root).open() as store:
        space = store.namespace("default")
        space.content.ensure(space.images.list()[0].target.digest, lease="mine")
    yield run("lease", "ls", "--json").json


def events(run: Commands, registry: RegistryServer) -> Iterator[Any]:
    for ran in (
        run("copy", "store:app:1", "oci:new", "--platform", "linux/arm64", "--progress", "json"),
        run("copy", "store:app:new", f"docker://{registry.host}/a/b:1", "--progress", "json"),
        run.failing("export", "app:1", "-o", "no/such/out.tar", "--progress", "json", "-v"),
        run.failing("copy", f"docker://{registry.host}/no/such:1", "oci:x", "--progress", "json", "-v"),
        run.failing("lss", "--progress", "json"),
    ):
        yield from map(json.loads, ran.err.splitlines())


def printed(*lines: str) -> Run:
    """What the last of these commands prints, or all of those of the same word."""

    def run(commands: Commands, registry: RegistryServer) -> Iterator[Any]:
        digest = commands("digest", "app:1").lines[0]
        for line in lines:
            words = line.replace("DIGEST", digest).replace("HOST", registry.host).split()
            ran = commands(*words, "--json")
            if words[: 1 + (words[0] in FAMILIES)] == lines[-1].split()[: 1 + (words[0] in FAMILIES)]:
                yield ran.json

    return run


PRINTED: dict[str, Run] = {
    "copy, pull, push, export, import, pack": moved,
    "The same with --dry-run": planned,
    "tag": printed("tag app:1 app:2"),
    "ls": printed("ls app:1 oci:layout app.tar", "ls docker://HOST/team/app"),
    "inspect": inspected,
    "check": checked,
    "digest": printed("digest app:1 oci:layout"),
    "verify": verified,
    "tags": printed("tags HOST/team/app"),
    "catalog": printed("catalog HOST"),
    "referrers": printed("referrers docker://HOST/team/app:1"),
    "delete": printed("delete --yes HOST/team/app:old"),
    "login": logged_in,
    "logout": logged_out,
    "auth explain": explained,
    "rm": printed("rm old:1", "rm --no-gc app:1"),
    "label": printed("label app:1 a=b"),
    "gc": printed("gc --dry-run", "rm --no-gc app:1", "gc"),
    "df": printed("df"),
    "fsck": found_wrong,
    "content ls": printed("content ls"),
    "content info": printed("verify", "content info DIGEST"),
    "content rm, content abort": printed("content rm DIGEST"),
    "content label": printed("content label DIGEST a=b"),
    "content active": unfinished,
    "lease ls": leased,
    "lease create": printed("lease create --expires 1h a=b"),
    "lease rm": printed("lease create --id x", "lease rm x"),
    "namespace ls": printed("namespace ls"),
    "namespace create": printed("namespace create other a=b"),
    "namespace label": printed("namespace label default a=b"),
    "namespace rm": printed("namespace create x", "namespace rm x"),
    "version": printed("version"),
    "Progress": events,
}


def leaves(value: Any, said: dict[str, set[str]], path: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a value and their types; an object that the page takes as a whole is one."""
    if isinstance(value, dict) and not said.get(path, set()) & {"object", "object of strings"}:
        for key, one in value.items():
            yield from leaves(one, said, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for one in value:
            yield from leaves(one, said, f"{path}[]")
    else:
        yield path, TYPES[type(value)]


# --------------------------------------------------------------------------------------------------------------- the page


def page() -> dict[str, dict[str, set[str]]]:
    """The tables: section -> field -> its types, without when it is there."""
    found: dict[str, dict[str, set[str]]] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title, rest = section.split("\n", 1)
        rows = re.findall(r"^\| (?:`(.+?)`|\(the document\)) \| ([^|]+?) \|", rest, re.MULTILINE)
        found[title.replace("`", "")] = {path: set(types.split(",")[0].split(" or ")) for path, types in rows}
    return found


SAID = page()


@pytest.mark.parametrize("section", PRINTED)
def test_the_fields_that_are_printed_are_those_of_the_page(
    section: str, stocked: Commands, registry: RegistryServer
) -> None:
    said = SAID[section]
    found: dict[str, set[str]] = {}
    for value in PRINTED[section](stocked, registry):
        for path, type_ in leaves(value, said):
            found.setdefault(path, set()).add(type_)
    assert sorted(found) == sorted(said)
    for path, types in found.items():
        assert types <= {type_.removesuffix(" of strings") for type_ in said[path]}, path


def test_every_command_has_its_table() -> None:
    words = {word for title in SAID for word in title.split(", ")}
    for command in catalogue.every().values():
        actions = [f"{command.name} {action.name}" for action in getattr(module_of(command), "ACTIONS", ())]
        for name in actions or [command.name]:
            assert (name in words) != (name in SILENT) or name == "auth", name


@pytest.mark.parametrize("words", ["--raw", "--config", "--tree"])
def test_bytes_and_drawings_are_no_document(stocked: Commands, words: str) -> None:
    ran = stocked.failing("inspect", words, "--json", "app:new")
    assert (ran.code, ran.raw, f"{words} " in ran.err) == (2, b"", True)
