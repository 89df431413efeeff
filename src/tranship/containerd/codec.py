"""Any values: how containerd names the type of a message, and what travels on byte streams.

containerd writes the bare name of the message as type URL, `containerd.types.transfer.Data`, and compares it exactly in some
places: so do we write it, and accept `type.googleapis.com/NAME` too. Everything that comes in is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from google.protobuf.message import DecodeError, Message

from tranship._api.services.streaming.v1 import streaming_pb2
from tranship._api.types.transfer import imagestore_pb2, importexport_pb2, progress_pb2, registry_pb2
from tranship._api.types.transfer.streaming_pb2 import Data, WindowUpdate
from tranship._api.wellknown import Any, Empty
from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_TEXT = 4096  # characters of a name, a label's value, a header; containerd bounds labels by this
MAX_ITEMS = 1024  # platforms, references, labels or headers of one message
M = TypeVar("M", bound=Message)
T = TypeVar("T")

_DATA, _WINDOW = Data.DESCRIPTOR.full_name, WindowUpdate.DESCRIPTOR.full_name
_TAG = b"\n"  # of field 1, which has a length: Any.type_url, Data.data
_BEFORE = _TAG + bytes([len(_DATA)]) + _DATA.encode() + b"\x12"  # of a Data in an Any, up to the length of Any.value
# What may come on a byte stream by mistake and is passed over there.
_KNOWN = {
    message.DESCRIPTOR.full_name
    for message in (
        Empty,
        imagestore_pb2.ImageStore,
        importexport_pb2.ImageExportStream,
        importexport_pb2.ImageImportStream,
        progress_pb2.Progress,
        registry_pb2.AuthRequest,
        registry_pb2.AuthResponse,
        registry_pb2.OCIRegistry,
        streaming_pb2.StreamInit,
    )
}


def type_name(wrapped: Any) -> str:
    """The full name of the message within, by either form of type URL."""
    name: str = wrapped.type_url.rpartition("/")[2]
    return name


def pack(message: Message) -> Any:
    """Wrap a message under its bare name."""
    return Any(type_url=message.DESCRIPTOR.full_name, value=message.SerializeToString(deterministic=True))


def unpack(wrapped: Any, wanted: type[M]) -> M:
    """Unwrap a message of the wanted type. Raises InvalidArgument for another one, or for bytes that are none."""
    if type_name(wrapped) != wanted.DESCRIPTOR.full_name:
        raise InvalidArgument(
            f"expected a message of type {wanted.DESCRIPTOR.full_name}, found {url(wrapped) or 'none at all'}"
        )
    return parse(wrapped, wanted)


def pack_data(data: bytes) -> Any:
    """Wrap bytes of a byte stream."""
    return Any(type_url=_DATA, value=Data(data=data).SerializeToString())


def encode_data(data: bytes | memoryview) -> bytes:
    """The same, as it goes over the wire: written by hand, since each message of protobuf's costs two more copies."""
    within = _TAG + _varint(len(data))
    return b"".join((_BEFORE, _varint(len(within) + len(data)), within, data))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class _Arrived:
    """Stands for an Any of Data: its bytes are a view of what came."""

    __slots__ = ("data",)
    type_url = _DATA

    def __init__(self, data: memoryview) -> None:
        self.data = data

    @property
    def value(self) -> bytes:
        return Data(data=bytes(self.data)).SerializeToString()


def decode_any(raw: bytes) -> Any:
    """An Any as it comes over the wire; DecodeError when it is none. Data is read by hand: protobuf copies it four times."""
    if raw.startswith(_BEFORE):
        length, at = _varint_at(raw, len(_BEFORE))
        if at + length == len(raw) and raw.startswith(_TAG, at):
            length, at = _varint_at(raw, at + len(_TAG))
            if at + length == len(raw):
                return cast("Any", _Arrived(memoryview(raw)[at:]))
    return Any.FromString(raw)


def _varint_at(raw: bytes, at: int) -> tuple[int, int]:
    """A number of at most 28 bits, and where it ends; (0, 0) where there is none."""
    value = 0
    for shift, byte in zip((0, 7, 14, 21), raw[at : at + 4], strict=False):
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    return 0, 0


def pack_window(update: int) -> Any:
    """Wrap a window update of a byte stream."""
    return Any(type_url=_WINDOW, value=WindowUpdate(update=update).SerializeToString())


def unpack_flow(wrapped: Any | _Arrived) -> bytes | memoryview | int | None:
    """What a byte stream carries: bytes of Data, the number of a WindowUpdate, None for anything else that we know.

    As in containerd, an unexpected message of a known type is passed over; an unknown one raises InvalidArgument.
    """
    if isinstance(wrapped, _Arrived):
        return wrapped.data
    name = type_name(wrapped)
    if name == _DATA:
        return parse(wrapped, Data).data
    if name == _WINDOW:
        return parse(wrapped, WindowUpdate).update
    if name not in _KNOWN:
        raise InvalidArgument(f"failed to unmarshal received object: type with url {url(wrapped)}: not found")
    return None


def parse(wrapped: Any, wanted: type[M]) -> M:
    """The message within, whatever type it is said to have."""
    try:
        return wanted.FromString(wrapped.value)
    except DecodeError:
        raise InvalidArgument(
            f"the {len(wrapped.value)} bytes within are no message of type {wanted.DESCRIPTOR.full_name}"
        ) from None


def url(wrapped: Any) -> str:
    """The type URL, safe to print."""
    return printable(wrapped.type_url)


def text(value: str, field: str) -> str:
    """The text, when it is not too long."""
    if len(value) > MAX_TEXT:
        raise InvalidArgument(f"{field} has {len(value)} characters; at most {MAX_TEXT} are read")
    return value


def few(items: Iterable[T], field: str) -> list[T]:
    """The entries, when they are not too many."""
    found = list(items)
    if len(found) > MAX_ITEMS:
        raise InvalidArgument(f"{field} has {len(found)} entries; at most {MAX_ITEMS} are read")
    return found


def labels(items: Mapping[str, str]) -> dict[str, str]:
    """The labels, when they are not too many. How long one may be is the store's to say, in containerd's words."""
    few(items, "labels")
    return dict(items)


def string_map(items: Mapping[str, str], field: str) -> dict[str, str]:
    """The labels or headers, when they are neither."""
    few(items, field)
    return {text(key, field): text(value, f"{field}[{printable(key, 64)}]") for key, value in items.items()}
