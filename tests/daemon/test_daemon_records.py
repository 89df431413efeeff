"""Namespaces, leases, images and events through the daemon: containerd's codes, texts and effects."""

import contextlib
import threading
from datetime import UTC, datetime

import grpc
import pytest

from tranship._api.services.containers.v1 import containers_pb2 as co
from tranship._api.services.content.v1 import content_pb2 as c
from tranship._api.services.events.v1 import events_pb2 as e
from tranship._api.services.images.v1 import images_pb2 as i
from tranship._api.services.leases.v1 import leases_pb2 as le
from tranship._api.services.namespaces.v1 import namespace_pb2 as n
from tranship._api.services.snapshots.v1 import snapshots_pb2 as s
from tranship._api.types import descriptor_pb2
from tranship._api.types.event_pb2 import Envelope
from tranship._api.wellknown import Any, Empty, FieldMask, Timestamp
from tranship.containerd import records
from tranship.containerd.channel import Channel
from tranship.containerd.codec import pack
from tranship.containerd.methods import Containers, Content, Diff, Events, Images, Leases, Namespaces, Snapshots
from tranship.daemon.events import BACKLOG, BACKLOG_BYTES
from tranship.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unsupported
from tranship.model.digest import Digest

INDEX = "application/vnd.oci.image.index.v1+json"
DIGEST = Digest.of(b"target")
TARGET = descriptor_pb2.Descriptor(media_type=INDEX, digest=DIGEST, size=6, annotations={"a": "b"})


def image(name="docker.io/library/a:1", **fields):
    return i.Image(name=name, **{"target": TARGET, **fields})


def create(channel, name="docker.io/library/a:1", **fields):
    return channel.unary(Images.CREATE, i.CreateImageRequest(image=image(name, **fields))).image


def update(channel, changed, *paths):
    request = i.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=paths))
    return channel.unary(Images.UPDATE, request).image


def names(channel, *filters):
    return [m.name for m in channel.unary(Images.LIST, i.ListImagesRequest(filters=filters)).images]


# ------------------------------------------------------------------------------------------------------------ namespaces


def test_namespaces_are_made_listed_labelled_and_removed(channel):
    made = channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": "a", "labels": {"k": "v"}}))
    assert records.from_namespace(made.namespace).labels == {"k": "v"}
    with pytest.raises(AlreadyExists, match=r'^namespace "a": already exists$'):
        channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": "a"}))
    new = channel.unary(
        Namespaces.UPDATE,
        n.UpdateNamespaceRequest(namespace={"name": "a", "labels": {"x": "y"}}, update_mask={"paths": ["labels.x"]}),
    )
    assert new.namespace.labels == {"k": "v", "x": "y"}
    listed = channel.unary(Namespaces.LIST, n.ListNamespacesRequest(filter="name==zzz")).namespaces  # filter ignored
    assert [m.name for m in listed] == ["a"]
    channel.unary(Namespaces.DELETE, n.DeleteNamespaceRequest(name="a"))
    with pytest.raises(NotFound, match=r'^namespace "a": not found$'):
        channel.unary(Namespaces.DELETE, n.DeleteNamespaceRequest(name="a"))


def test_namespace_that_nobody_made_can_be_got(channel):
    got = channel.unary(Namespaces.GET, n.GetNamespaceRequest(name="nobody"))
    assert records.from_namespace(got.namespace).labels == {}


def test_first_of_several_namespaces_and_leases_counts(daemon, channel):
    """Go's client puts a namespace before the one that it stands within, and so with leases (`nerdctl namespace ls`)."""
    create(channel)
    channel.unary(Leases.CREATE, le.CreateRequest(id="inner"))
    twice = (("containerd-namespace", "lab"), ("containerd-namespace", "other"))
    leases = (("containerd-lease", "inner"), ("containerd-lease", "outer"))
    with grpc.insecure_channel(f"unix:{daemon.address}") as raw:
        listing = raw.unary_unary(
            Images.LIST.path, i.ListImagesRequest.SerializeToString, i.ListImagesResponse.FromString
        )
        assert [m.name for m in listing(i.ListImagesRequest(), metadata=twice).images] == ["docker.io/library/a:1"]
        writing = raw.stream_stream(
            Content.WRITE.path, c.WriteContentRequest.SerializeToString, c.WriteContentResponse.FromString
        )
        request = c.WriteContentRequest(action=c.COMMIT, ref="r", data=b"held")
        assert [m.digest for m in writing(iter([request]), metadata=twice + leases)] == [Digest.of(b"held")]
    held = channel.unary(Leases.LIST_RESOURCES, le.ListResourcesRequest(id="inner")).resources
    assert [(m.id, m.type) for m in held] == [(Digest.of(b"held"), "content")]


