"""What a store must do, as checks that run on any: on the embedded one, and on one behind a daemon's services.

    @pytest.mark.parametrize("check", store_suite.CHECKS, ids=lambda check: check.__name__)
    def test_it_behaves_as_containerd_does(check, store):       # a fresh, empty store with shared content
        check(store)

A check uses `store.namespace(name)` with its `content`, `images` and `leases`, `store.namespaces` and `store.gc()`, by the
names and errors of `tranship.store`, and raises AssertionError with a sentence. The rules are those of containerd's own content
suite (core/content/testsuite) and of what its services answer.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from tranship.errors import (
    AlreadyExists,
    CommitMismatch,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    OutOfRange,
    TranshipError,
    Unavailable,
    Unsupported,
)
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.store.values import Image, Resource

if TYPE_CHECKING:
    from tranship.store import NamespaceView, Store

Check = Callable[["Store"], None]

HELLO = b"hello, world\n"
LAYER = bytes(range(256)) * 1024
REF_CONTENT = "containerd.io/gc.ref.content"
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Register a check."""
    CHECKS.append(function)
    return function


def same(found: object, expected: object, what: str) -> None:
    """Raise AssertionError when they differ."""
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def refused(error: type[TranshipError], text: str, call: Callable[[], object]) -> None:
    """Raise AssertionError unless the call raises this error, with this text in its message."""
    try:
        result = call()
    except error as found:
        if text not in found.message:
            raise AssertionError(f"expected {text!r} in the message, found {found.message!r}") from found
        return
    raise AssertionError(f"expected {error.__name__} {text!r}, found the result {result!r}")


def add(space: NamespaceView, data: bytes, **options: object) -> Digest:
    """Bring a blob through a writer, as clients of the service do."""
    digest = Digest.of(data)
    with space.content.writer(f"add-{digest}") as writer:
        writer.write(data)
        writer.commit(len(data), digest, **options)  # type: ignore[arg-type]
    return digest


def content_of(space: NamespaceView, digest: Digest, offset: int = 0, size: int = 0) -> bytes:
    """Read a blob, or a part of it."""
    return b"".join(space.content.read(digest, offset, size))


def image(name: str, digest: Digest, **labels: str) -> Image:
    """An image that points at a blob."""
    return Image(name, Descriptor(media_type="application/vnd.test", digest=digest, size=1), labels)


# -------------------------------------------------------------------------------------------------------------- content


@check
def content_is_invisible_until_its_commit(store: Store) -> None:
    space, digest = store.namespace("suite"), Digest.of(HELLO)
    with space.content.writer("one", total=len(HELLO), expected=digest) as writer:
        writer.write(HELLO)
        refused(NotFound, f"content digest {digest}: not found", lambda: space.content.info(digest))
        same(writer.offset, len(HELLO), "the offset")
        same(writer.digest_so_far, digest, "the running digest")
        writer.commit(len(HELLO), digest)
    same(space.content.info(digest).size, len(HELLO), "the size")
    same(content_of(space, digest), HELLO, "the bytes")
    same([s.ref for s in space.content.statuses()], [], "the ingests left")


@check
def the_empty_blob_is_a_blob(store: Store) -> None:
    space = store.namespace("suite")
    digest = add(space, b"")
    same(space.content.info(digest).size, 0, "the size")
    same(content_of(space, digest), b"", "the bytes")


@check
def ranges_are_read_as_containerd_reads_them(store: Store) -> None:
    space = store.namespace("suite")
    digest = add(space, HELLO)
    same(content_of(space, digest, 7, 5), b"world", "a range")
    same(content_of(space, digest, 7), b"world\n", "a range to the end")
    same(content_of(space, digest, 7, 1 << 40), b"world\n", "a range beyond the end")
    same(content_of(space, digest, -3, 5), b"hello", "a negative offset")
    same(content_of(space, digest, len(HELLO)), b"", "a range at the end")
    refused(OutOfRange, f"read past object length {len(HELLO)} bytes", lambda: content_of(space, digest, 99))


