"""Who a registry is told we are: every way in, every place of a password, and that none goes astray."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from support.registry_runs import ALICE, BOB, NEW, OLD, REPOSITORY, at, check_shown, image, run
from tranship import Limits, Registry, transfer
from tranship.errors import PermissionDenied, TranshipError, Unauthenticated
from tranship.model.secret import Credential, Secret
from tranship.testing.memory import Memory
from tranship.testing.registry import Basic, RegistryServer, Token, TokenServer
from tranship.testing.registry.auth import basic_credentials

if TYPE_CHECKING:
    from pathlib import Path

    from tranship.testing.registry import Exchange

USERS = dict([ALICE, BOB])


def pulled(server: RegistryServer, credential: Any = None, **options: Any) -> Memory:
    """Pull NEW, and see that it came whole."""
    images = Memory()
    found = run(
        at(server, ALICE, **({"credential": credential} if credential is not None else {}), **options),
        images,
        ALICE,
        BOB,
    )
    assert found.error is None, found.told
    assert images.blobs == NEW.everything
    return images


def tokens(server: RegistryServer) -> list[Exchange]:
    return [exchange for exchange in server.requests if exchange.kind == "token"]


# ------------------------------------------------------------------------------------------------------------- ways in


def test_basic() -> None:
    with RegistryServer(auth=Basic(USERS)) as server:
        run(NEW.memory(), at(server, ALICE), ALICE)
        pulled(server)
        check_shown(server, ALICE)
        assert server.count(status=401) == 2  # one for each session: from then on the password goes along unasked


def test_a_token_by_get_serves_a_whole_pull_and_two_serve_a_push() -> None:
    with RegistryServer(auth=Token(USERS)) as server:
        assert run(NEW.memory(), at(server, ALICE), ALICE).error is None
        assert [exchange.query["scope"] for exchange in tokens(server)] == [
            f"repository:{REPOSITORY}:pull",
            f"repository:{REPOSITORY}:pull,push",
        ]
        server.forget()
        pulled(server)
        (asked,) = tokens(server)
        assert (asked.method, asked.query["service"], asked.query["account"]) == ("GET", "registry.test", ALICE[0])
        assert basic_credentials(asked.headers) == ALICE
        # The password goes to the token service alone.
        assert all(basic_credentials(e.headers) is None for e in server.requests if e.kind != "token")


def test_a_token_service_of_its_own_is_told_and_nobody_else() -> None:
    with TokenServer(Token(USERS)) as service, RegistryServer(auth=service) as server:
        NEW.put(server)
        pulled(server)
        assert {basic_credentials(exchange.headers) for exchange in service.requests} == {ALICE}
        assert all(basic_credentials(exchange.headers) is None for exchange in server.requests)


@pytest.mark.parametrize("code", [404, 405])
def test_a_service_that_knows_no_get_is_posted_the_password(code: int) -> None:
    with RegistryServer(auth=Token(USERS)) as server:
        NEW.put(server)
        server.fault("status", code=code, kind="token", method="GET", times=None)
        pulled(server)
        asked = tokens(server)[-1]
        assert (asked.method, asked.form["grant_type"], asked.form["username"]) == ("POST", "password", ALICE[0])


def test_an_identity_token_is_posted() -> None:
    rules = Token(USERS)
    with RegistryServer(auth=rules) as server:
        NEW.put(server)
        with TokenServer(rules) as service:
            identity = refresh_token(service)
        pulled(server, Credential(identity_token=Secret(identity)))
        (asked,) = tokens(server)
        assert (asked.method, asked.form["grant_type"], asked.form["refresh_token"]) == (
            "POST",
            "refresh_token",
            identity,
        )
        assert "username" not in asked.form


def refresh_token(service: TokenServer) -> str:
    """As `docker login` gets one."""
    import urllib.request

    request = urllib.request.Request(f"{service.url}/token?service=registry.test&offline_token=true&client_id=x")
    request.add_header("Authorization", "Basic " + base64.b64encode(":".join(ALICE).encode()).decode())
    with urllib.request.urlopen(request) as answer:
        found: str = json.load(answer)["refresh_token"]
    return found


def test_an_identity_token_that_is_void_is_named_and_not_shown() -> None:
    with RegistryServer(auth=Token(USERS)) as server:
        NEW.put(server)
        secret = "an-identity-token-that-is-void"
        given = Credential(identity_token=Secret(secret), source="the test")
        ran = run(at(server, credential=given), Memory(), ("x", secret))
        assert isinstance(ran.error, Unauthenticated)
        assert "credentials from the test" in ran.told


def test_a_registry_token_goes_as_it_is() -> None:
    rules = Token(USERS)
    with RegistryServer(auth=rules) as server:
        NEW.put(server)
        pulled(server)
        bearer = next(e.authorization for e in reversed(server.requests) if e.authorization)
        server.forget()
        pulled(server, Credential(registry_token=Secret(bearer.removeprefix("Bearer "))))
        assert not tokens(server)


def test_tokens_that_run_out_in_the_middle_are_renewed() -> None:
    many = image(5, *range(10_000, 10_040))
    with RegistryServer(auth=Token(USERS, expires_in=1)) as server:
        many.put(server)
        images = Memory()
        ran = run(at(server, ALICE), images, ALICE, limits=Limits(rate=200_000))  # two seconds
        assert ran.error is None, ran.told
        assert images.blobs == many.everything
        assert len(tokens(server)) >= 2


def test_without_credentials_what_is_public_can_be_pulled_and_nothing_pushed() -> None:
    with RegistryServer(auth=Token(USERS, anonymous={"pull"})) as server:
        OLD.put(server)
        images = Memory()
        assert run(at(server), images).error is None
        assert images.blobs == OLD.everything
        ran = run(NEW.memory(), at(server))
        assert isinstance(ran.error, (Unauthenticated, PermissionDenied))
        assert f"repository:{REPOSITORY}:pull,push" in ran.told
        assert all(basic_credentials(exchange.headers) is None for exchange in server.requests)
        assert server.tags(REPOSITORY) == {"1": OLD.digest}


@pytest.mark.parametrize("rules", [Basic(USERS), Token(USERS)])
def test_a_wrong_password_is_an_error_at_once(rules: Basic | Token) -> None:
    with RegistryServer(auth=rules) as server:
        NEW.put(server)
        ran = run(at(server, ("alice", "wrong-password-9")), Memory(), ("alice", "wrong-password-9"))
        assert isinstance(ran.error, Unauthenticated)
        assert ran.error.exit_code == 4
        assert len(server.requests) <= 3
        assert ran.error.hint
        assert "tranship login" in ran.error.hint


# -------------------------------------------------------------------------------------------------------------- mounts


def test_a_mount_asks_for_both_repositories_in_one_token() -> None:
    with RegistryServer(auth=Token(USERS)) as server:
        NEW.put(server, "base/image")
        source, destination = at(server, ALICE, "base/image:1"), at(server, ALICE)
        summary = transfer(source, destination)
        assert summary.moved == len(NEW.raw)
        scopes = [exchange.target for exchange in tokens(server)]
        assert any("base%2Fimage%3Apull" in scope and "acme%2Fapp%3Apull%2Cpush" in scope for scope in scopes)


def test_without_the_right_to_read_there_a_mount_becomes_an_upload() -> None:
    def rights(user: str | None, repository: str) -> set[str]:
        mine = {ALICE[0]: "base/image", BOB[0]: REPOSITORY}[user or ""]
        return {"pull", "push"} if repository == mine else set()

    with RegistryServer(auth=Token(USERS, permissions=rights)) as server:
        NEW.put(server, "base/image")
        ran = run(at(server, ALICE, "base/image:1"), at(server, BOB), ALICE, BOB)
        assert ran.error is None, ran.told
        assert server.tags(REPOSITORY) == {"1": NEW.digest}
        for exchange in server.requests:  # each end as its own user, at one registry
            if exchange.kind == "token":
                user = (basic_credentials(exchange.headers) or ("",))[0]
                assert (user == BOB[0]) == (f"{REPOSITORY.replace('/', '%2F')}" in exchange.target)


# ------------------------------------------------------------------------------------------- where credentials are kept


def entry(user: tuple[str, str]) -> dict[str, str]:
    return {"auth": base64.b64encode(":".join(user).encode()).decode()}


def helper(folder: Path, user: tuple[str, str]) -> dict[str, str]:
    """A credential helper as others ship them, in a folder of PATH; it notes what it was asked."""
    program = folder / "bin" / "docker-credential-testing"
    program.parent.mkdir()
    answer = json.dumps({"ServerURL": "", "Username": user[0], "Secret": user[1]})
    program.write_text(f"#!/bin/sh\nread server\necho \"$1 $server\" >> '{folder}/asked'\necho '{answer}'\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def config(folder: Path, value: Mapping[str, Any], name: str = "config.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(json.dumps(value))
    return path


def test_dockers_config_is_read(tmp_path: Path) -> None:
    with RegistryServer(auth=Basic(USERS)) as server:
        NEW.put(server)
        config(tmp_path / ".docker", {"auths": {server.host: entry(ALICE)}})
        transfer(mine(server, {"HOME": str(tmp_path)}), Memory())
        config(tmp_path / "other", {"auths": {f"https://{server.host}/v2/": entry(ALICE)}})
        transfer(mine(server, {"DOCKER_CONFIG": str(tmp_path / "other")}), Memory())
        check_shown(server, ALICE)


def mine(
    server: RegistryServer, environment: Mapping[str, str], name: str = f"{REPOSITORY}:1", **options: Any
) -> Registry:
    """An end that looks where users keep credentials."""
    return Registry(
        f"{server.host}/{name}", plain_http=True, hosts_dir="/nonexistent", environment=environment, **options
    )


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_a_helper_program_is_asked(key: str, tmp_path: Path) -> None:
    with RegistryServer(auth=Basic(USERS)) as server:
        NEW.put(server)
        environment = helper(tmp_path, ALICE)
        config(tmp_path / ".docker", {key: "testing" if key == "credsStore" else {server.host: "testing"}})
        transfer(mine(server, {**environment, "HOME": str(tmp_path)}), Memory())
        check_shown(server, ALICE)
        assert (tmp_path / "asked").read_text() == f"get {server.host}\n"  # once, however many requests there are


def test_podmans_files_know_passwords_of_parts_of_a_registry(tmp_path: Path) -> None:
    with RegistryServer(auth=Basic(USERS)) as server:
        OLD.put(server, "acme/one")
        NEW.put(server, "acme/two")
        path = config(
            tmp_path, {"auths": {f"{server.host}/acme/two": entry(BOB), server.host: entry(ALICE)}}, "auth.json"
        )
        both = Registry(
            (f"{server.host}/acme/one:1", f"{server.host}/acme/two:1"),
            plain_http=True,
            hosts_dir="/nonexistent",
            environment={"REGISTRY_AUTH_FILE": str(path)},
        )
        transfer(both, Memory())
        for exchange in server.requests:
            if exchange.authorization:
                assert basic_credentials(exchange.headers) == (BOB if "/acme/two/" in exchange.path else ALICE)
        config(tmp_path / "run" / "containers", {"auths": {server.host: entry(BOB)}}, "auth.json")
        server.forget()
        transfer(mine(server, {"XDG_RUNTIME_DIR": str(tmp_path / "run")}, "acme/two:1"), Memory())
        check_shown(server, BOB)


def test_the_first_place_that_has_something_answers(tmp_path: Path) -> None:
    """Flags, the program's own function, DOCKER_AUTH_CONFIG, REGISTRY_AUTH_FILE, docker's file, podman's file."""
    with RegistryServer(auth=Basic(USERS)) as server:
        NEW.put(server)

        def auths(user: tuple[str, str]) -> dict[str, Any]:
            return {"auths": {server.host: entry(user)}}

        good, bad = auths(ALICE), auths(("mallory", "no-pass"))
        podman = {"XDG_RUNTIME_DIR": str(tmp_path / "run")}
        docker = {"DOCKER_CONFIG": str(tmp_path / "docker"), **podman}
        named = {"REGISTRY_AUTH_FILE": str(tmp_path / "named.json"), **docker}
        said = {"DOCKER_AUTH_CONFIG": json.dumps(good), **named}
        config(tmp_path / "run" / "containers", good, "auth.json")
        transfer(mine(server, podman), Memory())
        config(tmp_path / "run" / "containers", bad, "auth.json")
        config(tmp_path / "docker", good)
        transfer(mine(server, docker), Memory())
        config(tmp_path / "docker", bad)
        config(tmp_path, good, "named.json")
        transfer(mine(server, named), Memory())
        config(tmp_path, bad, "named.json")
        transfer(mine(server, said), Memory())
        said["DOCKER_AUTH_CONFIG"] = json.dumps(bad)
        asked: list[tuple[str, str]] = []

        def ask(host: str, repository: str) -> Credential:
            asked.append((host, repository))
            return Credential(username=ALICE[0], password=Secret(ALICE[1]))

        transfer(mine(server, said, credential=ask), Memory())
        assert set(asked) == {(server.host, REPOSITORY)}
        transfer(mine(server, said, credential=Credential(username=ALICE[0], password=Secret(ALICE[1]))), Memory())
        transfer(mine(server, said, auth_file=str(config(tmp_path, good, "flag.json"))), Memory())
        check_shown(server, ALICE)


