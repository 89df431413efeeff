"""Streams by the thousand: opened and left in every way that a client can leave one, some of them amid a transfer."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any

from torture.box import part
from torture.daemons import _say_hello, _settles, serving
from tranship import TranshipError

if TYPE_CHECKING:
    import random

    from torture.box import Box

BURST = 200  # streams at once; below the 256 that a namespace may have
SETTLED = 3  # bursts, after which memory and descriptors are compared


@part("streams")
def streams(box: Box) -> None:
    """Bursts of 200 streams that end in every way, some amid a transfer; the daemon lives, and its memory levels off."""
    with serving(box) as running:
        from tranship.containerd.channel import Channel

        memory = descriptors = 0
        for number in box.rounds():
            with box.unbroken(f"burst {number}"), Channel(running.socket, namespace=f"n{number % 3}") as channel:
                for _ in range(BURST // 20):
                    threads = [
                        threading.Thread(target=_live, args=(channel, box.chance.choice(ENDS), box.chance, box))
                        for _ in range(20)
                    ]
                    for thread in threads:
                        thread.start()
                    for thread in threads:
                        thread.join()
                assert _say_hello(running.socket)
            if number == SETTLED:
                memory, descriptors = running.memory, running.descriptors
        with box.unbroken("what is left after the streams"):
            _settles(lambda: running.descriptors <= (descriptors or 1000) + 8, "descriptors are left open")
            box.count("MiB resident at the end", running.memory >> 20)
            if memory:
                box.count("MiB resident after the first bursts", memory >> 20)
                assert running.memory < memory + (32 << 20)
        running.stop()


def _live(channel: Any, end: str, chance: random.Random, box: Box) -> None:
    """One stream from its beginning to its end."""
    from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
    from tranship._api.wellknown import Any as Wrapped
    from tranship.containerd.codec import pack, pack_data, pack_window
    from tranship.containerd.ends import transfer_request
    from tranship.containerd.methods import Streaming, Transfer
    from tranship.containerd.wire import WireExportStream, WireImageStore, WireImportStream

    name = f"s{next(_ids)}"
    with contextlib.suppress(TranshipError, StopIteration), channel.stream(Streaming.STREAM) as call:
        if end == "nothing":
            return
        call.send(Wrapped(type_url="foo.Bar") if end == "nonsense" else pack(StreamInit(id=name)))
        if end == "at once":
            return
        next(call)
        box.count("opened")
        if end == "half-closed":
            call.half_close()
        elif end == "messages":
            for _ in range(chance.randrange(40)):
                call.send(pack_data(bytes(chance.randrange(70_000))))
        elif end in ("import", "export", "echo"):
            store, incoming, outgoing = (
                WireImageStore(name="x"),
                WireImportStream(stream=name),
                WireExportStream(stream=name),
            )
            source, destination = {
                "import": (incoming, store),
                "export": (store, outgoing),
                "echo": (incoming, outgoing),
            }[end]
            pending = channel.begin(Transfer.TRANSFER, transfer_request(source, destination))
            call.send(pack_window(chance.choice((1, 70_000, (1 << 31) - 1, 0, -1))))
            for _ in range(chance.randrange(10)):
                call.send(pack_data(chance.randbytes(chance.choice((0, 1, 512, 70_000)))))
            pending.wait(chance.random() / 20)
            call.cancel()
            pending.wait(10)
            pending.cancel()
    box.count(f"ended by {end}" if end in ("import", "export", "echo") else "ended otherwise")


ENDS = ("nothing", "nonsense", "at once", "opened", "half-closed", "messages", "import", "export", "echo")
_ids = itertools.count()
