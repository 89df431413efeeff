"""TLS: whom we trust, what we show, and that nothing falls back to plain text by itself."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest
import trustme

from support.client import ALICE, client, find, layer, payload, secure
from tranship.errors import InvalidArgument, PolicyRefused, Unavailable
from tranship.formats import upload
from tranship.formats.distribution import expect
from tranship.formats.hosts import Host, configured, default_host
from tranship.http.payload import FilePayload
from tranship.testing.registry import TLS, RegistryServer
from tranship.testing.registry.auth import Basic, Token, TokenServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tranship.http.client import Client

CONTENT = random.Random(7).randbytes(200_000)
BLOB = layer(CONTENT)
NAME = "acme/app"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An authority with a server's and a client's certificate, and another authority with a server's."""
    folder = tmp_path_factory.mktemp("tls")
    found: dict[str, str] = {}
    for name in ("own", "other"):
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / f"{name}-ca.pem")
        found[f"{name}-ca"] = str(folder / f"{name}-ca.pem")
        for kind, identity in (("server", "127.0.0.1"), ("elsewhere", "reg.example"), ("client", "alice@example.com")):
            made = authority.issue_cert(identity)
            made.private_key_and_cert_chain_pem.write_to_path(folder / f"{name}-{kind}.pem")
            found[f"{name}-{kind}"] = str(folder / f"{name}-{kind}.pem")
    return found


@pytest.fixture
def registry(files: dict[str, str]) -> Iterator[RegistryServer]:
    with RegistryServer(tls=TLS(files["own-server"], files["own-server"])) as server:
        server.put_blob(NAME, CONTENT)
        yield server


def get(made: Client, host: Host) -> bytes:
    request = host.repository(NAME).get_blob(BLOB.digest)
    response = made.send(host, request, limit=1 << 20)
    expect(request, response, 200)
    return response.body


def test_the_authority_of_the_configuration_is_trusted(registry: RegistryServer, files: dict[str, str]) -> None:
    with client() as made:
        assert get(made, secure(registry, ca=(files["other-ca"], files["own-ca"]))) == CONTENT


def test_connections_are_used_again(registry: RegistryServer, files: dict[str, str]) -> None:
    with client() as made:
        for _ in range(4):
            assert get(made, secure(registry, ca=(files["own-ca"],))) == CONTENT
    assert registry.connections == 1


def test_an_unknown_authority_is_refused_at_once(registry: RegistryServer, files: dict[str, str]) -> None:
    for settings in ({}, {"ca": (files["other-ca"],)}):
        with (
            client() as made,
            pytest.raises(PolicyRefused, match=r"registry 127.* shows a certificate that is not trusted"),
        ):
            get(made, secure(registry, **settings))
    assert registry.count() == 0


def test_a_certificate_of_another_host_is_refused(files: dict[str, str]) -> None:
    with RegistryServer(tls=TLS(files["own-elsewhere"], files["own-elsewhere"])) as registry, client() as made:
        with pytest.raises(PolicyRefused, match="IP address mismatch"):
            get(made, secure(registry, ca=(files["own-ca"],)))
        assert registry.count() == 0


def test_any_certificate_will_do_where_that_was_asked_for(registry: RegistryServer) -> None:
    with client() as made:
        assert get(made, secure(registry, skip_verify=True)) == CONTENT


def test_a_client_certificate_is_shown(files: dict[str, str]) -> None:
    tls = TLS(files["own-server"], files["own-server"], client_ca=files["own-ca"])
    with RegistryServer(tls=tls) as registry, client() as made:
        registry.put_blob(NAME, CONTENT)
        assert get(made, secure(registry, ca=(files["own-ca"],), client=((files["own-client"], None),))) == CONTENT
        with pytest.raises(Unavailable):
            get(made, secure(registry, ca=(files["own-ca"],)))


