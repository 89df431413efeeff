"""Content and ingests, as containerd keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import AlreadyExists, CommitMismatch, InvalidArgument, NotFound, OutOfRange, Unavailable
from tranship.model.digest import Digest
from tranship.testing.store_suite.checks import HELLO, LAYER, add, check, content_of, refused, same

if TYPE_CHECKING:
    from tranship.store import Store


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
