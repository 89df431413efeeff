"""A response while it is open: its head, and its body as a reader."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from tranship.errors import DataLoss, DeadlineExceeded, Truncated, Unavailable, printable
from tranship.http.failures import FAILURES, Broken, broken
from tranship.pump import CHUNK

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tranship.formats.messages import Response
    from tranship.http.connection import Incoming
    from tranship.http.limits import Throttle

MAX_ERROR = 1 << 20  # bytes of a refusal's body; the rest is not read
_DRAIN = 64 * 1024  # bytes of a body nobody wants that are read to keep its connection


class Answer:
    """An open response. A Reader for its body; close it, or use it in a `with` block, in the thread that opened it.

    A body of a declared length that ends early raises Truncated; a connection that breaks raises Unavailable, one that stops
    DeadlineExceeded. After any of these, what has been read is good, and a new request may ask for the rest.
    """

    def __init__(self, body: Incoming, head: Response, *, who: str, doing: str, throttle: Throttle) -> None:
        self.head = head
        self._body = body
        self._who = who
        self._doing = doing
        self._throttle = throttle
        self._decoder: Any = None
        self._begun = False  # has anything come for the decoder?
        self._on_close: Callable[[], None] | None = None
        self._open = True

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def length(self) -> int | None:
        """Bytes of the body still to come; None where the server does not say."""
        return self._body.left

    def readinto(self, view: memoryview, /) -> int:
        """Fill as much of `view` as has arrived, at least one byte; 0 at the end."""
        return self._receive(view) if self._decoder is None else self._decode(view)

    def as_stored(self, size: int | None) -> None:
        """Undo a Content-Encoding that nobody asked for, so that what is read is what the registry stores.

        A body that has the blob's `size` as it comes is left alone: object stores label compressed layers so. So is one of no
        bytes, as in answer to HEAD. Unavailable for an encoding that we do not know, but for a refusal, which says enough by
        its status. Call it before the first read.
        """
        encoding = (self.head.headers.get("content-encoding") or "identity").strip().lower()
        if encoding == "identity" or not encoding or self.length == 0 or (size is not None and self.length == size):
            return
        if encoding not in ("gzip", "x-gzip", "deflate"):
            if self.status >= 400:
                return
            raise Unavailable(
                f"{self._who} encoded {self._doing} as {printable(encoding)}, though nobody asked for that"
            )
        import zlib

        self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header

    def _receive(self, view: memoryview) -> int:
        view = view[: self._throttle.share(len(view))]
        try:
            count = self._body.readinto(view)
        except FAILURES as error:
            raise broken(error, self._who, self._doing).error from error
        if not count and len(view) and self.length:
            raise Truncated(f"{self._who} ended {self._doing} with {self.length} bytes missing")
        self._throttle.take(count)
        return count

    def _decode(self, view: memoryview) -> int:
        """Decode no more than fits; what is left of the input waits in the decoder."""
        import zlib

        while not self._decoder.eof and len(view):
            encoded = self._decoder.unconsumed_tail
            if not encoded:
                raw = memoryview(bytearray(_DRAIN))
                encoded = raw[: self._receive(raw)]
                if not encoded and not self._begun:
                    return 0  # no bytes are in no encoding
                if not encoded:
                    raise Truncated(f"{self._who} ended {self._doing} in the middle of its encoding")
                self._begun = True
            try:
                data = self._decoder.decompress(encoded, len(view))
            except zlib.error as error:
                raise DataLoss(f"{self._who} encoded {self._doing} wrongly: {error}") from None
            if data:
                view[: len(data)] = data
                return len(data)
        return 0

    def read(self, limit: int, *, cut: bool = False) -> bytes:
        """The whole body; DataLoss when it has more than `limit` bytes, unless it may be `cut` there."""
        parts: list[bytes] = []
        left = limit + 1
        view = memoryview(bytearray(min(left, CHUNK)))
        while left and (count := self.readinto(view[: min(left, len(view))])):
            parts.append(bytes(view[:count]))
            left -= count
        if left or cut:
            return b"".join(parts)[:limit]
        raise DataLoss(f"{self._who} gave more than {limit} bytes for {self._doing}")

    def fetch(self, limit: int, *, cut: bool = False) -> Self:
        """Read the whole body into `head`, as part of an attempt: Broken where another one may do better; else as `read`.

        A refusal counts by its status, whatever comes of its body. When this raises, it has closed the answer.
        """
        refused, body = self.status >= 400, b""
        try:
            self.as_stored(None)
            try:
                body = self.read(min(limit, MAX_ERROR) if refused else limit, cut=cut or refused)
            except (DataLoss, Unavailable, DeadlineExceeded) as error:
                if not refused:
                    raise (Broken(error) if error.retryable else error) from error.__cause__
        except BaseException:
            self.close()
            raise
        self.head = replace(self.head, body=body)
        return self

    def close(self) -> None:
        """Give the connection back if the body has been read, and end it otherwise."""
        if not self._open:
            return
        self._open = False
        try:
            self._body.close()
        finally:
            if self._on_close is not None:
                self._on_close()

    def when_closed(self, call: Callable[[], None]) -> None:
        """Have `call` called once, when this is closed."""
        self._on_close = call

    def discard(self) -> None:
        """Close, after reading a small rest so that the connection can be used again."""
        try:
            if self.length is None or self.length <= _DRAIN:
                self.read(_DRAIN, cut=True)
        except Exception:  # noqa: BLE001, S110  # nobody wants this body, so nobody cares how it ends
            pass
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
