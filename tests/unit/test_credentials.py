"""Where credentials are found, by the files and programs that everybody's tools use; and how they are written down."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import pytest

from support.client import client, plain
from tranship.errors import FailedPrecondition, InvalidArgument, TranshipError, Unauthenticated
from tranship.http.credential_file import CredentialFile, normal
from tranship.http.credential_helper import Helper
from tranship.http.credentials import docker_path, standard
from tranship.http.login import login, logout
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import RegistryServer
from tranship.testing.registry.auth import Basic, Token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def config(**value: Any) -> bytes:
    return json.dumps(value).encode()


def found(
    text: bytes, host: str, repository: str = "", environment: dict[str, str] | None = None
) -> tuple[str, str | None] | None:
    entry = CredentialFile(text, "test.json", environment or {}).find(host, repository)
    if entry is None:
        return None
    return entry.credential.username, entry.credential.password.reveal() if entry.credential.password else None


@pytest.fixture
def helpers(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """helpers(name, code) makes a credential helper of Python code, and gives the environment in which it is found."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def make(name: str, code: str) -> dict[str, str]:
        path = folder / f"docker-credential-{name}"
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\naction = sys.argv[1]\n{code}\n")
        path.chmod(0o755)
        return {"PATH": str(folder), "HOME": str(tmp_path), "STORE": str(tmp_path / "kept.json")}

    return make


KEEPER = """
path = os.environ["STORE"]
kept = json.load(open(path)) if os.path.exists(path) else {}
said = sys.stdin.read()
if action == "store":
    value = json.loads(said)
    kept[value["ServerURL"]] = value
elif action == "get":
    if said not in kept:
        print("credentials not found in native keychain")
        sys.exit(1)
    print(json.dumps(kept[said]))
elif action == "erase":
    if kept.pop(said, None) is None:
        print("credentials not found in native keychain")
        sys.exit(1)
json.dump(kept, open(path, "w"))
"""


# --------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("key", "host"),
    [
        ("reg.example", "reg.example"),
        ("https://reg.example", "reg.example"),
        ("https://reg.example/v1/", "reg.example"),
        ("http://reg.example:5000/v2", "reg.example:5000"),
        ("REG.example", "reg.example"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
    ],
)
def test_every_spelling_of_a_hosts_key_is_understood(key: str, host: str) -> None:
    assert found(config(auths={key: auth("alice", "a:b")}), host) == ("alice", "a:b")


def test_a_key_of_another_host_or_port_does_not_answer() -> None:
    text = config(
        auths={
            "reg.example:5000": auth("a", "b"),
            "example": auth("a", "b"),
            "https://reg.example.evil": auth("a", "b"),
        }
    )
    assert found(text, "reg.example") is None
    assert found(text, "REG.example:5000") == ("a", "b")


def test_the_most_specific_path_answers() -> None:
    text = config(
        auths={"quay.io": auth("host", "1"), "quay.io/acme": auth("org", "2"), "quay.io/acme/app": auth("repo", "3"), "quay.io/ac": auth("no", "4")}
    )  # fmt: skip
    assert found(text, "quay.io", "acme/app") == ("repo", "3")
    assert found(text, "quay.io", "acme/app/deep") == ("repo", "3")
    assert found(text, "quay.io", "acme/other") == ("org", "2")
    assert found(text, "quay.io", "acmeother") == ("host", "1")
    assert found(text, "quay.io", "library/x") == ("host", "1")


def test_fields_of_an_entry() -> None:
    text = config(
        auths={
            "a": {"username": "alice", "password": "secret"},
            "b": {"identitytoken": "refresh", **auth("x", "")},
            "c": {"registrytoken": "bearer"},
            "d": {},
            "e": {"auth": base64.b64encode(b"alice:secret\0\0").decode(), "email": "ignored@example.com"},
        }
    )
    assert found(text, "a") == ("alice", "secret")
    entry = CredentialFile(text, "x", {}).find("b", "")
    assert entry is not None
    assert entry.credential.identity_token == Secret("refresh")
    entry = CredentialFile(text, "x", {}).find("c", "")
    assert entry is not None
    assert entry.credential.registry_token == Secret("bearer")
    assert found(text, "d") is None
    assert found(text, "e") == ("alice", "secret")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"{", "test.json is not JSON"),
        (b"[]", "test.json must be a JSON object"),
        (config(auths=[]), "auths must be an object"),
        (config(auths={"a": 5}), "auths of a must be an object"),
        (config(auths={"a": {"auth": 5}}), "every field must be a string"),
        (config(auths={"a": {"auth": "!"}}), "must be base64 of USER:PASSWORD"),
        (config(auths={"a": {"auth": base64.b64encode(b"hunter2").decode()}}), "must be base64 of USER:PASSWORD"),
        (config(credHelpers=5), "credHelpers must be an object"),
    ],
)
def test_a_file_that_makes_no_sense_is_an_error_without_its_secrets(text: bytes, what: str) -> None:
    with pytest.raises(InvalidArgument, match=what) as caught:
        found(text, "a")
    assert "hunter2" not in str(caught.value)


