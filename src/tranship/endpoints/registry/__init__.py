"""Registries: images by reference, at any host that speaks the OCI distribution protocol."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from tranship.endpoints.choosing import patterns
from tranship.errors import Cancelled, InvalidArgument, TranshipError, printable
from tranship.model.reference import Reference
from tranship.model.secret import Credential

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tranship.endpoints.registry.destination import RegistryDestination
    from tranship.endpoints.registry.session import Session
    from tranship.endpoints.registry.source import RegistrySource
    from tranship.engine.plan import Plan
    from tranship.engine.run import Run

Find = Callable[[str, str], Credential | None]  # (host[:port], repository) -> what to show there


@dataclass(frozen=True, slots=True)
class Registry:
    """Images at a registry.

    names        references, completed as docker does ("alpine", "ghcr.io/o/i:1", "ghcr.io/o/i@sha256:…"). As a destination of
                 several images: "HOST/PREFIX/", below which each keeps its path and tag; or none, and each goes where its own
                 name says
    scoped       as such a destination: keep the host of each image's name too
    credential   what to show the registry: a value, or a callable of (host, repository), which then decides alone. None: what
                 the user's files say, in docker's and podman's places (see docs/credentials.md)
    auth_file    a credential file that is asked in place of the user's, for what `credential` does not answer
    hosts_dir    a folder of containerd's `hosts.toml` files (mirrors, certificates). None: what TRANSHIP_HOSTS_DIR says, or the
                 usual ones
    plain_http   speak http; loopback needs no saying
    insecure     accept any certificate
    ca_file, cert_file, key_file   an authority besides the system's, a client certificate and its key
    headers      sent with every request to the registry
    clobber      may a tag that exists be moved to another image?
    chunk        bytes of one request of an upload; None: a blob goes in one
    foreign_urls fetch layers that a registry lacks from the URLs that their descriptors name, without credentials
    environment  where proxies, credentials' files and hosts' folders are looked up; None: the process's own
    """

    names: str | tuple[str, ...] = ()
    scoped: bool = False
    credential: Credential | Find | None = field(default=None, repr=False)
    auth_file: str | None = None
    hosts_dir: str | os.PathLike[str] | None = None
    plain_http: bool = False
    insecure: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    clobber: bool = True
    chunk: int | None = None
    foreign_urls: bool = False
    environment: Mapping[str, str] | None = field(default=None, repr=False, hash=False)

    kind: ClassVar[str] = "registry"

    def __post_init__(self) -> None:
        if self.headers:
            from tranship.formats.hosts import check_header

            for name, text in self.headers:
                check_header(name, text, "headers of a registry:")

    def __str__(self) -> str:
        return "docker://" + ",".join(patterns(self.names))

    @property
    def prefix(self) -> str | None:
        """`HOST/PREFIX` of a destination of several images, without its last slash."""
        names = patterns(self.names)
        return names[0].rstrip("/") if len(names) == 1 and names[0].endswith("/") else None

    @property
    def references(self) -> tuple[Reference, ...]:
        """The references, parsed. Raises InvalidReference."""
        if self.prefix is not None:
            raise InvalidArgument(
                f"{printable(self.prefix)}/ is a place for images, not an image", hint="give a repository and a tag"
            )
        return tuple(Reference.parse(name) for name in patterns(self.names))

    def requests_to_read(self, plan: Plan) -> int:
        """What reading a plan's images costs: one for each name, and for each object that has to move. Tokens come besides."""
        moving = sum(d.digest not in plan.present for d in plan.blobs)
        return len(plan.roots) + len(plan.complete) + len(plan.documents) + moving

    def requests_to_write(self, plan: Plan) -> int:
        """What writing them costs: a look at each name and each blob, the pieces of those that are not there, documents."""
        pieces = [-(-d.size // self.chunk) + 1 if self.chunk else 1 for d in plan.blobs if d.digest not in plan.present]
        return len(plan.roots) + len(plan.complete) + len(plan.blobs) + sum(pieces) + len(plan.documents)

    @property
    def places(self) -> tuple[Reference, ...]:
        """A reference in each place that the end names: an image's, or one below the prefix. Raises InvalidReference."""
        return (Reference.parse(f"{self.prefix}/x"),) if self.prefix is not None else self.references

    def finder(self) -> Find:
        """Whom to ask for credentials, for somebody else who talks to the registry."""
        from tranship.endpoints.registry.session import finder

        return finder(self)

    def hosts_dirs(self) -> list[str]:
        """The folders in which hosts are configured, for the same."""
        from tranship.endpoints.registry.session import hosts_dirs

        return hosts_dirs(self)

    @contextlib.contextmanager
    def session(self, run: Run | None = None) -> Iterator[Session]:
        """Connections to the registry, with its hosts and credentials; for what is no transfer too (tags, delete, …)."""
        from tranship.endpoints.registry.session import opened

        with opened(self, run) as session:
            yield session

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[RegistrySource]:
        """Open for reading."""
        from tranship.endpoints.registry.source import RegistrySource

        references = self.references
        with self.session(run) as session:
            yield RegistrySource(self, session, references, run)

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[RegistryDestination]:
        """Open for writing."""
        from tranship.endpoints.registry.destination import RegistryDestination

        with self.session(run) as session:
            destination = RegistryDestination(self, session, run)
            try:
                yield destination
            except (TranshipError, OSError) as error:
                # Whoever cancels does not want to wait, and a destination that does not answer would not do so now.
                silent = isinstance(error, TranshipError) and error.retryable and error.side != "source"
                if not isinstance(error, Cancelled) and not silent:
                    destination.abort()
                raise
