"""containerd's byte-stream flow control: credit, message sizes, and the proof of arrival."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tranship.errors import InvalidArgument
from tranship.formats import stream_window
from tranship.formats.stream_window import AHEAD, CHUNK, LARGE_CHUNK, MAX_DEBT, MAX_PROOF, WINDOW, Receiver, Sender


def drain(sender):
    messages = []
    while (data := sender.next()) is not None:
        messages.append(data)
    return messages


def deliver(sender, receiver, messages):
    """Hand messages to a receiver that follows the rule, and its updates back."""
    for message in messages:
        receiver.received(len(message))
        if grant := receiver.grant():
            sender.credited(grant)


def test_receiver_speaks_first_and_refills_below_one_window():
    receiver = Receiver()
    assert receiver.grant() == WINDOW
    assert receiver.grant() == 0
    receiver.received(1)
    assert receiver.grant() == WINDOW
    assert receiver.credit == 2 * WINDOW - 1
    receiver.received(WINDOW - 1)
    assert receiver.grant() == 0
    receiver.received(1)
    assert receiver.grant() == WINDOW


def test_receiver_tolerates_a_message_larger_than_all_credit():
    receiver = Receiver()
    receiver.grant()
    receiver.received(624_640)  # containerd's import took one of this size
    assert receiver.credit < 0
    assert receiver.grant() == WINDOW


def test_sender_sends_nothing_before_the_first_update():
    sender = Sender()
    sender.feed(bytes(CHUNK))
    assert sender.next() is None
    assert sender.starved
    sender.credited(WINDOW)
    assert sender.next() == bytes(CHUNK)


def test_small_writes_are_gathered_into_full_messages():
    sender = Sender()
    sender.credited(WINDOW)
    for _ in range(100):
        sender.feed(bytes(512))
    assert [len(m) for m in drain(sender)] == [CHUNK]
    assert not sender.starved
    sender.flush()
    assert [len(m) for m in drain(sender)] == [51_200 - CHUNK]
    assert drain(sender) == []


def test_message_is_cut_down_to_the_credit_that_is_left():
    sender = Sender()
    sender.credited(WINDOW)
    sender.feed(bytes(1000))
    sender.flush()
    drain(sender)
    sender.feed(bytes(WINDOW))
    sender.flush()
    assert [len(m) for m in drain(sender)] == [CHUNK, WINDOW - 1000 - CHUNK]
    assert sender.starved


def test_overdraft_has_some_large_messages_under_way_and_one_more_for_each_update():
    sender, receiver = Sender(LARGE_CHUNK, overdraft=True), Receiver()
    sender.credited(receiver.grant())
    sender.feed(bytes(5 * LARGE_CHUNK))
    underway = drain(sender)
    assert [len(m) for m in underway] == [LARGE_CHUNK] * AHEAD
    for _ in range(5 - AHEAD):
        deliver(sender, receiver, [underway.pop(0)])
        underway += drain(sender)
        assert [len(m) for m in underway] == [LARGE_CHUNK] * AHEAD
    assert not sender.settled
    deliver(sender, receiver, underway)
    assert sender.settled


@pytest.mark.parametrize("update", [0, -1, 1 << 31])
def test_update_that_grants_nothing_is_refused(update):
    with pytest.raises(InvalidArgument):
        Sender().credited(update)


def test_padding_makes_the_receiver_answer_and_proves_arrival():
    sender, receiver = Sender(), Receiver()
    sender.credited(receiver.grant())
    sender.feed(b"x" * 700)
    sender.flush()
    deliver(sender, receiver, drain(sender))
    sender.feed(b"x" * 700)  # leaves the credit above one window: no answer to this message comes
    sender.flush()
    last = drain(sender)
    deliver(sender, receiver, last)
    assert not sender.settled
    padding = sender.owed
    assert 0 < padding <= WINDOW
    sender.feed(bytes(padding))
    sender.flush()
    messages = drain(sender)
    assert sum(map(len, messages)) == padding
    assert sender.owed == 0
    assert not sender.settled
    deliver(sender, receiver, messages)
    assert sender.settled


@given(st.lists(st.integers(1, 3 * WINDOW), max_size=20))
def test_one_more_message_of_the_right_size_is_always_answered(writes):
    sender, receiver = Sender(LARGE_CHUNK, overdraft=True), Receiver()
    sender.credited(receiver.grant())
    for count in writes:
        sender.feed(bytes(count))
        sender.flush()
        deliver(sender, receiver, drain(sender))
    sender.feed(bytes(sender.answerable))
    sender.flush()
    messages = drain(sender)
    assert len(messages) == 1
    assert not sender.settled
    deliver(sender, receiver, messages)
    assert sender.settled


def test_receiver_with_a_rule_of_its_own_proves_nothing():
    sender = Sender()
    sender.credited(WINDOW)
    sender.feed(bytes(1000))
    sender.flush()
    drain(sender)
    sender.credited(1000)
    assert not sender.settled
    assert sender.owed == 0


@given(
    st.lists(st.integers(1, 3 * WINDOW), max_size=40),
    st.sampled_from([(CHUNK, False), (512, False), (LARGE_CHUNK, True), (100_000, False)]),
    st.sampled_from([WINDOW, 1000, MAX_PROOF]),
)
def test_every_byte_arrives_in_order_and_is_proven(writes, mode, window):
    """No pattern of writes stalls or loses anything, and the credit is never exceeded unless allowed."""
    chunk, overdraft = mode
    sender, receiver = Sender(chunk, overdraft=overdraft), Receiver(window)
    sender.credited(receiver.grant())
    received = bytearray()

    def pump():
        while messages := drain(sender):
            for message in messages:
                assert 0 < len(message) <= chunk
                if not overdraft:
                    assert len(message) <= receiver.credit
                received.extend(message)
                deliver(sender, receiver, [message])

    sent = bytearray()
    for number, count in enumerate(writes):
        data = bytes([number % 251]) * count
        sent += data
        sender.feed(data)
        pump()
    sender.flush()
    pump()
    assert received == sent
    assert not sender.starved
    if not sender.settled:
        padding = bytes(sender.owed)
        assert padding
        sender.feed(padding)
        sender.flush()
        pump()
    assert sender.settled


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=20), st.data())
def test_settled_is_never_said_before_the_last_message_was_taken(writes, data):
    """The receiver takes messages at its own pace; as long as one is under way, nothing is settled."""
    sender, receiver = Sender(), Receiver()
    sender.credited(receiver.grant())
    under_way = []
    for count in [*writes, 0]:
        sender.feed(bytes(count))
        sender.flush()
        while (message := sender.next()) is not None or sender.starved or (data.draw(st.booleans()) and under_way):
            if message is not None:
                under_way.append(message)
            else:
                deliver(sender, receiver, [under_way.pop(0)])
        assert not (sender.settled and under_way)


# ------------------------------------------------------------------------------------------- receivers that are not ours


class Go:
    """containerd's receiver (ReceiveStream of core/transfer/streaming/stream.go), whose counter wraps."""

    def __init__(self, bits=32):
        self.window, self._half = 0, 1 << (bits - 1)

    def grant(self):
        if self.window >= WINDOW:
            return 0
        self.window += WINDOW
        return WINDOW

    def received(self, count):
        self.window = (self.window - count + self._half) % (2 * self._half) - self._half


