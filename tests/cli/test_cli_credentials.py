"""Passwords on the command line: from where they come, to whom they are shown, and that no output ever holds one."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.conftest import stock
from support.commands import Commands, Ran
from tranship import Layout, Registry, transfer
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import TLS, Basic, RegistryServer, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ALICE, BOB = ("alice", "s3cr3t-of-alice"), ("bob", "pa55-of-bob")
TOLD = "token-in-a-header"
MARKS = [mark for name, word in (ALICE, BOB) for mark in (word, base64.b64encode(f"{name}:{word}".encode()).decode())]


class Discreet(Commands):
    """Runs commands, and looks for passwords in all that they print."""

    def failing(self, *words: object, stdin: bytes = b"") -> Ran:
        ran = super().failing(*words, stdin=stdin)
        for mark in (*MARKS, TOLD):
            assert mark not in ran.out + ran.err, words
        return ran


@pytest.fixture
def discreet(stocked: Commands) -> Discreet:
    return Discreet(stocked.root)


@pytest.fixture(params=["basic", "token"])
def guarded(request: pytest.FixtureRequest, images: Callable[[str], Path]) -> Iterator[RegistryServer]:
    """A registry that knows Alice alone, and has team/app."""
    with RegistryServer(auth=guard(request.param, ALICE)) as server:
        stock(server, images, credential=Credential(username=ALICE[0], password=Secret(ALICE[1])))
        yield server


@pytest.fixture
def of_bob() -> Iterator[RegistryServer]:
    with RegistryServer(auth=Basic(dict([BOB]))) as server:
        yield server


def guard(kind: str, who: tuple[str, str]) -> Basic | Token:
    return Basic(dict([who])) if kind == "basic" else Token(dict([who]))


def shown(server: RegistryServer) -> str:
    """All that the registry was shown."""
    return " ".join(str(exchange.authorization) + str(exchange.headers.pairs) for exchange in server.requests)


def auths(server: RegistryServer, who: tuple[str, str], path: str = "") -> str:
    auth = base64.b64encode(":".join(who).encode()).decode()
    return json.dumps({"auths": {server.host + path: {"auth": auth}}})


def app(server: RegistryServer) -> str:
    return f"{server.host}/team/app:1"


# --- from where -------------------------------------------------------------------------------------------------------


def test_without_a_password_the_registry_is_named_and_what_to_do(discreet, guarded):
    ran = discreet.failing("pull", app(guarded))
    assert ran.code == 4
    assert guarded.host in ran.err
    assert f"tranship login {guarded.host}" in ran.err


@pytest.mark.parametrize("spelling", ["creds", "stdin", "src-creds", "src-stdin"])
def test_a_password_can_be_said_for_one_command(discreet, guarded, spelling):
    side = "src-" if spelling.startswith("src-") else ""
    if spelling.endswith("creds"):
        words, stdin = [f"--{side}creds", ":".join(ALICE)], b""
    else:
        words, stdin = [f"--{side}username", ALICE[0], f"--{side}password-stdin"], f"{ALICE[1]}\n".encode()
    discreet("pull", *words, app(guarded), stdin=stdin)
    discreet("tags", "--creds", ":".join(ALICE), f"{guarded.host}/team/app")
    assert not Path("../home/.docker").exists()


@pytest.mark.parametrize("place", ["DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE", "docker", "podman", "--authfile"])
def test_a_password_is_found_where_everybody_keeps_it(discreet, guarded, place, monkeypatch, tmp_path):
    text, words = auths(guarded, ALICE), []
    if place == "DOCKER_AUTH_CONFIG":
        monkeypatch.setenv(place, text)
    elif place == "--authfile":
        Path("auth.json").write_text(text)
        words = ["--authfile", "auth.json"]
    else:
        path = {
            "REGISTRY_AUTH_FILE": tmp_path / "named.json",
            "docker": tmp_path / "home/.docker/config.json",
            "podman": tmp_path / "home/.config/containers/auth.json",
        }[place]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if place == "REGISTRY_AUTH_FILE":
            monkeypatch.setenv(place, str(path))
    discreet("pull", *words, app(guarded))
    discreet("push", *words, "app:1", f"{guarded.host}/new:1")


def test_a_wrong_password_is_told_by_the_option_or_variable_that_it_came_from(discreet, guarded, monkeypatch):
    assert "with credentials from --creds" in discreet.failing("pull", "--creds", ":".join(BOB), app(guarded)).err
    asked = ["pull", "--username", BOB[0], "--password-stdin", app(guarded)]
    assert "with credentials from --username" in discreet.failing(*asked, stdin=BOB[1].encode()).err
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", auths(guarded, BOB))
    ran = discreet.failing("pull", app(guarded))
    assert f"with credentials from DOCKER_AUTH_CONFIG (auths: {guarded.host})" in ran.err
    assert f"tranship auth explain {guarded.host}" in ran.err


def test_what_is_said_comes_before_what_is_kept(discreet, guarded, monkeypatch):
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", auths(guarded, BOB))
    assert discreet.failing("pull", app(guarded)).code == 4
    discreet("pull", "--creds", ":".join(ALICE), app(guarded))
    Path("auth.json").write_text(auths(guarded, ALICE))
    discreet("pull", "--authfile", "auth.json", app(guarded))


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--password-stdin"], 2, "say --username"),
        (["--username", "alice"], 2, "--password-stdin"),
        (["--creds", "alice"], 2, "--password-stdin"),
        (["--creds", "a:b", "--username", "a"], 2, "say too much"),
        (["--username", "alice", "--password-stdin"], 2, "is empty"),
        (["--authfile", "absent.json"], 3, "there is no absent.json"),
        (["--hosts-dir", "absent"], 3, "there is no absent"),
        (["--creds", ":".join(BOB)], 4, "tranship login"),
    ],
)
def test_what_is_said_badly_is_told(discreet, guarded, words, code, told):
    ran = discreet.failing("pull", *words, app(guarded))
    assert (ran.code, told in ran.err) == (code, True), ran.err


def test_a_password_is_one_line(discreet, guarded):
    ran = discreet.failing("pull", "--username", "alice", "--password-stdin", app(guarded), stdin=b"two\nlines\n")
    assert (ran.code, "one line" in ran.err) == (2, True)
    discreet("pull", "--username", "alice", "--password-stdin", app(guarded), stdin=f"{ALICE[1]}\r\n".encode())


def test_standard_input_is_an_archive_or_a_password_and_not_both(discreet, guarded):
    words = ["copy", "-", f"docker://{guarded.host}/x:1", "--username", "alice", "--password-stdin"]
    ran = discreet.failing(*words, stdin=Path("app.tar").read_bytes())
    assert (ran.code, "standard input is" in ran.err) == (2, True)


# --- to whom ----------------------------------------------------------------------------------------------------------


def test_each_end_has_its_own_password_and_never_sees_the_others(discreet, guarded, of_bob):
    words = ["--src-creds", ":".join(ALICE), "--dest-creds", ":".join(BOB)]
    headers = ["--src-header", f"X-Mine: {TOLD}"]
    before = len(guarded.requests)
    discreet("copy", *words, *headers, app(guarded), f"{of_bob.host}/x:1")
    assert TOLD in str([exchange.headers.pairs for exchange in guarded.requests[before:]])
    for mark in (ALICE[1], MARKS[1], TOLD):
        assert mark not in shown(of_bob)
    assert MARKS[3] not in shown(guarded)


def test_what_is_said_for_one_end_is_not_for_the_other(discreet, guarded, of_bob):
    words = ["copy", app(guarded), f"{of_bob.host}/x:1"]
    assert discreet.failing(*words, "--src-creds", ":".join(ALICE)).code == 4
    assert discreet.failing(*words, "--dest-creds", ":".join(ALICE)).code == 4
    assert MARKS[1] not in shown(of_bob)  # it was not asked, since the other end failed
    ran = discreet.failing("copy", "app.tar", f"{of_bob.host}/x:1", "--src-creds", ":".join(ALICE))
    assert (ran.code, "--src-username" in ran.err or "--src-creds means nothing" in ran.err) == (2, True)


@pytest.mark.parametrize("option", [["--creds", ":".join(ALICE)], ["--header", f"Authorization: {TOLD}"]])
def test_what_is_said_once_is_not_shown_to_two_registries(discreet, guarded, of_bob, option):
    discreet("tag", "app:1", app(guarded), app(of_bob))
    for words in (
        ["copy", app(guarded), f"{of_bob.host}/x:1"],
        ["pull", app(guarded), app(of_bob)],
        ["push", app(guarded), app(of_bob), app(guarded)],
        ["copy", app(guarded), app(of_bob), "all.tar"],
    ):
        before = len(guarded.requests) + len(of_bob.requests)
        ran = discreet.failing(*words, *option)
        assert (ran.code, "would be shown to two registries" in ran.err) == (2, True), words
        assert len(guarded.requests) + len(of_bob.requests) == before


def test_both_ends_may_be_one_registry(discreet, guarded):
    discreet("copy", "--creds", ":".join(ALICE), app(guarded), f"{guarded.host}/x:1")
    stdin = f"{ALICE[1]}\n".encode()
    discreet("copy", "--username", "alice", "--password-stdin", app(guarded), f"{guarded.host}/y:1", stdin=stdin)
    discreet("tag", "app:1", f"{guarded.host}/a:1")
    discreet("tag", "models:1", f"{guarded.host}/b:1")
    discreet("push", "--creds", ":".join(ALICE), f"{guarded.host}/a:1", f"{guarded.host}/b:1", f"{guarded.host}/a:1")
    assert list(guarded.tags("b")) == ["1"]


def test_who_is_shown_a_password_is_said_on_request(discreet, guarded):
    words = ["pull", "--creds", ":".join(ALICE), app(guarded)]
    assert "credentials for" not in discreet(*words).err
    told = discreet(*words, "-v").err
    if isinstance(guarded.auth, Token):
        assert f"tranship: credentials for {guarded.host} go to http://{guarded.host}/token" in told
    events = [json.loads(line) for line in discreet(*words, "-v", "--progress", "json").err.splitlines()]
    assert any("does not speak TLS" in event["event"] for event in events if event["stage"] == "notice")


@pytest.mark.parametrize("fault", ["unauthorized", "challenge", "token", "redirect", "error-body", "hang-up"])
def test_no_password_is_printed_whatever_goes_wrong(discreet, guarded, fault):
    guarded.fault(fault, times=None)
    for words in (["-v"], ["--debug"], ["--progress", "json"], ["--json"]):
        discreet.failing(
            "pull", *words, "--retries", "0", "--creds", ":".join(ALICE), "--header", f"X-Key: {TOLD}", app(guarded)
        )


# --- login ------------------------------------------------------------------------------------------------------------


def kept(tmp_path: Path) -> dict[str, object]:
    path = tmp_path / "home/.docker/config.json"
    return json.loads(path.read_text()) if path.exists() else {}


def login(discreet: Discreet, server: RegistryServer, *words: str, who: tuple[str, str] = ALICE, path: str = "") -> Ran:
    stdin = f"{who[1]}\n".encode()
    return discreet.failing("login", "-u", who[0], "--password-stdin", *words, server.host + path, stdin=stdin)


def test_a_login_that_works_is_kept_and_a_logout_forgets_it(discreet, guarded, tmp_path):
    ran = login(discreet, guarded)
    assert (ran.code, ran.lines) == (0, [f"logged in to {guarded.host} as alice"])
    assert "unencrypted in" in ran.err
    assert list(kept(tmp_path)["auths"]) == [guarded.host]
    assert (tmp_path / "home/.docker/config.json").stat().st_mode & 0o777 == 0o600
    discreet("pull", app(guarded))
    assert discreet("logout", guarded.host).lines == [f"logged out of {guarded.host}"]
    assert discreet.failing("pull", app(guarded)).code == 4
    assert discreet.failing("logout", guarded.host).code == 3


def test_a_password_that_does_not_work_is_not_kept(discreet, guarded, tmp_path):
    ran = login(discreet, guarded, who=BOB)
    assert (ran.code, "does not accept this password of bob; it was not kept" in ran.err) == (4, True)
    assert kept(tmp_path) == {}


def test_a_password_that_nobody_wants_is_kept_and_that_is_said(discreet, registry):
    ran = login(discreet, registry)
    assert (ran.code, "so this one was not tried" in ran.err) == (0, True)
    value = login(discreet, registry, "--json").json
    assert (value["username"], value["checked"]) == ("alice", False)


def test_a_registry_that_is_not_there_is_no_place_to_log_in(discreet, tmp_path):
    with RegistryServer() as gone:
        pass
    assert login(discreet, gone, "--retries", "0").code == 6
    assert kept(tmp_path) == {}


def test_a_login_goes_to_the_file_that_is_named(discreet, guarded, tmp_path, monkeypatch):
    assert login(discreet, guarded, "--authfile", "auth.json").code == 0
    discreet("pull", "--authfile", "auth.json", app(guarded))
    discreet("logout", "--authfile", "auth.json", guarded.host)
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "named.json"))
    assert login(discreet, guarded, path="/team").code == 0
    assert list(json.loads((tmp_path / "named.json").read_text())["auths"]) == [f"{guarded.host}/team"]
    discreet("pull", app(guarded))
    assert discreet.failing("tags", f"{guarded.host}/other").code == 4
    assert kept(tmp_path) == {}


HELPER = """#!{python}
import json, os, sys
path, said = os.environ["HOME"] + "/kept", sys.stdin.read()
kept = json.load(open(path)) if os.path.exists(path) else {{}}
if sys.argv[1] == "store":
    kept[json.loads(said)["ServerURL"]] = json.loads(said)
