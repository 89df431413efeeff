"""A registry as a destination: blobs are mounted or uploaded, documents put by digest, and tags last.

One request asks whether a blob is there and opens its upload if it is not: a mount from the repository itself. Where the
registry does not know that trick, it is asked with HEAD.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.engine.verify import check_digest
from tranship.errors import (
    AlreadyExists,
    DigestMismatch,
    InvalidArgument,
    MissingContent,
    printable,
)
from tranship.formats import distribution, referrers, refusals
from tranship.formats.upload import Session as Upload
from tranship.formats.upload import mount, upload
from tranship.http.payload import FilePayload, ReaderPayload
from tranship.model import naming
from tranship.model.descriptor import Root
from tranship.model.digest import Digest
from tranship.model.manifest import parse
from tranship.model.reference import Reference
from tranship.pump import hash_range, read_exactly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.endpoints.registry import Registry
    from tranship.endpoints.registry.session import Session
    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.formats.distribution import Repository
    from tranship.formats.hosts import Host
    from tranship.http.payload import Payload
    from tranship.model.descriptor import Descriptor

REF_NAME = "org.opencontainers.image.ref.name"


class RegistryDestination:
    """The writable side of a registry."""

    needs_closure = True

    def __init__(self, value: Registry, session: Session, run: Run) -> None:
        self._value = value
        self._session = session
        self._run = run
        self._targets: list[tuple[Root, Reference]] = []
        self._references = value.references if value.prefix is None else ()
        self._homes: dict[Digest, tuple[Reference, ...]] = {}  # of each object the repositories that need it
        self._tagged: set[Digest] = set()  # documents that are put under their tags, by publish
        self._raw: dict[Digest, bytes] = {}  # of those, the bytes
        self._there: set[tuple[str, Digest]] = set()  # (repository, blob) known to be at the registry
        self._doubted: set[Digest] = set()  # blobs that the registry was wrong about
        self._uploads: dict[tuple[str, Digest], Upload] = {}  # opened by a mount that was declined

    @property
    def workers(self) -> int:
        """As many as a host is asked at once."""
        return self._run.limits.jobs or 4

    # ------------------------------------------------------------------------------------------------------ before writing

    def closure(self, root: Root) -> Root | None:
        """Does every name lead to this root already? The registry took it only with everything below it."""
        try:
            references = self._places(root)
        except InvalidArgument:
            return None  # prepare will say it, with all the roots at hand
        if any(self._found(root, reference) != root.descriptor.digest for reference in references):
            return None
        return Root(root.descriptor, str(references[0]), root.subject)

    def _found(self, root: Root, reference: Reference) -> Digest | None:
        """The digest that the registry says a place holds; None for nothing."""
        host, place = self._where(reference)
        request = place.head_manifest(self._tag(root, reference) or root.descriptor.digest)
        response = self._session.client.send(host, request)
        if response.status == 200:
            return distribution.claims(response.headers).digest
        if response.status in (401, 403, 429) or response.status >= 500:
            distribution.expect(request, response, 200)
        return None

    def rehearse(self, plan: Plan) -> None:
        """All that prepare does: it writes nothing."""
        self.prepare(plan)

    def prepare(self, plan: Plan) -> None:
        """Find for each root its place, and for each object the repositories that need it. Referrers go to their subjects."""
        self._targets = self._targeted([root for root in plan.roots if root.subject is None])
        if not self._value.clobber:
            self._refuse_taken()
        homes: dict[Digest, dict[str, Reference]] = {}
        for root, reference in self._targets:
            _spread(root, reference, plan, homes)
        everywhere = {reference.repository: reference for _, reference in self._targets}
        waiting = [root for root in plan.roots if root.subject is not None]
        while waiting:  # referrers of referrers come after those
            ready = [root for root in waiting if root.subject in homes] or waiting
            for root in ready:
                for reference in list((homes.get(root.subject or root.descriptor.digest) or everywhere).values()):
                    self._targets.append((root, reference))
                    _spread(root, reference, plan, homes)
            waiting = [root for root in waiting if root not in ready]
        self._homes = {digest: tuple(found.values()) for digest, found in homes.items()}
        self._tagged = {
            root.descriptor.digest
            for root, reference in self._targets
            if root.descriptor.digest not in plan.parents and self._tag(root, reference) is not None
        }

    def _targeted(self, images: Sequence[Root]) -> list[tuple[Root, Reference]]:
        """Where each image goes; InvalidArgument when two different ones would get one name."""
        if self._references and images:
            naming.rename(images, [str(reference) for reference in self._references])  # raises for several images
        targets = [(root, reference) for root in images for reference in self._places(root)]
        taken: dict[str, Digest] = {}
        for root, reference in targets:
            first = taken.setdefault(str(reference), root.descriptor.digest)
            if first != root.descriptor.digest:
                raise InvalidArgument(
                    f"two different images would be {printable(str(reference))}",
                    hint="--scoped keeps the hosts of their names apart",
                )
        return targets

    def _refuse_taken(self) -> None:
        for root, reference in self._targets:
            there = self._found(root, reference)
            if there not in (None, root.descriptor.digest):
                raise AlreadyExists(
                    f"{printable(str(reference))} is at the registry already, as {there}", side="destination"
                )

    def _places(self, root: Root) -> Sequence[Reference]:
        """Where an image goes: to each of the names, or below the prefix, or where its own name says."""
        for named in self._references:
            if named.digest is not None and named.digest != root.descriptor.digest:
                raise InvalidArgument(
                    f"{printable(str(named))} names another digest than the image has, {root.descriptor.digest}"
                )
        if self._references:
            return self._references
        prefix = self._value.prefix
        if root.name is None or not naming.is_full(root.name):
            raise InvalidArgument(
                f"the image {root.descriptor.digest.short} is called "
                f"{printable(root.name) if root.name else 'nothing'}, which says no repository",
                hint="copy it alone, to a full reference",
            )
        own = Reference.parse(root.name)
        if prefix is None:
            return [own]
        path = f"{own.domain.replace(':', '-')}/{own.path}" if self._value.scoped else own.path
        base = Reference.parse(f"{prefix}/{path}", default_tag=None)
        return [replace(base, tag=own.tag, digest=None if own.tag else root.descriptor.digest)]

    # ------------------------------------------------------------------------------------------------------------- blobs

    def has(self, descriptor: Descriptor) -> bool:
        """Is the blob in every repository that needs it? Documents are small: they are put again rather than asked for."""
        if descriptor.is_document:
            return False
        homes = self._homes_of(descriptor)
        return bool(homes) and all(self._is_there(home, descriptor) for home in homes)

    def _is_there(self, home: Reference, descriptor: Descriptor) -> bool:
        key = (home.repository, descriptor.digest)
        if key in self._there:
            return True
        if key in self._uploads:
            return False
        host, place = self._where(home)
        if not self._run.dry and descriptor.digest not in self._doubted:
            answer = self._session.run(host, mount(place, descriptor, home.path))
            if isinstance(answer, Upload):
                self._uploads[key] = answer
                return False
            if answer:
                self._there.add(key)
                return True
        if descriptor.digest in self._doubted:
            return False
        response = self._session.client.send(host, place.head_blob(descriptor.digest))
        if response.status == 200:
            self._there.add(key)
        return response.status == 200

    def mount(self, descriptor: Descriptor, repository: str) -> bool:
        """Take the blob from another repository of the same registry, into every one that needs it."""
        if descriptor.is_document or self._run.dry or descriptor.digest in self._doubted:
            return False
        domain, _, path = repository.partition("/")
        return all(self._mounted(home, descriptor, domain, path) for home in self._homes_of(descriptor))

    def _mounted(self, home: Reference, descriptor: Descriptor, domain: str, path: str) -> bool:
        key = (home.repository, descriptor.digest)
        if key in self._there:
            return True
        same = naming.source_label(domain) == naming.source_label(home.domain)  # a store's note has no port
        if not same or path == home.path or key in self._uploads:
            return False
        host, place = self._where(home)
        answer = self._session.run(host, mount(place, descriptor, path))
        if isinstance(answer, Upload):
            self._uploads[key] = answer
            return False
        if answer:
            self._there.add(key)
        return answer

    def write(self, blob: Blob) -> None:
        """Upload a blob, or put a document."""
        descriptor = blob.descriptor
        if descriptor.is_document:
            self._write_document(blob)
        else:
            self._upload(descriptor, ReaderPayload(blob.open))

    def adopt(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Upload a file's bytes, handed over by the kernel where it can. The registry hashes them, so we do not."""
        if descriptor.is_document:
            return False
        meter = self._run.meter(descriptor)
        meter.restart()
        try:
            self._upload(descriptor, FilePayload(span.fd, span.offset, meter.advance))
        except DigestMismatch:
            hasher = descriptor.digest.hasher()
            hash_range(span.fd, span.offset, descriptor.size, hasher)
            check_digest(descriptor, Digest.from_hash(descriptor.digest.algorithm, hasher))  # which side is wrong?
            raise
        return True

    def forget(self, descriptor: Descriptor) -> None:
        """The registry was wrong about a blob: upload it whatever it says."""
        self._doubted.add(descriptor.digest)
        for home in self._homes_of(descriptor):
            self._there.discard((home.repository, descriptor.digest))

    def _upload(self, descriptor: Descriptor, payload: Payload) -> None:
        """Bring the bytes to the first repository that lacks them, and from there to the others."""
        for home in self._homes_of(descriptor):
            key = (home.repository, descriptor.digest)
            if key in self._there:
                continue
            host, place = self._where(home)
            source = next((path for path, digest in self._there if digest == descriptor.digest), None)
            if source is not None and self._mounted(home, descriptor, *_split(source)):
                continue
            flow = upload(place, descriptor, session=self._uploads.pop(key, None), fresh=True, chunk=self._value.chunk)
            self._session.run(host, flow, payload)
            self._there.add(key)

    # --------------------------------------------------------------------------------------------------------- documents

    def _write_document(self, blob: Blob) -> None:
        descriptor = blob.descriptor
        raw = bytearray(descriptor.size)
        with blob.open() as reader:
            read_exactly(reader, memoryview(raw))
        if descriptor.digest in self._tagged:
            self._raw[descriptor.digest] = bytes(raw)
            return
        for home in self._homes_of(descriptor):
            self._put(home, descriptor.digest, bytes(raw), descriptor)

    def _put(self, home: Reference, named: str, raw: bytes, descriptor: Descriptor) -> None:
        host, place = self._where(home)
        request = place.put_manifest(named, raw, descriptor.media_type)
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
        self._note_subject(host, place, raw, descriptor, noted=referrers.keeps_referrers(response))

    def _note_subject(self, host: Host, place: Repository, raw: bytes, descriptor: Descriptor, *, noted: bool) -> None:
        """Keep the list of referrers by hand where the registry does not."""
        subject = parse(raw, descriptor).subject if b'"subject"' in raw and not noted else None
        if subject is not None:
            document = parse(raw, descriptor)
            kind = getattr(document, "artifact_type", None) or (
                document.config.media_type if getattr(document, "config", None) is not None else None  # type: ignore[union-attr]  # asked just before
            )
            extra = {"artifactType": kind} if kind else {}
            entry = replace(descriptor.plain, annotations=document.annotations, extra=extra)
            self._session.run(host, referrers.note_referrer(place, subject.digest, entry))

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Put the documents that have tags under them."""
        del roots  # placed in prepare
        published = []
        for root, reference in self._targets:
            tag = self._tag(root, reference)
            raw = self._raw.get(root.descriptor.digest)
            if tag is not None and raw is not None:
                if root.descriptor.digest.algorithm != "sha256":  # registries name what a tag leads to by SHA-256
                    self._put(reference, root.descriptor.digest, raw, root.descriptor)
                self._put(reference, tag, raw, root.descriptor)
            elif tag is not None:
                raise InvalidArgument(f"{printable(str(reference))} cannot be tagged: its document was not written")
            published.append(Root(root.descriptor, str(reference), root.subject))
        return published

    def _tag(self, root: Root, reference: Reference) -> str | None:
        """The tag of a root: of a referrer the one that cosign gave it, if any."""
        if root.subject is not None:
            tag = root.descriptor.annotations.get(REF_NAME)
            return tag if tag and tag.startswith(("sha256-", "sha512-")) else None
        return reference.tag if reference.digest is None else None

    def _homes_of(self, descriptor: Descriptor) -> tuple[Reference, ...]:
        return self._homes.get(descriptor.digest, ())

    def _where(self, reference: Reference) -> tuple[Host, Repository]:
        host = self._session.hosts(reference.domain, "push")[-1]
        return host, host.repository(reference.path)


def _spread(root: Root, home: Reference, plan: Plan, homes: dict[Digest, dict[str, Reference]]) -> None:
    """Note that everything below a root is needed in a repository."""
    waiting = [root.descriptor.digest]
    while waiting:
        digest = waiting.pop()
        needed = homes.setdefault(digest, {})
        if home.repository not in needed:
            needed[home.repository] = home
            node = plan.nodes.get(digest)
            waiting += [child.digest for child in node.selected] if node is not None else []


def _split(repository: str) -> tuple[str, str]:
    domain, _, path = repository.partition("/")
    return domain, path
