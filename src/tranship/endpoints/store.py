"""The local store as an end of transfers."""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from tranship.endpoints.calling import called
from tranship.endpoints.choosing import check_pinned, patterns
from tranship.endpoints.files import FileBlob, whole_file
from tranship.engine import spans
from tranship.engine.verify import check_size
from tranship.errors import DataLoss, NotFound, printable
from tranship.files import Durability, no_space_as_error
from tranship.model import choices, naming
from tranship.model.descriptor import Root
from tranship.model.manifest import MAX_DOCUMENT, Document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tranship.engine.plan import Plan
    from tranship.engine.protocols import Blob, FileSpan
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest
    from tranship.model.naming import Naming
    from tranship.store import Lease, NamespaceView
    from tranship.store import Store as OpenStore
    from tranship.store.content import Content

GC_CONTENT = "containerd.io/gc.ref.content"  # label prefix: the value is the digest of what this object needs
VOUCHED_FROM = 1 << 20  # bytes; hashing less is not worth a mark
GC_SUBJECT = (
    "containerd.io/gc.bref.content.subject"  # label: this object lives as long as that one (a referrer's subject)
)
_GC_KEYS = {"manifest": "m.", "index": "m.", "layer": "l.", "config": "config"}  # of others the number alone
_NOTHING: Mapping[str, str] = MappingProxyType({})


def default_root(environ: Mapping[str, str], uid: int) -> str:
    """Where the store is when nobody says: `TRANSHIP_ROOT`, root's /var/lib/tranship, or a user's XDG data folder."""
    if root := environ.get("TRANSHIP_ROOT"):
        return root
    if uid == 0:
        return "/var/lib/tranship"
    data = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/share")
    return os.path.join(data, "tranship")


@dataclass(frozen=True, slots=True)
class Store:
    """Images in the local store.

    names       as a source: which images (none: all of them; exactly, as docker would complete it, or a glob).
                As a destination: what the image is called there (none: as at the source, by `naming`)
    root        the store's folder; None: `TRANSHIP_ROOT`, or the user's own
    namespace   containerd's world of names; files are shared between namespaces
    naming      how images of an archive or layout are named; None: by their annotations, nameless ones by
                `import-DATE@DIGEST`
    labels      of the images that are stored
    durability  "full" (survives a power cut) or "process"
    sharing     "shared" or "isolated": may content that another namespace brought be used without its bytes?
    quota       bytes that all blobs of the store may take
    clobber     may a name that exists be moved to another image?
    opened      a store that is open already, used as it is and left open; root, durability, sharing and quota are its own
    lease       the id of a lease that keeps what arrives; None: one that the transfer makes and removes
    """

    names: str | tuple[str, ...] = ()
    root: str | os.PathLike[str] | None = None
    namespace: str = "default"
    naming: Naming | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    durability: Durability = "full"
    sharing: Literal["shared", "isolated"] = "shared"
    quota: int | None = None
    clobber: bool = True
    opened: OpenStore | None = field(default=None, repr=False)
    lease: str | None = None

    kind: ClassVar[str] = "store"

    def __post_init__(self) -> None:
        choices.check("durability of a store", self.durability, get_args(Durability))
        choices.check("sharing of a store", self.sharing, ("shared", "isolated"))

    def __str__(self) -> str:
        return "store:" + ",".join(map(printable, patterns(self.names)))

    def open(self, *, create: bool = True) -> OpenStore:
        """Open the store itself, for its content, images, leases and collection."""
        from tranship.store import Store as OpenStore

        root = self.root if self.root is not None else default_root(os.environ, os.getuid())
        return OpenStore.open(root, durability=self.durability, sharing=self.sharing, quota=self.quota, create=create)

    @contextlib.contextmanager
    def open_source(self, run: Run) -> Iterator[StoreSource]:
        """Open for reading: a lease keeps the images while they are read. Where there are none, nothing is written."""
        del run
        with self._store(create=False) as store, contextlib.ExitStack() as stack:
            space = store.namespace(self.namespace)
            lease = functools.cache(lambda: stack.enter_context(space.leases.holding()))
            yield StoreSource(store, space, lease, patterns(self.names))

    @contextlib.contextmanager
    def open_destination(self, run: Run) -> Iterator[StoreDestination]:
        """Open for writing: a lease keeps what arrives until it has a name, and one batch makes it durable."""
        with self._store_to_plan_for() if run.dry else self._store() as store, store.batch() as batch:
            space = batch.namespace(self.namespace)
            with self._held(space, run) as lease:
                yield StoreDestination(self, run, store, space, lease)

    def _store(self, *, create: bool = True) -> AbstractContextManager[OpenStore]:
        return contextlib.nullcontext(self.opened) if self.opened is not None else self.open(create=create)

    @contextlib.contextmanager
    def _store_to_plan_for(self) -> Iterator[OpenStore]:
        """The store as it is; one that is not there is not made for the sake of a plan: it is an empty one elsewhere."""
        with contextlib.ExitStack() as stack:
            try:
                store = stack.enter_context(self._store(create=False))
            except NotFound:
                from tempfile import TemporaryDirectory

                folder = stack.enter_context(TemporaryDirectory(prefix="tranship-"))
                store = stack.enter_context(replace(self, root=f"{folder}/store", durability="process").open())
            yield store

    def _held(self, space: NamespaceView, run: Run) -> AbstractContextManager[Lease | None]:
        if self.lease:
            return contextlib.nullcontext(space.leases.get(self.lease))
        return contextlib.nullcontext() if run.dry else space.leases.holding()


