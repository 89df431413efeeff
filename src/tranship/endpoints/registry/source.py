"""A registry as a source: references are resolved once, to digests; all else is fetched by digest and verified."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from tranship.endpoints.registry.reading import Document, RegistryBlob
from tranship.errors import DataLoss, NotFound, PolicyRefused, TranshipError, printable
from tranship.formats import distribution, referrers
from tranship.formats.hosts import Host
from tranship.formats.messages import Origin, Request
from tranship.formats.realm import may_hold_content
from tranship.http.answer import MAX_ERROR
from tranship.model import mediatypes, naming
from tranship.model.descriptor import Descriptor, Root
from tranship.model.manifest import MAX_DOCUMENT, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tranship.endpoints.registry import Registry
    from tranship.endpoints.registry.session import Session
    from tranship.engine.protocols import Blob
    from tranship.engine.run import Run
    from tranship.formats.distribution import Repository
    from tranship.http.answer import Answer
    from tranship.http.client import Client
    from tranship.model.digest import Digest
    from tranship.model.reference import Reference

    T = TypeVar("T")


class RegistrySource:
    """The readable side of a registry."""

    readers = 4

    def __init__(self, value: Registry, session: Session, references: Sequence[Reference], run: Run) -> None:
        self._value = value
        self._session = session
        self._references = references
        self._repositories = tuple({r.repository: r for r in references}.values())
        self._run = run
        self._homes: dict[Digest, Reference] = {}  # of each object the repository in which it was found
        self._documents: dict[Digest, bytes] = {}  # that came while resolving

    def roots(self) -> Sequence[Root]:
        """The images, each resolved to its digest by one request."""
        return self._session.each(self._resolve, self._references)

    def has(self, descriptor: Descriptor) -> bool:
        """Looked up for layers that are rarely at a registry; everything else is found out on fetching it."""
        if not mediatypes.is_non_distributable(descriptor.media_type):
            return True
        return bool(self._value.foreign_urls and descriptor.extra.get("urls")) or self.holds(descriptor)

    def holds(self, descriptor: Descriptor) -> bool:
        """Is it there? One request, where `has` takes a manifest at its word."""
        try:
            self._at_home(descriptor, lambda host, place: self._head(host, place, descriptor))
        except NotFound:
            return False
        return True

    def blob(self, descriptor: Descriptor) -> Blob:
        """A document, which is fetched whole; or a blob, which is streamed."""
        if descriptor.is_document:
            return Document(descriptor, self)
        return RegistryBlob(descriptor, self)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """By the referrers API or its fallback tag, and by the tags that cosign makes of a digest."""
        home = self._homes.get(subject.digest, self._references[0])
        found = {
            d.digest: replace(d, annotations={})  # they may hold names, which are not the list's to give
            for d in self._session.on_hosts(
                home,
                "referrers",
                lambda host, place: self._session.run(host, referrers.referrers(place, subject.digest, artifact_type)),
            )
        }
        for tag in referrers.cosign_tags(subject.digest) if artifact_type is None else ():
            with contextlib.suppress(NotFound):
                root = self._resolve(home.with_digest(None).with_tag(tag))
                found.setdefault(root.descriptor.digest, root.descriptor.annotated({naming.REF_NAME: tag}))
        for digest in found:
            self._homes.setdefault(digest, home)
        return [found[digest] for digest in sorted(found)]

    # --------------------------------------------------------------------------------------------------------- resolving

    def _resolve(self, reference: Reference) -> Root:
        # A mirror that may not say what a tag means may well have what a digest means (containerd's rule).
        capability = "pull" if reference.digest else "resolve"
        descriptor = self._session.on_hosts(
            reference, capability, lambda host, place: self._look_up(reference, host, place)
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
        elif response.status in (401, 404, 429):
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
        if home is not None and len(self._repositories) > 1:
            for child in parse(raw, descriptor).children:
                self._homes.setdefault(child.digest, home)
        return raw

    def _get_document(self, host: Host, place: Repository, descriptor: Descriptor) -> bytes:
        request = place.get_manifest(descriptor.digest)
        response = self._session.client.send(host, request, limit=MAX_DOCUMENT)
        raw = distribution.verified(request, response, descriptor.digest)
        distribution.check_type(request, response, descriptor.media_type)
        if len(raw) != descriptor.size:  # which the registry has said in answer to HEAD, or a parent of the document
            raise DataLoss(
                f"registry {host.authority}: {request.about} has {len(raw)} bytes, not {descriptor.size} as was said before",
                side="source",
            )
        return raw

    def open_blob(
        self, descriptor: Descriptor, offset: int, count: int | None, shunned: Collection[str]
    ) -> tuple[Answer, int, Host]:
        """Ask for a blob's bytes from `offset` on, at a host whose URL is not `shunned` where there is another.

        Gives the open answer, where in the blob its body begins, and who answers. OutOfRange for a range that is refused or
        is not the one that was asked for.
        """

        def act(host: Host, place: Repository) -> tuple[Answer, int, Host]:
            request = place.get_blob(descriptor.digest, offset, count)
            return (*_open(self._session.client, host, request, descriptor, offset), host)

        try:
            return self._at_home(descriptor, act, shunned)
        except NotFound:
            if self._value.foreign_urls and descriptor.extra.get("urls"):
                return self._open_foreign(descriptor, offset, count)
            raise

    def _open_foreign(self, descriptor: Descriptor, offset: int, count: int | None) -> tuple[Answer, int, Host]:
        """Fetch a layer that its owner alone may distribute from a URL of its descriptor, which anybody may have written:
        with a client that has no credentials at all (CVE-2020-15157), and only when the user asked for it.
        """
        failed: TranshipError | None = None
        registry = self._session.hosts(self.home(descriptor) or self._references[0], "pull")[-1].origin.host
        for url in descriptor.extra["urls"] if isinstance(descriptor.extra["urls"], list) else ():
            try:
                origin = Origin.of(url if isinstance(url, str) else "")
                if not may_hold_content(origin.host, registry):
                    raise PolicyRefused(
                        f"{descriptor} names {printable(origin.authority)}, which is no place for content"
                    )
                host = Host(registry=origin.authority, url=str(origin))
                ranged = bool(offset) or count is not None
                last = "" if count is None else offset + count - 1
                headers = {"Range": f"bytes={offset}-{last}"} if ranged else {}
                request = Request(method="GET", url=url, headers=headers, object=str(descriptor))
                return (*_open(self._session.anonymous, host, request, descriptor, offset), host)
            except TranshipError as error:
                failed = error
        raise failed or NotFound(f"{descriptor} names no URL", descriptor=descriptor, side="source")

    def home(self, descriptor: Descriptor) -> Reference | None:
        """The repository in which an object was found."""
        return self._repositories[0] if len(self._repositories) == 1 else self._homes.get(descriptor.digest)

    def has_others(self, descriptor: Descriptor, shunned: Collection[str]) -> bool:
        """Is there a host that serves the object and is not shunned?"""
        home = self.home(descriptor) or self._references[0]
        return any(host.url not in shunned for host in self._session.hosts(home, "pull"))

    def check(self) -> None:
        """Raise Cancelled when the transfer is to stop."""
        self._run.check()

    def pause(self, attempt: int) -> None:
        """Wait as after so many attempts of a request."""
        self._session.client.pause(attempt)

    @property
    def attempts(self) -> int:
        """How often in a row a body may break."""
        return self._run.limits.retries

    def _at_home(
        self,
        descriptor: Descriptor,
        act: Callable[[Host, Repository], T],
        shunned: Collection[str] = (),
    ) -> T:
        """Do it in the repository that holds the object; where that is not known, in each, one after another."""
        known = self.home(descriptor)
        homes = (known,) if known is not None else self._repositories
        for home in homes[:-1]:
            with contextlib.suppress(NotFound):
                return self._session.on_hosts(home, "pull", act, shunned)
        return self._session.on_hosts(homes[-1], "pull", act, shunned)

    def _head(self, host: Host, place: Repository, descriptor: Descriptor) -> None:
        digest = descriptor.digest
        request = place.head_manifest(digest) if descriptor.is_document else place.head_blob(digest)
        distribution.expect(request, self._session.client.send(host, request), 200)


def _open(client: Client, host: Host, request: Request, descriptor: Descriptor, offset: int) -> tuple[Answer, int]:
    """The open answer to a GET of a blob, and where in the blob its body begins."""
    answer = client.open(host, request)
    try:
        if answer.status not in (200, 206):
            refused = replace(answer.head, body=answer.read(MAX_ERROR, cut=True))
            distribution.expect(request, refused, 200, 206)
        begins, _ = distribution.body_offset(request, answer.head, offset, descriptor.size)
        if answer.status == 200:
            answer.as_stored(descriptor.size)
    except BaseException:
        answer.close()
        raise
    return answer, begins