@check
def an_ingest_is_resumed_where_it_was_left(store: Store) -> None:
    space, digest = store.namespace("suite"), Digest.of(LAYER)
    with space.content.writer("resumed", total=len(LAYER)) as writer:
        writer.write(LAYER[:100_000])
    status = space.content.status("resumed")
    same((status.ref, status.offset, status.total), ("resumed", 100_000, len(LAYER)), "the status")
    with space.content.writer("resumed", total=len(LAYER), expected=digest) as writer:
        same(writer.offset, 100_000, "the offset of the second writer")
        same(writer.digest_so_far, Digest.of(LAYER[:100_000]), "its digest")
        same(writer.started_at, status.started_at, "when the ingest began")
        writer.write(LAYER[100_000:])
        writer.commit(len(LAYER), digest)
    same(content_of(space, digest), LAYER, "the bytes")


@check
def another_total_begins_an_ingest_again(store: Store) -> None:
    space = store.namespace("suite")
    with space.content.writer("total", total=100) as writer:
        writer.write(HELLO)
    with space.content.writer("total", total=50) as writer:
        same((writer.offset, writer.total), (0, 50), "offset and total")
    with space.content.writer("total") as writer:
        same(writer.total, 50, "the total, when none is said")


@check
def truncating_begins_again(store: Store) -> None:
    space = store.namespace("suite")
    with space.content.writer("truncated") as writer:
        writer.write(LAYER)
        writer.truncate(0)
        same((writer.offset, writer.digest_so_far), (0, Digest.of(b"")), "offset and digest")
        writer.write(HELLO)
        same(writer.commit(len(HELLO)), Digest.of(HELLO), "the digest")


@check
def a_ref_has_one_writer_at_a_time(store: Store) -> None:
    space = store.namespace("suite")
    with space.content.writer("locked") as writer:
        refused(Unavailable, "locked for ", lambda: space.content.writer("locked"))
        with store.namespace("other").content.writer("locked") as other:  # refs are a namespace's own
            other.write(HELLO)
        writer.write(HELLO)
    with space.content.writer("locked") as writer:
        same(writer.offset, len(HELLO), "the offset")


@check
def a_wrong_size_is_refused_and_the_ingest_survives(store: Store) -> None:
    space = store.namespace("suite")
    with space.content.writer("size") as writer:
        writer.write(b"hi")
        refused(CommitMismatch, '"size" failed size validation: 2 != 5', lambda: writer.commit(5))
    with space.content.writer("size") as writer:
        same(writer.offset, 2, "the offset")
        writer.commit(2)


@check
def a_wrong_digest_is_refused_and_the_ingest_survives(store: Store) -> None:
    space, other = store.namespace("suite"), Digest.of(LAYER)
    with space.content.writer("digest") as writer:
        writer.write(HELLO)
        text = f"unexpected commit digest {Digest.of(HELLO)}, expected {other}"
        refused(CommitMismatch, text, lambda: writer.commit(len(HELLO), other))
    same(space.content.status("digest").offset, len(HELLO), "the offset")
    refused(NotFound, "not found", lambda: space.content.info(other))
    refused(NotFound, "not found", lambda: space.content.info(Digest.of(HELLO)))


@check
def content_that_is_there_ends_the_ingest(store: Store) -> None:
    space = store.namespace("suite")
    digest = add(space, HELLO, labels={"first": "yes"})
    refused(AlreadyExists, f"content {digest}: already exists", lambda: space.content.writer("x", expected=digest))
    with space.content.writer("again") as writer:
        writer.write(HELLO)
        text = f"content {digest}: already exists"
        refused(AlreadyExists, text, lambda: writer.commit(len(HELLO), digest, labels={"second": "yes"}))
    same(dict(space.content.info(digest).labels), {"first": "yes"}, "the labels")
    same(space.content.statuses(), [], "the ingests left")


@check
def an_ingest_can_be_aborted(store: Store) -> None:
    space = store.namespace("suite")
    with space.content.writer("dropped") as writer:
        writer.write(HELLO)
    space.content.abort("dropped")
    refused(NotFound, "not found", lambda: space.content.status("dropped"))
    refused(NotFound, "reference dropped: not found", lambda: space.content.abort("dropped"))
    with space.content.writer("dropped") as writer:
        same(writer.offset, 0, "the offset")