@pytest.mark.parametrize("name", ["", "a..b", "-x", "a/b", "a b", "x" * 77])
def test_namespace_that_is_no_identifier_is_refused(channel, name):
    with pytest.raises(InvalidArgument):
        channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": name}))


def test_mask_beyond_labels_is_refused(channel):
    request = n.UpdateNamespaceRequest(namespace={"name": "a"}, update_mask={"paths": ["name"]})
    with pytest.raises(InvalidArgument):
        channel.unary(Namespaces.UPDATE, request)


def test_namespace_with_images_stays(channel):
    create(channel)
    with pytest.raises(FailedPrecondition, match=r'^namespace "lab" must be empty, but it still has images'):
        channel.unary(Namespaces.DELETE, n.DeleteNamespaceRequest(name="lab"))


# ---------------------------------------------------------------------------------------------------------------- leases


def test_leases_are_made_listed_filled_and_removed(channel):
    lease = channel.unary(Leases.CREATE, le.CreateRequest(id="dir/mnt", labels={"k": "v"})).lease
    assert records.from_lease(lease).id == "dir/mnt"
    assert lease.created_at.seconds > 1_700_000_000
    unnamed = channel.unary(Leases.CREATE, le.CreateRequest()).lease.id
    assert unnamed
    with pytest.raises(AlreadyExists, match=r'^lease "dir/mnt": already exists$'):
        channel.unary(Leases.CREATE, le.CreateRequest(id="dir/mnt"))
    listed = channel.unary(Leases.LIST, le.ListRequest(filters=["id==dir/mnt", "labels.k==v"])).leases
    assert [m.id for m in listed] == ["dir/mnt"]
    for resource in ({"id": DIGEST, "type": "content"}, {"id": "ref", "type": "ingests"}):
        channel.unary(Leases.ADD_RESOURCE, le.AddResourceRequest(id="dir/mnt", resource=resource))
    channel.unary(
        Leases.DELETE_RESOURCE, le.DeleteResourceRequest(id="dir/mnt", resource={"id": "x", "type": "images"})
    )
    channel.unary(
        Leases.DELETE_RESOURCE, le.DeleteResourceRequest(id="dir/mnt", resource={"id": "ref", "type": "ingests"})
    )
    held = channel.unary(Leases.LIST_RESOURCES, le.ListResourcesRequest(id="dir/mnt")).resources
    assert [(m.type, m.id) for m in held] == [("content", DIGEST)]
    channel.unary(Leases.DELETE, le.DeleteRequest(id="dir/mnt", sync=True))
    with pytest.raises(NotFound, match=r'^lease "dir/mnt": not found$'):
        channel.unary(Leases.DELETE, le.DeleteRequest(id="dir/mnt"))


@pytest.mark.parametrize(
    ("resource", "error"),
    [
        ({"id": "x", "type": "content"}, InvalidArgument),
        ({"id": "x", "type": "snapshots"}, InvalidArgument),
        ({"id": "x", "type": "foo"}, Unsupported),
    ],
)
def test_resource_of_a_wrong_kind_is_refused(channel, resource, error):
    channel.unary(Leases.CREATE, le.CreateRequest(id="l"))
    with pytest.raises(error):
        channel.unary(Leases.ADD_RESOURCE, le.AddResourceRequest(id="l", resource=resource))


# ---------------------------------------------------------------------------------------------------------------- images


def test_image_is_created_got_listed_and_deleted(channel):
    made = create(channel, labels={"k": "v"}, created_at=Timestamp(seconds=-62135596800))
    assert made.created_at.seconds > 1_700_000_000  # the client's time is not read
    got = records.from_image(channel.unary(Images.GET, i.GetImageRequest(name=made.name)).image)
    assert (got.name, got.labels, got.target.annotations) == (made.name, {"k": "v"}, {"a": "b"})
    with pytest.raises(AlreadyExists, match=r'^image "docker.io/library/a:1": already exists$'):
        create(channel)
    create(channel, "b:1")
    assert names(channel) == ["b:1", "docker.io/library/a:1"]
    assert names(channel, "name~=^docker", "labels.nothing") == ["docker.io/library/a:1"]
    assert names(channel, f"target.digest=={DIGEST},name==b:1") == ["b:1"]
    with pytest.raises(InvalidArgument, match=r"filters: parse error"):
        names(channel, "name==")
    channel.unary(Images.DELETE, i.DeleteImageRequest(name="b:1"))
    with pytest.raises(NotFound, match=r'^image "b:1": not found$'):
        channel.unary(Images.DELETE, i.DeleteImageRequest(name="b:1"))


