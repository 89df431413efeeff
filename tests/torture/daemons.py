"""The daemon under load: many clients at once, clients that speak nonsense, and a daemon that is killed among them.

The daemon is `tranship daemon`, a process of its own; each client is a thread with a connection of its own, and speaks the Transfer, Images and
Content services as ctr does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import signal
import socket
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.disks import Impossible
from support.peers import temporary_home
from torture import invariants
from torture.box import part
from torture.content import command, environment, image
from tranship import Registry, TranshipError, transfer
from tranship.testing.memory import Memory
from tranship.testing.registry import RegistryServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torture.box import Box

IMAGES = 16  # different ones at the registry, so that clients meet and do not always
LONG = 120  # seconds after which it can be told whether memory grows
KEPT = 30  # images of one client at most, so that what a daemon has to keep has a bound


class Serving:
    """A daemon's process, which may be killed and started again on the same store and socket."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.root, self.socket, self.log = folder / "store", path, folder / "daemon.log"
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Start, and wait until it answers."""
        words = command(self.root, "daemon", "--address", self.socket)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(words, env=environment(), stdout=subprocess.DEVNULL, stderr=log)
        _settles(self._answers, "the daemon does not answer")

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"the daemon has ended with {self.process.returncode}: {self._said}"
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0

    @property
    def _said(self) -> str:
        return self.log.read_text("utf-8", "replace")[-2000:]

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal."""
        self.process.send_signal(number)
        code = self.process.wait(60)
        assert code == (0 if number == signal.SIGTERM else -number), f"the daemon ended with {code}: {self._said}"

    @property
    def memory(self) -> int:
        """Resident bytes."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text("ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @property
    def descriptors(self) -> int:
        """Open files."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@contextlib.contextmanager
def serving(box: Box) -> Iterator[Serving]:
    """A daemon for a part."""
    if importlib.util.find_spec("grpc") is None or not os.path.isdir("/proc/self/fd"):
        raise Impossible("this takes grpcio and /proc")
    with box.scratch() as folder, temporary_home() as home:
        running = Serving(folder, home.path / "run/t.sock")
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.stop()


class Client:
    """One client; `act` does one thing of those that clients do."""

    def __init__(self, path: Path, registry: str, number: int, chance: random.Random) -> None:
        from support.transfers import Transfers
        from tranship.containerd.channel import Channel

        self.channel = Channel(path, namespace=f"n{number % 4}")
        self.transfers = Transfers(self.channel)
        self.registry, self.number, self.chance = registry, number, chance
        self.mine: list[str] = []

    def close(self) -> None:
        """Hang up."""
        self.channel.close()

    def act(self) -> str:
        """Pull, or with an image pulled: read it whole, push it, or remove it."""
        if not self.mine or self.chance.random() < 0.4:
            return self.pull() if len(self.mine) < KEPT else self.remove()
        return self.chance.choice((self.read, self.push, self.remove))()

    def pull(self) -> str:
        """Pull an image under a name of its own."""
        from support.transfers import registry
        from tranship.containerd.wire import WireImageStore

        name = f"example.com/c{self.number}/{self.chance.randrange(1 << 30)}:1"
        source = registry(self.registry, f"app:{self.chance.randrange(IMAGES)}")
        self.transfers.transfer(source, WireImageStore(name=name))
        self.mine.append(name)
        return "pulls"

    def read(self) -> str:
        """Export an image, and look at the length of what comes."""
        assert len(self.transfers.export(self.chance.choice(self.mine))) > 10_000, "an export is too short"
        return "exports"

    def push(self) -> str:
        """Push an image to a repository of its own."""
        from support.transfers import registry
        from tranship.containerd.wire import WireImageStore

        target = registry(self.registry, f"pushed/c{self.number}:{self.chance.randrange(4)}")
        self.transfers.transfer(WireImageStore(name=self.chance.choice(self.mine)), target)
        return "pushes"

    def remove(self) -> str:
        """Remove an image, which brings a collection about."""
        from tranship._api.services.images.v1 import images_pb2
        from tranship.containerd.methods import Images

        name = self.mine.pop(self.chance.randrange(len(self.mine)))
        self.channel.unary(Images.DELETE, images_pb2.DeleteImageRequest(name=name))
        return "removals"