@check
def statuses_can_be_filtered_by_ref(store: Store) -> None:
    space = store.namespace("suite")
    for ref in ("layer-1", "layer-2", "config"):
        with space.content.writer(ref) as writer:
            writer.write(HELLO)
    same([s.ref for s in space.content.statuses()], ["config", "layer-1", "layer-2"], "all of them")
    same([s.ref for s in space.content.statuses(["ref~=^layer-"])], ["layer-1", "layer-2"], "the filtered ones")
    same(store.namespace("other").content.statuses(), [], "those of another namespace")


@check
def labels_are_set_at_creation_and_changed_by_mask(store: Store) -> None:
    space = store.namespace("suite")
    digest = add(space, HELLO, labels={"a": "1", "b.c/d": "2"})
    before = space.content.info(digest)
    same(dict(before.labels), {"a": "1", "b.c/d": "2"}, "the labels")
    after = space.content.update(digest, {"b.c/d": "3", "a": "ignored"}, ["labels.b.c/d"])
    same(dict(after.labels), {"a": "1", "b.c/d": "3"}, "one label set")
    same(dict(space.content.update(digest, {}, ["labels.a"]).labels), {"b.c/d": "3"}, "one label removed")
    same(dict(space.content.update(digest, {"z": "9"}, ["labels"]).labels), {"z": "9"}, "all replaced")
    same(dict(space.content.update(digest, {"y": "8"}).labels), {"y": "8"}, "all replaced without a mask")
    same(space.content.info(digest).created_at, before.created_at, "when it was created")
    same(space.content.info(digest).updated_at > before.updated_at, True, "is it newer")
    text = f'cannot update "size" field on content info "{digest}"'
    refused(InvalidArgument, text, lambda: space.content.update(digest, {}, ["size"]))
    refused(NotFound, "not found", lambda: space.content.update(Digest.of(LAYER), {"a": "b"}))
    refused(InvalidArgument, "maximum size", lambda: space.content.update(digest, {"a": "x" * 4096}))


@check
def content_is_listed_in_order_and_filtered(store: Store) -> None:
    space = store.namespace("suite")
    digests = sorted(add(space, b"blob %d" % n, labels={"n": str(n)}) for n in range(20))
    same([info.digest for info in space.content.walk()], digests, "the order")
    same([dict(i.labels) for i in space.content.walk(["labels.n==7"])], [{"n": "7"}], "by label")
    either = space.content.walk(["labels.n==7", f"digest=={digests[0]}"])
    same({info.digest for info in either}, {Digest.of(b"blob 7"), digests[0]}, "either")
    same(list(space.content.walk(["labels.absent"])), [], "by an absent label")
    refused(InvalidArgument, "filters: parse error", lambda: list(space.content.walk(["labels.n=7"])))


@check
def deleted_content_is_gone_for_this_namespace_alone(store: Store) -> None:
    one, two = store.namespace("one"), store.namespace("two")
    digest = add(one, HELLO)
    add(two, HELLO)
    one.content.delete(digest)
    refused(NotFound, f"content digest {digest}: not found", lambda: one.content.info(digest))
    refused(NotFound, f"content digest {digest}: not found", lambda: content_of(one, digest))
    refused(NotFound, "not found", lambda: one.content.delete(digest))
    same(content_of(two, digest), HELLO, "what the other namespace reads")


@check
def namespaces_do_not_see_each_others_content_and_share_its_bytes(store: Store) -> None:
    one, two = store.namespace("one"), store.namespace("two")
    digest = add(one, LAYER, labels={"of": "one"})
    refused(NotFound, "not found", lambda: two.content.info(digest))
    with two.content.writer("ghost", total=len(LAYER), expected=digest) as writer:
        same((writer.offset, writer.digest_so_far), (len(LAYER), digest), "offset and digest without a byte written")
        writer.commit(len(LAYER), digest, labels={"of": "two"})
    same(dict(two.content.info(digest).labels), {"of": "two"}, "the labels there")
    same(dict(one.content.info(digest).labels), {"of": "one"}, "the labels here")
    same(content_of(two, digest), LAYER, "the bytes")


