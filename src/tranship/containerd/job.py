"""One transfer that a containerd does for us: the streams that its request names, served by threads until it has ended.

    with Job(channel, run) as job:                     # the channel has a lease of ours
        source = registry(value, job.answering(value.finder()))
        job.run(source, destination)

Success is said when what we receive has been read to its end: a containerd answers before an archive has arrived, and only the
end of the lease makes it close the stream, at some collection. What arrives is followed from member to member, so that its own
end is known too.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from tranship.containerd.credentials import decode_question, encode_credential
from tranship.containerd.ends import transfer_request
from tranship.containerd.leasing import give_back
from tranship.containerd.methods import Transfer
from tranship.containerd.progress import decode
from tranship.containerd.streams import ByteReader, ByteWriter, ClientStream
from tranship.engine.progress import Outcome, Progress, Stage
from tranship.errors import DeadlineExceeded, TranshipError, Truncated
from tranship.formats.stream_window import LARGE_CHUNK, Sender
from tranship.formats.tar import TarStream
from tranship.pump import pump

if TYPE_CHECKING:
    from collections.abc import Callable

    from tranship._api.wellknown import Any
    from tranship.containerd.channel import Channel
    from tranship.containerd.wire import WireEnd
    from tranship.endpoints.archive import Archive
    from tranship.endpoints.registry import Find
    from tranship.engine.run import Run
    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest
    from tranship.pump import Advance

END = 60.0  # seconds in which a stream must end after the transfer has; a containerd takes a fourth of one, mostly
SOON = 2.0  # seconds in which it should
WINDOW = 1 << 20  # bytes granted at a time to what we receive
_INTERVAL = 0.1  # seconds between two looks at whether to stop, and between two events about bytes
_OUTCOMES = {"complete": Outcome.COPIED, "already exists": Outcome.PRESENT}


class Job:
    """A context: its streams and threads are gone when it ends.

    present  digests of what was there before, as far as we were told
    saved    images that were stored, as far as we were told: their names and targets
    """

    def __init__(self, channel: Channel, run: Run) -> None:
        """The channel's calls carry a lease of ours, which is given back when the work has ended well."""
        self.present: set[Digest] = set()
        self.saved: dict[str, Descriptor | None] = {}
        self._channel = channel
        self._run = run
        self._parts: list[_Part] = []
        self._receiving = False
        self._arrived = threading.Event()  # the archive that we receive has, to its end
        self._ended = threading.Event()  # the transfer has, well or not
        self._well = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for part in self._parts:
            part.stop()

    # ----------------------------------------------------------------------------------------------------------- streams

    def answering(self, find: Find) -> str:
        """Open an auth stream, on which `find` is asked; its id."""

        def answer(stream: _Theirs) -> None:
            while (message := stream.receive()) is not None:
                question = decode_question(message)
                repository = question.reference.partition("/")[2].partition("@")[0].rpartition(":")[0]
                stream.send(encode_credential(find(question.host, repository)))

        return self._open("creds", answer)

    def sending(self, archive: Archive) -> str:
        """Open a byte stream on which an archive's bytes go out; its id."""

        def send(stream: _Theirs) -> None:
            writer = ByteWriter(stream, Sender(LARGE_CHUNK, overdraft=True))
            with archive.raw() as reader:
                pump(reader, writer.write, advance=self._meter("uploading"))
            writer.finish()

        return self._open("import", send)

    def receiving(self, archive: Archive) -> str:
        """Open a byte stream on which an archive's bytes come in; its id."""

        def receive(stream: _Theirs) -> None:
            reader = ByteReader(stream, WINDOW)
            with archive.taking() as write:
                for _member in TarStream(_Tee(reader, write, self._meter("downloading"))):
                    pass
                self._arrived.set()
                with contextlib.suppress(_Gone):
                    pump(reader, lambda _zeros: None)  # by which a tranship daemon knows that we have it
                self._ended.wait()  # an archive is good only where the answer is
                if not self._well:
                    raise _Gone

        self._receiving = True
        return self._open("export", receive, awaited=True)

    def _open(self, kind: str, work: Callable[[_Theirs], None], *, awaited: bool = False) -> str:
        stream = ClientStream(self._channel, f"{kind}-{secrets.token_hex(8)}")
        self._parts.append(_Part(stream, work, awaited=awaited))
        return stream.id

    # -------------------------------------------------------------------------------------------------------------- work

    def run(self, source: WireEnd, destination: WireEnd) -> None:
        """Have it done. Raises what failed at our end of a stream, or else what the daemon answers."""
        progress = self._open("progress", self._listen, awaited=True)
        pending = self._channel.begin(Transfer.TRANSFER, transfer_request(source, destination, progress))
        try:
            while not pending.wait(_INTERVAL):
                self._run.check()
                self._raise_ours()
            self._raise_ours()
            pending.result()
        except BaseException:
            pending.cancel()
            raise
        self._well = True
        self._ended.set()
        give_back(self._channel, self._channel.lease)
        for part in self._parts:
            if part.awaited:
                self._await(part)
        self._raise_ours(broken=True)

    def _await(self, part: _Part) -> None:
        """Wait for a stream's end; no longer than a moment, when what it carries has ended by its own account."""
        deadline = time.monotonic() + END
        while not part.wait(SOON):
            if self._arrived.is_set():
                part.stream.cancel()
            elif time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"the daemon has not ended stream {part.stream.id} within {END:g} seconds of its answer"
                )
            self._run.check()

    def _raise_ours(self, *, broken: bool = False) -> None:
        """Raise what failed at our end; and what the daemon broke off, once it has said that all is well."""
        for part in self._parts:
            if part.error is not None and (broken or not isinstance(part.error, Truncated)):
                raise part.error
        if broken and self._receiving and not self._arrived.is_set():
            raise Truncated("the daemon's archive broke off before its end")

    # ---------------------------------------------------------------------------------------------------------- progress

    def _listen(self, stream: _Theirs) -> None:
        while (message := stream.receive()) is not None:
            event = decode(message)
            if event.stage is Stage.BLOB:
                outcome = _OUTCOMES.get(event.event)
                if outcome is Outcome.PRESENT and event.descriptor is not None:
                    self.present.add(event.descriptor.digest)
                self._run.report(replace(event, outcome=outcome))
            elif event.event == "saved":
                self.saved[event.name] = event.descriptor
            elif event.stage is Stage.NOTICE and not event.event.startswith("Pulling from "):
                self._run.report(event)

    def _meter(self, word: str) -> Advance:
        done, due = 0, time.monotonic() + _INTERVAL

        def advance(count: int) -> None:
            nonlocal done, due
            self._run.check()
            done += count
            if time.monotonic() >= due:
                due = time.monotonic() + _INTERVAL
                self._run.report(Progress(stage=Stage.RECEIVING, event=word, progress=done))

        return advance


