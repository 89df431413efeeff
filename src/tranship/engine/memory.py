"""A blob that is in memory already: a document that was read while planning, or one that we made."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from tranship.model.descriptor import Descriptor
    from tranship.pump import Reader


class MemoryBlob:
    """A document whose bytes are at hand."""

    __slots__ = ("_raw", "descriptor")

    def __init__(self, descriptor: Descriptor, raw: bytes) -> None:
        self.descriptor = descriptor
        self._raw = raw

    def open(self, offset: int = 0) -> AbstractContextManager[Reader]:
        """Open the bytes in memory."""
        reader = io.BytesIO(self._raw)
        reader.seek(offset)
        return reader
