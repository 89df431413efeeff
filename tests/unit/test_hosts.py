"""hosts.toml and certs.d as containerd reads them."""

from __future__ import annotations

import pytest

from tranship.errors import InvalidArgument
from tranship.formats import hosts
from tranship.formats.hosts import CAPABILITIES, Host, configured, default_host, directories


def read(toml: str, registry: str = "reg.example", **options: str) -> tuple[Host, ...]:
    return configured(registry, toml=toml, folder="/etc/certs.d/reg", **options)


@pytest.mark.parametrize(
    ("registry", "names"),
    [
        ("docker.io", ("docker.io", "_default")),
        ("reg:5000", ("reg_5000_", "reg:5000", "_default")),
        ("[::1]:5000", ("[::1]_5000_", "[::1]:5000", "_default")),
    ],
)
def test_the_folders_of_a_registry(registry: str, names: tuple[str, ...]) -> None:
    assert directories(registry) == names


@pytest.mark.parametrize("registry", ["../etc", "a/b", ".", ".."])
def test_a_folder_outside_is_never_named(registry: str) -> None:
    with pytest.raises(InvalidArgument):
        directories(registry)


@pytest.mark.parametrize(
    ("registry", "scheme", "url", "fallback"),
    [
        ("docker.io", None, "https://registry-1.docker.io/v2", False),
        ("docker.io", "http", "https://registry-1.docker.io/v2", False),
        ("ghcr.io", None, "https://ghcr.io/v2", False),
        ("ghcr.io", "http", "http://ghcr.io/v2", False),
        ("localhost", None, "https://localhost/v2", False),
        ("localhost:443", None, "https://localhost:443/v2", False),
        ("localhost:80", None, "http://localhost:80/v2", False),
        ("localhost:5000", None, "https://localhost:5000/v2", True),
        ("127.0.0.2:5000", None, "https://127.0.0.2:5000/v2", True),
        ("[::1]:5000", None, "https://[::1]:5000/v2", True),
        ("localhost:5000", "http", "http://localhost:5000/v2", False),
        ("localhost:5000", "https", "https://localhost:5000/v2", False),
        ("10.0.0.1:5000", None, "https://10.0.0.1:5000/v2", False),
    ],
)
def test_without_configuration(registry: str, scheme: str | None, url: str, fallback: bool) -> None:
    host = default_host(registry, scheme)
    assert (host.url, host.http_fallback, host.skip_verify) == (url, fallback, fallback)
    assert not host.is_mirror
    assert configured(registry, toml=None, default_scheme=scheme) == (host,)
    assert configured(registry, toml=" \n", default_scheme=scheme) == (host,)


def test_mirrors_are_tried_in_the_order_of_the_file_and_the_server_last() -> None:
    found = read(
        """
        server = "https://upstream.example"
        capabilities = ["pull"]
        [host."https://z.example/proxy"]
        capabilities = ["Pull", "RESOLVE"]
        [host."a.example:5000"]
        [host."http://plain.example"]
        override_path = true
        """
    )
    assert [host.url for host in found] == [
        "https://z.example/proxy/v2",
        "https://a.example:5000/v2",
        "http://plain.example",
        "https://upstream.example/v2",
    ]
    assert [set(host.capabilities) for host in found] == [{"pull", "resolve"}, CAPABILITIES, CAPABILITIES, {"pull"}]
    assert all(host.is_mirror for host in found)


def test_without_a_server_the_registry_itself_comes_last_with_the_settings_of_the_top() -> None:
    found = read('skip_verify = true\n[host."https://m.example"]', "docker.io")
    assert [(host.url, host.skip_verify) for host in found] == [
        ("https://m.example/v2", False),
        ("https://registry-1.docker.io/v2", True),
    ]
    assert [host.is_mirror for host in found] == [True, False]
    assert [host.authority for host in found] == ["m.example", "docker.io"]
    assert read("")[0] == default_host("reg.example")


def test_a_mirror_is_told_the_registry_that_is_meant() -> None:
    mirror, own = read('[host."https://m.example"]', "docker.io")
    assert (
        mirror.repository("library/alpine").head_manifest("3").url
        == "https://m.example/v2/library/alpine/manifests/3?ns=docker.io"
    )
    assert (
        own.repository("library/alpine").head_manifest("3").url
        == "https://registry-1.docker.io/v2/library/alpine/manifests/3"
    )
    assert not read('server = "https://REG.example:443"')[0].is_mirror