elif sys.argv[1] == "get":
    if said not in kept:
        print("credentials not found in native keychain"), sys.exit(1)
    print(json.dumps(kept[said]))
elif kept.pop(said, None) is None:
    print("credentials not found in native keychain"), sys.exit(1)
json.dump(kept, open(path, "w"))
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's configuration names a helper, which keeps things in the file that this gives."""
    program = tmp_path / "bin" / "docker-credential-box"
    program.parent.mkdir()
    program.write_text(HELPER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    config = tmp_path / "home/.docker/config.json"
    config.parent.mkdir(parents=True)
    config.write_text('{"credsStore": "box"}')
    return tmp_path / "home/kept"


def test_a_helper_keeps_the_password_and_the_file_does_not(discreet, guarded, helper, tmp_path):
    ran = login(discreet, guarded)
    assert (ran.code, ran.err) == (0, "")
    assert kept(tmp_path) == {"credsStore": "box", "auths": {guarded.host: {}}}
    assert json.loads(helper.read_text())[guarded.host]["Secret"] == ALICE[1]
    discreet("pull", app(guarded))
    (line,) = [line for line in discreet("auth", "explain", guarded.host).lines if "answers" in line]
    assert "credsStore" in line and "as alice" in line
    discreet("logout", guarded.host)
    assert json.loads(helper.read_text()) == {}


def test_what_hides_a_login_is_said(discreet, guarded, monkeypatch):
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", auths(guarded, BOB))
    ran = login(discreet, guarded)
    assert f"DOCKER_AUTH_CONFIG comes before it, and will be used for {guarded.host}" in ran.err
    ran = discreet("logout", guarded.host)
    assert f"DOCKER_AUTH_CONFIG has a password for {guarded.host} still" in ran.err


def test_auth_explain_says_who_answers_and_as_whom(discreet, guarded, tmp_path):
    login(discreet, guarded)
    path = tmp_path / "home/.docker/config.json"
    lines = discreet("auth", "explain", f"{guarded.host}/team/app").lines
    assert lines[0] == f"{path}: answers as alice (auths: {guarded.host})"
    assert lines[-1].endswith("auth.json: is not there")
    value = discreet("auth", "explain", "--json", f"docker://{app(guarded)}").json
    assert value["sources"][0]["state"] == "answers"
    assert (value["registry"], value["sources"][0]["username"]) == (guarded.host, "alice")
    assert discreet("auth", "explain", "registry.example").lines[0] == f"{path}: has none"


def test_who_logs_in_and_with_what_is_asked_on_a_terminal_without_echo(stocked, guarded):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "tranship", "login", guarded.host],
        stdin=child,
        stdout=child,
        stderr=child,
        start_new_session=True,
    )
    os.close(child)
    text = b""
    for prompt, answer in ((b"user name at", ALICE[0]), (b"password of", ALICE[1])):
        while prompt not in text.splitlines()[-1] if text else True:
            text += os.read(parent, 1024)
        os.write(parent, f"{answer}\n".encode())
    while True:
        try:
            data = os.read(parent, 1024)
        except OSError:
            break
        if not data:
            break
        text += data
    assert process.wait(60) == 0, text
    os.close(parent)
    assert b"logged in to" in text
    assert ALICE[1].encode() not in text
    stocked("pull", app(guarded))