def test_an_empty_file_has_nothing() -> None:
    assert found(b" \n", "a") is None
    assert found(config(auths=None), "a") is None


@pytest.mark.parametrize("key", ["", "https://", "/", "//", "https:///v1/"])
def test_odd_keys_are_no_trouble(key: str) -> None:
    assert normal(key) in ("", "/v1", "https:", "/")
    assert found(config(auths={key: auth("a", "b")}), "reg.example") is None


# ------------------------------------------------------------------------------------------------------------- helpers


def test_a_helper_keeps_gives_and_forgets(helpers: Callable[[str, str], dict[str, str]]) -> None:
    helper = Helper("keep", helpers("keep", KEEPER))
    assert helper.get("reg.example") is None
    helper.store("reg.example", Credential(username="alice", password=Secret("s3cr3t")))
    assert helper.get("reg.example") == Credential(username="alice", password=Secret("s3cr3t"))
    helper.store("reg.example", Credential(identity_token=Secret("refresh")))
    assert helper.get("reg.example") == Credential(identity_token=Secret("refresh"))
    helper.erase("reg.example")
    helper.erase("reg.example")
    assert helper.get("reg.example") is None


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("sys.stdin.read(); print('no keychain here \\x1b[31m'); sys.exit(1)", r"failed: no keychain here \\x1b"),
        ("sys.exit(3)", "exit code 3"),
        ("print('{')", "its answer is not JSON"),
        ("print('{}')", "no Username and Secret"),
        ('print(\'{"Username": 5, "Secret": "x"}\')', "no Username and Secret"),
        ("sys.stdout.write('x' * 400_000)", "more than 262144 bytes"),
        ("time.sleep(60)", "no answer in 1 seconds"),
        ("print('{}', flush=True); os.close(1); time.sleep(60)", "did not end in 1 seconds"),
    ],
)
def test_a_helper_that_fails_is_named(helpers: Callable[[str, str], dict[str, str]], code: str, what: str) -> None:
    with pytest.raises(FailedPrecondition, match=f"credential helper docker-credential-bad: .*{what}"):
        Helper("bad", helpers("bad", code), timeout=1.0).get("reg.example")


@pytest.mark.parametrize("name", ["../../bin/sh", "a/b", "", "-x", "a b", "x" * 200])
def test_a_helpers_name_leads_to_no_other_program(name: str) -> None:
    with pytest.raises(FailedPrecondition, match="no name of a helper"):
        Helper(name, dict(os.environ)).get("reg.example")


def test_a_helper_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="docker-credential-absent: cannot be run: no such file"):
        Helper("absent", {"PATH": str(tmp_path)}).get("reg.example")


def test_helpers_count_as_docker_counts_them(helpers: Callable[[str, str], dict[str, str]]) -> None:
    answer = "sys.stdin.read(); print(json.dumps({'Username': '%s', 'Secret': 'x'}))"
    helpers("one", answer % "helper")
    environment = helpers("all", answer % "store")
    helpers("none", "print('credentials not found in native keychain'); sys.exit(1)")
    text = config(
        auths={"a": auth("file", "x"), "b": auth("file", "x"), "b/own": auth("path", "x")},
        credHelpers={"a": "one"},
        credsStore="all",
    )
    assert found(text, "a", "x", environment) == ("helper", "x")
    assert found(text, "b", "x", environment) == ("store", "x")
    assert found(text, "b", "own/x", environment) == ("path", "x")
    empty = config(auths={"a": auth("file", "x")}, credHelpers={"a": "none"}, credsStore="none")
    assert found(empty, "a", "x", environment) == ("file", "x")