@pytest.mark.parametrize(
    ("spelled", "override", "url"),
    [
        ("https://m.example", False, "https://m.example/v2"),
        ("https://m.example/", False, "https://m.example/v2"),
        ("https://m.example/", True, "https://m.example"),
        ("https://m.example/v2", False, "https://m.example/v2"),
        ("https://m.example/v2/", False, "https://m.example/v2"),
        ("https://m.example/a//b/../c/", False, "https://m.example/a/c/v2"),
        ("https://m.example/a/v2", False, "https://m.example/a/v2"),
        ("https://m.example/a", True, "https://m.example/a"),
        ("https://M.example:8443/a", True, "https://m.example:8443/a"),
        ("httpd.example", False, "https://httpd.example/v2"),
    ],
)
def test_the_path_of_a_host(spelled: str, override: bool, url: str) -> None:
    assert read(f'[host."{spelled}"]\noverride_path = {str(override).lower()}')[0].url == url


def test_every_setting_of_a_host() -> None:
    host = read(
        """
        [host."https://m.example"]
        ca = "ca.pem"
        client = [["cert.pem", "key.pem"], ["/abs/both.pem"], ["other.pem", ""]]
        skip_verify = true
        dial_timeout = "1m1.5s"
        [host."https://m.example".header]
        X-One = "1"
        X-Two = ["2", "3"]
        """
    )[0]
    assert host.ca == ("/etc/certs.d/reg/ca.pem",)
    assert host.client == (
        ("/etc/certs.d/reg/cert.pem", "/etc/certs.d/reg/key.pem"),
        ("/abs/both.pem", None),
        ("/etc/certs.d/reg/other.pem", None),
    )
    assert host.skip_verify
    assert host.dial_timeout == 61.5
    assert host.headers == (("X-One", "1"), ("X-Two", "2"), ("X-Two", "3"))
    assert "X-One" not in repr(host)


def test_spellings_of_files() -> None:
    assert read('ca = ["a.pem", "/b.pem"]\nclient = "both.pem"')[0].ca == ("/etc/certs.d/reg/a.pem", "/b.pem")
    assert read('client = "both.pem"')[0].client == (("/etc/certs.d/reg/both.pem", None),)
    assert read('client = ["a.pem", "b.pem"]')[0].client == (
        ("/etc/certs.d/reg/a.pem", None),
        ("/etc/certs.d/reg/b.pem", None),
    )


def test_tls_settings_of_a_plain_host_mean_that_tls_is_tried_first() -> None:
    first, second, third = read(
        """
        server = "http://reg.example"
        skip_verify = true
        [host."http://m.example:5000"]
        ca = "ca.pem"
        [host."http://n.example:5000"]
        """
    )
    assert (first.url, first.http_fallback) == ("https://m.example:5000/v2", True)
    assert (second.url, second.http_fallback) == ("http://n.example:5000/v2", False)
    assert (third.url, third.http_fallback) == ("http://reg.example/v2", False)


def test_the_files_of_docker() -> None:
    names = ["ca.crt", "b.crt", "client.cert", "client.key", "lonely.cert", "stray.key", "README"]
    host = configured("reg:5000", toml=None, names=names, folder="/d")[0]
    assert host.ca == ("/d/b.crt", "/d/ca.crt")
    assert host.client == (("/d/client.cert", "/d/client.key"), ("/d/lonely.cert", None))
    assert configured("reg:5000", toml='ca = "x"', names=names, folder="/d")[0].ca == ("/d/x",)


@pytest.mark.parametrize(
    ("toml", "text"),
    [
        ("server = ", "hosts.toml is not TOML"),
        ("server = 5", "server must be a URL"),
        ('server = "ftp://x y"', "hosts.toml: URL"),
        ('server = "https://user:pass@x"', "user information"),
        ('server = "https://x?y=z"', "no query"),
        ("host = 5", "host must be a table"),
        ("[host]\nx = 5", "host must be a table"),
        ('[host."https://m"]\ncapabilities = ["fly"]', "host https://m: unknown capabilities fly"),
        ("capabilities = 5", "capabilities must be a string or a list"),
        ("ca = [5]", "ca must be a string or a list"),
        ('client = [["a", "b", "c"]]', "a certificate and its key"),
        ("client = [[]]", "a certificate and its key"),
        ('skip_verify = "yes"', "skip_verify must be true or false"),
        ('[host."https://m"]\noverride_path = 1', "override_path must be true or false"),
        ("dial_timeout = 5", 'like "5s"'),
        ('dial_timeout = "soon"', "is no duration"),
        ('header = "x"', "must be a table"),
        ("[header]\nX = 5", "must be a string"),
        ('[header]\n"X\\r\\nY" = "5"', "no header may hold"),
        ('[header]\nX = "a\\r\\nY: b"', "no header may hold"),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_an_error_that_says_where(toml: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text) as caught:
        read(toml)
    assert "/etc/certs.d/reg/hosts.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("5s", 5.0), ("1h2m3s", 3723.0), ("250ms", 0.25), ("1.5m", 90.0), ("0", 0.0), ("10us", 1e-5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert hosts.duration(text, "test") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "5 s", "5s ", "1e3s", "٥s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(InvalidArgument):
        hosts.duration(text, "test")
