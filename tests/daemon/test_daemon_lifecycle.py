"""From start to stop: the socket and its folder, who may take it over, and what an unknown call is told."""

import contextlib
import os
import random
import socket
import stat
import subprocess
import sys
import threading

import pytest

from support.waiting import eventually
from tranship._api.grpc.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from tranship._api.services.events.v1.events_pb2 import SubscribeRequest
from tranship._api.services.introspection.v1 import introspection_pb2 as ipb
from tranship._api.services.namespaces.v1 import namespace_pb2 as n
from tranship._api.wellknown import Empty
from tranship.containerd.channel import Channel
from tranship.containerd.methods import Events, Health, Images, Introspection, Namespaces, ServerStream, Unary, Version
from tranship.daemon import server
from tranship.daemon.address import Address
from tranship.daemon.server import Daemon
from tranship.errors import (
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    Unsupported,
)
from tranship.store import Store

REFUSALS = (FailedPrecondition, InvalidArgument, NotFound, Unsupported)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def answers(address):
    with Channel(address) as channel:
        return channel.unary(Version.VERSION, Empty(), timeout=5)


def test_socket_opens_for_its_owner_alone_whatever_the_umask(store, home):
    before = os.umask(0)
    try:
        with Daemon(store, home.path / "new/t.sock") as daemon:
            assert mode(daemon.address) == 0o600
            assert mode(home.path / "new") == 0o700
            assert answers(daemon.address).version
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_socket_goes_when_the_daemon_stops(store, home):
    with Daemon(store, home.path / "run/t.sock") as daemon:
        address = daemon.address
    assert not os.path.exists(address)
    with pytest.raises(Unavailable, match="no such socket"):
        answers(address)


def test_path_with_spaces_and_percent_signs(store, home):
    with Daemon(store, home.path / "run/a b%41.sock") as daemon:
        assert os.path.exists(home.path / "run/a b%41.sock")
        assert answers(daemon.address).version


def test_second_daemon_is_told_who_has_the_address(store, home):
    with Daemon(store, home.path / "run/t.sock") as daemon:
        with pytest.raises(FailedPrecondition, match=f"process {os.getpid()}"):
            Daemon(store, home.path / "run/t.sock").start()
        assert answers(daemon.address).version


def test_socket_left_by_a_killed_daemon_is_taken_over(store, home):
    path = home.path / "run/t.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with Daemon(store, path) as daemon:
        assert answers(daemon.address).version


def test_socket_on_which_somebody_listens_is_not_taken(store, home):
    path = home.path / "run/t.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(FailedPrecondition, match="another program listens"):
            Daemon(store, path).start()
    assert path.exists()


def test_file_that_is_no_socket_is_not_removed(home):
    path = home.path / "run/t.sock"
    path.write_text("precious")
    with pytest.raises(FailedPrecondition, match="not a socket"):
        Address(path)
    assert path.read_text() == "precious"


def test_folder_that_others_can_write_into_is_refused(home):
    open_folder = home.path / "open"
    open_folder.mkdir()
    open_folder.chmod(0o777)
    with pytest.raises(PermissionDenied, match="0777"):
        Address(open_folder / "t.sock")
    assert list(open_folder.iterdir()) == []


@pytest.mark.parametrize("path", ["", "@abstract", "unix-abstract:x", "/tmp/" + "x" * 120, "a\0b"])
def test_address_that_is_no_path_is_refused(path):
    with pytest.raises(InvalidArgument):
        Address(path)


def test_address_is_free_again_after_its_holder_died(home):
    program = (
        "import os, sys; from tranship.daemon.address import Address; Address(sys.argv[1]); print('held', flush=True);"
        "os._exit(0)"
    )
    path = home.path / "run/t.sock"
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout == "held\n"
    Address(path).release()


def test_calls_in_flight_end_when_the_daemon_stops(store, home):
    daemon = Daemon(store, home.path / "run/t.sock")
    daemon.start()
    with Channel(daemon.address) as channel:
        watch = channel.server_stream(Health.WATCH, HealthCheckRequest())
        assert next(watch).status == HealthCheckResponse.SERVING
        stopping = threading.Thread(target=daemon.stop, args=(0.2,))
        stopping.start()
        with pytest.raises((Cancelled, Unavailable)):
            next(watch)
        stopping.join(60)
        assert not stopping.is_alive()
        assert daemon.wait(0)


def test_stop_twice_is_stop_once(store, home):
    daemon = Daemon(store, home.path / "run/t.sock")
    daemon.start()
    daemon.stop()
    daemon.stop()


