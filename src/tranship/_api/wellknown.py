"""Google's well-known types, as classes of our pool: only these fit into our messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship._api.pool import POOL, message_class

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any
    from google.protobuf.empty_pb2 import Empty
    from google.protobuf.field_mask_pb2 import FieldMask
    from google.protobuf.timestamp_pb2 import Timestamp
else:
    Any = message_class(POOL.FindMessageTypeByName("google.protobuf.Any"))
    Empty = message_class(POOL.FindMessageTypeByName("google.protobuf.Empty"))
    FieldMask = message_class(POOL.FindMessageTypeByName("google.protobuf.FieldMask"))
    Timestamp = message_class(POOL.FindMessageTypeByName("google.protobuf.Timestamp"))

__all__ = ["Any", "Empty", "FieldMask", "Timestamp"]
