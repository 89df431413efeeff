"""Collection by labels, as containerd does it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tranship.store.values import Image, Resource
from tranship.testing.store_suite.checks import LAYER, REF_CONTENT, add, check, image, same

if TYPE_CHECKING:
    from tranship.store import Store


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