# ------------------------------------------------------------------------------------------------------------- who it is


def test_daemon_keeps_its_uuid_over_restarts(store, home):
    seen = set()
    for _ in range(2):
        with Daemon(store, home.path / "run/t.sock") as daemon, Channel(daemon.address) as channel:
            answer = channel.unary(Introspection.SERVER, Empty())
            assert answer.pid == os.getpid()
            seen.add(answer.uuid)
    assert len(seen) == 1


def test_two_stores_have_two_uuids(store, home, tmp_path):
    with Store.open(tmp_path / "other") as other:
        uuids = set()
        for one in (store, other):
            with Daemon(one, home.path / "run/t.sock") as daemon, Channel(daemon.address) as channel:
                uuids.add(channel.unary(Introspection.SERVER, Empty()).uuid)
    assert len(uuids) == 2


def test_health_says_serving_and_knows_its_services(channel):
    assert channel.unary(Health.CHECK, HealthCheckRequest()).status == HealthCheckResponse.SERVING
    assert channel.unary(Health.CHECK, HealthCheckRequest(service=Images.SERVICE)).status == HealthCheckResponse.SERVING
    with pytest.raises(NotFound, match="unknown service"):
        channel.unary(Health.CHECK, HealthCheckRequest(service="foo"))
    with channel.server_stream(Health.WATCH, HealthCheckRequest(service="foo")) as watch:
        assert next(watch).status == HealthCheckResponse.SERVICE_UNKNOWN


def test_plugins_are_listed_filtered_and_described(channel):
    every = channel.unary(Introspection.PLUGINS, ipb.PluginsRequest()).plugins
    names = {(p.type, p.id) for p in every}
    assert ("io.containerd.transfer.v1", "local") in names
    assert ("io.containerd.content.v1", "content") in names
    assert not {kind for kind, _ in names if "snapshotter" in kind}
    some = channel.unary(Introspection.PLUGINS, ipb.PluginsRequest(filters=["type==io.containerd.gc.v1"])).plugins
    assert [p.id for p in some] == ["scheduler"]
    with pytest.raises(InvalidArgument, match="filters: parse error"):
        channel.unary(Introspection.PLUGINS, ipb.PluginsRequest(filters=["type=="]))
    info = channel.unary(Introspection.PLUGIN_INFO, ipb.PluginInfoRequest(type="io.containerd.gc.v1", id="scheduler"))
    assert info.plugin.id == "scheduler"
    with pytest.raises(NotFound):
        channel.unary(Introspection.PLUGIN_INFO, ipb.PluginInfoRequest(type="a", id="b"))


# --------------------------------------------------------------------------------------------------------- wrong calls


def test_unknown_methods_and_services_are_named(channel):
    with pytest.raises(Unsupported, match=r"unknown method Foo for service containerd\.services\.images\.v1\.Images"):
        channel.unary(Unary(Images.SERVICE, "Foo", Empty, Empty), Empty())
    with pytest.raises(Unsupported, match=r"unknown method Bar for service foo\.Baz"):
        list(channel.server_stream(ServerStream("foo.Baz", "Bar", Empty, Empty), Empty()))


def test_request_that_is_no_message_is_an_invalid_argument(channel):
    method = Unary(Namespaces.SERVICE, "Create", n.CreateNamespaceRequest, n.CreateNamespaceResponse)

    class Bytes:
        def SerializeToString(self):
            return b"\xff\xff\xff\xff"

    with pytest.raises(InvalidArgument, match="CreateNamespaceRequest"):
        channel.unary(method, Bytes())
    assert channel.unary(Version.VERSION, Empty()).version  # it lives on


def test_empty_requests_never_end_the_daemon(daemon, channel):
    """containerd dies of an image without a target; here every method gets a request without anything in it."""
    for route in daemon.routes():
        method = route.method
        if type(method) is Unary:
            with contextlib.suppress(*REFUSALS):
                channel.unary(method, method.request(), timeout=5)
    assert channel.unary(Version.VERSION, Empty()).version


def test_namespace_is_required_where_it_matters(daemon):
    with Channel(daemon.address, namespace="") as channel:
        from tranship._api.services.images.v1 import images_pb2

        with pytest.raises(FailedPrecondition, match=r"^namespace is required: failed precondition$"):
            channel.unary(Images.LIST, images_pb2.ListImagesRequest())
    with Channel(daemon.address, namespace="a..b") as channel, pytest.raises(InvalidArgument, match="identifier"):
        channel.unary(Images.LIST, images_pb2.ListImagesRequest())


