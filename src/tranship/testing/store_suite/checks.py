"""What the checks of the suite are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.store.values import Image

if TYPE_CHECKING:
    from tranship.errors import TranshipError
    from tranship.store import NamespaceView, Store

Check = Callable[["Store"], None]

HELLO = b"hello, world\n"
LAYER = bytes(range(256)) * 1024
REF_CONTENT = "containerd.io/gc.ref.content"
CHECKS: list[Check] = []


def check(function: Check) -> Check:
    """Register a check."""
    CHECKS.append(function)
    return function


def same(found: object, expected: object, what: str) -> None:
    """Raise AssertionError when they differ."""
    if found != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {found!r}")


def refused(error: type[TranshipError], text: str, call: Callable[[], object]) -> None:
    """Raise AssertionError unless the call raises this error, with this text in its message."""
    try:
        result = call()
    except error as found:
        if text not in found.message:
            raise AssertionError(f"expected {text!r} in the message, found {found.message!r}") from found
        return
    raise AssertionError(f"expected {error.__name__} {text!r}, found the result {result!r}")


def add(space: NamespaceView, data: bytes, **options: object) -> Digest:
    """Bring a blob through a writer, as clients of the service do."""
    digest = Digest.of(data)
    with space.content.writer(f"add-{digest}") as writer:
        writer.write(data)
        writer.commit(len(data), digest, **options)  # type: ignore[arg-type]
    return digest


def content_of(space: NamespaceView, digest: Digest, offset: int = 0, size: int = 0) -> bytes:
    """Read a blob, or a part of it."""
    return b"".join(space.content.read(digest, offset, size))


def image(name: str, digest: Digest, **labels: str) -> Image:
    """An image that points at a blob."""
    return Image(name, Descriptor(media_type="application/vnd.test", digest=digest, size=1), labels)