class StoreBlob(FileBlob):
    """A blob of the store; its labels tell which repositories hold it too."""

    __slots__ = ("_space",)

    def __init__(self, descriptor: Descriptor, store: OpenStore, space: NamespaceView) -> None:
        super().__init__(descriptor, lambda: _opened(descriptor, store, space))
        self._space = space

    @property
    def repositories(self) -> Sequence[str]:
        """`host/path` of each, by the labels `containerd.io/distribution.source.HOST` = PATH[,PATH…]."""
        with contextlib.suppress(NotFound):
            return naming.repositories(self._space.content.info(self.descriptor.digest).labels)
        return []


def _opened(descriptor: Descriptor, store: OpenStore, space: NamespaceView) -> AbstractContextManager[FileSpan]:
    fd = space.content.open(descriptor.digest)
    trusted = not space.content.vouched((descriptor.digest,))
    return whole_file(fd, trusted=trusted, path=str(store.path_of(descriptor.digest)))


class StoreSource:
    """The readable side of a store."""

    def __init__(
        self, store: OpenStore, space: NamespaceView, lease: Callable[[], Lease], names: Sequence[str]
    ) -> None:
        self._store = store
        self._space = space
        self._lease = lease
        self._names = names
        self._subjects: dict[str, list[Digest]] | None = None  # digests of referrers by that of their subject

    @property
    def content(self) -> Content:
        """The namespace's content, for whoever looks at many images at once."""
        return self._space.content

    def listed(self) -> Sequence[Root]:
        """The chosen images, held by nothing: to be shown, not to be moved."""
        from tranship.store.images import ByName

        images = ByName(self._space.images)
        chosen = () if self._names else list(images)
        if self._names:
            try:
                found = naming.select(images, self._names)
            except NotFound as error:
                where = f"in namespace {printable(self._space.name)} of the store"
                raise NotFound(f"{error.message} {where}", hint=error.hint, side="source") from None
            chosen = [one.name for one in found]
            for one in found:
                if one.how in ("exact", "completed"):
                    check_pinned(one.name, images[one.name].target, "the store")
        return [Root(images[name].target, name) for name in chosen]

    def roots(self) -> Sequence[Root]:
        """The chosen images, held by the lease from now on."""
        roots = self.listed()
        digests = [root.descriptor.digest for root in roots]
        recorded = {digest: _NOTHING for digest in digests if self._space.content.has(digest)}
        if recorded:  # what was forgotten is not taken up again because somebody looks
            self._space.content.ensure_all(recorded, lease=self._lease().id)
        return roots

    def has(self, descriptor: Descriptor) -> bool:
        """Does the namespace record it?"""
        return self._space.content.has(descriptor.digest)

    def blob(self, descriptor: Descriptor) -> StoreBlob:
        """A file of the store."""
        return StoreBlob(descriptor, self._store, self._space)

    def referrers(self, subject: Descriptor, artifact_type: str | None = None) -> Sequence[Descriptor]:
        """Manifests that a transfer has brought because they refer to `subject`."""
        from tranship.model.manifest import describe, parse

        if self._subjects is None:  # looked for once, however many images are asked about
            self._subjects = {}
            for info in self._space.content.walk([f'labels."{GC_SUBJECT}"']):
                self._subjects.setdefault(info.labels[GC_SUBJECT], []).append(info.digest)
        found: list[Descriptor] = []
        for digest in self._subjects.get(subject.digest, ()):
            raw = self._space.content.read_bytes(digest, MAX_DOCUMENT)
            descriptor = describe(raw, algorithm=digest.algorithm)
            document = parse(raw, descriptor)
            if artifact_type in (None, document.kind_of_artifact):
                found.append(descriptor)
        return found


