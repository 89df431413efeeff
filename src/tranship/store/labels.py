"""Labels: what containerd allows in them, and how its field masks change them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_LABEL = 4096  # bytes of key and value together (containerd, pkg/labels/validate.go)

GC_ROOT = "containerd.io/gc.root"
GC_REF_CONTENT = "containerd.io/gc.ref.content"
GC_REF_IMAGE = "containerd.io/gc.ref.image"
GC_BREF_CONTENT = "containerd.io/gc.bref.content"
GC_BREF_IMAGE = "containerd.io/gc.bref.image"
GC_EXPIRE = "containerd.io/gc.expire"
GC_FLAT = "containerd.io/gc.flat"
SHAREABLE = "containerd.io/namespace.shareable"


def checked(labels: Mapping[str, str] | None) -> dict[str, str]:
    """A copy of the labels; InvalidArgument for one that is too long."""
    result = dict(labels or {})
    for key, value in result.items():
        length = len(key.encode()) + len(value.encode())
        if length > MAX_LABEL:
            raise InvalidArgument(
                f"label key and value length ({length} bytes) greater than maximum size ({MAX_LABEL} bytes), "
                f"key: {printable(key, 64)}: invalid argument"
            )
    return result


def merged(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """`old` with the labels of `new` set; an empty value removes one, as everywhere in containerd."""
    return {k: v for k, v in {**old, **new}.items() if v}


def updated(
    old: Mapping[str, str], new: Mapping[str, str] | None, fieldpaths: Sequence[str] | None, what: str
) -> dict[str, str]:
    """Apply an update mask: `labels` replaces all, `labels.KEY` sets or removes one, no mask replaces all.

    Any other path is an InvalidArgument that says so of `what`.
    """
    new = checked(new)
    if not fieldpaths or "labels" in fieldpaths:
        for path in fieldpaths or ():
            _key(path, what)
        return merged({}, new)
    return merged(old, {key: new.get(key, "") for key in (_key(path, what) for path in fieldpaths)})


def _key(path: str, what: str) -> str:
    if path != "labels" and not path.startswith("labels."):
        raise InvalidArgument(f'cannot update "{printable(path)}" field on {what}: invalid argument')
    return path[len("labels.") :]


def refers(key: str, label: str) -> bool:
    """Is `key` the reference label `label`, alone or with `.ANY` or `/ANY` after it? (containerd, core/metadata/gc.go)."""
    return key.startswith(label) and key[len(label) : len(label) + 1] in ("", ".", "/")


def expiry(labels: Mapping[str, str]) -> datetime | None:
    """The time that `gc.expire` names; None when there is none, or none that can be read."""
    text = labels.get(GC_EXPIRE)
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo is not None else None


def expires(when: datetime) -> dict[str, str]:
    """The label that makes a lease or an image end at `when`."""
    return {GC_EXPIRE: when.astimezone(UTC).isoformat().replace("+00:00", "Z")}
