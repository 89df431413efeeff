"""Which requests go through a proxy."""

from __future__ import annotations

import pytest

from tranship.errors import InvalidArgument, Unsupported
from tranship.formats.messages import Origin
from tranship.http.proxies import Proxies, Proxy
from tranship.model.secret import Secret


def chosen(environment: dict[str, str], url: str) -> str | None:
    proxy = Proxies.of(environment).choose(Origin.of(url))
    return proxy.url if proxy else None


def test_each_scheme_has_its_proxy() -> None:
    environment = {"HTTP_PROXY": "http://p1:3128", "https_proxy": "p2:3128", "HTTPS_PROXY": "http://ignored"}
    assert chosen(environment, "http://reg.example/") == "http://p1:3128"
    assert chosen(environment, "https://reg.example/") == "http://p2:3128"
    assert chosen({"ALL_PROXY": "https://p3"}, "http://reg.example/") == "https://p3"
    assert chosen({}, "https://reg.example/") is None


@pytest.mark.parametrize("url", ["http://localhost:5000/", "https://127.0.0.5/", "http://[::1]:80/"])
def test_this_machine_is_reached_directly(url: str) -> None:
    assert chosen({"ALL_PROXY": "http://p"}, url) is None


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("*", "https://reg.example/"),
        ("reg.example", "https://reg.example/"),
        ("REG.example", "https://reg.example/"),
        ("example", "https://reg.example/"),
        (".example", "https://reg.example/"),
        ("*.example", "https://reg.example/"),
        ("a.b, reg.example", "https://reg.example/"),
        ("a.b reg.example", "https://reg.example/"),
        ("reg.example:443", "https://reg.example/"),
        ("10.0.0.0/8", "https://10.1.2.3/"),
        ("10.1.2.3", "https://10.1.2.3/"),
        ("10.1.2.3:5000", "https://10.1.2.3:5000/"),
        ("fd00::/8", "https://[fd00::5]/"),
        ("[fd00::5]:5000", "https://[fd00::5]:5000/"),
    ],
)
def test_exceptions_that_match(entry: str, url: str) -> None:
    assert chosen({"ALL_PROXY": "http://p", "NO_PROXY": entry}, url) is None


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("", "https://reg.example/"),
        ("g.example", "https://reg.example/"),
        (".reg.example", "https://reg.example/"),
        ("reg.example:5000", "https://reg.example/"),
        ("reg.example.com", "https://reg.example/"),
        ("10.0.0.0/8", "https://11.1.2.3/"),
        ("10.0.0.0/8", "https://ten.example/"),
        (".", "https://reg.example/"),
        ("fd00::5:5000", "https://[fd00::5]:5000/"),
    ],
)
def test_exceptions_that_do_not(entry: str, url: str) -> None:
    assert chosen({"ALL_PROXY": "http://p", "NO_PROXY": entry}, url) == "http://p"


def test_the_proxys_password_is_kept_apart() -> None:
    proxies = Proxies.of({"HTTPS_PROXY": "http://user:p%40ss@proxy:3128/"})
    assert proxies.https == Proxy("http://proxy:3128", Secret("user:p@ss"))
    assert "p@ss" not in repr(proxies)


def test_a_cgi_program_does_not_take_its_clients_header_for_a_proxy() -> None:
    assert chosen({"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil"}, "http://reg.example/") is None
    assert chosen({"REQUEST_METHOD": "GET", "http_proxy": "http://good"}, "http://reg.example/") == "http://good"


def test_what_is_no_proxy_is_an_error_without_its_password() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Proxies.of({"HTTP_PROXY": "http://user:hunter2@:x"})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(Unsupported, match="socks5"):
        Proxies.of({"ALL_PROXY": "socks5://p:1080"})
