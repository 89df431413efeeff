"""Which hosts serve a registry, and how each is reached: containerd's `hosts.toml`, and Docker's `certs.d` files.

A folder of the user's holds one folder a registry (`directories`); what is in it becomes hosts in the order in which they are
tried, the registry's own server last. Nothing is read here: texts and file names come in, values go out.
Rules: containerd, core/remotes/docker/config/hosts.go. One difference: a file that cannot be understood is an error here, where
containerd logs it and goes on without the mirrors and certificates that it names.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tranship.errors import InvalidArgument, printable
from tranship.formats.distribution import Repository
from tranship.formats.messages import Origin, split
from tranship.formats.realm import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CAPABILITIES = frozenset({"pull", "resolve", "push", "referrers"})
DOCKER_HUB = "docker.io"
_DOCKER_HUB_HOST = "registry-1.docker.io"
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host that serves a registry.

    registry       the registry as references name it: "docker.io"
    url            its API without a slash at the end: "https://registry-1.docker.io/v2"
    capabilities   what it may be asked for
    ca, client     files: authorities besides the system's; (certificate, key or None: both in one)
    skip_verify    take any certificate
    headers        sent with every request to it; a name may stand there twice
    dial_timeout   seconds for connecting; None: as everywhere
    http_fallback  what answers https without TLS is spoken to in plain http (loopback; explicit http with TLS settings)
    """

    registry: str
    url: str
    capabilities: frozenset[str] = CAPABILITIES
    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str | None], ...] = ()
    skip_verify: bool = False
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    dial_timeout: float | None = None
    http_fallback: bool = False

    @property
    def origin(self) -> Origin:
        """Where it is."""
        return Origin.of(self.url)

    @property
    def authority(self) -> str:
        """`host[:port]`: the name under which its credentials are kept; Docker Hub's is docker.io."""
        authority = self.origin.authority
        return DOCKER_HUB if authority == _DOCKER_HUB_HOST else authority

    @property
    def is_mirror(self) -> bool:
        """Does it serve another registry's content? Then requests say whose (query `ns`)."""
        own = _DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry.lower()
        return self.origin.authority != _without_default_port(own, self.origin.scheme)

    def repository(self, name: str) -> Repository:
        """A repository of the registry, as this host is asked for it."""
        return Repository(self.url, name, self.registry if self.is_mirror else None)


def directories(registry: str) -> tuple[str, ...]:
    """Names of the folders that may configure a registry, the first that exists counts: `reg_5000_`, `reg:5000`, `_default`."""
    if "/" in registry or registry.startswith("."):
        raise InvalidArgument(f"{printable(repr(registry))} is no registry's host")
    head, colon, port = registry.rpartition(":")
    spelled = (f"{head}_{port}_",) if colon and port.isdecimal() else ()
    return (*spelled, registry, "_default")


def default_host(registry: str, default_scheme: str | None = None) -> Host:
    """The registry's own server when nothing is configured.

    docker.io: Docker Hub, by https always. Loopback: https first, and plain http when the answer is not TLS, unless the port or
    the scheme says which. Others: https, or the scheme given.
    """
    if registry == DOCKER_HUB:
        return Host(registry=registry, url=f"https://{_DOCKER_HUB_HOST}/v2")
    if default_scheme is not None:
        return Host(registry=registry, url=f"{default_scheme}://{registry}/v2")
    host = Host(registry=registry, url=f"https://{registry}/v2")
    origin = host.origin
    if not is_loopback(origin.host) or origin.port == 443:
        return host
    if origin.port == 80:
        return replace(host, url=f"http://{registry}/v2")
    return replace(host, skip_verify=True, http_fallback=True)


def configured(
    registry: str,
    *,
    toml: str | None,
    names: Sequence[str] = (),
    folder: str = "",
    default_scheme: str | None = None,
) -> tuple[Host, ...]:
    """The hosts of a registry by the folder that configures it, in the order in which they are tried.

    `toml` is its hosts.toml (None: there is none), `names` are the files beside it, `folder` is what relative file names start
    from. InvalidArgument says what is wrong, and where.
    """
    if toml is not None and toml.strip():
        return _from_toml(toml, registry, folder, default_scheme)
    ca, client = docker_files(names, folder)
    return (_finished(replace(default_host(registry, default_scheme), ca=ca, client=client)),)


def docker_files(names: Sequence[str], folder: str) -> tuple[tuple[str, ...], tuple[tuple[str, str | None], ...]]:
    """Authorities (`*.crt`) and client pairs (`*.cert` with `*.key`) among the files of a Docker `certs.d` folder."""
    there = set(names)
    ca = tuple(posixpath.join(folder, name) for name in sorted(there) if name.endswith(".crt"))
    client: list[tuple[str, str | None]] = []
    for name in sorted(there):
        if name.endswith(".cert"):
            key = name.removesuffix(".cert") + ".key"
            client.append((posixpath.join(folder, name), posixpath.join(folder, key) if key in there else None))
    return ca, tuple(client)


def duration(text: str, where: str) -> float:
    """Seconds of a duration as Go writes it: "5s", "1m30s", "250ms"."""
    found = _DURATION.findall(text)
    if text != "0" and (not found or "".join(number + unit for number, unit in found) != text):
        raise InvalidArgument(f'{where}: {printable(repr(text))} is no duration; write it as "30s" or "1m30s"')
    return sum(float(number) * _SECONDS[unit] for number, unit in found)


