"""Where a registry is really reached: mirrors, certificates, plain http, proxies, by the files that containerd and docker know."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from support.http_proxy import ProxyServer
from support.registry_runs import (
    ALICE,
    BOB,
    LAYER,
    NEW,
    OLD,
    REPOSITORY,
    at,
    check_shown,
    make_impatient,
    run,
)
from tranship import Registry, transfer
from tranship.errors import NotFound, PermissionDenied, PolicyRefused, TranshipError, Unavailable
from tranship.testing.memory import Memory
from tranship.testing.registry import TLS, Basic, RegistryServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    make_impatient(monkeypatch)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A private authority, a server's certificate and a client's, as files."""
    folder, authority = tmp_path_factory.mktemp("tls"), trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    server = authority.issue_cert("127.0.0.1", "reg.test")
    server.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    client = authority.issue_cert("alice@example.com")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    client.cert_chain_pems[0].write_to_path(folder / "client.cert")
    client.private_key_pem.write_to_path(folder / "client.key")
    return {path.name: str(path) for path in folder.iterdir()}


@pytest.fixture
def secure(files: dict[str, str]) -> Iterator[RegistryServer]:
    """A registry by TLS that demands a client certificate."""
    with RegistryServer(tls=TLS(files["server.pem"], files["server.pem"], client_ca=files["ca.pem"])) as server:
        NEW.put(server)
        yield server


def end(server: RegistryServer, **options: Any) -> Registry:
    return at(server, **{"plain_http": False, **options})


def configure(folder: Path, registry: str, text: str) -> Path:
    place = folder / registry
    place.mkdir(parents=True, exist_ok=True)
    (place / "hosts.toml").write_text(text)
    return folder


def comes(source: Registry) -> None:
    images = Memory()
    ran = run(source, images, ALICE, BOB)
    assert ran.error is None, ran.told
    assert images.blobs == NEW.everything


# ----------------------------------------------------------------------------------------------------------------- TLS


def test_files_of_the_end_are_used(secure: RegistryServer, files: dict[str, str]) -> None:
    comes(end(secure, ca_file=files["ca.pem"], cert_file=files["both.pem"]))
    comes(end(secure, ca_file=files["ca.pem"], cert_file=files["client.cert"], key_file=files["client.key"]))
    comes(end(secure, insecure=True, cert_file=files["both.pem"]))
    transfer(OLD.memory(), end(secure, name="other:1", ca_file=files["ca.pem"], cert_file=files["both.pem"]))
    assert secure.tags("other") == {"1": OLD.digest}
    assert all(exchange.certificate for exchange in secure.requests)


def test_without_them_nothing_is_said(secure: RegistryServer, files: dict[str, str]) -> None:
    with pytest.raises(Unavailable, match=r"no TLS|failed at HEAD"):  # no client certificate
        transfer(end(secure, ca_file=files["ca.pem"]), Memory())
    # Loopback takes any certificate by itself (containerd's rule); a name does not.
    with ProxyServer(secure.port) as proxy, pytest.raises(PolicyRefused, match="certificate that is not trusted"):
        environment = {"ALL_PROXY": f"http://{proxy.address}"}
        names = f"reg.test:{secure.port}/{REPOSITORY}:1"
        transfer(Registry(names, environment=environment, hosts_dir="/nonexistent"), Memory())
    assert not secure.requests


def test_hosts_toml_names_certificates(secure: RegistryServer, files: dict[str, str], tmp_path: Path) -> None:
    for name in ("ca.pem", "both.pem", "client.cert", "client.key"):
        (tmp_path / secure.host).mkdir(exist_ok=True)
        shutil.copy(files[name], tmp_path / secure.host / name)
    for client in ('"both.pem"', '[["client.cert", "client.key"]]', f'"{files["both.pem"]}"'):
        configure(tmp_path, secure.host, f'server = "https://{secure.host}"\nca = "ca.pem"\nclient = {client}\n')
        comes(end(secure, hosts_dir=tmp_path))
    configure(tmp_path, secure.host, 'skip_verify = true\nclient = "both.pem"\n')
    comes(end(secure, hosts_dir=tmp_path))


def test_dockers_folder_of_certificates_is_read(secure: RegistryServer, files: dict[str, str], tmp_path: Path) -> None:
    place = tmp_path / secure.host
    place.mkdir()
    shutil.copy(files["ca.pem"], place / "ca.crt")
    shutil.copy(files["client.cert"], place / "client.cert")
    shutil.copy(files["client.key"], place / "client.key")
    comes(end(secure, hosts_dir=tmp_path))


