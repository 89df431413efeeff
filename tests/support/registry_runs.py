"""Transfers with registries that misbehave: the images, the ends, one run of a case, and what must be true after it.

Every secret has a form of its own, so that it can be looked for wherever it must not be. After a run, however it ended:

1. nothing unverified is at the destination: a store holds blobs with their right bytes and the image or none; a registry's tag
   is the old one or the new one;
2. no credential came anywhere but to its own registry (and the token service that this one may name);
3. no secret is in the error, its notes, its repr, the log, or an event; and the error can be printed;
4. an error names registry, repository and object.
"""

from __future__ import annotations

import base64
import functools
import logging
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tranship import Limits, Registry, Reporter, Store, transfer
from tranship.endpoints import receiving
from tranship.endpoints.registry import session
from tranship.errors import TranshipError
from tranship.http.limits import Timeouts
from tranship.http.retry import Retry
from tranship.model import mediatypes, strict_json
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.model.secret import Credential, Secret
from tranship.testing.memory import Memory
from tranship.testing.registry import Basic, RegistryServer, Token
from tranship.testing.registry.auth import basic_credentials

if TYPE_CHECKING:
    import pytest

    from tranship.engine.protocols import Readable, Writable
    from tranship.engine.transfer import Summary

REPOSITORY = "acme/app"
ALICE = ("alice", "alices-pass+word/1")  # at the source
BOB = ("bob", "bobs-pass+word/2")  # at the destination
LARGE = 3 << 20  # bytes
PATIENCE = 20.0  # seconds that a registry may be silent, so that a busy machine is not taken for a bad registry
SHORT = 0.4  # the same, where a registry will be silent


@dataclass(frozen=True)
class Image:
    """An image in memory."""

    raw: bytes  # the manifest
    blobs: Mapping[Digest, bytes]

    @property
    def digest(self) -> Digest:
        return Digest.of(self.raw)

    @property
    def everything(self) -> dict[Digest, bytes]:
        return {**self.blobs, self.digest: self.raw}

    def put(self, server: RegistryServer, repository: str = REPOSITORY, tag: str = "1") -> None:
        """Place it in a registry, without HTTP."""
        for raw in self.blobs.values():
            server.put_blob(repository, raw)
        server.put_manifest(repository, self.raw, mediatypes.OCI_MANIFEST, [tag])

    def memory(self, name: str = "example.com/acme/app:1") -> Memory:
        """It as an end."""
        descriptor = Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=self.digest, size=len(self.raw))
        return Memory(blobs=dict(self.everything), names={name: descriptor})


@functools.cache
def image(seed: int, *sizes: int) -> Image:
    """An image with layers of these sizes."""
    chance, blobs = random.Random(seed), dict[Digest, bytes]()

    def put(raw: bytes, media_type: str) -> dict[str, Any]:
        blobs[Digest.of(raw)] = raw
        return Descriptor(media_type=media_type, digest=Digest.of(raw), size=len(raw)).to_json()

    layers = [put(chance.randbytes(size), mediatypes.OCI_LAYER) for size in sizes]
    diff_ids = [layer["digest"] for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": put(strict_json.dumps(config), mediatypes.OCI_CONFIG),
        "layers": layers,
    }
    return Image(strict_json.dumps(manifest), blobs)


def referrer(server: RegistryServer, subject: Image, kind: str, number: int, repository: str = REPOSITORY) -> Digest:
    """Place a manifest in a registry that names an image as its subject; it is in the fallback tag's index too."""
    empty = server.put_blob(repository, b"{}")
    config = Descriptor(media_type=mediatypes.OCI_EMPTY, digest=empty, size=2)
    named = Descriptor(media_type=mediatypes.OCI_MANIFEST, digest=subject.digest, size=len(subject.raw))
    value = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": kind,
        "config": config.to_json(),
        "layers": [config.to_json()],
        "subject": named.to_json(),
        "annotations": {"number": str(number)},
    }
    raw = strict_json.dumps(value)
    digest = server.put_manifest(repository, raw, mediatypes.OCI_MANIFEST)
    tag = f"{subject.digest.algorithm}-{subject.digest.hex}"
    entries: list[Any] = []
    if tag in server.tags(repository):
        entries = strict_json.loads(server.content(repository, tag), "the index")["manifests"]
    described = Descriptor(
        media_type=mediatypes.OCI_MANIFEST, digest=digest, size=len(raw), extra={"artifactType": kind}
    )
    index = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [*entries, described.to_json()]}
    server.put_manifest(repository, strict_json.dumps(index), mediatypes.OCI_INDEX, [tag])
    return digest