def test_files_that_cannot_be_used_are_named(registry: RegistryServer, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    with client() as made:
        for settings in ({"ca": (str(junk),)}, {"client": ((str(junk), None),)}, {"ca": (str(tmp_path / "absent"),)}):
            with pytest.raises(InvalidArgument, match=r"cannot use .*(junk\.pem|absent)"):
                get(made, secure(registry, **settings))


def test_uploads_go_over_tls_from_a_file(registry: RegistryServer, files: dict[str, str], tmp_path: Path) -> None:
    content = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    host = secure(registry, ca=(files["own-ca"],))
    with client() as made, path.open("rb") as file:
        made.run(host, upload.upload(host.repository(NAME), layer(content)), FilePayload(file.fileno()))
    assert registry.content(NAME, layer(content).digest) == content


def test_a_redirect_to_plain_http_is_refused(registry: RegistryServer, files: dict[str, str]) -> None:
    registry.fault("redirect", to="plain")
    with client() as made, pytest.raises(PolicyRefused, match="not encrypted"):
        get(made, secure(registry, ca=(files["own-ca"],)))
    assert registry.elsewhere_plain.count() == 0


def test_an_upload_to_plain_http_is_refused(registry: RegistryServer, files: dict[str, str]) -> None:
    host = secure(registry, ca=(files["own-ca"],))
    registry.fault("location", form="plain")
    with client() as made, pytest.raises(PolicyRefused, match="not encrypted"):
        made.run(host, upload.upload(host.repository(NAME), layer(b"new")), payload(b"new"))
    assert registry.elsewhere_plain.count() == 0


def test_a_redirect_to_another_port_of_the_authority_is_followed(
    registry: RegistryServer, files: dict[str, str]
) -> None:
    registry.fault("redirect", to="elsewhere")
    with client() as made:
        assert get(made, secure(registry, ca=(files["own-ca"],))) == CONTENT
    assert registry.elsewhere.count() == 1


@pytest.mark.parametrize("form", ["plain", "link-local", "private"])
def test_a_password_is_not_sent_where_it_may_not_go(files: dict[str, str], form: str) -> None:
    tls = TLS(files["own-server"], files["own-server"])
    with RegistryServer(tls=tls, auth=Basic({"alice": "secret"})) as registry, client(find=find(ALICE)) as made:
        registry.fault("challenge", form=form)
        with pytest.raises(PolicyRefused, match="token service"):
            get(made, secure(registry, ca=(files["own-ca"],)))
        assert registry.elsewhere_plain.count() == 0


def test_a_token_service_elsewhere_must_be_trusted_even_when_the_registry_need_not(files: dict[str, str]) -> None:
    tls = TLS(files["own-server"], files["own-server"])
    with (
        TokenServer(Token({"alice": "secret"}), tls=tls) as tokens,
        RegistryServer(tls=tls) as registry,
        client(find=find(ALICE)) as made,
    ):
        registry.put_blob(NAME, CONTENT)
        registry.fault("challenge", realm=f"https://localhost:{tokens.port}/token", times=1)
        host = secure(registry, skip_verify=True)
        with pytest.raises(PolicyRefused, match="not trusted"):
            get(made, host)
        assert tokens.count() == 0


def test_a_loopback_registry_with_tls_is_found_out(registry: RegistryServer) -> None:
    with client() as made:
        assert get(made, default_host(registry.host)) == CONTENT


def test_an_http_host_with_tls_settings_is_spoken_to_by_tls(registry: RegistryServer, files: dict[str, str]) -> None:
    toml = f'server = "http://{registry.host}"\nca = "{files["own-ca"]}"'
    (host,) = configured(registry.host, toml=toml)
    with client() as made:
        assert get(made, host) == CONTENT


def test_https_is_not_given_up_for_a_plain_server() -> None:
    with RegistryServer() as registry, client() as made:
        with pytest.raises(Unavailable) as caught:
            get(made, secure(registry))
        assert registry.count(status=200) == 0
        assert caught.value.hint is None or "--plain-http" in caught.value.hint