def test_images_of_another_namespace_are_not_seen(daemon, channel):
    create(channel)
    with Channel(daemon.address, namespace="other") as other:
        assert names(other) == []
        with pytest.raises(NotFound):
            other.unary(Images.GET, i.GetImageRequest(name="docker.io/library/a:1"))


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (i.Image(name="", target=TARGET), "Image.Name required"),
        (i.Image(name="a:1"), "digest"),
        (i.Image(name="a:1", target={"digest": DIGEST, "media_type": INDEX}), "target.Size must be greater than zero"),
        (i.Image(name="a:1", target={"digest": DIGEST, "size": 1}), "target.MediaType"),
        (i.Image(name="a:1", target=TARGET, labels={"k": "v" * 5000}), "greater than maximum size"),
    ],
)
def test_image_that_is_not_sound_is_refused_and_the_daemon_lives_on(channel, bad, text):
    with pytest.raises(InvalidArgument, match=text):
        channel.unary(Images.CREATE, i.CreateImageRequest(image=bad))
    with pytest.raises((InvalidArgument, NotFound)):
        channel.unary(Images.UPDATE, i.UpdateImageRequest(image=bad))
    assert names(channel) == []


def test_absent_messages_within_a_request_are_refused(channel):
    for method, request in ((Images.CREATE, i.CreateImageRequest()), (Images.UPDATE, i.UpdateImageRequest())):
        with pytest.raises(InvalidArgument, match=r"Image.Name required"):
            channel.unary(method, request)


def test_update_changes_what_its_mask_names(channel):
    made = create(channel, labels={"k": "v", "old": "x"})
    # As ctr sends it: an empty target with a label.
    new = update(channel, i.Image(name="docker.io/library/a:1", target={}, labels={"k": "w"}), "labels.k")
    assert (new.labels, new.target) == ({"k": "w", "old": "x"}, TARGET)
    new = update(channel, i.Image(name="docker.io/library/a:1", labels={"k": ""}), "labels.k")
    assert new.labels == {"old": "x"}
    new = update(channel, i.Image(name="docker.io/library/a:1", target={"annotations": {"c": "d"}}), "annotations.c")
    assert new.target.annotations == {"a": "b", "c": "d"}
    other = descriptor_pb2.Descriptor(media_type=INDEX, digest=Digest.of(b"other"), size=5)
    new = update(channel, image(target=other), "target")
    assert (new.labels, new.target) == ({"old": "x"}, other)
    new = update(channel, image(labels={"z": "z"}))
    assert (new.labels, new.target) == ({"z": "z"}, TARGET)
    assert new.created_at == made.created_at
    assert new.updated_at.ToNanoseconds() > made.updated_at.ToNanoseconds()


def test_update_of_another_field_or_image_is_refused(channel):
    create(channel)
    with pytest.raises(InvalidArgument, match=r'^cannot update "foo" field on image "docker.io/library/a:1"'):
        update(channel, image(), "foo")
    with pytest.raises(NotFound):
        update(channel, image("absent:1"), "labels.k")
    with pytest.raises(NotFound):
        update(channel, image("absent:1"))


def test_source_date_epoch_sets_both_times(channel):
    epoch = Timestamp(seconds=1_000_000_000)
    made = channel.unary(Images.CREATE, i.CreateImageRequest(image=image(), source_date_epoch=epoch)).image
    assert (made.created_at, made.updated_at) == (epoch, epoch)


def test_delete_of_another_target_than_expected_is_refused(channel):
    create(channel)
    other = Digest.of(b"other")
    with pytest.raises(NotFound, match=f'^image "docker.io/library/a:1" has target {DIGEST}, not {other}'):
        channel.unary(Images.DELETE, i.DeleteImageRequest(name="docker.io/library/a:1", target={"digest": other}))
    channel.unary(Images.DELETE, i.DeleteImageRequest(name="docker.io/library/a:1", target={"digest": DIGEST}))