OLD = image(2, 1000)  # what a tag leads to before
NEW = image(1, LARGE, 100_000)
LAYER = max(NEW.blobs, key=lambda digest: len(NEW.blobs[digest]))
OLD_LAYER = max(OLD.blobs, key=lambda digest: len(OLD.blobs[digest]))


def credential(user: tuple[str, str]) -> Credential:
    return Credential(username=user[0], password=Secret(user[1]), source="the test")


def auth(kind: str | None, user: tuple[str, str]) -> Basic | Token | None:
    users = dict([user])
    return {None: None, "basic": Basic(users), "token": Token(users)}[kind]


def at(
    server: RegistryServer | str, user: tuple[str, str] | None = None, name: str = f"{REPOSITORY}:1", **options: Any
) -> Registry:
    """An end at a registry, as one user; nothing of this machine's configuration is read."""
    host = server if isinstance(server, str) else server.host
    given = credential(user) if user is not None else lambda _host, _repository: None
    return Registry(
        f"{host}/{name}",
        **{"credential": given, "environment": {}, "hosts_dir": "/nonexistent", "plain_http": True, **options},
    )


class Heard(Reporter):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def report(self, event: Any) -> None:
        self.events.append(repr(event))


@dataclass
class Ran:
    """How a transfer ended."""

    summary: Summary | None = None
    error: TranshipError | None = None
    heard: list[str] = field(default_factory=list)

    @property
    def told(self) -> str:
        """All that a user may be told."""
        if self.error is None:
            return ""
        notes = "\n".join(getattr(self.error, "__notes__", ()))
        return f"{self.error}\n{self.error.hint or ''}\n{notes}"


def make_impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that wait no longer than they are told to, for commits too, and hardly between attempts.

    Layers of a few MiB are received as large ones are: so that a later transfer can go on.
    """

    class Little(Timeouts):
        @classmethod
        def of(cls, silence: float) -> Timeouts:
            return Timeouts(connect=PATIENCE, headers=silence, commit=silence, stall=silence)

    monkeypatch.setattr(session, "Timeouts", Little)
    monkeypatch.setattr(session, "Retry", functools.partial(Retry, base=0.01, patience=0.2))
    monkeypatch.setattr(receiving, "RESUMABLE", LARGE // 2)


@contextmanager
def logged() -> Iterator[list[str]]:
    """Everything that is logged, at the lowest level."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(1)
    try:
        yield lines
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


def run(source: Readable, destination: Writable, *users: tuple[str, str], **options: Any) -> Ran:
    """Transfer; whatever happens, no secret shows and an error can be printed."""
    ran, heard = Ran(), Heard()
    limits = options.pop("limits", None) or Limits(timeout=options.pop("patience", PATIENCE))
    with logged() as lines:
        try:
            ran.summary = transfer(source, destination, reporter=heard, limits=limits, **options)
        except TranshipError as error:
            ran.error = error
    ran.heard = heard.events
    shown = "\n".join(
        [
            ran.told,
            repr(ran.error),
            repr(vars(ran.error)) if ran.error else "",
            *lines,
            *heard.events,
            repr((source, destination)),
        ]
    )
    for user, password in users:
        for secret in (password, base64.b64encode(f"{user}:{password}".encode()).decode()):
            assert secret not in shown
    assert not re.search(r"(?i)(bearer|basic) [A-Za-z0-9+/_-]{16}", shown)
    assert not [c for c in ran.told if not c.isprintable() and c != "\n"], repr(ran.told)
    return ran


def content(store: Store) -> tuple[dict[Digest, bytes], list[str]]:
    """The blobs of a store, each with the bytes that belong to it, and the names of its images."""
    with store.open() as opened:
        space = opened.namespace("default")
        found = {info.digest: space.content.read_bytes(info.digest, 1 << 30) for info in space.content.walk()}
        names = [made.name for made in space.images.list()]
    for digest, raw in found.items():
        assert Digest.of(raw, digest.algorithm) == digest
    return found, names


def others(server: RegistryServer) -> list[Any]:
    """Requests that came to the other hosts to which faults send clients."""
    return [exchange for other in server._others.values() for exchange in other.requests]  # its record


def check_untold(server: RegistryServer) -> None:
    """No credential came to another host."""
    for exchange in others(server):
        assert exchange.authorization is None, exchange
        assert not exchange.form, exchange


def check_shown(server: RegistryServer, user: tuple[str, str]) -> None:
    """A registry saw this user's credentials and nobody else's."""
    shown = [basic_credentials(exchange.headers) for exchange in server.requests if exchange.authorization]
    assert set(filter(None, shown)) <= {user}


def check_names(ran: Ran, server: RegistryServer) -> None:
    """An error names registry and repository."""
    assert server.host in ran.told, ran.told
    assert REPOSITORY in ran.told, ran.told