def carried(sender, receiver, data, late=1):
    """Send data to a receiver whose updates are underway for a while; the sizes of the messages, and how many of them
    it could have had in its queue at most."""
    sizes, underway, updates = [], [], [receiver.grant()]
    most = 0
    sender.feed(data)
    sender.flush()
    while True:
        while (message := sender.next(len)) is not None:
            underway.append(message)
        most = max(most, len(underway))
        if underway and (len(underway) > late or not any(updates)):
            sizes.append(underway.pop(0))
            receiver.received(sizes[-1])
            updates.append(receiver.grant())
        elif any(updates):
            if update := updates.pop(0):
                sender.credited(update)
        elif sender.starved:
            raise AssertionError(f"stalled after {sum(sizes)} bytes")
        else:
            return sizes, most


def test_gos_counter_never_wraps_in_a_long_stream(monkeypatch):
    """It is an int32; here it has 24 bits, so that a stream of 32 MB is a long one. When it wraps, no update comes any more."""
    monkeypatch.setattr(stream_window, "MAX_DEBT", (1 << 23) - (1 << 20))
    data = bytes(32 << 20)
    sizes, _ = carried(Sender(LARGE_CHUNK, overdraft=True), Go(bits=24), data)
    assert sum(sizes) == len(data)
    assert sizes[0] == LARGE_CHUNK
    assert sizes[-1] <= WINDOW


def test_what_is_overdrawn_fits_into_gos_counter():
    assert MAX_DEBT + (AHEAD + 1) * LARGE_CHUNK < 1 << 31


def test_receiver_that_grants_more_often_than_the_rule_says_is_held_to_its_credit():
    """It has said too much to foretell anything: without credit nothing is sent ahead to it."""
    sender = Sender(LARGE_CHUNK, overdraft=True)
    for _ in range(20):
        sender.credited(WINDOW)
    sender.feed(bytes(50 * LARGE_CHUNK))
    sizes = [len(message) for message in drain(sender)]
    assert sum(sizes) < 20 * WINDOW + LARGE_CHUNK
    assert sender.starved
    assert not sender.awaiting


def test_proof_of_arrival_is_not_bought_with_gigabytes():
    """A window may have two of them; so much padding is not worth it."""
    for window in (MAX_PROOF, MAX_PROOF + 1, (1 << 31) - 1):
        sender = Sender(LARGE_CHUNK, overdraft=True)
        sender.credited(window)
        sender.feed(b"archive")
        sender.flush()
        drain(sender)
        assert sender.answerable <= MAX_PROOF


@given(
    st.integers(1, 8 << 20),
    st.sampled_from([1, 512, 4000, WINDOW, 1 << 20]),
    st.integers(0, 3),
    st.booleans(),
)
def test_small_and_late_updates_never_stall_a_stream(count, window, late, overdraft):
    receiver = Receiver(window)
    if not overdraft:
        count = min(count, 2000 * window)
    sizes, underway = carried(Sender(LARGE_CHUNK, overdraft=overdraft), receiver, bytes(count), late)
    assert sum(sizes) == count
    assert underway * LARGE_CHUNK <= (AHEAD + 1) * LARGE_CHUNK + 2 * window if overdraft else True


@given(st.integers(1, 4 << 20), st.integers(1, 1 << 20), st.integers(1, 1 << 20))
def test_receiver_that_gives_back_what_it_took_never_stalls_a_stream(count, first, least):
    """As HTTP/2 does it: a first window, and then what was consumed, once it is worth a message."""

    class Returning:
        def __init__(self):
            self.due = first

        def grant(self):
            update, self.due = (self.due, 0) if self.due >= min(least, first) else (0, self.due)
            return update

        def received(self, size):
            self.due += size

    sizes, _ = carried(Sender(LARGE_CHUNK, overdraft=True), Returning(), bytes(count))
    assert sum(sizes) == count
