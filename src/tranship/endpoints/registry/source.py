"""A registry as a source: references are resolved once, to digests; all else is fetched by digest and verified."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tranship.engine.transfer import MemoryBlob
from tranship.errors import NotFound, TranshipError, Truncated
from tranship.formats import distribution, referrers
from tranship.formats.hosts import Host
from tranship.formats.messages import Request, split
from tranship.http.client import MAX_ERROR
from tranship.model import mediatypes
from tranship.model.descriptor import Descriptor, Root
from tranship.model.manifest import MAX_DOCUMENT, parse
from tranship.pump import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from tranship.endpoints.registry import Registry
    from tranship.endpoints.registry.session import Session
    from tranship.engine.protocols import Blob
    from tranship.engine.run import Run
    from tranship.formats.distribution import Repository
    from tranship.http.answer import Answer
    from tranship.http.client import Client
    from tranship.model.digest import Digest
    from tranship.model.reference import Reference
    from tranship.pump import Reader

    T = TypeVar("T")

REF_NAME = "org.opencontainers.image.ref.name"
_COSIGN = (".sig", ".att", ".sbom")  # tags that cosign makes of a digest for what belongs to it


class RegistrySource:
    """The readable side of a registry."""

    readers = 4

    def __init__(self, value: Registry, session: Session, references: Sequence[Reference], run: Run) -> None:
        self._value = value
        self._session = session
        self._references = references
        self._run = run
        self._homes: dict[Digest, Reference] = {}  # of each object the repository in which it was found
        self._documents: dict[Digest, bytes] = {}  # that came while resolving

    def roots(self) -> Sequence[Root]:
        """The images, each resolved to its digest by one request."""
        return [self._resolve(reference) for reference in self._references]

    def has(self, descriptor: Descriptor) -> bool:
        """Looked up for layers that are rarely at a registry; everything else is found out on fetching it."""
        if not mediatypes.is_non_distributable(descriptor.media_type):
            return True
        if self._value.foreign_urls and descriptor.extra.get("urls"):
            return True
        try:
            self._at_home(descriptor, lambda host, place: self._head_blob(host, place, descriptor))
        except NotFound:
            return False
        return True

    def blob(self, descriptor: Descriptor) -> Blob:
        """A document, which is fetched whole; or a blob, which is streamed."""
        if descriptor.is_document:
            return _Document(descriptor, self)
        return RegistryBlob(descriptor, self)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """By the referrers API or its fallback tag, and by the tags that cosign makes of a digest."""
        home = self._homes.get(subject.digest, self._references[0])
        found = {
            d.digest: d
            for d in self._session.on_hosts(
                home,
                "referrers",
                lambda host, place: self._session.run(host, referrers.referrers(place, subject.digest, artifact_type)),
            )
        }
        for ending in _COSIGN if artifact_type is None else ():
            tag = f"{subject.digest.algorithm}-{subject.digest.hex}{ending}"
            with contextlib.suppress(NotFound):
                root = self._resolve(home.with_digest(None).with_tag(tag))
                found.setdefault(root.descriptor.digest, root.descriptor.annotated({REF_NAME: tag}))
        for digest in found:
            self._homes.setdefault(digest, home)
        return [found[digest] for digest in sorted(found)]

    # --------------------------------------------------------------------------------------------------------- resolving

    def _resolve(self, reference: Reference) -> Root:
        descriptor = self._session.on_hosts(
            reference, "resolve", lambda _host, place: self._look_up(reference, _host, place)
        )
        self._homes.setdefault(descriptor.digest, reference)
        return Root(descriptor, str(reference))

    def _look_up(self, reference: Reference, host: Host, place: Repository) -> Descriptor:
        """HEAD, which counts against no limit of pulls; a GET where a HEAD says too little."""
        named = reference.digest or reference.tag or "latest"
        request = place.head_manifest(named)
        response = self._session.client.send(host, request)
        if response.status == 200:
            claims = distribution.claims(response.headers)
            digest = reference.digest or claims.digest
            if digest is not None and claims.size and claims.media_type in mediatypes.DOCUMENTS:
                return Descriptor(media_type=claims.media_type, digest=digest, size=claims.size)
        elif response.status == 404:
            distribution.expect(request, response, 200)
        request = place.get_manifest(named)
        answer = self._session.client.send(host, request, limit=MAX_DOCUMENT)
        descriptor, raw = distribution.read_document(request, answer, reference.digest)
        self._documents[descriptor.digest] = raw
        return descriptor

    # ---------------------------------------------------------------------------------------------------------- fetching

    def document(self, descriptor: Descriptor) -> bytes:
        """Fetch a document, verified; what it names is looked for in the same repository later."""
        raw = self._documents.pop(descriptor.digest, None)
        if raw is None:
            raw = self._at_home(descriptor, lambda host, place: self._get_document(host, place, descriptor))
        home = self._homes.get(descriptor.digest)
        if home is not None and len({r.repository for r in self._references}) > 1:
            for child in parse(raw, descriptor).children:
                self._homes.setdefault(child.digest, home)
        return raw

    def _get_document(self, host: Host, place: Repository, descriptor: Descriptor) -> bytes:
        request = place.get_manifest(descriptor.digest)
        response = self._session.client.send(host, request, limit=MAX_DOCUMENT)
        _, raw = distribution.read_document(request, response, descriptor.digest)
        return raw

    def open_blob(self, descriptor: Descriptor, offset: int, count: int | None = None) -> tuple[Answer, int]:
        """Ask for a blob's bytes from `offset` on; the open answer, and where in the blob its body begins."""
        try:
            return self._at_home(
                descriptor,
                lambda host, place: self._open(
                    self._session.client, host, place.get_blob(descriptor.digest, offset, count), descriptor, offset
                ),
            )
        except NotFound:
            if self._value.foreign_urls and descriptor.extra.get("urls"):
                return self._open_foreign(descriptor, offset, count)
            raise

    def _open(
        self, client: Client, host: Host, request: Request, descriptor: Descriptor, offset: int
    ) -> tuple[Answer, int]:
        answer = client.open(host, request)
        try:
            if answer.status not in (200, 206):
                refused = replace(answer.head, body=answer.read(MAX_ERROR, cut=True))
                distribution.expect(request, refused, 200, 206)
            begins, _ = distribution.body_offset(request, answer.head, offset, descriptor.size)
        except BaseException:
            answer.close()
            raise
        return answer, begins

    def _open_foreign(self, descriptor: Descriptor, offset: int, count: int | None) -> tuple[Answer, int]:
        """Fetch a layer that its owner alone may distribute from a URL of its descriptor, which anybody may have written:
        with a client that has no credentials at all (CVE-2020-15157), and only when the user asked for it.
        """
        urls = [url for url in descriptor.extra["urls"] if isinstance(url, str)]
        for number, url in enumerate(urls, 1):
            origin = split(url)
            host = Host(registry=origin.netloc, url=f"{origin.scheme}://{origin.netloc}")
            headers = (
                {"Range": f"bytes={offset}-{'' if count is None else offset + count - 1}"} if offset or count else {}
            )
            request = Request(method="GET", url=url, headers=headers, object=str(descriptor))
            try:
                return self._open(self._session.anonymous, host, request, descriptor, offset)
            except TranshipError:
                if number == len(urls):
                    raise
        raise NotFound(f"{descriptor} is not at its registry, and names no URL", descriptor=descriptor, side="source")

    def home(self, descriptor: Descriptor) -> Reference | None:
        """The repository in which an object was found."""
        if len(self._references) == 1:
            return self._references[0]
        return self._homes.get(descriptor.digest)

    def check(self) -> None:
        """Raise Cancelled when the transfer is to stop."""
        self._run.check()

    @property
    def attempts(self) -> int:
        """How often a body may break without a byte of progress."""
        return self._run.limits.retries

    def _at_home(self, descriptor: Descriptor, act: Callable[[Host, Repository], T]) -> T:
        """Do it in the repository that holds the object; where that is not known, in each, one after another."""
        known = self.home(descriptor)
        homes = [known] if known is not None else list({r.repository: r for r in self._references}.values())
        for home in homes[:-1]:
            with contextlib.suppress(NotFound):
                return self._session.on_hosts(home, "pull", act)
        return self._session.on_hosts(homes[-1], "pull", act)

    def _head_blob(self, host: Host, place: Repository, descriptor: Descriptor) -> None:
        request = place.head_blob(descriptor.digest)
        distribution.expect(request, self._session.client.send(host, request), 200)


