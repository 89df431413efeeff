"""Byte streams over messages: a reader and a writer that keep containerd's windows, on either side of the wire.

What carries the messages is a Duplex: a client's call or a daemon's registered stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tranship._api.services.streaming.v1.streaming_pb2 import StreamInit
from tranship._api.wellknown import Any, Empty
from tranship.containerd.codec import encode_data, pack, pack_window, unpack, unpack_flow
from tranship.containerd.methods import Streaming
from tranship.errors import Truncated
from tranship.formats.stream_window import WINDOW, Receiver, Sender

if TYPE_CHECKING:
    from tranship.containerd.channel import Call, Channel

_BLOCK = 512  # bytes; padding keeps a tar's length a multiple of this


class Duplex(Protocol):
    """A stream of messages both ways."""

    def send(self, message: Any | bytes) -> None:
        """Send a message, soon; bytes are one that is encoded already."""
        ...

    def receive(self) -> Any | None:
        """The next message; None when the peer has said that there are no more. Raises Cancelled when the peer is gone."""
        ...

    def close(self) -> None:
        """Say that we send no more."""
        ...


class ByteReader:
    """The bytes that the peer sends, as a Reader. The peer may be one window ahead of what was read, at most two."""

    name = "stream"  # in messages about it

    def __init__(self, stream: Duplex, window: int = WINDOW, *, whole: bool = False) -> None:
        """Read `stream`; with `whole`, fill each buffer as long as anything comes.

        Messages are of 32 KiB, mostly: to hash and write each by itself costs a third more than their transport. But it is said
        to be taken before it is handed on: not for whoever answers by that.
        """
        self._stream = stream
        self._whole = whole
        self._receiver = Receiver(window)
        self._message = memoryview(b"")  # of which something is left to hand on
        self._count = 0  # its whole length
        self._ended = False

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill what one message can, or with `whole` all of it; 0 at the end that the peer has declared."""
        filled = 0
        while filled < len(buffer):
            while not self._message and not self._ended:
                self._next()
            if not self._message:
                break
            count = min(len(buffer) - filled, len(self._message))
            buffer[filled : filled + count] = self._message[:count]
            self._message = self._message[count:]
            filled += count
            if not self._whole:
                break
        return filled

    def _next(self) -> None:
        self._receiver.received(self._count)
        self._count = 0
        if grant := self._receiver.grant():
            self._stream.send(pack_window(grant))
        wrapped = self._stream.receive()
        if wrapped is None:
            self._ended = True
            return
        data = unpack_flow(wrapped)
        if isinstance(data, (bytes, memoryview)):  # anything else has nothing to do here, and containerd passes over it
            self._message = memoryview(data)
            self._count = len(data)


class ByteWriter:
    """Bytes for the peer. `write` returns when they are on their way, which may take until the peer has read earlier ones."""

    name = "stream"

    def __init__(self, stream: Duplex, sender: Sender | None = None) -> None:
        self._stream = stream
        self._sender = sender or Sender()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Send all of it, but what does not fill a message yet."""
        self._sender.feed(chunk)
        self._drain()

    def flush(self) -> None:
        """Send what does not fill a message, too."""
        self._sender.flush()
        self._drain()

    def finish(self, *, pad: bool = False) -> bool:
        """Send the rest, wait until the peer must have handed on as much as its updates can prove, and close the stream.

        pad  zeros may follow the end, as after a tar's trailer: then a message of them proves that all before it was not only
             taken but put where it belongs. Was it? A peer of other rules, or one that has closed its side, proves nothing.
        """
        self.flush()
        if pad:
            self._sender.feed(bytes(-(-self._sender.answerable // _BLOCK) * _BLOCK))
            self.flush()
        while self._sender.awaiting and self._take():
            pass
        self._stream.close()
        return self._sender.settled

    def _drain(self) -> None:
        while True:
            while (message := self._sender.next(encode_data)) is not None:
                self._stream.send(message)
            if not self._sender.starved:
                return
            if not self._take():
                raise Truncated("the receiver closed the byte stream before its end")

    def _take(self) -> bool:
        """Take the peer's next message; False when there are no more."""
        wrapped = self._stream.receive()
        if wrapped is None:
            return False
        update = unpack_flow(wrapped)
        if isinstance(update, int):
            self._sender.credited(update)
        return True


class ClientStream:
    """A stream that a client has registered with a daemon under an id, to refer to it in a transfer; a Duplex."""

    def __init__(self, channel: Channel, stream_id: str) -> None:
        """Register it; on return the daemon knows the id. AlreadyExists when it is taken."""
        self.id = stream_id
        self._call: Call[Any, Any] = channel.stream(Streaming.STREAM)
        self._call.send(pack(StreamInit(id=stream_id)))
        try:
            unpack(next(self._call, Any()), Empty)
        except BaseException:
            self._call.cancel()
            raise

    def __enter__(self) -> ClientStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def send(self, message: Any | bytes) -> None:
        """Send a message, soon."""
        self._call.send(message)

    def receive(self) -> Any | None:
        """The next message; None when the daemon has closed the stream."""
        return next(self._call, None)

    def close(self) -> None:
        """Say that we send no more."""
        self._call.half_close()

    def cancel(self) -> None:
        """Give the stream up."""
        self._call.cancel()
