"""What the registry holds: repositories with their blobs, manifests and tags, and the uploads under way.

Plain bookkeeping under one lock; rules of the protocol are in the handlers. Content is shared by all repositories, and a
repository sees only what was pushed to it or mounted into it.
"""

from __future__ import annotations

import json
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tranship.model.digest import Digest, new_hash
from tranship.testing.registry.storage import FolderStorage, MemoryStorage, Part, Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from hashlib import _Hash as Hash
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest or index as it was pushed, and what a list of referrers tells of it."""

    media_type: str
    size: int  # bytes
    subject: Digest | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Repository:
    """One repository. `manifests` keeps the order of arrival."""

    blobs: set[Digest] = field(default_factory=set)
    manifests: dict[Digest, Stored] = field(default_factory=dict)
    tags: dict[str, Digest] = field(default_factory=dict)


class Upload:
    """A blob on its way in.

    Whoever writes or asks holds `lock`, so that a status counts what a cut request left behind; `abandon` ends the request
    that holds it.
    """

    def __init__(self, identity: str, repository: str, algorithm: str, part: Part) -> None:
        self.identity = identity
        self.repository = repository
        self.lock = threading.Lock()
        self.abandon: Callable[[], None] = _nothing
        self.part = part
        self._algorithm = algorithm
        self._hash = new_hash(algorithm)

    def write(self, chunk: memoryview) -> None:
        """Append a chunk."""
        self._hash.update(chunk)
        self.part.write(chunk)

    def digest(self, algorithm: str) -> Digest:
        """The digest of what has come, by the algorithm asked for."""
        state: Hash = self._hash
        if algorithm != self._algorithm:
            state = new_hash(algorithm)
            for chunk in self.part.chunks():
                state.update(chunk)
        return Digest.from_hash(algorithm, state)


class State:
    """Everything that the registry holds. With a folder, `save` lets the next State of that folder go on from here."""

    def __init__(self, folder: Path | None = None) -> None:
        self.lock = threading.RLock()
        self.repositories: dict[str, Repository] = {}
        self.uploads: dict[str, Upload] = {}
        self.storage: Storage = MemoryStorage() if folder is None else FolderStorage(folder)
        self._index = None if folder is None else folder / "repositories.json"
        if self._index is not None and self._index.exists():
            self._load(json.loads(self._index.read_text()))

    def repository(self, name: str) -> Repository | None:
        """The repository, if anything was ever pushed to it."""
        return self.repositories.get(name)

    def begin(self, repository: str, algorithm: str = "sha256") -> Upload:
        """A new upload session."""
        upload = Upload(secrets.token_hex(16), repository, algorithm, self.storage.begin())
        with self.lock:
            self.uploads[upload.identity] = upload
        return upload

    def finish(self, upload: Upload, digest: Digest) -> None:
        """Turn the upload into a blob of its repository; the caller has checked the digest."""
        with self.lock:
            self.uploads.pop(upload.identity, None)
            upload.part.commit(digest)
            self.link(upload.repository, digest)

    def cancel(self, upload: Upload) -> None:
        """End the session and forget its bytes."""
        with self.lock:
            self.uploads.pop(upload.identity, None)
        upload.part.abort()

    def link(self, repository: str, digest: Digest) -> None:
        """Let the repository see a blob that the registry has."""
        with self.lock:
            self.repositories.setdefault(repository, Repository()).blobs.add(digest)

    def holder(self, digest: Digest) -> str | None:
        """A repository that has this blob."""
        with self.lock:
            return next((name for name, held in self.repositories.items() if digest in held.blobs), None)

    def put_manifest(self, repository: str, digest: Digest, raw: bytes, stored: Stored, tags: tuple[str, ...]) -> None:
        """Keep a document under its digest and these tags."""
        part = self.storage.begin()
        part.write(memoryview(raw))
        with self.lock:
            part.commit(digest)
            held = self.repositories.setdefault(repository, Repository())
            held.manifests[digest] = stored
            held.tags.update(dict.fromkeys(tags, digest))

    def remove_blob(self, repository: str, digest: Digest) -> None:
        """Take a blob from a repository, and from the storage when nobody else has it."""
        with self.lock:
            self.repositories[repository].blobs.discard(digest)
            self._collect(digest)

    def remove_manifest(self, repository: str, digest: Digest) -> None:
        """Take a manifest from a repository, with every tag that points at it."""
        with self.lock:
            held = self.repositories[repository]
            del held.manifests[digest]
            held.tags = {tag: target for tag, target in held.tags.items() if target != digest}
            self._collect(digest)

    def save(self) -> None:
        """Write down what the folder's files do not tell; nothing happens in memory."""
        if self._index is None:
            return
        value = {
            name: {
                "blobs": sorted(held.blobs),
                "manifests": {
                    digest: [
                        stored.media_type,
                        stored.size,
                        stored.subject,
                        stored.artifact_type,
                        dict(stored.annotations),
                    ]
                    for digest, stored in held.manifests.items()
                },
                "tags": held.tags,
            }
            for name, held in self.repositories.items()
        }
        self._index.write_text(json.dumps(value, indent=1))

    def _load(self, value: dict[str, Any]) -> None:
        for name, held in value.items():
            self.repositories[name] = Repository(
                {Digest.parse(text) for text in held["blobs"]},
                {
                    Digest.parse(text): Stored(
                        media_type, size, Digest.parse(subject) if subject else None, kind, notes
                    )
                    for text, (media_type, size, subject, kind, notes) in held["manifests"].items()
                },
                {tag: Digest.parse(text) for tag, text in held["tags"].items()},
            )

    def _collect(self, digest: Digest) -> None:
        if not any(digest in held.blobs or digest in held.manifests for held in self.repositories.values()):
            self.storage.remove(digest)


def _nothing() -> None:
    """Abandon what is not there."""