def test_deleting_the_last_name_with_sync_collects_its_content(store, channel):
    lab = store.namespace("lab")
    with lab.leases.holding() as lease:
        lab.content.put(b"target", DIGEST, 6, lease=lease.id)
        create(channel)
    assert channel.unary(Content.INFO, c.InfoRequest(digest=DIGEST)).info.size == 6
    channel.unary(Images.DELETE, i.DeleteImageRequest(name="docker.io/library/a:1", sync=True))
    with pytest.raises(NotFound):
        channel.unary(Content.INFO, c.InfoRequest(digest=DIGEST))
    assert not store.path_of(DIGEST).exists()


def test_deleting_without_sync_collects_soon(store, channel):
    lab = store.namespace("lab")
    with lab.leases.holding() as lease:
        lab.content.put(b"target", DIGEST, 6, lease=lease.id)
        create(channel)
    channel.unary(Images.DELETE, i.DeleteImageRequest(name="docker.io/library/a:1"))
    gone = threading.Event()
    for _ in range(200):
        if not store.path_of(DIGEST).exists():
            break
        gone.wait(0.05)
    assert not store.path_of(DIGEST).exists()


# ---------------------------------------------------------------------------------------------------------------- events


def test_events_tell_what_happened_in_order_and_in_containerds_types(daemon, channel):
    with channel.server_stream(Events.SUBSCRIBE, e.SubscribeRequest(filters=["namespace==lab"])) as events:
        wait_for_subscriber(daemon)
        create(channel, labels={"k": "v"})
        update(channel, image(labels={"k": "w"}), "labels.k")
        with Channel(daemon.address, namespace="other") as other:
            create(other)
        channel.unary(Images.DELETE, i.DeleteImageRequest(name="docker.io/library/a:1"))
        seen = [next(events) for _ in range(3)]
    assert [(m.topic, m.event.type_url) for m in seen] == [
        ("/images/create", "containerd.services.images.v1.ImageCreate"),
        ("/images/update", "containerd.services.images.v1.ImageUpdate"),
        ("/images/delete", "containerd.services.images.v1.ImageDelete"),
    ]
    assert {m.namespace for m in seen} == {"lab"}
    assert all(abs(m.timestamp.seconds - datetime.now(UTC).timestamp()) < 60 for m in seen)


