"""A descriptor pool of our own, and how the generated modules fill it.

In protobuf's default pool a message name or file name may stand once in a process: a second library that carries
containerd's messages would break on ours. Here they meet nobody. The names on the wire are the same; only Python's classes
are ours, so a well-known type that goes into one of our messages comes from `wellknown`, not from google.protobuf.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import any_pb2, descriptor_pool, empty_pb2, field_mask_pb2, timestamp_pb2
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.message import Message

POOL = descriptor_pool.DescriptorPool()
for _file in (any_pb2, empty_pb2, field_mask_pb2, timestamp_pb2):
    POOL.AddSerializedFile(_file.DESCRIPTOR.serialized_pb)


def define(namespace: dict[str, Any], serialized: bytes) -> FileDescriptor:
    """Add a serialized FileDescriptorProto, and put its messages, enums and enum values into a module's namespace."""
    file: FileDescriptor = POOL.AddSerializedFile(serialized)
    for name, message in file.message_types_by_name.items():
        namespace[name] = message_class(message)
    for name, enum in file.enum_types_by_name.items():
        namespace[name] = EnumTypeWrapper(enum)
        namespace.update((value.name, value.number) for value in enum.values)
    return file


def message_class(descriptor: Descriptor) -> type[Message]:
    """The one Python class of a message of our pool."""
    found: type[Message] = GetMessageClass(descriptor)
    return found