class StoreDestination:
    """The writable side of a store."""

    workers = 4

    def __init__(self, value: Store, run: Run, store: OpenStore, space: NamespaceView, lease: Lease | None) -> None:
        self._value = value
        self._run = run
        self._store = store
        self._space = space
        self._lease = lease.id if lease is not None else None  # a plan takes none
        self._labels: dict[Digest, dict[str, str]] = {}
        self._present: set[Digest] = set()
        self._origins: dict[Digest, set[str]] = {}  # of each blob the repositories from which it came
        self._scratch: Path | None = None
        self._images: list[Root] = []

    def scratch(self) -> Path:
        """A folder beside the blobs; the store removes it after a crash."""
        if self._scratch is None:
            self._scratch = self._store.scratch()
        return self._scratch

    def document(self, descriptor: Descriptor) -> bytes | None:
        """A document that is here, held by the transfer's lease."""
        if self._run.dry:  # nothing is held or recorded for the sake of a plan
            with contextlib.suppress(NotFound, DataLoss):
                return self._space.content.read_bytes(descriptor.digest, MAX_DOCUMENT)
            return None
        if not self._space.content.ensure(descriptor.digest, lease=self._lease):
            return None
        return self._space.content.read_bytes(descriptor.digest, MAX_DOCUMENT)

    def rehearse(self, plan: Plan) -> Sequence[Root]:
        """Name the images."""
        self._images = called(plan.roots, patterns(self._value.names), self._value.naming, self._run)
        if not self._value.clobber:
            self._refuse_taken()
        return self._images

    def prepare(self, plan: Plan) -> None:
        """Name the images, hold what is here already, and check the room for the rest."""
        self.rehearse(plan)
        for node in plan.nodes.values():
            self._labels[node.descriptor.digest] = gc_labels(node.document)
        for root in plan.roots:
            if root.subject is not None:
                self._labels.setdefault(root.descriptor.digest, {})[GC_SUBJECT] = root.subject
        wanted = {d.digest: self._labels.get(d.digest, {}) for d in (*plan.documents, *plan.blobs)}
        self._present = self._space.content.ensure_all(wanted, lease=self._lease)
        if self._run.verification != "trusted":
            self._pay_for_trust()
        everything = (*plan.documents, *plan.blobs)
        for descriptor in everything:  # what is here is not read again, so a document that lies about it shows only now
            if descriptor.digest in self._present:
                size = os.stat(self._store.path_of(descriptor.digest)).st_size
                check_size(descriptor, size, "the store")
        self._store.reserve(sum(d.size for d in everything if d.digest not in self._present))

    def _pay_for_trust(self) -> None:
        """Hash what is here at a user's word alone; what turns out wrong is put aside and comes again."""
        vouched = self._space.content.vouched(self._present)
        if vouched:
            self._store.verify(sorted(vouched))
            wanted = {digest: self._labels.get(digest, {}) for digest in vouched}
            self._present -= vouched - self._space.content.ensure_all(wanted, lease=self._lease)

    def has(self, descriptor: Descriptor) -> bool:
        """Is it here, and held?"""
        return descriptor.digest in self._present or (not self._labels and self._space.content.has(descriptor.digest))

    def write(self, blob: Blob) -> None:
        """Receive a blob; a large one so that a later transfer can go on where this one may be cut."""
        from tranship.endpoints.receiving import RESUMABLE, RefTaken, receive

        descriptor = blob.descriptor
        labels = self._labels_of(descriptor.digest)
        if descriptor.size >= RESUMABLE:
            try:
                receive(blob, self._space.content, labels, self._lease, self._run)
            except RefTaken:
                pass  # another transfer brings the same blob at this moment: each does, and the first one wins
            else:
                self._origins.pop(descriptor.digest, None)
                return
        with blob.open() as reader:
            self._space.content.put(
                reader,
                descriptor.digest,
                descriptor.size,
                labels=labels,
                lease=self._lease,
                verified=True,
            )
        self._origins.pop(descriptor.digest, None)

    def _labels_of(self, digest: Digest) -> dict[str, str]:
        """What the record of a new blob says: what it needs, and where it comes from."""
        return {**self._labels.get(digest, {}), **naming.noted({}, self._origins.get(digest, ()))}

    def adopt(self, descriptor: Descriptor, span: FileSpan) -> bool:
        """Move scratch in; clone or copy any other file. Files of others are never linked: they could change."""
        labels = self._labels.get(descriptor.digest)
        if span.owned and span.path is not None and os.stat(span.path).st_dev == os.stat(self._store.root).st_dev:
            self._space.content.adopt_file(
                span.path, descriptor.digest, descriptor.size, labels=labels, lease=self._lease
            )
            self._run.meter(descriptor).done = descriptor.size
            return True
        content, room = self._space.content, no_space_as_error(str(self._store.root))
        with content.draft(descriptor.digest, descriptor.size, labels=labels, lease=self._lease) as draft, room:
            vouched = self._run.verification == "trusted" and not span.trusted and descriptor.size >= VOUCHED_FROM
            behind = self._value.durability == "full"
            spans.take(span, descriptor, draft.fd, 0, self._run, alone=True, behind=behind, vouched=vouched)
            draft.commit(descriptor.digest, vouched=vouched)
        return True

    def came_from(self, descriptor: Descriptor, repository: str) -> None:
        """Note which repository holds the blob, for mounts later: in its new record, or on publishing where it has one."""
        self._origins.setdefault(descriptor.digest, set()).add(repository)

    def publish(self, roots: Sequence[Root]) -> Sequence[Root]:
        """Store the names, all of them or none."""
        from tranship.store import Image

        del roots  # named in prepare
        if self._origins:
            self._space.content.ensure_all(self._origin_labels(), lease=self._lease)
        images = [root for root in self._images if root.subject is None]
        self._space.images.put_all(
            (Image(root.name or "", root.descriptor, self._value.labels) for root in images),
            clobber=self._value.clobber,
        )
        return self._images

    def _origin_labels(self) -> dict[Digest, dict[str, str]]:
        """The notes of the origins of what was here already, as labels, with what earlier transfers have noted."""
        info = self._space.content.info
        return {digest: naming.noted(info(digest).labels, origins) for digest, origins in self._origins.items()}

    def _refuse_taken(self) -> None:
        """Now, rather than when everything has been moved; `put_all` looks again."""
        from tranship.store.images import check_free

        for root in self._images:
            with contextlib.suppress(NotFound):
                check_free(self._space.images.get(root.name or ""), root.descriptor.digest)


def gc_labels(document: Document) -> dict[str, str]:
    """The labels by which a document keeps its children from collection (containerd, images.ChildGCLabels).

    All children are named, those too that do not take part: a label to absent content is harmless, and a later transfer
    may bring it. A label's key says what kind a child is, and its number among those of its kind.
    """
    labels: dict[str, str] = {}
    counts: dict[str, int] = {}
    for child in document.children:
        key = _GC_KEYS.get(child.kind, "")
        number = counts[key] = counts.get(key, -1) + 1
        labels[f"{GC_CONTENT}.{key}{number if number or key != 'config' else ''}"] = child.digest
    return labels