class _Document:
    """A document at a registry: fetched whole, once it is opened."""

    __slots__ = ("_source", "descriptor")

    def __init__(self, descriptor: Descriptor, source: RegistrySource) -> None:
        self.descriptor = descriptor
        self._source = source

    @property
    def repositories(self) -> Sequence[str]:
        """Where it is."""
        home = self._source.home(self.descriptor)
        return [home.repository] if home is not None else []

    def open(self, offset: int = 0) -> AbstractContextManager[Reader]:
        """Fetch it."""
        return MemoryBlob(self.descriptor, self._source.document(self.descriptor)).open(offset)


class RegistryBlob:
    """A blob at a registry."""

    __slots__ = ("_source", "descriptor")

    def __init__(self, descriptor: Descriptor, source: RegistrySource) -> None:
        self.descriptor = descriptor
        self._source = source

    @property
    def repositories(self) -> Sequence[str]:
        """Where it is, for a cross-repository mount."""
        home = self._source.home(self.descriptor)
        return [home.repository] if home is not None else []

    @contextlib.contextmanager
    def open(self, offset: int = 0) -> Iterator[ResumingReader]:
        """Open for reading from byte `offset`; a connection that breaks is taken up again where it broke."""
        reader = ResumingReader(self._source, self.descriptor, offset, self.descriptor.size)
        try:
            yield reader
        finally:
            reader.close()

    @contextlib.contextmanager
    def open_range(self, offset: int, count: int) -> Iterator[ResumingReader]:
        """Open `count` bytes from `offset` on."""
        reader = ResumingReader(self._source, self.descriptor, offset, offset + count)
        try:
            yield reader
        finally:
            reader.close()


