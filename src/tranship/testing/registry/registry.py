"""`RegistryServer`: the routes, the rules and the content put together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tranship.model.digest import Digest
from tranship.testing.registry import blobs, discovery, manifests, protocol, uploads
from tranship.testing.registry.auth import Basic, Token, TokenServer, needed_access
from tranship.testing.registry.faults import FaultyServer
from tranship.testing.registry.messages import Refusal, Request, Response
from tranship.testing.registry.protocol import Call, Options
from tranship.testing.registry.state import State, Stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from tranship.testing.registry.server import TLS

_HANDLERS: dict[str, Callable[[Call], Response]] = {
    "ping": discovery.ping,
    "catalog": discovery.catalog,
    "tags": discovery.tags,
    "referrers": discovery.referrers,
    "blob.get": blobs.read,
    "blob.head": blobs.read,
    "blob.delete": blobs.delete,
    "upload.start": uploads.start,
    "upload.mount": uploads.start,
    "upload.single": uploads.start,
    "upload.chunk": uploads.chunk,
    "upload.finish": uploads.finish,
    "upload.status": uploads.status,
    "upload.cancel": uploads.cancel,
    "manifest.get": manifests.read,
    "manifest.head": manifests.read,
    "manifest.put": manifests.put,
    "manifest.delete": manifests.delete,
}
_DELETES = frozenset({"blob.delete", "manifest.delete"})
_WRITES = _DELETES | {kind for kind in _HANDLERS if kind.startswith("upload.")} | {"manifest.put"}


class RegistryServer(FaultyServer):
    """A registry on a port of the loopback interface, for the length of a `with` block.

    storage         "memory", or a folder for big blobs; what is in the folder is there again for the next registry on it
    strict          refuse documents whose children are absent or have other sizes, and requests with another Host than ours
    referrers       have the referrers API; without it, clients must keep the list under the fallback tag
    deletes, writes answer 405 to deletions, or to everything that changes something
    sparse_indexes  let an index name manifests that are not here, as many registries do
    single_post     take a blob in one POST; without it, such a POST opens a session, as the specification allows
    page_size       the most that a page of tags, repositories or referrers holds
    links           name the next page of tags or repositories in Link. Without it, as before 1.1, they come whole, or as many
                    as were asked for, and `last` leads on
    max_manifest    bytes of the largest manifest that is taken
    auth            who may do what; None: anybody may do everything
    host_names      further values of the Host header that are ours (with any port)
    """

    def __init__(
        self,
        storage: Literal["memory"] | Path = "memory",
        *,
        tls: TLS | None = None,
        strict: bool = True,
        referrers: bool = True,
        deletes: bool = True,
        writes: bool = True,
        sparse_indexes: bool = False,
        single_post: bool = True,
        page_size: int = 1000,
        links: bool = True,
        max_manifest: int = 4 * 1024 * 1024,
        host_names: Sequence[str] = ("127.0.0.1", "localhost"),
        auth: Basic | Token | TokenServer | None = None,
    ) -> None:
        super().__init__(tls=tls)
        self.state = State(None if storage == "memory" else storage)
        self.options = Options(
            strict=strict,
            referrers=referrers,
            deletes=deletes,
            writes=writes,
            sparse_indexes=sparse_indexes,
            single_post=single_post,
            page_size=page_size,
            links=links,
            max_manifest=max_manifest,
        )
        self.auth = auth
        self._host_names = frozenset(host_names)

    def stop(self) -> None:
        """Close everything and join every thread; write down the folder's index."""
        super().stop()
        self.state.save()

    def kind_of(self, method: str, target: str) -> str:
        """The kind of a request, see protocol.KINDS."""
        return protocol.kind_of(method, target)

    def handle(self, request: Request) -> Response:
        """Answer as the specification says."""
        try:
            response = self._handle(request)
        except Refusal as refusal:
            response = refusal.response()
        response.headers.set("Docker-Distribution-API-Version", "registry/2.0")
        return response

    def twin(self, tls: TLS | None) -> FaultyServer:
        """Another one with the same content and rules, and without authentication."""
        other = RegistryServer(tls=tls, host_names=tuple(self._host_names))
        other.state, other.options = self.state, self.options
        return other

    def _handle(self, request: Request) -> Response:
        name, _, port = (request.headers.get("Host") or "").rpartition(":")
        if self.options.strict and (name not in self._host_names or port != str(self.port)):
            raise Refusal(421, "UNSUPPORTED", "the Host header names another server")
        call = protocol.route(request, self.state, self.options)
        if request.kind == "token" and isinstance(self.auth, Token):
            return self.auth.answer(request)
        handler = _HANDLERS.get(request.kind)
        if handler is None:
            raise Refusal(404, "UNSUPPORTED", "no such path")
        if self.auth is not None:
            needed = needed_access(request.kind, call.name, request.query.get("from"))
            self.auth.check(request, needed, request.origin)
        if (request.kind in _DELETES and not self.options.deletes) or (
            request.kind in _WRITES and not self.options.writes
        ):
            raise Refusal(405, "UNSUPPORTED", f"{request.method} is disabled here")
        return handler(call)

    # Arranging and asserting without HTTP -----------------------------------------------------------------------------

    def put_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> Digest:
        """Place a blob in a repository."""
        protocol.check_name(repository)
        upload = self.state.begin(repository, algorithm)
        upload.write(memoryview(data))
        digest = upload.digest(algorithm)
        self.state.finish(upload, digest)
        return digest

    def put_manifest(
        self, repository: str, raw: bytes, media_type: str, tags: Iterable[str] = (), *, check: bool = True
    ) -> Digest:
        """Place a document in a repository. With `check=False`, one that no registry should take: Refusal otherwise."""
        protocol.check_name(repository)
        digest = Digest.of(raw)
        if check:
            document = manifests.parse(raw, media_type, digest)
            manifests.check_children(self.state, repository, document, sparse=self.options.sparse_indexes)
            stored = manifests.describe(document)
        else:
            stored = Stored(media_type, len(raw))
        self.state.put_manifest(repository, digest, raw, stored, tuple(tags))
        return digest

    def content(self, repository: str, reference: str) -> bytes:
        """The bytes of a tag, manifest or blob of a repository; KeyError when it is not there."""
        held = self.state.repositories[repository]
        digest = Digest.parse(reference) if ":" in reference else held.tags[reference]
        if digest not in held.manifests and digest not in held.blobs:
            raise KeyError(reference)
        return b"".join(bytes(chunk) for chunk in self.state.storage.body(digest).chunks())

    def tags(self, repository: str) -> dict[str, Digest]:
        """A repository's tags and what they point at; {} when there is no such repository."""
        held = self.state.repository(repository)
        return dict(held.tags) if held is not None else {}
