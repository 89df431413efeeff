"""Requests through a proxy, by the proxy's own record."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from support.client import ALICE, client, find
from support.http_proxy import ProxyServer
from tranship.errors import PolicyRefused, Unavailable
from tranship.formats.hosts import Host
from tranship.http.proxies import Proxies
from tranship.http.retry import Retry
from tranship.testing.registry import TLS, RegistryServer
from tranship.testing.registry.auth import Basic

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tls(tmp_path: Path) -> tuple[TLS, str]:
    authority = trustme.CA()
    authority.issue_cert("reg.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "server.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TLS(tmp_path / "server.pem", tmp_path / "server.pem"), str(tmp_path / "ca.pem")


def proxied(proxy: ProxyServer, login: str = "") -> Proxies:
    return Proxies.of({"ALL_PROXY": f"http://{login}{proxy.address}"})


def test_plain_requests_are_forwarded_and_the_proxys_password_stays_with_it() -> None:
    with RegistryServer(host_names=("reg.test",), auth=Basic({"alice": "secret"})) as registry:
        host = Host(registry=f"reg.test:{registry.port}", url=f"http://reg.test:{registry.port}/v2")
        with ProxyServer(registry.port) as proxy, client(proxies=proxied(proxy, "me:pass@"), find=find(ALICE)) as made:
            assert made.send(host, host.repository("a/b").head_manifest("1")).status == 404
        assert registry.count() == 2
        assert not [exchange for exchange in registry.requests if "Proxy-Authorization" in exchange.headers]
    assert proxy.heads[0].startswith(f"HEAD http://reg.test:{registry.port}/v2/a/b/manifests/1 ")
    assert base64.b64encode(b"me:pass").decode() in proxy.heads[0]


def test_tls_goes_through_a_tunnel_in_which_the_proxy_sees_nothing(tls: tuple[TLS, str]) -> None:
    with RegistryServer(host_names=("reg.test",), tls=tls[0], auth=Basic({"alice": "secret"})) as registry:
        host = Host(registry="reg.test", url=f"https://reg.test:{registry.port}/v2", ca=(tls[1],))
        with ProxyServer(registry.port) as proxy:
            with client(proxies=proxied(proxy, "me:pass@"), find=find(ALICE)) as made:
                assert made.send(host, host.repository("a/b").head_manifest("1")).status == 404
            with client(proxies=proxied(proxy)) as made, pytest.raises(PolicyRefused, match="not trusted"):
                distrustful = Host(registry="reg.test", url=host.url)
                made.send(distrustful, distrustful.repository("a/b").head_manifest("1"))
        assert not [exchange for exchange in registry.requests if "Proxy-Authorization" in exchange.headers]
    assert all(head.startswith(f"CONNECT reg.test:{registry.port} ") for head in proxy.heads)
    assert base64.b64encode(b"me:pass").decode() in proxy.heads[0]
    assert not [head for head in proxy.heads if "\nauthorization:" in head.lower()]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_a_login_is_named_and_asked_once(scheme: str) -> None:
    with RegistryServer() as registry, ProxyServer(registry.port, refuse=True) as proxy:
        host = Host(registry="reg.test", url=f"{scheme}://reg.test/v2")
        with (
            client(proxies=proxied(proxy)) as made,
            pytest.raises(Unavailable, match=r"the proxy for registry reg.*407 Proxy Auth") as raised,
        ):
            made.send(host, host.repository("a/b").head_manifest("1"))
    assert "USER:PASSWORD" in (raised.value.hint or "")
    assert len(proxy.heads) == 1


def test_a_proxy_that_is_not_there_is_named() -> None:
    with RegistryServer() as registry:
        gone = registry.host
    host = Host(registry="reg.test", url="http://reg.test/v2")
    proxies = Proxies.of({"ALL_PROXY": f"http://{gone}"})
    with (
        client(proxies=proxies, retry=Retry(attempts=1)) as made,
        pytest.raises(Unavailable, match="the proxy for registry reg"),
    ):
        made.send(host, host.repository("a/b").head_manifest("1"))


def test_a_proxy_may_itself_be_spoken_to_by_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain requests are forwarded by it, TLS is tunnelled within its TLS; both, only if its certificate is trusted."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("reg.test").private_key_and_cert_chain_pem.write_to_path(tmp_path / "reg.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))  # what the system trusts
    tls = TLS(tmp_path / "reg.pem", tmp_path / "reg.pem")
    for scheme, options in (("http", {}), ("https", {"tls": tls})):
        with (
            RegistryServer(host_names=("reg.test",), auth=Basic({"alice": "secret"}), **options) as registry,
            ProxyServer(registry.port, tls=context) as proxy,
        ):
            proxies = Proxies.of({"ALL_PROXY": f"https://me:pass@{proxy.address}"})
            host = Host(registry="reg.test", url=f"{scheme}://reg.test:{registry.port}/v2")
            with client(proxies=proxies, find=find(ALICE)) as made:
                assert made.send(host, host.repository("a/b").head_manifest("1")).status == 404
            assert not [exchange for exchange in registry.requests if "Proxy-Authorization" in exchange.headers]
        asked = (
            f"HEAD http://reg.test:{registry.port}/v2/" if scheme == "http" else f"CONNECT reg.test:{registry.port} "
        )
        assert proxy.heads[0].startswith(asked)
        assert base64.b64encode(b"me:pass").decode() in proxy.heads[0]


def test_a_proxy_whose_certificate_is_not_trusted_is_named() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with RegistryServer() as registry, ProxyServer(registry.port, tls=context) as proxy:
        proxies = Proxies.of({"ALL_PROXY": f"https://me:pass@{proxy.address}"})
        for scheme in ("http", "https"):
            host = Host(registry="reg.test", url=f"{scheme}://reg.test/v2")
            with (
                client(proxies=proxies) as made,
                pytest.raises(PolicyRefused, match=r"the proxy for registry reg\.test shows"),
            ):
                made.send(host, host.repository("a/b").head_manifest("1"))
        assert proxy.heads == []