class _Tee:
    """A reader that hands on what it reads."""

    def __init__(self, reader: ByteReader, write: Callable[[memoryview], object], advance: Advance) -> None:
        self._reader = reader
        self._write = write
        self._advance = advance

    def readinto(self, buffer: memoryview, /) -> int:
        count = self._reader.readinto(buffer)
        self._write(buffer[:count])
        self._advance(count)
        return count


class _Gone(Exception):  # no error of ours: the transfer's answer tells
    """The daemon's end of a stream is gone."""


class _Theirs:
    """A client's stream whose failures tell nothing of our own end; a Duplex."""

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream

    def send(self, message: Any | bytes) -> None:
        self._stream.send(message)

    def receive(self) -> Any | None:
        try:
            return self._stream.receive()
        except TranshipError:
            raise _Gone from None

    def close(self) -> None:
        self._stream.close()


class _Part:
    """A stream and the thread that serves it; `error` is what failed at our end of it."""

    def __init__(self, stream: ClientStream, work: Callable[[_Theirs], None], *, awaited: bool) -> None:
        self.stream = stream
        self.awaited = awaited
        self.error: BaseException | None = None
        self._work = work
        self._thread = threading.Thread(target=self._serve, name="tranship-stream", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._work(_Theirs(self.stream))
        except _Gone:
            pass
        except BaseException as error:  # noqa: BLE001  # carried to the caller's thread, whatever it is
            self.error = error
            self.stream.cancel()

    def wait(self, timeout: float) -> bool:
        """Has it been served, or failed, within so many seconds?"""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Give the stream up. A thread that waits for a pipe of ours to be filled may outlive this."""
        self.stream.cancel()
        self._thread.join(1.0)