class ResumingReader:
    """Reads a blob from a registry, over as many connections as it takes.

    What has been handed over is never asked for again. A registry that ignores ranges gives the beginning once more, which
    is read and dropped.
    """

    def __init__(self, source: RegistrySource, descriptor: Descriptor, offset: int, end: int) -> None:
        self._source = source
        self._descriptor = descriptor
        self._at = offset
        self._end = end
        self._answer: Answer | None = None
        self._ahead = 0  # bytes that come once more before those that are wanted
        self._breaks = 0  # in a row, without a byte between them

    def readinto(self, view: memoryview, /) -> int:
        """Fill what has arrived; 0 at the end."""
        view = view[: self._end - self._at]
        while len(view):
            answer = self._answer or self._opened()
            try:
                got = self._passing_over(answer) or answer.readinto(view)
            except TranshipError as error:
                self._broken(error)
                continue
            if not got:
                return 0
            self._at += got
            self._breaks = 0
            return got
        return 0

    def close(self) -> None:
        """Let go of the connection."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _opened(self) -> Answer:
        count = self._end - self._at if self._end < self._descriptor.size else None
        self._answer, begins = self._source.open_blob(self._descriptor, self._at, count)
        self._ahead = self._at - begins
        return self._answer

    def _passing_over(self, answer: Answer) -> int:
        """Read and drop what was there before; always 0."""
        view = memoryview(bytearray(min(self._ahead, CHUNK)))
        while self._ahead:
            self._source.check()
            got = answer.readinto(view[: min(self._ahead, len(view))])
            if not got:
                raise Truncated(f"{self._descriptor} ends before byte {self._at}", descriptor=self._descriptor)
            self._ahead -= got
        return 0

    def _broken(self, error: TranshipError) -> None:
        """Go on after a connection that broke, unless it breaks again and again."""
        self.close()
        self._breaks += 1
        if not error.retryable or self._breaks > self._source.attempts:
            raise error
        self._source.check()