def test_a_port_may_be_spelled_in_the_folders_name_and_a_default_serves_all(tmp_path: Path) -> None:
    with RegistryServer() as server, RegistryServer() as mirror:
        NEW.put(mirror)
        text = f'[host."http://{mirror.host}"]\n'
        for number, folder in enumerate((f"127.0.0.1_{server.port}_", "_default")):
            mirror.forget()
            comes(end(server, plain_http=True, hosts_dir=configure(tmp_path / str(number), folder, text)))
            assert mirror.requests


def test_the_environment_names_folders_and_the_first_that_knows_the_registry_counts(tmp_path: Path) -> None:
    with RegistryServer() as server, RegistryServer() as mirror:
        NEW.put(mirror)
        configure(tmp_path / "second", server.host, f'[host."http://{mirror.host}"]\n')
        configure(tmp_path / "third", server.host, "this is never read")
        folders = {"TRANSHIP_HOSTS_DIR": ":".join(str(tmp_path / name) for name in ("first", "second", "third"))}
        comes(end(server, plain_http=True, hosts_dir=None, environment=folders))
        assert mirror.requests
        own = configure(tmp_path / "own", server.host, "")  # what is said for an end counts alone
        ran = run(end(server, plain_http=True, hosts_dir=own, environment=folders), Memory())
        assert isinstance(ran.error, NotFound)


def test_a_file_that_makes_no_sense_is_an_error_and_no_shrug(tmp_path: Path) -> None:
    with RegistryServer() as server:
        NEW.put(server)
        for text in (
            "[host",
            '[host."http://x"]\ncapabilities = ["fly"]\n',
            'ca = "absent.pem"\nserver = "https://127.0.0.1:1"\n',
        ):
            with pytest.raises(TranshipError) as caught:
                transfer(end(server, hosts_dir=configure(tmp_path, server.host, text)), Memory())
            assert caught.value.exit_code == 2
        assert not server.requests


# ---------------------------------------------------------------------------------------------------------- plain http


def test_plain_http_is_for_loopback_or_where_it_is_said() -> None:
    with RegistryServer(host_names=("reg.test",)) as server, ProxyServer(server.port) as proxy:
        NEW.put(server)

        def named(**options: Any) -> Registry:
            environment = {"ALL_PROXY": f"http://{proxy.address}"}
            return Registry(
                f"reg.test:{server.port}/{REPOSITORY}:1", hosts_dir="/nonexistent", environment=environment, **options
            )

        for options in ({}, {"insecure": True}):
            with pytest.raises(Unavailable):
                transfer(named(**options), Memory())
        assert all(head.startswith("CONNECT ") for head in proxy.heads)
        comes(named(plain_http=True))
    with RegistryServer() as server:
        NEW.put(server)
        comes(end(server))
        assert server.counts["ping"] == 1  # one look whether it speaks TLS, for a session


# ------------------------------------------------------------------------------------------------------------- proxies


def test_everything_goes_through_the_proxy_of_the_environment(files: dict[str, str]) -> None:
    tls = TLS(files["server.pem"], files["server.pem"])
    with RegistryServer(tls=tls, host_names=("reg.test", "127.0.0.1")) as server, ProxyServer(server.port) as proxy:
        NEW.put(server)
        names = f"reg.test:{server.port}/{REPOSITORY}"
        for setting in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            value = {setting: f"http://me:proxy-pass@{proxy.address}"}
            comes(Registry(f"{names}:1", environment=value, hosts_dir="/nonexistent", ca_file=files["ca.pem"]))
        value = {"HTTPS_PROXY": f"http://{proxy.address}"}
        transfer(
            OLD.memory(), Registry(f"{names}:2", environment=value, hosts_dir="/nonexistent", ca_file=files["ca.pem"])
        )
        assert server.tags(REPOSITORY)["2"] == OLD.digest
        assert not [exchange for exchange in server.requests if "Proxy-Authorization" in exchange.headers]
        seen = len(proxy.heads)
        unreachable = {**value, "NO_PROXY": "reg.test"}  # there is no such host: the proxy was the only way
        with pytest.raises(Unavailable, match="cannot resolve"):
            transfer(
                Registry(f"{names}:1", environment=unreachable, hosts_dir="/nonexistent", ca_file=files["ca.pem"]),
                Memory(),
            )
        comes(end(server, environment=value, ca_file=files["ca.pem"]))  # loopback is reached directly
        assert len(proxy.heads) == seen