def _from_toml(text: str, registry: str, folder: str, default_scheme: str | None) -> tuple[Host, ...]:
    import tomllib

    where = posixpath.join(folder, "hosts.toml")
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidArgument(f"{where} is not TOML: {printable(str(error))}") from None
    hosts = table.get("host", {})
    if not isinstance(hosts, dict) or not all(isinstance(settings, dict) for settings in hosts.values()):
        raise InvalidArgument(f'{where}: host must be a table for each mirror, [host."https://mirror.example.com"]')
    found = [_host(name, registry, settings, folder, f"{where}: host {name}") for name, settings in hosts.items()]
    server = table.get("server")
    if server is not None and not isinstance(server, str):
        raise InvalidArgument(f"{where}: server must be a URL")
    if server:
        found.append(_host(server, registry, table, folder, where))
    else:
        found.append(_finished(_with_settings(default_host(registry, default_scheme), table, folder, where)))
    return tuple(found)


def _host(spelled: str, registry: str, settings: Mapping[str, Any], folder: str, where: str) -> Host:
    where = printable(where)
    try:
        parts = split(spelled if re.match(r"https?://", spelled) else f"https://{spelled}")
    except InvalidArgument as error:
        raise InvalidArgument(f"{where}: {error}") from None
    if parts.query or parts.fragment:
        raise InvalidArgument(f"{where}: a host has no query")
    path = posixpath.normpath(parts.path).strip("/") if parts.path.strip("/") else ""
    if not _boolean(settings, "override_path", where) and not f"/{path}".endswith("/v2"):
        path = f"{path}/v2".lstrip("/")
    url = f"{parts.scheme}://{parts.netloc.lower()}" + (f"/{path}" if path else "")
    return _finished(_with_settings(Host(registry=registry, url=url), settings, folder, where))


def _finished(host: Host) -> Host:
    """TLS settings for a plain http host mean that it may speak TLS: that is tried first (not at port 80)."""
    origin = host.origin
    if origin.scheme == "http" and origin.port != 80 and (host.ca or host.client or host.skip_verify):
        return replace(host, url=f"https://{host.url.removeprefix('http://')}", http_fallback=True)
    return host


def _with_settings(host: Host, settings: Mapping[str, Any], folder: str, where: str) -> Host:
    changes: dict[str, Any] = {}
    if (said := settings.get("capabilities")) is not None:
        capabilities = frozenset(text.lower() for text in _strings(said, f"{where}: capabilities"))
        if unknown := capabilities - CAPABILITIES:
            named, known = ", ".join(sorted(unknown)), ", ".join(sorted(CAPABILITIES))
            raise InvalidArgument(f"{where}: unknown capabilities {printable(named)}; there are {known}")
        changes["capabilities"] = capabilities or CAPABILITIES
    if (said := settings.get("ca")) is not None:
        changes["ca"] = tuple(posixpath.join(folder, name) for name in _strings(said, f"{where}: ca"))
    if (said := settings.get("client")) is not None:
        changes["client"] = _client_pairs(said, folder, f"{where}: client")
    if "skip_verify" in settings:
        changes["skip_verify"] = _boolean(settings, "skip_verify", where)
    if (said := settings.get("header")) is not None:
        changes["headers"] = _headers(said, f"{where}: header")
    if (said := settings.get("dial_timeout")) is not None:
        if not isinstance(said, str):
            raise InvalidArgument(f'{where}: dial_timeout must be a duration in quotes, like "5s"')
        changes["dial_timeout"] = duration(said, f"{where}: dial_timeout")
    return replace(host, **changes)


def _client_pairs(value: Any, folder: str, where: str) -> tuple[tuple[str, str | None], ...]:
    """`"both.pem"`, `["a.pem", "b.pem"]`, or `[["cert.pem", "key.pem"], …]`."""
    pairs: list[tuple[str, str | None]] = []
    for item in value if isinstance(value, list) else [value]:
        files = _strings(item, where)
        if not 1 <= len(files) <= 2 or not files[0]:
            raise InvalidArgument(f"{where}: a client is a file, or a certificate and its key")
        key = files[1] if len(files) == 2 else ""
        pairs.append((posixpath.join(folder, files[0]), posixpath.join(folder, key) if key else None))
    return tuple(pairs)


def _headers(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict):
        raise InvalidArgument(f"{where} must be a table of names and values")
    pairs = [(name, text) for name, said in value.items() for text in _strings(said, f"{where} {printable(name)}")]
    for name, text in pairs:
        check_header(name, text, where)
    return tuple(pairs)


def check_header(name: str, text: str, where: str) -> None:
    """InvalidArgument for a header that no request can carry; it does not show what the header says."""
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", text):
        raise InvalidArgument(f"{where} {printable(repr(name))} holds a character that no header may hold")


def _strings(value: Any, where: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in values):
        raise InvalidArgument(f"{where} must be a string or a list of strings")
    return values


def _boolean(settings: Mapping[str, Any], key: str, where: str) -> bool:
    value = settings.get(key, False)
    if not isinstance(value, bool):
        raise InvalidArgument(f"{where}: {key} must be true or false")
    return value


def _without_default_port(authority: str, scheme: str) -> str:
    return authority.removesuffix(":443" if scheme == "https" else ":80")