@contextlib.contextmanager
def offering(largest: int = 200_000, alike: int = 2) -> Iterator[RegistryServer]:
    """A registry with some images that share layers: so many at a time their small ones. `largest`: bytes of a layer."""
    with RegistryServer() as registry:
        images = Memory()
        for number in range(IMAGES):
            image(images, f"{registry.host}/app:{number}", number // alike, (1, 30_000, largest + number % 2))
        for name, target in images.names.items():
            one = Memory(images.blobs, {name: target})
            transfer(one, Registry(name, plain_http=True, credential=lambda *_: None, environment={}))
        yield registry


def crowd(
    box: Box, running: Serving, registry: str, count: int, until: Callable[[], bool], *, forgiving: bool
) -> list[float]:
    """Clients that act until told to stop; how long each act took. `forgiving`: the daemon is killed now and then, and says so."""
    took: list[float] = []
    lock = threading.Lock()

    def live(number: int) -> None:
        chance = random.Random(box.seed * 1000 + number)
        client = Client(running.socket, registry, number, chance)
        try:
            while not until():
                began = time.monotonic()
                try:
                    what = client.act()
                except TranshipError as error:
                    if not (forgiving and _gone(error)):
                        raise
                    what = f"acts that failed with {error.code}"
                    time.sleep(0.1)
                    client.close()  # gRPC would wait longer and longer before it connects again
                    client = Client(running.socket, registry, number, chance)
                with lock:
                    took.append(time.monotonic() - began)
                    box.count(what)
        except Exception as error:  # carried to the box
            with lock, box.unbroken(f"client {number}"):
                raise error
        finally:
            client.close()

    threads = [threading.Thread(target=live, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took


def _gone(error: TranshipError) -> bool:
    """Does it say that the daemon went away, or that the new one does not know a stream of the old one?"""
    return error.code in ("UNAVAILABLE", "CANCELLED") or (
        error.code == "NOT_FOUND" and error.message.startswith("stream ")
    )


@part("load")
def load(box: Box) -> None:
    """64 clients (4 in a slice) pull, export, push and remove at once; memory levels off and no descriptor is left open."""
    count = 4 if box.is_slice else 64
    with offering() as registry, serving(box) as running:
        crowd(
            box, running, registry.host, 2, _times(8), forgiving=False
        )  # so that everything is loaded and opened once
        before = running.descriptors
        half = time.monotonic() + box.left / 2
        took = crowd(
            box, running, registry.host, count, lambda: time.monotonic() > half or _done(box, 40), forgiving=False
        )
        middle = running.memory
        took += crowd(box, running, registry.host, count, lambda: box.over or _done(box, 80), forgiving=False)
        with box.unbroken("what is left after the load"):
            # The store keeps up to 16 idle connections, of three files each.
            _settles(
                lambda: running.descriptors <= before + 48, f"{before} descriptors before, {running.descriptors} after"
            )
            box.count("descriptors before", before)
            box.count("descriptors after", running.descriptors)
            box.count("MiB resident at half-time", middle >> 20)
            box.count("MiB resident at the end", running.memory >> 20)
            assert running.memory < 512 << 20
        if took:
            took.sort()
            box.count("ms at the median", round(1000 * took[len(took) // 2]))
            box.count("ms at the 99th percentile", round(1000 * took[len(took) * 99 // 100]))
        box.count("clients", count)
        running.stop()
        with box.unbroken("the store after the load"):
            _sound(running.root)


def _times(number: int) -> Callable[[], bool]:
    """Says when it has been asked so often."""
    left = iter(range(number))
    return lambda: next(left, None) is None


def _done(box: Box, number: int) -> bool:
    """In a slice: were there so many acts?"""
    return box.is_slice and sum(box.figures.values()) >= number


def _settles(condition: Callable[[], bool], what: str) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(what)


def _sound(root: Path) -> None:
    invariants.sound(root)


@part("kill-daemon")
def kill_daemon(box: Box) -> None:
    """8 clients work with a daemon that is killed and started again on the same store, time after time."""
    with offering() as registry:
        _kill_among(box, registry, clients=8, pause=(0.05, 0.6))


@part("kill-large")
def kill_large(box: Box) -> None:
    """The same with 4 clients and images of 50 MB (1 MB in a slice), so that kills meet bytes on their way."""
    with offering(1_000_000 if box.is_slice else 50_000_000, alike=8) as registry:
        _kill_among(box, registry, clients=4, pause=(0.2, 4))


def _kill_among(box: Box, registry: RegistryServer, *, clients: int, pause: tuple[float, float]) -> None:
    with serving(box) as running:
        ended = threading.Event()
        acting = threading.Thread(
            target=crowd, args=(box, running, registry.host, clients, ended.is_set), kwargs={"forgiving": True}
        )
        acting.start()
        try:
            for number in box.rounds():
                with box.unbroken(f"kill {number}"):
                    time.sleep(box.chance.uniform(*pause))
                    running.stop(signal.SIGKILL)
                    box.count("kills")
                    if number % 10 == 9:
                        _sound(running.root)
                        box.count("deep checks")
                    running.start()
        finally:
            ended.set()
            acting.join()
        running.stop()
        with box.unbroken("the store after all of it"):
            _sound(running.root)


@part("proto")
def proto(box: Box) -> None:
    """Random, truncated and oversized messages for every method of the daemon; it lives, and says what was wrong."""
    with serving(box) as running:
        import grpc

        from tranship.containerd import methods

        every = [
            method
            for service in vars(methods).values()
            if isinstance(service, type) and issubclass(service, methods.Service)
            for method in vars(service).values()
            if isinstance(method, methods.Method)
        ]
        with grpc.insecure_channel(f"unix:{running.socket}", options=[("grpc.max_send_message_length", -1)]) as channel:
            for number in box.rounds():
                method = every[number % len(every)]
                with box.unbroken(f"message {number} to {method.path}"):
                    code = _say(channel, method, _nonsense(method, box.chance))
                    assert code not in ("INTERNAL", "UNKNOWN"), code
                    box.count(f"answered {code}")
                box.count("messages")
        with box.unbroken("the daemon after all of it"):
            assert running.memory < 512 << 20
            assert _say_hello(running.socket)


def _nonsense(method: Any, chance: random.Random) -> bytes:
    good = method.request().SerializeToString()
    kind = chance.random()
    if kind < 0.3:
        return chance.randbytes(chance.choice((1, 5, 100, 5000)))
    if kind < 0.9:
        from torture.fuzzing import changed

        return changed(_filled(method.request(), chance, 0).SerializeToString() or good, chance)
    return bytes(17 << 20) if kind > 0.995 else b"\x0a" * chance.randrange(1, 3000)


def _filled(message: Any, chance: random.Random, depth: int) -> Any:
    """The message with some of its fields set."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.4:
            continue
        text = chance.choice(("a", "", "../x", "sha256:" + "0" * 64, "x" * 5000, "\x1b[31m"))
        with contextlib.suppress(TypeError, AttributeError, ValueError):
            if field.message_type is not None:
                if depth < 3:
                    sub = getattr(message, field.name)
                    sub = sub.add() if hasattr(sub, "add") else sub
                    _filled(sub, chance, depth + 1)
                    if not hasattr(getattr(message, field.name), "add"):
                        sub.SetInParent()
            elif field.type == field.TYPE_STRING:
                _set(message, field.name, text)
            elif field.type == field.TYPE_BYTES:
                _set(message, field.name, text.encode())
            elif field.type == field.TYPE_BOOL:
                _set(message, field.name, True)
            else:
                _set(message, field.name, chance.choice((0, 1, -1, 1 << 62)))
    return message


def _set(message: Any, name: str, value: Any) -> None:
    held = getattr(message, name)
    held.append(value) if hasattr(held, "append") else setattr(message, name, value)


def _say(channel: Any, method: Any, data: bytes) -> str:
    """Send bytes as a method's only request; the status."""
    import grpc

    patience = 0.2 if method.path.endswith(("/Watch", "/Subscribe")) else 5  # these two never end by themselves
    call = channel.stream_stream(method.path)(iter([data]), timeout=patience, metadata=[("containerd-namespace", "n")])
    try:
        for _ in zip(call, range(20), strict=False):
            pass
        call.cancel()
    except grpc.RpcError:
        pass
    code = call.code()
    return str(code.name) if code is not None else "OK"


def _say_hello(path: Path) -> bool:
    from tranship._api.wellknown import Empty
    from tranship.containerd.channel import Channel
    from tranship.containerd.methods import Version

    with Channel(path) as channel:
        return bool(channel.unary(Version.VERSION, Empty()).version)


@part("soak")
def soak(box: Box) -> None:
    """A mixed load, for three quarters of the time on a daemon that is left alone and whose memory must level off, then on one
    that is killed or stopped once a minute; memory, descriptors and the store's size stay bounded.
    """  # fmt: skip
    with offering() as registry, serving(box) as running:
        ended = threading.Event()
        clients = threading.Thread(
            target=crowd, args=(box, running, registry.host, 4, ended.is_set), kwargs={"forgiving": True}
        )
        clients.start()
        try:
            with box.unbroken("the calm of the soak"):
                _watch(box, running, 0 if box.is_slice else box.left * 3 / 4)
            for number in box.rounds():
                with box.unbroken("a minute of the soak"):
                    ended.wait(1.0 if box.is_slice else min(60.0, max(1.0, box.left)))
                    _note(box, running)
                    running.stop(signal.SIGTERM if number % 2 else signal.SIGKILL)
                    _sound(running.root)
                    box.count("restarts")
                    running.start()
        finally:
            ended.set()
            clients.join()
        size = sum(path.stat().st_size for path in running.root.glob("blobs/*/*"))
        box.count("MiB of blobs at the end", size >> 20)


def _note(box: Box, running: Serving) -> int:
    """What the daemon has by now, which is bounded; its memory."""
    memory, descriptors = running.memory, running.descriptors
    box.figures["MiB resident at most"] = max(box.figures["MiB resident at most"], memory >> 20)
    box.figures["descriptors at most"] = max(box.figures["descriptors at most"], descriptors)
    assert memory < 512 << 20
    return memory


def _watch(box: Box, running: Serving, seconds: float) -> None:
    """Watch a daemon that is left alone: after two fifths of the time, how much does its memory grow in ten minutes?

    Its memory goes up and down by some MiB with what is asked of it at the moment; the line through all that was seen does not.
    """
    began, seen = time.monotonic(), []
    while (passed := time.monotonic() - began) < seconds:
        memory = _note(box, running)
        if passed > seconds * 2 / 5:
            seen.append((passed, memory))
        time.sleep(0.5)
    if seconds >= LONG:
        growth = statistics.linear_regression(*zip(*seen, strict=True)).slope * 600
        box.count("seconds of a daemon left alone", round(seconds))
        box.count("KiB grown in ten minutes of them", round(growth) >> 10)
        box.count(
            "MiB resident then, in the middle of all", round(statistics.median(memory for _, memory in seen)) >> 20
        )
