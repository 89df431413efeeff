"""Secrets go to the registry they are for, and nowhere else: not into output, logs, errors, progress, or files of the store.

Every secret of these tests is marked; each flow, the good one and those that fail, is run with everything switched on that talks, and all
that came out is searched for the marks, plain, as base64, and as it stands in a form.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import pytest

from torture.content import in_memory
from tranship import Limits, Registry, Reporter, Store, TranshipError, transfer
from tranship.http import credential_helper, proxies
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import Basic, RegistryServer, Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.commands import Commands

MARK = "Sw0rdf1sh/+"  # in every secret
USER = "alice"
PASSWORD = f"{MARK}password=&"
SPELLINGS = (
    MARK,
    quote_plus(MARK),
    *(base64.b64encode(f"{USER}:{PASSWORD}"[cut:].encode()).decode()[2:12] for cut in range(3)),
)


class Heard(Reporter):
    """Keeps everything that is reported."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def planned(self, plan: Any) -> None:
        self.texts.append(repr(plan))

    def report(self, event: Any) -> None:
        self.texts.append(repr(event))


class Everything:
    """All that was said, by anybody."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def tell(self, *said: object) -> None:
        self.texts += [str(one) for one in said]

    def error(self, error: BaseException) -> None:
        """All that can be made of an exception without looking into frames."""
        chain: BaseException | None = error
        while chain is not None:
            self.tell(chain, repr(chain), getattr(chain, "hint", ""), vars(chain), *getattr(chain, "__notes__", ()))
            chain = chain.__cause__ or chain.__context__
        self.tell("".join(traceback.format_exception(error)))

    def folder(self, folder: Path) -> None:
        """The names and bytes of every file."""
        for path in folder.rglob("*"):
            self.tell(path)
            if path.is_file():
                self.tell(path.read_bytes().decode("latin-1"))

    def check(self) -> None:
        everything = "\n".join(self.texts)
        assert everything.strip()
        for spelling in SPELLINGS:
            at = everything.find(spelling)
            assert at < 0, f"{spelling!r} was said: …{everything[max(0, at - 200) : at + 50]!r}"


@pytest.fixture
def everything() -> Iterator[Everything]:
    """Listens to every logger, at every level."""
    found, stream = Everything(), io.StringIO()
    handler = logging.StreamHandler(stream)
    root = logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    found.tell(stream.getvalue())
    found.check()


def test_the_search_finds_what_it_should() -> None:
    for said in (PASSWORD, f"x{base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}", quote_plus(PASSWORD)):
        found = Everything()
        found.tell(said)
        with pytest.raises(AssertionError, match="was said"):
            found.check()


CREDENTIALS = {
    "password": Credential(username=USER, password=Secret(PASSWORD)),
    "identity-token": Credential(username=USER, identity_token=Secret(MARK + "identity")),
    "registry-token": Credential(registry_token=Secret(MARK.replace("+", "") + "+registry")),
}
FAULTS: dict[str, dict[str, Any]] = {
    "unauthorized": {},
    "redirect": {"to": "elsewhere"},
    "challenge": {"form": "elsewhere"},
    "token": {"form": "crlf"},
    "status": {"code": 403},
    "error-body": {"form": "strange"},
    "junk-status": {},
    "hang-up": {},
}


@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize("auth", ["basic", "token"])
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_a_transfer_never_tells_what_it_was_let_in_with(
    kind: str, auth: str, fault: str | None, everything: Everything, tmp_path: Path
) -> None:
    rules = Basic({USER: PASSWORD}) if auth == "basic" else Token({USER: PASSWORD})
    with RegistryServer(auth=rules) as registry:
        good = Registry(f"{registry.host}/app:1", plain_http=True, credential=CREDENTIALS["password"], environment={})
        transfer(in_memory(f"{registry.host}/app:1", sizes=(10, 5000)), good)
        if fault is not None:
            registry.fault(fault, **FAULTS[fault])
        end = Registry(
            f"{registry.host}/app:1",
            plain_http=True,
            credential=CREDENTIALS[kind],
            headers=(("Cookie", MARK),),
            environment={},
        )
        heard = Heard()
        for source, destination in ((end, Store(root=tmp_path / "store")), (Store(root=tmp_path / "store"), end)):
            try:
                transfer(source, destination, reporter=heard, limits=Limits(retries=1, timeout=2.0))
            except Exception as error:
                everything.error(error)
        everything.tell(*heard.texts, end, repr(end), repr(CREDENTIALS[kind]))
        others = [exchange for other in registry._others.values() for exchange in other.requests]
        everything.tell(*(f"{exchange.target} {exchange.headers}" for exchange in others))  # what went elsewhere
    everything.folder(tmp_path)


@pytest.mark.parametrize("wanted", [False, True])
def test_layers_that_are_elsewhere_are_fetched_only_when_asked_for_and_without_credentials(
    wanted: bool, everything: Everything, tmp_path: Path
) -> None:
    """CVE-2020-15157: a manifest's `urls` must not be shown the registry's password."""
    with RegistryServer(auth=Basic({USER: PASSWORD})) as registry:
        end = Registry(
            f"{registry.host}/app:1",
            plain_http=True,
            credential=CREDENTIALS["password"],
            headers=(("Cookie", MARK),),
            foreign_urls=wanted,
            environment={},
        )
        transfer(in_memory(f"{registry.host}/app:1", sizes=(10, 5000)), end)
        registry.fault("foreign-urls")
        registry.fault("status", code=404, kind="blob.get", times=None)
        try:
            transfer(end, Store(root=tmp_path / "store"), limits=Limits(retries=0, timeout=2.0))
        except TranshipError as error:
            everything.error(error)
        asked = [(exchange.kind, str(exchange.headers)) for exchange in registry.elsewhere.requests]
        assert bool(asked) == wanted
        assert not any("Authorization" in headers for _, headers in asked)
        everything.tell("nothing was said", *(headers for _, headers in asked))


def test_commands_never_tell_a_password(
    tranship: Commands, everything: Everything, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with RegistryServer(auth=Token({USER: PASSWORD})) as registry:
        place = f"{registry.host}/app:1"
        transfer(
            in_memory(place, sizes=(10, 5000)),
            Registry(place, plain_http=True, credential=CREDENTIALS["password"], environment={}),
        )
        stdin = f"{PASSWORD}\n".encode()
        talk = ("-v", "--debug")
        runs = [
            tranship("login", "-u", USER, "--password-stdin", registry.host, *talk, stdin=stdin),
            tranship("pull", place, *talk),
            tranship("pull", place, "--progress", "json", *talk),
            tranship("auth", "explain", registry.host, *talk),
            tranship("auth", "explain", registry.host, "--json"),
            tranship("tags", f"{registry.host}/app", *talk),
            tranship.failing("pull", f"{registry.host}/absent:1", *talk),
            tranship.failing("pull", place, "--creds", f"{USER}:{MARK}wrong", "--no-clobber", *talk),
            tranship.failing("copy", f"docker://{USER}:{PASSWORD}@{place}", "x.tar", *talk),
            tranship("logout", registry.host, *talk),
            tranship.failing("pull", place, "--no-clobber", *talk),
        ]
        registry.fault("unauthorized")
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", f'{{"auths": {{"{registry.host}": {{"auth": "{MARK}"}}}}}}')
        runs.append(tranship.failing("pull", f"{registry.host}/app:2", *talk))
        monkeypatch.setenv("http_proxy", f"http://{USER}:{MARK}@127.0.0.1:1")
        runs.append(tranship.failing("pull", "--plain-http", "registry.invalid/app:2", "--timeout", "1s", *talk))
    for ran in runs:
        everything.tell(ran.out, ran.err)
    everything.folder(tmp_path)


def test_a_password_that_is_kept_is_kept_for_its_owner_alone(tranship: Commands, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with RegistryServer(auth=Basic({USER: PASSWORD})) as registry:
            tranship("login", "-u", USER, "--password-stdin", registry.host, stdin=PASSWORD.encode())
    finally:
        os.umask(before)
    kept = tmp_path / "home/.docker/config.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_a_helper_that_fails_after_it_has_answered_is_not_quoted(
    everything: Everything, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker-credential-leaky"
    program.write_text(f'#!/bin/sh\necho \'{{"Username": "{USER}", "Secret": "{PASSWORD}"}}\'\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    helper = credential_helper.Helper("leaky", {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    with pytest.raises(Exception, match="leaky") as caught:
        helper.get("ghcr.io")
    everything.error(caught.value)


def test_values_that_hold_secrets_do_not_show_them(everything: Everything) -> None:
    found = proxies.Proxies.of({"HTTPS_PROXY": f"http://{USER}:{quote_plus(MARK)}@proxy.example:3128"})
    everything.tell(found, repr(found), *CREDENTIALS.values(), *map(repr, CREDENTIALS.values()))
    for scheme in ("http", "ftp"):
        for text in (
            f"{USER}:{MARK}@proxy.example",
            f"{USER}:{quote_plus(MARK)}@[broken",
            f"{USER}:{quote_plus(MARK)}@h:x",
        ):
            with pytest.raises(TranshipError) as caught:
                proxies.Proxies.of({"HTTPS_PROXY": f"{scheme}://{text}"})
            everything.error(caught.value)