def test_a_function_that_has_nothing_means_nobody(tmp_path: Path) -> None:
    """It decides alone: a daemon that asks its client must not go on to its own user's files."""
    with RegistryServer(auth=Basic(USERS)) as server:
        NEW.put(server)
        config(tmp_path / ".docker", {"auths": {server.host: entry(ALICE)}})
        nobody = mine(server, {"HOME": str(tmp_path)}, credential=lambda _host, _repository: None)
        with pytest.raises(TranshipError):
            transfer(nobody, Memory())
        assert not [exchange for exchange in server.requests if exchange.authorization]


def test_a_helper_that_fails_is_named_when_the_registry_refuses(tmp_path: Path) -> None:
    with RegistryServer(auth=Basic(USERS)) as server:
        NEW.put(server)
        config(tmp_path / ".docker", {"credsStore": "absent"})
        ran = run(mine(server, {"HOME": str(tmp_path), "PATH": str(tmp_path)}), Memory())
        assert isinstance(ran.error, Unauthenticated)
        assert "docker-credential-absent" in ran.told


@pytest.mark.parametrize("rules", [Basic(USERS), Token(USERS)])
def test_a_refusal_says_where_the_password_came_from_and_what_to_do(rules: Basic | Token, tmp_path: Path) -> None:
    wrong = ("alice", "wrong-password-9")
    with RegistryServer(auth=rules) as server:
        NEW.put(server)
        host, home = server.host, {"HOME": str(tmp_path)}
        kept = {"auths": {host: entry(wrong)}}
        given = Credential(username=wrong[0], password=Secret(wrong[1]))
        docker = config(tmp_path / "docker", kept)
        named = config(tmp_path, kept, "named.json")
        session = config(tmp_path / "run" / "containers", kept, "auth.json")
        helped = config(tmp_path / "helped", {"credHelpers": {host: "testing"}})
        stored = config(tmp_path / "stored", {"credsStore": "testing"})
        runs = helper(tmp_path, wrong)
        places: list[tuple[str, Registry]] = [
            ("from the program itself", mine(server, home, credential=given)),
            ("from its creator", mine(server, home, credential=replace(given, source="its creator"))),
            ("from the program's own function", mine(server, home, credential=lambda _host, _repository: given)),
            (f"from DOCKER_AUTH_CONFIG (auths: {host})", mine(server, {"DOCKER_AUTH_CONFIG": json.dumps(kept)})),
            (f"from REGISTRY_AUTH_FILE={named} (auths: {host})", mine(server, {"REGISTRY_AUTH_FILE": str(named)})),
            (f"from {docker} (auths: {host})", mine(server, {"DOCKER_CONFIG": str(docker.parent)})),
            (f"from {session} (auths: {host})", mine(server, {"XDG_RUNTIME_DIR": str(session.parents[1])})),
            (f"from {named} (auths: {host})", mine(server, home, auth_file=str(named))),
            (
                f"from docker-credential-testing ({helped}, credHelpers: {host})",
                mine(server, {**runs, "DOCKER_CONFIG": str(helped.parent)}),
            ),
            (
                f"from docker-credential-testing ({stored}, credsStore: {host})",
                mine(server, {**runs, "DOCKER_CONFIG": str(stored.parent)}),
            ),
        ]
        for place, source in places:
            ran = run(source, Memory(), wrong)
            assert isinstance(ran.error, Unauthenticated)
            assert f"with credentials {place}" in str(ran.error)
            assert f"auth explain {host}" in (ran.error.hint or "")


def test_a_denial_says_whose_credentials_are_not_enough() -> None:
    with RegistryServer(auth=Token(USERS, permissions=lambda _user, _repository: {"pull"})) as server:
        ran = run(NEW.memory(), at(server, ALICE), ALICE)
        assert isinstance(ran.error, (Unauthenticated, PermissionDenied))
        assert "with credentials from the test" in str(ran.error)


def test_a_password_for_one_registry_is_not_shown_to_another(tmp_path: Path) -> None:
    with RegistryServer(auth=Basic(USERS)) as one, RegistryServer(auth=Basic(USERS)) as other:
        NEW.put(one)
        config(tmp_path / ".docker", {"auths": {one.host: entry(ALICE)}})
        environment = {"HOME": str(tmp_path)}
        ran = run(mine(one, environment), mine(other, environment), ALICE, BOB)
        assert isinstance(ran.error, Unauthenticated)
        assert ran.error.side == "destination"
        assert not [exchange for exchange in other.requests if exchange.authorization]