@check
def what_is_shared_can_still_be_written_to(store: Store) -> None:
    one, two = store.namespace("one"), store.namespace("two")
    digest = add(one, HELLO)
    with two.content.writer("more", expected=digest) as writer:
        writer.write(b"and more")
        same(writer.digest_so_far, Digest.of(HELLO + b"and more"), "the running digest")
        refused(CommitMismatch, "unexpected commit digest", lambda: writer.commit(0, digest))
    same(content_of(one, digest), HELLO, "the first one's bytes")


# --------------------------------------------------------------------------------------------------------------- images


@check
def images_are_created_once_and_found(store: Store) -> None:
    space, target = store.namespace("suite"), Digest.of(HELLO)
    made = space.images.create(image("docker.io/library/a:1", target, k="v"))
    same(space.images.get("docker.io/library/a:1"), made, "the image")
    same((made.target.digest, dict(made.labels)), (target, {"k": "v"}), "target and labels")
    same(made.created_at, made.updated_at, "its times")
    text = 'image "docker.io/library/a:1": already exists'
    refused(AlreadyExists, text, lambda: space.images.create(image("docker.io/library/a:1", target)))
    refused(NotFound, 'image "b": not found', lambda: space.images.get("b"))
    refused(NotFound, "not found", lambda: store.namespace("other").images.get("docker.io/library/a:1"))


@check
def image_targets_are_checked(store: Store) -> None:
    images, digest = store.namespace("suite").images, Digest.of(HELLO)
    empty = Image("x", Descriptor(media_type="application/vnd.test", digest=digest, size=0))
    refused(InvalidArgument, "Size must be greater than zero", lambda: images.create(empty))
    untyped = Image("x", Descriptor(media_type="", digest=digest, size=1))
    refused(InvalidArgument, "MediaType must be set", lambda: images.create(untyped))
    refused(InvalidArgument, "ame", lambda: images.create(image("", digest)))


@check
def images_are_updated_by_mask(store: Store) -> None:
    space, one, two = store.namespace("suite"), Digest.of(b"1"), Digest.of(b"2")
    made = space.images.create(image("i", one, a="1", b="2"))
    moved = space.images.update(image("i", two), ["target"])
    same((moved.target.digest, dict(moved.labels)), (two, {"a": "1", "b": "2"}), "target alone")
    same((moved.created_at, moved.updated_at > made.updated_at), (made.created_at, True), "the times")
    labelled = space.images.update(image("i", one, a="3", b=""), ["labels.a", "labels.b"])
    same((labelled.target.digest, dict(labelled.labels)), (two, {"a": "3"}), "labels alone")
    replaced = space.images.update(image("i", one, c="4"))
    same((replaced.target.digest, dict(replaced.labels)), (one, {"c": "4"}), "everything")
    refused(InvalidArgument, 'cannot update "foo" field on image "i"', lambda: space.images.update(made, ["foo"]))
    refused(NotFound, 'image "absent": not found', lambda: space.images.update(image("absent", one)))


@check
def image_targets_keep_their_annotations(store: Store) -> None:
    space = store.namespace("suite")
    target = Descriptor(
        media_type="application/vnd.test", digest=Digest.of(HELLO), size=1, annotations={"x": "1", "y": "2"}
    )
    same(space.images.create(Image("a", target)).target, target, "the target")
    changed = Image("a", target.annotated({"x": "3", "y": None}))
    same(dict(space.images.update(changed, ["annotations.x"]).target.annotations), {"x": "3", "y": "2"}, "one of them")
    same(dict(space.images.update(changed, ["annotations"]).target.annotations), {"x": "3"}, "all of them")


@check
def images_are_listed_by_name_and_filtered(store: Store) -> None:
    space, digest = store.namespace("suite"), Digest.of(HELLO)
    for name in ("c", "a", "docker.io/library/b:1"):
        space.images.create(image(name, digest, letter=name[-1]))
    same([i.name for i in space.images.list()], ["a", "c", "docker.io/library/b:1"], "the order")
    same([i.name for i in space.images.list(["name==a"])], ["a"], "by name")
    same(
        [i.name for i in space.images.list(["name~=^docker", "labels.letter==c"])], ["c", "docker.io/library/b:1"], "or"
    )
    same([i.name for i in space.images.list([f"target.digest=={digest},labels.letter==a"])], ["a"], "and")
    refused(InvalidArgument, "filters: parse error", lambda: space.images.list(["name=a"]))


