"""Flow control of containerd's byte streams: who may send how much, and what has arrived for certain.

A byte stream carries Data one way and WindowUpdate the other (containerd `core/transfer/streaming`). The receiver speaks
first: whenever its credit is below the window it grants one window more, then takes one message. The sender keeps each message
within the credit that it has. Nothing here knows messages or sockets; the intended loops are

    receiver = Receiver()                                sender = Sender()
    while True:                                          for chunk in chunks:
        if grant := receiver.grant():                        sender.feed(chunk)
            send WindowUpdate(grant)                         while (data := sender.next()) is not None:
        data = next message, or leave at its end                 send Data(data)
        receiver.received(len(data))                         while sender.starved: sender.credited(next WindowUpdate)
        hand the data on                                 sender.flush(), and the same two loops

A byte stream has no acknowledgement of its own, and containerd loses the end of archives for want of one. But the receiver's
rule is strict, so the updates that came tell the sender which of its messages have been handed on: see `Sender.settled`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tranship.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

WINDOW = 64 * 1024  # bytes granted at a time by containerd (streaming/stream.go, windowSize)
CHUNK = 32 * 1024  # bytes of one message at most, by containerd (streaming/stream.go, maxRead)
# In fewer, larger messages the same bytes cost a third of the time. Go's receiver takes messages of up to 16 MiB whatever it
# has granted, and answers each one that exceeds its credit with an update: one large message for each update cannot stall.
# With a second one under way it need not wait for the next, either.
LARGE_CHUNK = 512 * 1024
AHEAD = 2
# But it counts its credit in an int32. One that wraps becomes two gigabytes of credit, and no update comes until these are
# used up: so what is overdrawn in all stays below that, and the rest of a long stream goes in messages of what is granted.
MAX_DEBT = (1 << 31) - (64 << 20)
MAX_PROOF = 1 << 20  # bytes that are worth a proof of arrival; whoever grants more can as well read to the end
MAX_UPDATE = (1 << 31) - 1  # WindowUpdate.update is an int32


class Receiver:
    """The reading side: grants `window` bytes whenever its credit is below that.

    So the sender's credit stays below two windows. As in containerd, a sender that exceeds its credit is not punished: the
    size of one message bounds what it can do.
    """

    __slots__ = ("_credit", "window")

    def __init__(self, window: int = WINDOW) -> None:
        self.window = window
        self._credit = 0  # bytes that the sender may still send; below zero when it sent more

    @property
    def credit(self) -> int:
        """Bytes that the sender may still send."""
        return self._credit

    def grant(self) -> int:
        """The WindowUpdate to send before the next message is taken; 0: none is due."""
        if self._credit >= self.window:
            return 0
        self._credit += self.window
        return self.window

    def received(self, count: int) -> None:
        """Note that a message of `count` bytes came and has been handed on."""
        self._credit -= count


class Sender:
    """The writing side: gathers what it is fed into messages of `chunk` bytes, as the receiver's credit allows.

    overdraft  send whole messages while any credit is left, instead of cutting one down to the credit; and without credit,
               while fewer than AHEAD messages are unanswered
    """

    __slots__ = (
        "_answered",
        "_credit",
        "_debt",
        "_due",
        "_flushing",
        "_heard",
        "_mirror",
        "_pending",
        "chunk",
        "overdraft",
    )

    def __init__(self, chunk: int = CHUNK, *, overdraft: bool = False) -> None:
        self.chunk = chunk
        self.overdraft = overdraft
        self._credit = 0  # never below zero: what is overdrawn is forgiven, or the two sides would wait for each other
        self._debt = 0  # what was sent, less what was granted
        self._pending = bytearray()
        self._flushing = False
        self._heard = False
        # What the receiver does by its rule, from its first update on, which tells its window. None before that, and for
        # good once it has granted something else: then nothing can be concluded.
        self._mirror: Receiver | None = None
        self._due = 0  # updates that the receiver sends for all that was sent, less those that came
        self._answered = True  # does it send one after the last message?

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes to send. Drain them with `next` before feeding more, or they pile up."""
        self._pending += data
        self._flushing = False

    def flush(self) -> None:
        """Let `next` give out the rest too, though it does not fill a message."""
        self._flushing = True

    def next(self, wrap: Callable[[memoryview], T] = bytes) -> T | None:  # type: ignore[assignment]  # T is bytes then
        """The next message, as `wrap` makes it of its bytes: a view that is valid during the call alone.

        None when they do not fill one yet, or may not be sent (`starved`).
        """
        if not self._ready or not self._may_send:
            return None
        count = min(self._size, len(self._pending))
        with memoryview(self._pending) as view, view[:count] as part:
            message = wrap(part)
        del self._pending[:count]
        self._credit = max(0, self._credit - count)
        self._debt += count
        if self._mirror is not None:
            self._mirror.received(count)
            self._answered = self._mirror.grant() > 0
            self._due += self._answered
        return message

    def credited(self, update: int) -> None:
        """Take a WindowUpdate."""
        if not 0 < update <= MAX_UPDATE:
            raise InvalidArgument(f"a window update must be a positive number of bytes, found {update}")
        if not self._heard:
            self._heard = True
            self._mirror = Receiver(update)
            self._due += self._mirror.grant() > 0
        self._credit += update
        self._debt -= update
        self._due -= 1
        if self._mirror is not None and (update != self._mirror.window or self._due < 0):
            self._mirror = None

    @property
    def starved(self) -> bool:
        """Does a message wait for credit?"""
        return self._ready and not self._may_send

    @property
    def awaiting(self) -> bool:
        """Is an update still to come for what was sent, by the receiver's rule?"""
        return self._mirror is not None and self._due > 0

    @property
    def settled(self) -> bool:
        """Has the receiver handed on everything that was sent? Its updates prove that, once none is missing."""
        return self._mirror is not None and self._answered and not self._due and not self._pending

    @property
    def owed(self) -> int:
        """How many bytes more would make the receiver answer; 0: it answers the last message, or it keeps no rule.

        Only an update after the last message proves that it was handed on. A sender whose format allows padding (zeros
        after the end of a tar) sends so much of it and waits until `settled`.
        """
        return 0 if self._answered else self.answerable

    @property
    def answerable(self) -> int:
        """The least size of one more message that the receiver answers; 0: it keeps no rule, or a window above MAX_PROOF.

        A receiver that hands on through a pipe, as ctr does, has handed on when the pipe's other end has *read*; whether that
        has also written is known when it has come back for more, which is one message later.
        """
        if self._mirror is None or self._mirror.window > MAX_PROOF:
            return 0
        return max(1, self._mirror.credit - self._mirror.window + 1)

    @property
    def _size(self) -> int:
        """Of the next message, at most."""
        if self.overdraft and self._debt < MAX_DEBT:
            return self.chunk
        return min(self.chunk, self._credit or (self._mirror.window if self._mirror is not None else 0))

    @property
    def _may_send(self) -> bool:
        return self._credit > 0 or (self.overdraft and self._mirror is not None and self._due < AHEAD)

    @property
    def _ready(self) -> bool:
        return len(self._pending) >= self.chunk or (self._flushing and bool(self._pending))