# ----------------------------------------------------------------------------------------------- places for no content


@pytest.mark.parametrize(
    "place",
    [
        *(
            "127.0.0.1",
            "localhost",
            "app.localhost",
            "0.0.0.0",
            "127.1",
            "2130706433",
            "0x7f.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ),
        *(
            "169.254.169.254",
            "169.254.169.254.",
            "2852039166",
            "[::ffff:169.254.169.254]",
            "[fe80::1]",
            "[fd00:ec2::254]",
        ),
        *("100.100.100.200", "metadata.google.internal"),
    ],
)
def test_a_registry_elsewhere_leads_nobody_into_this_machine_or_to_a_clouds_secrets(place: str) -> None:
    with (
        RegistryServer(host_names=("reg.test",)) as server,
        RegistryServer(strict=False) as internal,
        ProxyServer(server.port) as proxy,
    ):
        NEW.put(server)
        internal.put_blob("internal", b"secrets of this machine")
        environment = {"ALL_PROXY": f"http://{proxy.address}"}
        end = Registry(f"reg.test:{server.port}/{REPOSITORY}:1", plain_http=True, environment=environment)
        for fault, kind, one in (
            ("redirect", "blob.get", True),
            ("redirect", "manifest", True),
            ("location", "upload", False),
        ):
            with server.fault(fault, kind=kind, times=None, url=f"http://{place}:{internal.port}/v2/internal/blobs/x"):
                images = Memory()
                ran = (
                    run(end, images) if one else run(OLD.memory(), replace(end, names=f"reg.test:{server.port}/new:1"))
                )
                assert isinstance(ran.error, PolicyRefused), ran.told
                assert "no place for content" in ran.told
                assert not images.names
        assert not internal.requests
        assert not [head for head in proxy.heads if place in head]


# ------------------------------------------------------------------------------------------------------------- mirrors


@pytest.fixture
def three() -> Iterator[tuple[RegistryServer, RegistryServer, RegistryServer]]:
    """Two mirrors and the registry itself; the image is at the last alone."""
    with RegistryServer() as first, RegistryServer() as second, RegistryServer(auth=Basic(dict([ALICE]))) as server:
        NEW.put(server)
        yield first, second, server


def mirrored(server: RegistryServer, folder: Path, *mirrors: tuple[RegistryServer, str], **options: Any) -> Registry:
    text = f'server = "http://{server.host}"\n'
    text += "".join(f'[host."http://{mirror.host}"]\n{settings}\n' for mirror, settings in mirrors)
    return at(server, ALICE, hosts_dir=configure(folder, server.host, text), **options)


def test_mirrors_are_asked_in_order_and_the_registry_last(three: Any, tmp_path: Path) -> None:
    first, second, server = three
    source = mirrored(server, tmp_path, (first, ""), (second, ""))
    comes(source)
    assert first.count("manifest", status=404)
    assert second.count("manifest", status=404)
    NEW.put(second)
    for registry in three:
        registry.forget()
    comes(source)
    assert first.requests  # it is asked for each object
    assert second.count("blob.get", status=200) == 3
    assert not server.requests
    assert all(exchange.query["ns"] == server.host for exchange in second.requests)


@pytest.mark.parametrize(
    ("fault", "parameters"),
    [
        *(("status", {"code": code}) for code in (400, 401, 403, 404, 418, 429, 500, 503)),
        ("unauthorized", {}),
        ("hang-up", {}),
        ("junk-status", {}),
        ("redirect", {"to": "junk"}),
        ("redirect", {"to": "link-local"}),
        ("truncate", {"to": 10}),
        ("wrong-bytes", {}),
        ("wrong-length", {"by": 7}),
        ("drop", {"after": 1, "kind": "blob.get"}),
        ("chunked-junk", {}),
        ("gzip", {"only_say": True, "kind": "manifest.get"}),
        ("huge-manifest", {"size": 5 << 20}),
        ("substitute", {"to": str(OLD.digest), "kind": "manifest.get"}),
    ],
    ids=str,
)
def test_a_mirror_that_fails_in_any_way_is_passed_over(
    fault: str, parameters: dict[str, Any], three: Any, tmp_path: Path
) -> None:
    first, _, server = three
    OLD.put(first, tag="old")
    NEW.put(first)
    first.fault(fault, times=None, **parameters)
    comes(mirrored(server, tmp_path, (first, "")))


def test_a_mirror_that_refuses_connections_is_passed_over(three: Any, tmp_path: Path) -> None:
    first, _, server = three
    first.refuse_connections()
    comes(mirrored(server, tmp_path, (first, 'dial_timeout = "2s"')))


def test_the_registry_itself_gives_the_error(three: Any, tmp_path: Path) -> None:
    first, second, server = three
    first.fault("status", code=503, times=None)
    ran = run(mirrored(server, tmp_path, (first, ""), (second, ""), name="acme/absent:1"), Memory(), ALICE)
    assert isinstance(ran.error, NotFound)
    assert f"registry {server.host}" in str(ran.error)


def test_hosts_are_asked_for_what_they_are_good_for(three: Any, tmp_path: Path) -> None:
    first, second, server = three
    OLD.put(first)  # a stale tag, which must not be believed
    for registry in (first, second):
        for raw in NEW.blobs.values():
            registry.put_blob(REPOSITORY, raw)
    pulls = 'capabilities = ["pull"]'
    source = mirrored(server, tmp_path, (first, pulls), (second, 'capabilities = ["PULL", "resolve"]'))
    comes(source)
    assert not first.count("manifest.head")
    assert first.count("blob.get", status=200) == 3
    assert not server.count("blob.get")
    # What goes out goes to the first host that takes pushes, and to no other.
    transfer(
        OLD.memory(), mirrored(server, tmp_path, (first, pulls), (second, 'capabilities = ["push"]'), name="new:1")
    )
    assert second.tags("new") == {"1": OLD.digest}
    assert not first.tags("new")
    transfer(OLD.memory(), mirrored(server, tmp_path, (first, pulls), name="newer:1"))
    assert server.tags("newer") == {"1": OLD.digest}
    configure(tmp_path, server.host, f'server = "http://{server.host}"\ncapabilities = ["pull", "resolve"]\n')
    with pytest.raises(PermissionDenied, match=r"no host of registry .* is configured for push"):
        transfer(OLD.memory(), at(server, ALICE, hosts_dir=tmp_path))


def test_headers_and_paths_are_as_configured(three: Any, tmp_path: Path) -> None:
    first, _, server = three
    NEW.put(first, f"proxy/{REPOSITORY}")
    text = (
        f'server = "http://{server.host}"\n[host."http://{first.host}/v2/proxy"]\noverride_path = true\n'
        f'[host."http://{first.host}/v2/proxy".header]\nX-Team = ["a", "b"]\n'
    )
    comes(at(server, ALICE, hosts_dir=configure(tmp_path, server.host, text), headers=(("X-Own", "1"),)))
    assert not server.requests
    assert all(exchange.headers.all("X-Team") == ["a", "b"] for exchange in first.requests)
    assert all("X-Own" not in exchange.headers for exchange in first.requests)  # that was for the registry itself
    (tmp_path / server.host / "hosts.toml").unlink()
    comes(at(server, ALICE, hosts_dir=tmp_path, headers=(("X-Own", "1"),)))
    assert all("X-Own" in exchange.headers for exchange in server.requests)


def test_a_mirror_is_not_shown_the_registrys_password(three: Any, tmp_path: Path) -> None:
    _, _, server = three
    with RegistryServer(auth=Basic(dict([BOB]))) as mirror:
        NEW.put(mirror)
        comes(mirrored(server, tmp_path, (mirror, "")))
        assert not [exchange for exchange in mirror.requests if exchange.authorization]
        check_shown(server, ALICE)


def test_wrong_bytes_of_a_mirror_are_fetched_from_the_next_host(three: Any, tmp_path: Path) -> None:
    first, _, server = three
    NEW.put(first)
    first.fault("wrong-bytes", kind="blob.get", path=LAYER, times=None)
    comes(mirrored(server, tmp_path, (first, "")))
    assert server.count("blob.get", status=200) == 1


def test_a_host_that_takes_over_from_a_mirror_may_break_as_often_as_that(three: Any, tmp_path: Path) -> None:
    first, _, server = three
    NEW.put(first)
    first.fault("drop", after=1, kind="blob.get", path=LAYER, times=None)
    fault = server.fault("drop", after=1, kind="blob.get", path=LAYER, times=4)
    comes(mirrored(server, tmp_path, (first, "")))
    assert fault.hits == 4
