"""Images, leases and namespaces, as containerd keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unsupported
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.store.values import Image, Resource
from tranship.testing.store_suite.checks import HELLO, add, check, image, refused, same

if TYPE_CHECKING:
    from tranship.store import Store


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