@check
def images_are_deleted_by_name_and_by_target(store: Store) -> None:
    space, one, two = store.namespace("suite"), Digest.of(b"1"), Digest.of(b"2")
    space.images.create(image("i", one))
    refused(NotFound, f'image "i" has target {one}, not {two}', lambda: space.images.delete("i", target=two))
    space.images.delete("i", target=one)
    refused(NotFound, 'image "i": not found', lambda: space.images.delete("i"))


# --------------------------------------------------------------------------------------------------------------- leases


@check
def leases_are_made_listed_and_deleted(store: Store) -> None:
    leases = store.namespace("suite").leases
    made = leases.create("mine", labels={"a": "1"})
    other = leases.create()
    same(bool(other.id), True, "has it an id")
    refused(AlreadyExists, 'lease "mine": already exists', lambda: leases.create("mine"))
    same(leases.list(["labels.a==1"]), [made], "by label")
    same(leases.list(["id==mine"]), [made], "by id")
    same({lease.id for lease in leases.list()}, {made.id, other.id}, "all")
    leases.delete("mine")
    refused(NotFound, "not found", lambda: leases.delete("mine"))


@check
def leases_hold_resources_that_need_not_exist(store: Store) -> None:
    leases, digest = store.namespace("suite").leases, Digest.of(HELLO)
    leases.create("l")
    wanted = [Resource(digest, "content"), Resource("some ref", "ingests"), Resource("s", "snapshots/overlayfs")]
    for resource in wanted:
        leases.add_resource("l", resource)
        leases.add_resource("l", resource)
    same(sorted(leases.list_resources("l")), sorted(wanted), "what it holds")
    leases.delete_resource("l", wanted[0])
    leases.delete_resource("l", wanted[0])
    same(sorted(leases.list_resources("l")), sorted(wanted[1:]), "what it holds then")
    refused(InvalidArgument, "nvalid", lambda: leases.add_resource("l", Resource("x", "content")))
    refused(InvalidArgument, "nvalid", lambda: leases.add_resource("l", Resource("x", "snapshots")))
    text = "resource type foo not supported yet"
    refused(Unsupported, text, lambda: leases.add_resource("l", Resource("x", "foo")))
    refused(NotFound, "not found", lambda: leases.add_resource("absent", wanted[0]))
    refused(NotFound, "not found", lambda: leases.list_resources("absent"))


@check
def writes_under_a_lease_are_held_by_it(store: Store) -> None:
    space, digest = store.namespace("suite"), Digest.of(HELLO)
    space.leases.create("l")
    with space.content.writer("w", lease="l") as writer:
        writer.write(HELLO)
        same(list(space.leases.list_resources("l")), [Resource("w", "ingests")], "held while it is written")
        writer.commit(len(HELLO), digest)
    same(list(space.leases.list_resources("l")), [Resource(digest, "content")], "held after the commit")
    space.leases.create("m")
    refused(AlreadyExists, "already exists", lambda: space.content.writer("w", expected=digest, lease="m"))
    same(list(space.leases.list_resources("m")), [Resource(digest, "content")], "held though it was there")
    refused(NotFound, "lease does not exist", lambda: space.content.writer("v", lease="absent"))
    same(space.content.statuses(), [], "the ingests left")


# ----------------------------------------------------------------------------------------------------------- namespaces


@check
def namespaces_appear_with_the_first_write(store: Store) -> None:
    same([n.name for n in store.namespaces.list()], [], "at the beginning")
    same(dict(store.namespaces.get("unknown").labels), {}, "the labels of one that is not there")
    add(store.namespace("written"), HELLO)
    store.namespaces.create("made", {"a": "1"})
    same([(n.name, dict(n.labels)) for n in store.namespaces.list()], [("made", {"a": "1"}), ("written", {})], "then")
    refused(AlreadyExists, 'namespace "made": already exists', lambda: store.namespaces.create("made"))
    refused(InvalidArgument, "identifier", lambda: store.namespaces.create("not/a/name"))