@pytest.mark.parametrize("host", ["", "a/../b", "UPPER CASE", "docker://"])
def test_what_is_no_registry_is_refused(discreet, host):
    for words in (["login", "-u", "a", "--password-stdin"], ["logout"], ["auth", "explain"]):
        assert discreet.failing(*words, host, stdin=b"x\n").code == 2


@pytest.mark.parametrize(
    ("said", "meant"), [("docker.io", "docker.io"), ("index.docker.io", "docker.io"), ("registry", "registry")]
)
def test_hosts_are_called_as_credentials_are_kept(said, meant):
    from tranship.cli.registries import host_of

    assert host_of(said) == meant
    assert host_of(f"https://{said}/") == meant


# --- TLS and mirrors --------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[dict[str, str]]:
    import trustme

    made, stranger = trustme.CA(), trustme.CA()
    files = {name: str(tmp_path / f"{name}.pem") for name in ("ca", "server", "client", "stranger")}
    made.cert_pem.write_to_path(files["ca"])
    stranger.cert_pem.write_to_path(files["stranger"])
    made.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files["server"])
    made.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(files["client"])
    return files


def test_a_private_authority_and_a_client_certificate_are_used_when_they_are_named(discreet, authority, images):
    tls = TLS(authority["server"], authority["server"], client_ca=authority["ca"])
    with RegistryServer(tls=tls) as server:
        words = ["--ca-file", authority["ca"], "--cert-file", authority["client"], "--key-file", authority["client"]]
        discreet("push", *words, "app:1", f"{server.host}/x:1")
        assert discreet("digest", *words, f"docker://{server.host}/x:1").lines == discreet("digest", "app:1").lines
        other = [f"--src-{word[2:]}" if word.startswith("--") else word for word in words]
        discreet("copy", *other, f"docker://{server.host}/x:1", "oci:x")
        assert discreet.failing("pull", "--retries", "0", *words[:2], f"{server.host}/x:1").code == 6