def test_message_over_the_limit_is_refused_and_the_daemon_lives_on(channel):
    huge = n.CreateNamespaceRequest(namespace={"name": "a", "labels": {str(i): "x" * 1000 for i in range(18_000)}})
    with pytest.raises(Exception, match="larger than max"):
        channel.unary(Namespaces.CREATE, huge)
    assert channel.unary(Version.VERSION, Empty()).version


@pytest.mark.parametrize("seed", range(3))
def test_random_bytes_to_every_method_never_end_the_daemon(daemon, channel, seed):
    """Garbage, and good messages cut short or with a byte turned; whatever comes back is a refusal, never a bug."""
    chance = random.Random(seed)

    class Bytes:
        def __init__(self, raw):
            self.SerializeToString = lambda: raw

    good = ipb.PluginsRequest(filters=["type==a", "x" * 50]).SerializeToString()
    for route in daemon.routes():
        for raw in (chance.randbytes(chance.randrange(1, 200)), good[: chance.randrange(len(good))], good + b"\xff"):
            method, call = route.method, None
            try:
                if type(method) is Unary:
                    channel.unary(method, Bytes(raw), timeout=5)
                    continue
                if type(method) is ServerStream:
                    call = channel.server_stream(method, Bytes(raw), timeout=0.2)
                else:
                    call = channel.stream(method, timeout=0.2)
                    call.send(Bytes(raw))
                    call.half_close()
                list(call)
            except Internal as error:
                raise AssertionError(f"{method.path} of {raw.hex()}") from error
            except (*REFUSALS, AlreadyExists, DeadlineExceeded, Cancelled):
                pass
            finally:
                if call is not None:
                    call.cancel()
    assert channel.unary(Version.VERSION, Empty()).version


# ------------------------------------------------------------------------------------------------- what is more than enough


def test_folders_above_are_their_owners_alone_whatever_the_umask(store, home):
    before = os.umask(0)
    try:
        with Daemon(store, home.path / "a/b/c/t.sock"):
            assert [mode(home.path / folder) for folder in ("a", "a/b", "a/b/c")] == [0o700] * 3
    finally:
        os.umask(before)


def test_folder_below_one_that_everybody_can_write_into_is_refused(home):
    (home.path / "open/mine").mkdir(parents=True, mode=0o700)
    (home.path / "open").chmod(0o777)
    with pytest.raises(PermissionDenied, match="could replace the socket's folder"):
        Address(home.path / "open/mine/t.sock")
    (home.path / "open").chmod(0o1777)  # as /tmp is
    Address(home.path / "open/mine/t.sock").release()


def test_symbolic_link_in_place_of_the_socket_is_left_alone(home):
    (home.path / "precious").write_text("x")
    (home.path / "run/t.sock").symlink_to(home.path / "precious")
    with pytest.raises(FailedPrecondition, match="not a socket"):
        Address(home.path / "run/t.sock")
    assert (home.path / "precious").read_text() == "x"
    (home.path / "link").symlink_to(home.path / "run")
    (home.path / "run/t.sock").unlink()
    with Address(home.path / "link/t.sock").binding() as path, socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path)
    assert mode(home.path / "run/t.sock") == 0o600


def test_subscribers_that_stay_leave_room_for_whoever_asks(store, home, monkeypatch):
    monkeypatch.setattr(server, "MAX_LASTING", 20)
    with (
        Daemon(store, home.path / "run/t.sock") as daemon,
        Channel(daemon.address) as channel,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(20):
            watch = stack.enter_context(channel.server_stream(Health.WATCH, HealthCheckRequest()))
            assert next(watch).status == HealthCheckResponse.SERVING
        with pytest.raises(RateLimited, match="too many streams"):
            next(channel.server_stream(Events.SUBSCRIBE, SubscribeRequest()))
        assert channel.unary(Version.VERSION, Empty()).version
        stack.close()

        def is_free():
            with contextlib.suppress(RateLimited), channel.server_stream(Health.WATCH, HealthCheckRequest()) as watch:
                return next(watch).status == HealthCheckResponse.SERVING

        eventually(is_free)


def test_connections_that_say_nothing_or_nonsense_are_no_trouble(daemon):
    with contextlib.ExitStack() as stack:
        for said in [b""] * 200 + [
            os.urandom(300),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
            b"GET / HTTP/1.1\r\n\r\n",
        ] * 20:
            wire = stack.enter_context(socket.socket(socket.AF_UNIX))
            wire.connect(daemon.address)
            with contextlib.suppress(OSError):
                wire.sendall(said)
        assert answers(daemon.address).version
    assert answers(daemon.address).version