@check
def namespaces_are_labelled(store: Store) -> None:
    store.namespaces.update("n", {"a": "1", "b": "2"})
    store.namespaces.update("n", {"a": "", "c": "3"}, ["labels.a", "labels.c"])
    same(dict(store.namespaces.get("n").labels), {"b": "2", "c": "3"}, "the labels")
    refused(InvalidArgument, "cannot update", lambda: store.namespaces.update("n", {}, ["name"]))


@check
def namespaces_are_deleted_when_empty(store: Store) -> None:
    space = store.namespace("full")
    digest = add(space, HELLO)
    space.images.create(image("i", digest))
    space.leases.create("does not keep it")
    text = 'namespace "full" must be empty, but it still has images, blobs'
    refused(FailedPrecondition, text, lambda: store.namespaces.delete("full"))
    space.images.delete("i")
    space.content.delete(digest)
    store.namespaces.delete("full")
    refused(NotFound, 'namespace "full": not found', lambda: store.namespaces.delete("full"))
    same(space.leases.list(), [], "the leases left")


# ----------------------------------------------------------------------------------------------------------- collection


@check
def collection_follows_labels_from_images(store: Store) -> None:
    space = store.namespace("suite")
    layer, lost = add(space, LAYER), add(space, b"nobody refers to this")
    config = add(space, b"config")
    manifest = add(space, b"manifest", labels={f"{REF_CONTENT}.l.0": layer, f"{REF_CONTENT}/config": config})
    wrong = add(space, b"wrong", labels={f"{REF_CONTENT}X": lost})
    space.images.create(image("i", manifest))
    space.images.create(image("w", wrong))
    store.gc()
    same({i.digest for i in space.content.walk()}, {layer, config, manifest, wrong}, "what stays")
    space.images.delete("i")
    store.gc()
    same({i.digest for i in space.content.walk()}, {wrong}, "what stays without its name")


@check
def collection_keeps_what_is_leased_or_marked_as_root(store: Store) -> None:
    space = store.namespace("suite")
    child = add(space, b"child")
    parent = add(space, b"parent", labels={f"{REF_CONTENT}.0": child})
    root = add(space, b"root", labels={"containerd.io/gc.root": "any"})
    space.leases.create("l")
    space.leases.add_resource("l", Resource(parent, "content"))
    store.gc()
    same({i.digest for i in space.content.walk()}, {child, parent, root}, "what stays")
    space.leases.create("f", labels={"containerd.io/gc.flat": "yes"})
    space.leases.add_resource("f", Resource(parent, "content"))
    space.leases.delete("l")
    store.gc()
    same({i.digest for i in space.content.walk()}, {parent, root}, "what stays under a flat lease")
    space.leases.delete("f")
    store.gc()
    same({i.digest for i in space.content.walk()}, {root}, "what stays without a lease")


@check
def collection_ends_what_has_expired(store: Store) -> None:
    space = store.namespace("suite")
    held, named = add(space, b"held"), add(space, b"named")
    space.leases.create("l", expires=timedelta(hours=-1))
    space.leases.add_resource("l", Resource(held, "content"))
    past = {"containerd.io/gc.expire": "2001-02-03T04:05:06Z"}
    space.images.create(Image("old", image("old", named).target, past))
    same([lease.id for lease in space.leases.list()], ["l"], "the leases before")
    store.gc()
    same((list(space.content.walk()), space.images.list(), space.leases.list()), ([], [], []), "what is left")


@check
def collection_follows_back_references(store: Store) -> None:
    space = store.namespace("suite")
    subject = add(space, b"subject")
    signature = add(space, b"signature", labels={"containerd.io/gc.bref.content.subject": subject})
    note = add(space, b"note", labels={"containerd.io/gc.bref.image/any": "i"})
    space.images.create(image("i", subject))
    store.gc()
    same({i.digest for i in space.content.walk()}, {subject, signature, note}, "what stays")
    space.images.delete("i")
    store.gc()
    same(list(space.content.walk()), [], "what stays without the parents")
