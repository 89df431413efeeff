"""What every endpoint must do, as checks for the author of a new one. They raise AssertionError that says what is wrong.

    def test_my_endpoint(tmp_path):
        check_endpoint(lambda: MyEndpoint(tmp_path / fresh_name()))

`make` gives a fresh, empty end each time; the same value must open as destination first and as source after.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from tranship.engine.transfer import transfer
from tranship.errors import DigestMismatch, NotFound, Truncated
from tranship.testing.graphs import random_images
from tranship.testing.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable


def check_endpoint(make: Callable[[], Any], *, seeds: range = range(5)) -> None:
    """Run every check. Use the single ones where an end cannot do something by its nature."""
    for seed in seeds:
        check_round_trip(make(), seed)
    check_repeats(make(), seeds[0])
    for damage in (flipped, shortened, absent):
        check_refuses(make(), damage)


def check_round_trip(end: Any, seed: int) -> None:
    """What is written can be read again: the same names, the same bytes."""
    original, back = random_images(random.Random(seed)), Memory()
    transfer(original, end)
    transfer(end, back)
    _same(original, back)


def check_repeats(end: Any, seed: int) -> None:
    """Twice is once: a second transfer changes nothing."""
    original, back = random_images(random.Random(seed)), Memory()
    transfer(original, end)
    transfer(original, end)
    transfer(end, back)
    _same(original, back)


def check_refuses(end: Any, damage: Callable[[Memory], Any]) -> None:
    """Damaged content is refused, and nothing of it is visible."""
    original = random_images(random.Random(11), count=1)
    damage(original)
    try:
        transfer(original, end)
    except (DigestMismatch, Truncated, NotFound):
        pass
    else:
        raise AssertionError(f"{damage.__name__} content was accepted")
    back = Memory()
    try:
        transfer(end, back)
    except Exception:  # noqa: BLE001  # an end that does not exist yet may refuse to open in its own way
        return
    if back.names:
        raise AssertionError(f"{damage.__name__} content left names: {sorted(back.names)}")


def flipped(images: Memory) -> None:
    """Change a byte of the largest blob."""
    digest = max(images.blobs, key=lambda d: len(images.blobs[d]))
    raw = images.blobs[digest]
    images.blobs[digest] = bytes((raw[0] ^ 1,)) + raw[1:]


def shortened(images: Memory) -> None:
    """Cut the largest blob."""
    digest = max(images.blobs, key=lambda d: len(images.blobs[d]))
    images.blobs[digest] = images.blobs[digest][:-1]


def absent(images: Memory) -> None:
    """Take the largest blob away."""
    del images.blobs[max(images.blobs, key=lambda d: len(images.blobs[d]))]


def _same(one: Memory, other: Memory) -> None:
    if one.blobs != other.blobs:
        lost, new = one.blobs.keys() - other.blobs.keys(), other.blobs.keys() - one.blobs.keys()
        raise AssertionError(f"content differs: {len(lost)} blobs lost, {len(new)} came from nowhere")
    if {n: d.digest for n, d in one.names.items()} != {n: d.digest for n, d in other.names.items()}:
        raise AssertionError(f"names differ: {sorted(one.names)} became {sorted(other.names)}")
