"""A registry as a destination: blobs are mounted or uploaded, documents put by digest, and tags last."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.endpoints.registry.placing import Placed, Places, Placing
from tranship.endpoints.registry.uploading import Uploads
from tranship.engine import spans
from tranship.engine.verify import check_digest
from tranship.errors import AlreadyExists, DigestMismatch, InvalidArgument, MissingContent, blamed_on, printable
from tranship.formats import distribution, referrers, refusals
from tranship.http.payload import FilePayload, ReaderPayload
from tranship.model.descriptor import Root
from tranship.model.digest import Digest
from tranship.model.manifest import MAX_DOCUMENT
from tranship.pump import hash_range, read_whole

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from tranship.endpoints.registry import Registry
    from tranship.endpoints.registry.session import Session
    from tranship.engine.plan import Node, Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Meter, Run
    from tranship.formats.distribution import Repository
    from tranship.formats.hosts import Host
    from tranship.model.descriptor import Descriptor
    from tranship.model.reference import Reference


class RegistryDestination:
    """The writable side of a registry."""

    needs_closure = True

    def __init__(self, value: Registry, session: Session, run: Run) -> None:
        self._clobber = value.clobber
        self._placing = Placing(value)
        self._session = session
        self._run = run
        self._uploads = Uploads(session, run, value.chunk)
        self._places = Places()
        self._nodes: Mapping[Digest, Node] = {}  # the documents of the plan
        self._raw: dict[Digest, bytes | None] = {}  # of the roots: what publish puts under their names
        self._inner: frozenset[Digest] = frozenset()  # roots that others have below them: needed before that
        self._found: dict[Reference, Digest | None] = {}  # what the registry said about a place
        self._listing = threading.Lock()  # one at a time writes a list of referrers

    @property
    def workers(self) -> int:
        """As many as a host is asked at once."""
        return self._run.limits.jobs or 4

    # ------------------------------------------------------------------------------------------------------ before writing

    @blamed_on("destination")
    def closures(self, roots: Sequence[Root]) -> Sequence[Root | None]:
        """Which roots do all their names lead to already? The registry took each only with everything below it."""
        return self._session.each(self._closure, roots)

    def _closure(self, root: Root) -> Root | None:
        try:
            places = self._placing.of(root)
        except InvalidArgument:
            return None  # prepare will say it, with all the roots at hand
        if any(self._look(place) != root.descriptor.digest for place in places):
            return None
        return Root(root.descriptor, str(places[0].reference), root.subject)

    def _look(self, place: Placed) -> Digest | None:
        """The digest that the registry says a place holds; None for nothing. It is asked once."""
        if place.reference not in self._found:
            self._found[place.reference] = self._ask(place)
        return self._found[place.reference]

    def _ask(self, place: Placed) -> Digest | None:
        host, repository = self._session.target(place.reference)
        request = repository.head_manifest(place.named)
        response = self._session.client.send(host, request)
        if response.status in (401, 403, 429) or response.status >= 500:
            distribution.expect(request, response, 200)
        if response.status != 200:
            return None
        if place.reference.digest is not None:
            return place.reference.digest
        there = distribution.claims(response.headers).digest
        if there is None:  # older registries say nothing in answer to HEAD
            request = repository.get_manifest(place.named)
            answer = self._session.client.send(host, request, limit=MAX_DOCUMENT)
            there = distribution.read_document(request, answer)[0].digest
        return there

    def rehearse(self, plan: Plan) -> Sequence[Root]:
        """All that prepare does: it writes nothing."""
        self.prepare(plan)
        return self._named()

    def prepare(self, plan: Plan) -> None:
        """Find for each root its place, and for each object the repositories that need it."""
        everything = self._placing.all(plan)
        if not self._clobber:
            for place in everything.placed:
                self._refuse_taken(place)
        self._places, self._nodes = everything, plan.nodes
        self._raw = dict.fromkeys(place.root.descriptor.digest for place in everything.placed)
        self._inner = frozenset(self._raw.keys() & plan.parents.keys())
        self._uploads.expect(plan.blobs)

    def _refuse_taken(self, place: Placed) -> None:
        there = self._look(place) if place.root.subject is None else None
        if there not in (None, place.root.descriptor.digest):
            raise AlreadyExists(
                f"{printable(str(place.reference))} is at the registry already, as {there}", side="destination"
            )

    # ------------------------------------------------------------------------------------------------------------- blobs

    @blamed_on("destination")
    def has(self, descriptor: Descriptor) -> bool:
        """Is the blob in every repository that needs it? Documents are small: they are put again rather than asked for."""
        homes = self._homes_of(descriptor)
        return (
            not descriptor.is_document
            and bool(homes)
            and all(self._uploads.is_there(home, descriptor) for home in homes)
        )

    @blamed_on("destination")
    def mount(self, descriptor: Descriptor, repository: str) -> bool:
        """Take the blob from another repository of the same registry, into every one that needs it."""
        homes = () if descriptor.is_document else self._homes_of(descriptor)
        return bool(homes) and all(self._uploads.mount(home, descriptor, repository) for home in homes)

    @blamed_on("destination")
    def write(self, blob: Blob) -> None:
        """Upload a blob, or put a document."""
        if blob.descriptor.is_document:
            self._write_document(blob)
        else:
            self._uploads.bring(self._homes_of(blob.descriptor), blob.descriptor, ReaderPayload(blob.open))

    @blamed_on("destination")
    def adopt(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Upload a file's bytes. The registry hashes them; we do so only to be strict."""
        if descriptor.is_document:
            return False
        if self._run.verification == "strict":
            spans.check(span.fd, span.offset, descriptor, self._run)
        try:
            payload = _Metered(span, self._run.meter(descriptor))
            self._uploads.bring(self._homes_of(descriptor), descriptor, payload)
        except DigestMismatch:
            hasher = descriptor.digest.hasher()
            hash_range(span.fd, span.offset, descriptor.size, hasher)
            check_digest(descriptor, Digest.from_hash(descriptor.digest.algorithm, hasher))  # which side is wrong?
            raise
        return True

    def forget(self, descriptor: Descriptor) -> None:
        """The registry was wrong about a blob: upload it whatever it says."""
        for home in self._homes_of(descriptor):
            self._uploads.forget(home, descriptor)

    def abort(self) -> None:
        """Leave no uploads open."""
        self._uploads.abort()

    def _homes_of(self, descriptor: Descriptor) -> tuple[Reference, ...]:
        return self._places.homes.get(descriptor.digest, ())

    # --------------------------------------------------------------------------------------------------------- documents

    def _write_document(self, blob: Blob) -> None:
        """Put a document by its digest wherever it is needed. Roots wait for `publish`, unless others name them."""
        descriptor = blob.descriptor
        with blob.open() as reader:
            raw = read_whole(reader, descriptor.size)
        if descriptor.digest in self._raw:
            self._raw[descriptor.digest] = raw
            if descriptor.digest not in self._inner:
                return
        for home in self._homes_of(descriptor):
            self._put(home, descriptor.digest, raw, descriptor)

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Put the roots under their names, referrers last."""
        del roots  # placed in prepare
        self._session.each(self._publish, [place for place in self._places.placed if place.root.subject is None])
        for place in self._places.placed:
            if place.root.subject is not None:
                self._publish(place)
        return self._named()

    def _named(self) -> list[Root]:
        return [Root(place.root.descriptor, str(place.reference), place.root.subject) for place in self._places.placed]

    def _publish(self, place: Placed) -> None:
        descriptor = place.root.descriptor
        raw = self._raw[descriptor.digest]
        if raw is None:
            raise InvalidArgument(f"{printable(str(place.reference))} cannot be named: its document was not written")
        # First by its digest: since registries name what a tag leads to by SHA-256; and since whoever finds the tag takes
        # it for done, with the list of referrers, which may have to be written by hand.
        if place.reference.tag is not None and (
            descriptor.digest.algorithm != "sha256" or self._nodes[descriptor.digest].document.subject is not None
        ):
            self._put(place.reference, descriptor.digest, raw, descriptor)
        self._put(place.reference, place.named, raw, descriptor)

    def _put(self, home: Reference, named: str, raw: bytes, descriptor: Descriptor) -> None:
        host, repository = self._session.target(home)
        request = repository.put_manifest(named, raw, descriptor.media_type)
        response = self._session.client.send(host, request)
        if response.status not in (200, 201, 202, 204):
            error = refusals.refusal(request, response)
            lacks = {"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"} & refusals.codes(response)
            if lacks or (response.status == 404 and refusals.missing_blobs(response)):
                raise MissingContent(
                    f"{error.message}; it lacks what the {descriptor.kind} names",
                    digests=refusals.missing_blobs(response),
                    descriptor=descriptor,
                )
            raise error
        if not referrers.keeps_referrers(response):
            self._note_subject(host, repository, descriptor)

    def _note_subject(self, host: Host, repository: Repository, descriptor: Descriptor) -> None:
        """Keep the list of referrers by hand where the registry does not."""
        document = self._nodes[descriptor.digest].document
        if document.subject is None:
            return
        kind = document.kind_of_artifact
        extra = {"artifactType": kind} if kind else {}
        entry = replace(descriptor.plain, annotations=document.annotations, extra=extra)
        with self._listing:  # read, changed and written: two of us at once would lose one of the entries
            self._session.run(host, referrers.note_referrer(repository, document.subject.digest, entry))


class _Metered(FilePayload):
    """A file's bytes, whose count begins again wherever the upload does."""

    def __init__(self, span: FileSpan, meter: Meter) -> None:
        super().__init__(span.fd, span.offset, meter.advance)
        self._meter = meter

    def pieces(self, offset: int, count: int) -> Generator[memoryview]:
        """See Payload."""
        self._meter.done = offset
        return super().pieces(offset, count)