def test_docker_hub_has_its_old_name_with_helpers(helpers: Callable[[str, str], dict[str, str]]) -> None:
    environment = helpers("keep", KEEPER)
    Helper("keep", environment).store("https://index.docker.io/v1/", Credential(username="a", password=Secret("b")))
    assert found(config(credsStore="keep"), "docker.io", "library/x", environment) == ("a", "b")
    assert found(config(credHelpers={"docker.io": "keep"}), "docker.io", "", environment) == ("a", "b")


# --------------------------------------------------------------------------------------------------------------- order


def write(path: Path, **value: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(config(**value))
    return str(path)


def test_the_first_source_that_has_something_answers(tmp_path: Path) -> None:
    write(tmp_path / "run/containers/auth.json", auths={"r": auth("session", "x"), "only": auth("session", "x")})
    write(tmp_path / ".config/containers/auth.json", auths={"r": auth("user", "x"), "last": auth("user", "x")})
    docker = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    write(tmp_path / ".docker/config.json", auths={"r": auth("docker", "x")})
    registry_file = {"REGISTRY_AUTH_FILE": write(tmp_path / "named.json", auths={"r": auth("named", "x")})}
    text = {"DOCKER_AUTH_CONFIG": config(auths={"r": auth("text", "x")}).decode()}

    def user(host: str = "r", *, environment: dict[str, str]) -> str:
        credential = standard(environment).find(host, "repo")
        return credential.username if credential else "nobody"

    everything = {**docker, **registry_file, **text}
    assert user(environment=everything) == "text"
    assert user(environment={**docker, **registry_file}) == "named"
    assert user(environment=docker) == "docker"
    assert user("only", environment=everything) == "session"
    assert user("last", environment=everything) == "user"
    assert user("other", environment=everything) == "nobody"
    assert user(environment={}) == "nobody"


def test_where_dockers_file_is() -> None:
    assert docker_path({"DOCKER_CONFIG": "/etc/d", "HOME": "/h"}) == "/etc/d/config.json"
    assert docker_path({"HOME": "/h"}) == "/h/.docker/config.json"
    assert docker_path({}) is None


def test_explaining_tells_who_answers_and_no_secret(
    tmp_path: Path, helpers: Callable[[str, str], dict[str, str]]
) -> None:
    environment = helpers("broken", "sys.exit(1)")
    environment["DOCKER_AUTH_CONFIG"] = config(auths={}).decode()
    environment["REGISTRY_AUTH_FILE"] = str(tmp_path / "absent.json")
    write(tmp_path / ".docker/config.json", credHelpers={"r": "broken"})
    write(tmp_path / ".config/containers/auth.json", auths={"r/a": auth("alice", "hunter2")})
    session = {
        "XDG_RUNTIME_DIR": write(
            tmp_path / "run/containers/auth.json", auths={"r": auth("bob", "hunter2")}
        ).removesuffix("/containers/auth.json")
    }
    said = [str(line) for line in standard({**environment, **session}).explain("r", "a/b")]
    assert said == [
        "DOCKER_AUTH_CONFIG: has none",
        f"{tmp_path}/absent.json: is not there",
        f"{tmp_path}/.docker/config.json: credential helper docker-credential-broken: failed: exit code 1",
        f"{tmp_path}/run/containers/auth.json: answers as bob (auths: r)",
        f"{tmp_path}/.config/containers/auth.json: has one too as alice (auths: r/a)",
    ]
    assert "hunter2" not in repr(standard(environment).explain("r", "a/b")) + repr(standard(environment).sources)


def test_each_question_is_asked_once(helpers: Callable[[str, str], dict[str, str]], tmp_path: Path) -> None:
    environment = helpers(
        "counts", "open('asked', 'a').write('x'); print(json.dumps({'Username': 'a', 'Secret': 'b'}))"
    )
    environment |= {"DOCKER_AUTH_CONFIG": config(credsStore="counts").decode()}
    with contextlib.chdir(tmp_path):
        credentials = standard(environment)
        for _ in range(3):
            credentials.find("a", "b")
    assert (tmp_path / "asked").read_text() == "x"


def test_a_failed_helper_does_not_stop_an_anonymous_pull_and_is_named_when_the_registry_refuses(
    helpers: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    environment = helpers("broken", "sys.exit(1)")
    write(tmp_path / ".docker/config.json", credsStore="broken")
    credentials = standard(environment)
    with RegistryServer(auth=Token({}, anonymous={"pull"})) as registry, client(find=credentials.find) as made:
        host = plain(registry)
        assert made.send(host, host.repository("a/b").head_manifest("1")).status == 404
    for kind in (Basic({"alice": "x"}), Token({"alice": "x"})):
        with RegistryServer(auth=kind) as registry, client(find=credentials.find) as made:
            host = plain(registry)
            with pytest.raises(Unauthenticated, match="docker-credential-broken: failed"):
                made.send(host, host.repository("a/b").head_manifest("1"))


def test_what_is_no_credential_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").mkdir()
    with pytest.raises(TranshipError):
        standard({"HOME": str(tmp_path)}).find("a", "b")
    write(tmp_path / "big.json", auths={"x" * (5 << 20): {}})
    with pytest.raises(InvalidArgument, match="no credential file"):
        standard({"REGISTRY_AUTH_FILE": str(tmp_path / "big.json")}).find("a", "b")


# --------------------------------------------------------------------------------------------------------------- login


ALICE = Credential(username="alice", password=Secret("s3cr3t"))


def test_a_login_is_found_again_and_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new/config.json"
    assert login(str(path), "reg.example", ALICE, {}) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert found(path.read_bytes(), "reg.example") == ("alice", "s3cr3t")
    assert sorted(os.listdir(path.parent)) == ["config.json"]


def test_a_login_keeps_what_it_does_not_know_and_closes_an_open_file(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(
        '{"psFormat": "table", "auths": {"other": {"auth": "eDp5"}, "https://reg.example/v1/": {}}, "plugins": {"z": [1]}}'
    )
    path.chmod(0o644)
    login(str(path), "reg.example", ALICE, {})
    value = json.loads(path.read_text())
    assert list(value) == ["psFormat", "auths", "plugins"]
    assert value["plugins"] == {"z": [1]}
    assert value["auths"] == {"other": {"auth": "eDp5"}, "reg.example": auth("alice", "s3cr3t")}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_login_goes_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    (tmp_path / "config.json").symlink_to("dotfiles/docker.json")
    login(str(tmp_path / "config.json"), "reg.example", ALICE, {})
    assert (tmp_path / "config.json").is_symlink()
    assert found((tmp_path / "dotfiles/docker.json").read_bytes(), "reg.example") == ("alice", "s3cr3t")


def test_docker_hub_is_written_as_docker_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    login(str(path), "docker.io", ALICE, {})
    assert list(json.loads(path.read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert logout(str(path), "docker.io", {})
    assert json.loads(path.read_text())["auths"] == {}


def test_tokens_and_paths_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    login(str(path), "reg.example/acme", Credential(identity_token=Secret("refresh")), {})
    entry = CredentialFile(path.read_bytes(), "x", {}).find("reg.example", "acme/app")
    assert entry is not None
    assert entry.credential.identity_token == Secret("refresh")
    assert found(path.read_bytes(), "reg.example", "other") is None
    assert logout(str(path), "reg.example/acme", {})
    assert not logout(str(path), "reg.example/acme", {})


def test_a_login_with_a_helper_leaves_no_secret_in_the_file(
    helpers: Callable[[str, str], dict[str, str]], tmp_path: Path
) -> None:
    environment = helpers("keep", KEEPER)
    path = tmp_path / ".docker/config.json"
    write(path, credsStore="keep")
    assert login(str(path), "reg.example", ALICE, environment) == "docker-credential-keep"
    assert json.loads(path.read_text()) == {"credsStore": "keep", "auths": {"reg.example": {}}}
    credential = standard(environment).find("reg.example", "x")
    assert credential == ALICE
    assert logout(str(path), "reg.example", environment)
    assert standard(environment).find("reg.example", "x") is None
    assert not logout(str(path), "reg.example", environment)


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "config.json")
    with pytest.raises(InvalidArgument, match="no password"):
        login(path, "reg.example", Credential(username="alice"), {})
    with pytest.raises(InvalidArgument, match="colon"):
        login(path, "reg.example", Credential(username="a:b", password=Secret("x")), {})
    assert not logout(path, "reg.example", {})
    assert not os.path.exists(path)


def test_a_broken_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{broken")
    with pytest.raises(InvalidArgument):
        login(str(path), "reg.example", ALICE, {})
    assert path.read_text() == "{broken"