def test_events_of_all_namespaces_come_without_a_filter_and_fields_can_be_asked_for(daemon, channel):
    filters = ['topic=="/namespaces/create",event.name==made', 'event.labels."k"==v']
    with channel.server_stream(Events.SUBSCRIBE, e.SubscribeRequest(filters=filters)) as events:
        wait_for_subscriber(daemon)
        for name in ("other", "made"):
            channel.unary(Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": name}))
        create(channel, labels={"k": "v"})
        assert [next(events).topic for _ in range(2)] == ["/namespaces/create", "/images/create"]


def test_published_events_arrive_and_bad_topics_are_refused(daemon, channel):
    with channel.server_stream(Events.SUBSCRIBE, e.SubscribeRequest(filters=["topic~=^/mine/"])) as events:
        wait_for_subscriber(daemon)
        channel.unary(Events.PUBLISH, e.PublishRequest(topic="/mine/x", event=pack(Empty())))
        channel.unary(
            Events.FORWARD, e.ForwardRequest(envelope={"topic": "/mine/y", "namespace": "far", "event": pack(Empty())})
        )
        assert [(m.topic, m.namespace) for m in (next(events), next(events))] == [
            ("/mine/x", "lab"),
            ("/mine/y", "far"),
        ]
    for topic, text in (("bad", "must start with '/'"), ("", "must not be empty"), ("/a//b", "identifier")):
        with pytest.raises(InvalidArgument, match=text):
            channel.unary(Events.PUBLISH, e.PublishRequest(topic=topic))
    with pytest.raises(InvalidArgument, match=r"filters: parse error"):
        next(channel.server_stream(Events.SUBSCRIBE, e.SubscribeRequest(filters=["topic==/x"])))


def test_subscriber_that_leaves_is_forgotten(daemon, channel):
    events = channel.server_stream(Events.SUBSCRIBE, e.SubscribeRequest())
    wait_for_subscriber(daemon)
    events.cancel()
    wait_for_subscriber(daemon, 0)


def wait_for_subscriber(daemon, count=1):
    waiting = threading.Event()
    for _ in range(200):
        if len(daemon.events._subscriptions) == count:
            return
        waiting.wait(0.02)
    raise AssertionError(f"{len(daemon.events._subscriptions)} subscribers")


# ------------------------------------------------------------------------------------------------------------- snapshots


def test_there_are_no_snapshots_and_none_can_be_made(channel):
    assert list(channel.server_stream(Snapshots.LIST, s.ListSnapshotsRequest(snapshotter="overlayfs"))) == []
    with pytest.raises(NotFound, match=r"^snapshot k does not exist: not found$"):
        channel.unary(Snapshots.STAT, s.StatSnapshotRequest(key="k"))
    with pytest.raises(NotFound, match=r"^snapshot k does not exist: not found$"):
        channel.unary(Snapshots.UPDATE, s.UpdateSnapshotRequest(info={"name": "k"}))
    for method in (Snapshots.PREPARE, Snapshots.VIEW, Snapshots.COMMIT, Diff.APPLY, Diff.DIFF):
        with pytest.raises(Unsupported, match=r"^this daemon moves images and does not unpack them: not implemented$"):
            channel.unary(method, method.request())


def test_there_are_no_containers_and_none_can_be_made(channel):
    assert list(channel.server_stream(Containers.LIST_STREAM, co.ListContainersRequest())) == []
    assert channel.unary(Containers.LIST, co.ListContainersRequest()).containers == []
    absent = (
        (Containers.GET, co.GetContainerRequest(id="x")),
        (Containers.UPDATE, co.UpdateContainerRequest(container={"id": "x"})),
        (Containers.DELETE, co.DeleteContainerRequest(id="x")),
    )
    for method, request in absent:
        with pytest.raises(NotFound, match=r'^container "x": not found$'):
            channel.unary(method, request)
    with pytest.raises(Unsupported, match="runs no containers"):
        channel.unary(Containers.CREATE, co.CreateContainerRequest(container={"id": "x"}))


# ------------------------------------------------------------------------------------------------- what is more than enough


def test_subscriber_that_does_not_listen_is_let_go_of(daemon, channel):
    """By the number of events, and by their bytes: a hundred large ones are as good as ten thousand."""
    for size, count in ((10, BACKLOG), (1 << 20, BACKLOG_BYTES >> 20)):
        with daemon.events.subscribe([]) as idle:
            for _ in range(count + 1):
                daemon.events.forward(Envelope(topic="/a/b", event=Any(type_url="x", value=bytes(size))))
            assert sum(envelope.ByteSize() for envelope in idle._waiting) <= BACKLOG_BYTES + size + 100
            with pytest.raises(Aborted, match="too many events behind"):
                list(idle)


MANY = {f"k{number}": "v" for number in range(1100)}


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (Images.CREATE, i.CreateImageRequest(image=image(labels=MANY))),
        (Images.CREATE, i.CreateImageRequest(image=image("x" * 5000))),
        (Images.UPDATE, i.UpdateImageRequest(image=image(labels=MANY))),
        (Images.UPDATE, i.UpdateImageRequest(image=image(), update_mask={"paths": ["target"] * 1100})),
        (Leases.CREATE, le.CreateRequest(labels=MANY)),
        (Leases.CREATE, le.CreateRequest(id="x" * 5000)),
        (Namespaces.CREATE, n.CreateNamespaceRequest(namespace={"name": "a", "labels": MANY})),
        (Namespaces.UPDATE, n.UpdateNamespaceRequest(namespace={"name": "a", "labels": MANY})),
        (Content.UPDATE, c.UpdateRequest(info={"digest": DIGEST, "labels": MANY})),
    ],
    ids=lambda value: getattr(value, "path", ""),
)
def test_names_and_labels_without_end_are_refused(channel, method, request_):
    with pytest.raises(InvalidArgument, match=r"at most (4096|1024) are read"):
        channel.unary(method, request_)
    assert channel.unary(Images.LIST, i.ListImagesRequest()).images == []


def test_ingest_with_a_name_without_end_is_refused(channel):
    with channel.stream(Content.WRITE) as call, pytest.raises(InvalidArgument, match="ref has 5000 characters"):
        call.send(c.WriteContentRequest(ref="r" * 5000))
        next(call)


@pytest.mark.parametrize(
    "filters",
    [["name==a"] * 20_000, ["name==" + "a" * 100_000], [",".join(["name==a"] * 5000)], ["name~=|" + "(a+)+" * 500 + "$|"],
     ["name~=|" + "(" * 3000 + "a" + ")" * 3000 + "|"], ["name~=|(((a{1000}){1000}){1000})|"]],
    ids=["many", "long", "conditions", "backtracking", "nested", "repeated"],
)  # fmt: skip
def test_filters_without_end_are_answered(channel, filters):
    create(channel, "a" * 4000 + "!")
    with contextlib.suppress(InvalidArgument):
        assert names(channel, *filters) == []