def test_certificates_are_checked_unless_told_otherwise(discreet, authority, monkeypatch):
    """This machine's own registries are trusted with any certificate, so one has to be called by a name."""
    from tranship.formats import hosts

    monkeypatch.setattr(hosts, "is_loopback", lambda _host: False)
    with RegistryServer(tls=TLS(authority["server"], authority["server"])) as server:
        place = f"{server.host}/x:1"
        ran = discreet.failing("push", "--retries", "0", "app:1", place)
        assert ran.code != 0
        assert re.search("certificate", ran.err, re.IGNORECASE)
        assert discreet.failing("push", "--retries", "0", "--ca-file", authority["stranger"], "app:1", place).code != 0
        discreet("push", "--insecure", "app:1", place)
        discreet("push", "--ca-file", authority["ca"], "models:1", place)
        assert discreet.failing("push", "--ca-file", "absent.pem", "app:1", place).code == 3


def test_plain_http_is_spoken_when_told_to(discreet, monkeypatch):
    from tranship.formats import hosts

    monkeypatch.setattr(hosts, "is_loopback", lambda _host: False)
    with RegistryServer() as server:
        assert discreet.failing("push", "--retries", "0", "app:1", f"{server.host}/x:1").code == 6
        discreet("push", "--plain-http", "app:1", f"{server.host}/x:1")
        discreet("copy", "--src-plain-http", f"docker://{server.host}/x:1", "oci:x")


def test_mirrors_come_from_the_folder_that_is_named(discreet, registry, images):
    with RegistryServer() as mirror:
        transfer(Layout(images("multi"), "v1"), Registry(f"{mirror.host}/team/app:1", environment={}))
        folder = Path("certs.d") / registry.host
        folder.mkdir(parents=True)
        (folder / "hosts.toml").write_text(
            f'server = "http://{registry.host}"\n[host."http://{mirror.host}"]\ncapabilities = ["pull", "resolve"]\n'
        )
        before = len(registry.requests)
        discreet("pull", "--root", "new", "--hosts-dir", "certs.d", app(registry))
        assert len(registry.requests) == before
        assert mirror.count("blob.get") > 0
        assert discreet("ls", "-q", "--root", "new").lines == [app(registry)]
