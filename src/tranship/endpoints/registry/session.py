"""Between an endpoint and the protocol: which hosts serve a registry, in which order they are asked, and as whom."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tranship.errors import Cancelled, DataLoss, InvalidArgument, PermissionDenied, TranshipError, printable
from tranship.formats import pages, referrers
from tranship.formats.distribution import expect, read_document
from tranship.http import hosts_folder
from tranship.http.client import Client
from tranship.http.limits import Clock, Throttle, Timeouts
from tranship.http.proxies import Proxies
from tranship.http.retry import Retry
from tranship.model.manifest import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from tranship.endpoints.registry import Find, Registry
    from tranship.engine.run import Run
    from tranship.formats.distribution import Repository
    from tranship.formats.hosts import Host
    from tranship.formats.messages import Flow
    from tranship.http.credentials import Credentials
    from tranship.http.payload import Payload
    from tranship.model.digest import Digest
    from tranship.model.reference import Reference
    from tranship.model.secret import Credential

T = TypeVar("T")
R = TypeVar("R")
log = logging.getLogger(__name__)

_HOSTS_DIRS = "/etc/containerd/certs.d:/etc/docker/certs.d"
_WARNINGS = 20  # different ones that are passed on; a registry that has more to say is a nuisance
_PER_HOST = 4  # requests at once; more gain nothing on a network and are impolite


@contextlib.contextmanager
def opened(value: Registry, run: Run | None) -> Iterator[Session]:
    """A session, whose connections are closed in the end."""
    environment = _environment(value)
    limits = run.limits if run is not None else None

    def sleep(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if run is not None:
                run.check()
            time.sleep(min(left, 0.1))

    heard: set[str] = set()

    def warned(text: str) -> None:
        if text not in heard and len(heard) < _WARNINGS:
            heard.add(text)
            (run.notice if run is not None else log.warning)(text)

    clock = Clock(sleep=sleep, check=run.check if run is not None else lambda: None)
    throttle = run.shared(Throttle, lambda: Throttle(run.limits.rate, clock)) if run is not None else None

    def client(find: Find) -> Client:
        return Client(
            find=find,
            retry=Retry(attempts=(limits.retries if limits is not None else 4) + 1),
            timeouts=Timeouts.of(limits.timeout) if limits is not None else Timeouts(),
            proxies=Proxies.of(environment),
            clock=clock,
            per_host=(limits.jobs if limits is not None and limits.jobs else _PER_HOST),
            throttle=throttle,
            note=log.info,
            warned=warned,
        )

    hosts = _Hosts(value)
    with client(_finder(value, hosts, environment)) as known, client(lambda _host, _repository: None) as anonymous:
        yield Session(hosts, known, anonymous, again=limits is None or limits.retries > 0)


def finder(value: Registry) -> Find:
    """Whom to ask for credentials."""
    return _finder(value, _Hosts(value), _environment(value))


def hosts_dirs(value: Registry) -> list[str]:
    """The folders that configure hosts, the first counts that knows the registry.

    The end's own; or those that TRANSHIP_HOSTS_DIR names, with colons between, as in containerd's `config_path`; or the usual.
    """
    if value.hosts_dir is not None:
        return [os.fspath(value.hosts_dir)]
    said = _environment(value).get("TRANSHIP_HOSTS_DIR") or _HOSTS_DIRS
    return [folder for folder in said.split(":") if folder]


def _environment(value: Registry) -> Mapping[str, str]:
    return value.environment if value.environment is not None else os.environ


def _finder(value: Registry, hosts: _Hosts, environment: Mapping[str, str]) -> Find:
    """Whom to ask for credentials: who was given to be asked, alone; or the value that was given, and then the files."""
    if callable(value.credential):
        ask = value.credential
        return lambda host, repository: _sourced(ask(host, repository), "the program's own function")
    explicit = _sourced(value.credential, "the program itself")

    @functools.cache
    def files() -> Credentials:
        from tranship.http.credentials import Credentials, standard

        # Who gives an empty environment wants nothing of this machine: no file at its usual place either.
        return standard(environment, file=value.auth_file) if environment or value.auth_file else Credentials(())

    def find(host: str, repository: str) -> Credential | None:
        # What is given for an end is for the server of the registry that the end names, not for its mirrors.
        return explicit if explicit is not None and host in hosts.own else files().find(host, repository)

    return find


def _sourced(credential: Credential | None, source: str) -> Credential | None:
    """Say where it comes from, unless it does so itself."""
    return credential if credential is None or credential.source else replace(credential, source=source)


class Session:
    """Open connections to the hosts of registries. `again`: may wrong bytes be asked for once more?"""

    def __init__(self, hosts: _Hosts, client: Client, anonymous: Client, *, again: bool) -> None:
        self._hosts = hosts
        self._again = again
        self.client = client
        self.anonymous = anonymous  # for URLs that a document names: it has no credentials

    def hosts(self, reference: Reference, capability: str) -> tuple[Host, ...]:
        """The hosts that may be asked for this, in order; PermissionDenied when there is none."""
        return self._hosts.able(reference.domain, capability)

    def on_hosts(
        self,
        reference: Reference,
        capability: str,
        act: Callable[[Host, Repository], T],
        shunned: Collection[str] = (),
    ) -> T:
        """Do it at the first host that can. What the registry's own server says, the last one, is what a user hears.

        A mirror that fails in whatever way is passed over; `shunned` holds the URLs of hosts that have given wrong bytes.
        The last host is asked once more when its bytes are not what they should be.
        """
        able = self.hosts(reference, capability)
        hosts = [host for host in able if host.url not in shunned] or able[-1:]
        for host in hosts[:-1]:
            try:
                return act(host, host.repository(reference.path))
            except (Cancelled, InvalidArgument):
                raise
            except TranshipError as error:
                log.info("%s is passed over: %s", host.authority, error)
        place = hosts[-1].repository(reference.path)
        try:
            return act(hosts[-1], place)
        except DataLoss as error:
            if not self._again or error.retryable:  # what breaks has been tried again already
                raise
        return act(hosts[-1], place)

    def target(self, reference: Reference) -> tuple[Host, Repository]:
        """Where a repository is written to: the first host that takes pushes, and no other (containerd's rule)."""
        host = self.hosts(reference, "push")[0]
        return host, host.repository(reference.path)

    def run(self, host: Host, flow: Flow[T], payload: Payload | None = None) -> T:
        """Run a protocol of several requests at a host."""
        return self.client.run(host, flow, payload)

    def each(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Call the function, which makes requests, with every item, some at once; the first failure ends it."""
        if len(items) < 2:
            return [function(item) for item in items]
        from concurrent.futures import ThreadPoolExecutor

        pool = ThreadPoolExecutor(min(_PER_HOST, len(items)))
        try:
            return list(pool.map(function, items))
        finally:
            pool.shutdown(cancel_futures=True)

    # ----------------------------------------------------------------------------------------------- what is no transfer

    def tags(self, reference: Reference) -> list[str]:
        """All tags of a repository, in the registry's order."""
        return self.on_hosts(reference, "resolve", lambda host, place: self.run(host, pages.tags(place)))

    def catalog(self, registry: str) -> list[str]:
        """All repositories that a registry lists; many refuse it."""
        host = self._hosts.able(registry, "resolve")[-1]
        return self.run(host, pages.catalog(host.repository("")))

    def ping(self, registry: str) -> None:
        """Ask the registry's own server whether it lets us in; Unauthenticated when it does not."""
        host = self._hosts.able(registry, "resolve")[-1]
        request = host.repository("").ping()
        expect(request, self.client.send(host, request), 200)

    def digest(self, reference: Reference) -> Digest:
        """What a tag leads to where it can be deleted; mirrors may lag behind."""
        host, place = self.target(reference)
        request = place.get_manifest(reference.digest or reference.tag or "latest")
        descriptor, _ = read_document(request, self.client.send(host, request), reference.digest)
        return descriptor.digest

    def delete(self, reference: Reference) -> None:
        """Delete a tag, or by digest a manifest with every tag that names it, where the registry allows that."""
        host, place = self.target(reference)
        subject = None if reference.digest is None else self._subject(host, place, reference.digest)
        request = place.delete_manifest(reference.digest or reference.tag or "latest")
        response = self.client.send(host, request)
        # After more than one attempt an earlier one did it, and its answer was lost.
        if response.status != 404 or response.attempts == 1:
            expect(request, response, 200, 202, 204)
        if reference.digest is not None and subject is not None:
            self.run(host, referrers.drop_referrer(place, subject, reference.digest))

    def _subject(self, host: Host, place: Repository, digest: Digest) -> Digest | None:
        """What a manifest refers to."""
        request = place.get_manifest(digest)
        descriptor, raw = read_document(request, self.client.send(host, request), digest)
        subject = parse(raw, descriptor).subject if descriptor.is_document else None
        return subject.digest if subject is not None else None


class _Hosts:
    """The hosts of each registry, as its folder configures them and the end's own options change them."""

    def __init__(self, value: Registry) -> None:
        self._value = value
        self._known: dict[str, tuple[Host, ...]] = {}
        self._own: set[str] | None = None

    def able(self, registry: str, capability: str) -> tuple[Host, ...]:
        """Those that may be asked for this, in the order in which they are tried."""
        wanted = {"pull", capability} if capability == "resolve" else {capability}  # containerd's rule
        able = tuple(host for host in self._of(registry) if host.capabilities >= wanted)
        if not able:
            raise PermissionDenied(f"no host of registry {printable(registry)} is configured for {capability}")
        return able

    @property
    def own(self) -> set[str]:
        """The names under which the servers of the registries that the end names keep credentials."""
        if self._own is None:
            names = {reference.domain for reference in self._value.places}
            self._own = names | {self._of(name)[-1].authority for name in names}
        return self._own

    def _of(self, registry: str) -> tuple[Host, ...]:
        found = self._known.get(registry)
        if found is None:
            value = self._value
            scheme = "http" if value.plain_http else None
            *mirrors, server = hosts_folder.load(registry, hosts_dirs(value), scheme)
            found = self._known[registry] = (*mirrors, self._adjusted(server))
        return found

    def _adjusted(self, server: Host) -> Host:
        """What was said for this end holds for the registry's own server; mirrors have their own configuration."""
        value = self._value
        return replace(
            server,
            skip_verify=server.skip_verify or value.insecure,
            ca=(*server.ca, value.ca_file) if value.ca_file else server.ca,
            client=((value.cert_file, value.key_file), *server.client) if value.cert_file else server.client,
            headers=(*server.headers, *value.headers),
        )
