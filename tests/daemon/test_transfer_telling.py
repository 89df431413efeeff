"""What a client hears of its transfer: the order of events, their parents, the end, and what others hear."""

import pytest

from support import graphs
from support.transfers import NAMED, registry
from support.waiting import eventually
from tranship import Layout, Registry
from tranship._api.events import content_pb2, image_pb2
from tranship._api.services.events.v1 import events_pb2 as ev
from tranship.containerd.codec import unpack
from tranship.containerd.credentials import encode_credential
from tranship.containerd.ends import transfer_request
from tranship.containerd.methods import Events, Transfer
from tranship.containerd.wire import WireImageStore
from tranship.daemon import telling
from tranship.engine.transfer import transfer
from tranship.errors import NotFound
from tranship.model.secret import Credential, Secret
from tranship.testing.registry import Basic, RegistryServer


@pytest.fixture
def server():
    with RegistryServer() as running:
        yield running


def offer(lab, server, kind, credential=lambda *_: None):
    end = Registry(f"{server.host}/app:1", plain_http=True, credential=credential, environment={})
    transfer(Layout(lab.images(kind)), end)


def check_tree(events, layout, image):
    """Every object waits before anything else is told of it, below a parent that was told of before; and is done in the end."""
    known = {image}
    done = set()
    for event in events:
        if event.event == "waiting":
            assert event.name not in known
            assert set(event.parents) <= known
            assert len(event.parents) == 1
            assert event.total == event.descriptor.size
            known.add(event.name)
        elif event.descriptor is not None and event.name.endswith(event.descriptor.digest):
            assert event.name in known
            done.update({event.name} if event.event in {"complete", "already exists"} else ())
    (closure,) = graphs.images(layout).values()
    assert {name.partition("-")[2].rpartition("@")[2] for name in done} == closure
    assert done == known - {image}


@pytest.mark.parametrize("kind", ["small", "multi"])
def test_pull_is_told_in_containerds_order(lab, server, kind):
    offer(lab, server, kind)
    ref = f"{server.host}/app:1"
    for _ in range(2):  # the second finds everything there
        words = lab.client.transfer(registry(server.host, "app:1"), WireImageStore(name="img"))
        assert words[:3] == [
            f"Resolving from OCI Registry ({ref})",
            f"Pulling from OCI Registry ({ref})",
            "fetching image content",
        ]
        assert words[-2:] == ["saved", f"Completed pull from OCI Registry ({ref})"]
        assert {lab.client.events[2].name, lab.client.events[-2].name} == {"img"}
        check_tree(lab.client.events[3:-2], lab.images(kind), "img")
    exists = [event for event in lab.client.events if event.event == "already exists"]
    assert all(not event.parents and event.progress == event.total for event in exists)
    assert exists


@pytest.mark.parametrize("kind", ["small", "multi"])
def test_push_is_told_in_containerds_order(lab, server, kind):
    lab.fill(kind)
    image = f"localhost/{kind}:v1"
    words = lab.client.transfer(WireImageStore(name=image), registry(server.host, "app:1"))
    ref = f"{server.host}/app:1"
    assert words[:2] == [f"Pushing to OCI Registry ({ref})", "pushing content"]
    assert words[-2:] == ["pushed content", f"Completed push to OCI Registry ({ref})"]
    assert {lab.client.events[1].name, lab.client.events[-2].name} == {image}
    assert lab.client.events[1].descriptor.digest == graphs.index(lab.images(kind))[0]["digest"]
    check_tree(lab.client.events[2:-2], lab.images(kind), image)


def test_import_and_export_are_told_as_by_containerd(lab):
    words = lab.client.load(lab.archive("many-3"))
    assert words == ["Importing", "saved", "saved", "saved", "Completed import"]
    assert [event.name for event in lab.client.events[1:4]] == [f"localhost/many-3:v{n}" for n in range(3)]
    lab.client.export("localhost/many-3:v0")
    assert [event.event for event in lab.client.events] == ["Exporting", "Completed export"]


def test_failure_is_told_with_its_reason_before_the_end(lab, server):
    with pytest.raises(NotFound):
        lab.client.transfer(WireImageStore(name="nope"), registry(server.host, "app:1"))
    assert [event.event for event in lab.client.events] == ['Failed push: image "nope": not found']


def test_a_slow_listener_misses_blobs_and_never_the_end(lab, monkeypatch):
    monkeypatch.setattr(telling, "BACKLOG", 0)
    lab.fill("multi")
    with RegistryServer() as server:
        words = lab.client.transfer(WireImageStore(name="localhost/multi:v1"), registry(server.host, "app:1"))
    assert len(words) == 4
    assert words[-1].startswith("Completed push")


def test_a_listener_that_goes_away_stops_nothing(lab):
    alice = Credential(username="alice", password=Secret("secret"))
    with RegistryServer(auth=Basic({"alice": "secret"})) as server, lab.client.stream() as stream:
        offer(lab, server, "multi", alice)
        ours = lab.daemon.streams.get("lab", stream.id)

        def answer(_question):  # in the middle of the transfer
            stream.cancel()
            eventually(lambda: ours.backlog == 0 and ours not in lab.daemon.streams._streams.values())
            return encode_credential(alice)

        with lab.client.answering(answer) as (auth_stream, _):
            source = registry(server.host, "app:1", auth_stream=auth_stream)
            request = transfer_request(source, WireImageStore(name="x"), stream.id)
            lab.channel.unary(Transfer.TRANSFER, request)
    assert lab.names() == ["x"]


# ----------------------------------------------------------------------------------------------------------- subscribers


def test_subscribers_hear_of_content_and_images(lab):
    with lab.channel.server_stream(Events.SUBSCRIBE, ev.SubscribeRequest(filters=["namespace==lab"])) as heard:
        eventually(lambda: lab.daemon.events._subscriptions)
        lab.client.load(lab.archive("small"), WireImageStore(labels={"a": "b"}, extra_references=NAMED))
        envelopes = [next(heard) for _ in range(4)]
        assert [envelope.topic for envelope in envelopes] == ["/content/create"] * 3 + ["/images/create"]
        created = {unpack(envelope.event, content_pb2.ContentCreate).digest for envelope in envelopes[:3]}
        assert created == lab.held()
        image = unpack(envelopes[3].event, image_pb2.ImageCreate)
        assert (image.name, dict(image.labels)) == ("localhost/small:v1", {"a": "b"})
        lab.client.load(lab.archive("small"))
        lab.client.transfer(WireImageStore(name="localhost/small:v1"), WireImageStore(name="other"))
        again = [next(heard) for _ in range(2)]
        assert [envelope.topic for envelope in again] == ["/images/update", "/images/create"]
        assert unpack(again[1].event, image_pb2.ImageCreate).name == "other"
