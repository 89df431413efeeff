"""Between an endpoint and the protocol: which hosts serve a registry, in which order they are asked, and as whom."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tranship.errors import NotFound, PermissionDenied, TranshipError, Unavailable, printable
from tranship.formats import hosts as host_rules
from tranship.formats import pages
from tranship.formats.distribution import expect, read_document
from tranship.http.client import Client
from tranship.http.limits import Clock, Timeouts
from tranship.http.proxies import Proxies
from tranship.http.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tranship.endpoints.registry import Find, Registry
    from tranship.engine.run import Run
    from tranship.formats.distribution import Repository
    from tranship.formats.hosts import Host
    from tranship.formats.messages import Flow
    from tranship.http.payload import Payload
    from tranship.model.digest import Digest
    from tranship.model.reference import Reference
    from tranship.model.secret import Credential

T = TypeVar("T")
_HOSTS_DIRS = ("/etc/containerd/certs.d", "/etc/docker/certs.d")
_MAX_TOML = 1 << 20  # bytes
_PER_HOST = 4  # requests at once; more gain nothing on a network and are impolite


@contextlib.contextmanager
def opened(value: Registry, run: Run | None) -> Iterator[Session]:
    """A session, whose connections are closed in the end."""
    environment = value.environment if value.environment is not None else os.environ
    limits = run.limits if run is not None else None

    def sleep(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if run is not None:
                run.check()
            time.sleep(min(left, 0.1))

    if callable(value.credential):
        find = value.credential
    else:
        from tranship.http.credentials import standard

        explicit = value.credential
        registries = _authorities(value) if explicit is not None else frozenset()
        files = standard(environment, file=value.auth_file)

        def find(host: str, repository: str) -> Credential | None:
            # What is given for an end is for the registry that the end names, not for its mirrors.
            return explicit if host in registries else files.find(host, repository)

    def client(find: Find) -> Client:
        return Client(
            find=find,
            retry=Retry(attempts=(limits.retries if limits is not None else 4) + 1),
            timeouts=Timeouts.of(limits.timeout) if limits is not None else Timeouts(),
            proxies=Proxies.of(environment),
            clock=Clock(sleep=sleep),
            per_host=(limits.jobs if limits is not None and limits.jobs else _PER_HOST),
            limit_rate=limits.rate if limits is not None else None,
        )

    with client(find) as known, client(lambda _host, _repository: None) as anonymous:
        yield Session(value, known, anonymous)


def _authorities(value: Registry) -> frozenset[str]:
    from tranship.endpoints.choosing import patterns
    from tranship.model.reference import Reference

    names = [value.prefix + "/x"] if value.prefix is not None else list(patterns(value.names))
    registries = {Reference.parse(name).domain for name in names}
    return frozenset({*registries, *(host_rules.default_host(name).authority for name in registries)})


class Session:
    """Open connections to the hosts of registries."""

    def __init__(self, value: Registry, client: Client, anonymous: Client) -> None:
        self._value = value
        self.client = client
        self.anonymous = anonymous  # for URLs that a document names: it has no credentials
        self._hosts: dict[str, tuple[Host, ...]] = {}

    def hosts(self, registry: str, capability: str) -> tuple[Host, ...]:
        """The hosts that serve a registry and may be asked for this, in the order in which they are tried."""
        found = self._hosts.get(registry)
        if found is None:
            found = self._hosts[registry] = tuple(self._adjusted(host) for host in self._configured(registry))
        able = tuple(host for host in found if capability in host.capabilities)
        if not able:
            raise PermissionDenied(f"no host of registry {printable(registry)} is configured for {capability}")
        return able

    def on_hosts(self, reference: Reference, capability: str, act: Callable[[Host, Repository], T]) -> T:
        """Do it at the first host; when that fails, at the next. The registry's own server, the last, gives the error."""
        hosts = self.hosts(reference.domain, capability)
        for host in hosts[:-1]:
            try:
                return act(host, host.repository(reference.path))
            except (NotFound, Unavailable, PermissionDenied):
                continue
            except TranshipError as error:
                if error.retryable or error.code in ("UNAUTHENTICATED", "FAILED_PRECONDITION", "UNIMPLEMENTED"):
                    continue
                raise
        return act(hosts[-1], hosts[-1].repository(reference.path))

    def run(self, host: Host, flow: Flow[T], payload: Payload | None = None) -> T:
        """Run a protocol of several requests at a host."""
        return self.client.run(host, flow, payload)

    # ----------------------------------------------------------------------------------------------- what is no transfer

    def tags(self, reference: Reference) -> list[str]:
        """All tags of a repository, in the registry's order."""
        return self.on_hosts(reference, "resolve", lambda host, place: self.run(host, pages.tags(place)))

    def catalog(self, registry: str) -> list[str]:
        """All repositories that a registry lists; many refuse it."""
        host = self.hosts(registry, "resolve")[-1]
        return self.run(host, pages.catalog(host.repository("")))

    def digest(self, reference: Reference) -> Digest:
        """What a tag leads to at the registry's own server, where it can be deleted; mirrors may lag behind."""
        host = self.hosts(reference.domain, "push")[-1]
        request = host.repository(reference.path).get_manifest(reference.digest or reference.tag or "latest")
        descriptor, _ = read_document(request, self.client.send(host, request), reference.digest)
        return descriptor.digest

    def delete(self, reference: Reference) -> None:
        """Delete a tag, or by digest a manifest with every tag that names it, where the registry allows that."""
        host = self.hosts(reference.domain, "push")[-1]
        request = host.repository(reference.path).delete_manifest(reference.digest or reference.tag or "latest")
        expect(request, self.client.send(host, request), 200, 202, 204)

    # ----------------------------------------------------------------------------------------------------- configuration

    def _configured(self, registry: str) -> tuple[Host, ...]:
        scheme = "http" if self._value.plain_http else None
        folders = [os.fspath(self._value.hosts_dir)] if self._value.hosts_dir is not None else list(_HOSTS_DIRS)
        for folder in folders:
            for name in host_rules.directories(registry):
                place = Path(folder, name)
                if not place.is_dir():
                    continue
                toml = place / "hosts.toml"
                text = None
                if toml.is_file():
                    with toml.open("rb") as file:
                        text = file.read(_MAX_TOML).decode("utf-8", "replace")
                names = sorted(entry.name for entry in place.iterdir())
                return host_rules.configured(registry, toml=text, names=names, folder=str(place), default_scheme=scheme)
        return (host_rules.default_host(registry, scheme),)

    def _adjusted(self, host: Host) -> Host:
        """What was said for this end holds for the registry's own server; mirrors have their own configuration."""
        value = self._value
        if host.is_mirror:
            return host
        return replace(
            host,
            skip_verify=host.skip_verify or value.insecure,
            http_fallback=host.http_fallback or (value.insecure and not value.plain_http),
            ca=(*host.ca, value.ca_file) if value.ca_file else host.ca,
            client=((value.cert_file, value.key_file), *host.client) if value.cert_file else host.client,
            headers=(*host.headers, *value.headers),
        )
