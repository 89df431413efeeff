"""What a registry may do wrong while images are read from it or written to it, and how each transfer must end: one row a case.

    comes("drop", after=5 << 20)                      the image arrives
    fails("redirect", Unavailable, "more than 5 times", to="loop")

Parameters are those of `RegistryServer.fault`. Faults that strike any kind of request get a row for each kind that matters.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.registry_runs import LARGE, LAYER, OLD, OLD_LAYER, PATIENCE, SHORT
from tranship.errors import (
    DataLoss,
    DeadlineExceeded,
    DigestMismatch,
    FailedPrecondition,
    InvalidArgument,
    MissingContent,
    NoSpace,
    NotFound,
    PermissionDenied,
    PolicyRefused,
    RateLimited,
    TranshipError,
    Truncated,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from tranship.model import mediatypes
from tranship.testing.registry import CONFUSIONS, FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterator

HALF = LARGE // 2
_OF_ROW = {"most", "auth", "realm", "mirror", "another", "chunk", "there"}  # what is no parameter of a fault


@dataclass(frozen=True)
class Row:
    """One case.

    error    how the transfer ends; None: the image arrives whole
    says     a regular expression that the message matches: object and cause
    most     requests that the registry gets at most
    beside   further faults
    auth     how the registry asks for credentials
    realm    the other host is a token service that the registry may name: it may be told
    mirror   error and message where the other end is a registry, if they differ
    another  what arrives is another image than usual, whole all the same
    chunk    bytes of one request of an upload
    there    the registry has the blobs already
    """

    fault: str
    parameters: dict[str, Any]
    error: type[TranshipError] | None = None
    says: str = ""
    most: int = 8
    beside: dict[str, dict[str, Any]] = field(default_factory=dict)
    auth: str = "basic"
    realm: bool = False
    mirror: tuple[type[TranshipError], str] | None = None
    another: bool = False
    chunk: int | None = None
    there: bool = False

    @property
    def patience(self) -> float:
        """Seconds that the client waits for a silent registry. On a busy machine it may then wait once too often."""
        return SHORT if {"silence", "slow-head", "slow-body", "stall"} & {self.fault, *self.beside} else PATIENCE

    def __str__(self) -> str:
        shown = (f"{key}={_short(value)}" for key, value in self.parameters.items())
        return "-".join([self.fault, *shown])

    @property
    def aims(self) -> tuple[str, ...]:
        """The kinds of request that it is aimed at."""
        kind = self.parameters.get("kind", FAULTS[self.fault].aim)
        return (kind,) if isinstance(kind, str) else kind


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 24 and text.isprintable() else f"{text[:16]!a}…"


def comes(fault: str, /, *, beside: dict[str, dict[str, Any]] | None = None, **parameters: Any) -> Row:
    """The image arrives."""
    return _row(fault, None, "", beside or {}, parameters)


def fails(
    fault: str,
    error: type[TranshipError],
    says: str,
    /,
    *,
    beside: dict[str, dict[str, Any]] | None = None,
    **parameters: Any,
) -> Row:
    """The transfer ends so, and nothing has changed at the destination."""
    return _row(fault, error, says, beside or {}, parameters)


def _row(
    fault: str,
    error: type[TranshipError] | None,
    says: str,
    beside: dict[str, dict[str, Any]],
    parameters: dict[str, Any],
) -> Row:
    own = {key: parameters.pop(key) for key in _OF_ROW & parameters.keys()}
    return Row(fault, parameters, error, says, beside=beside, **own)


# Whatever happens once to a request without content is mended by another attempt.
ONCE: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("status", {"code": code}) for code in (408, 425, 429, 500, 502, 503, 504)),
    *(("rate-limit", {"retry_after": after}) for after in (0, "past", "negative", "junk", None)),
    ("slow-head", {}),
    ("silence", {}),
    ("header-flood", {}),
    ("long-header", {}),
    ("junk-status", {}),
    ("endless-continue", {}),
    ("hang-up", {}),
    ("hang-up", {"reset": True}),
    ("refuse", {"seconds": 0.02}),
    ("bytes-after", {}),
)
READS = ("manifest.head", "manifest.get", "blob.get")
CUT_RANGE = {"drop": {"after": HALF, "path": f"{LAYER}"}}  # so that a range is asked for


def _pull() -> Iterator[Row]:
    for (fault, parameters), kind in itertools.product(ONCE, READS):
        yield comes(fault, kind=kind, most=9, **parameters)
    for kind in READS:
        yield comes("connection-close", kind=kind)
        yield comes("expire-tokens", kind=kind, auth="token", most=13)
    yield comes("rate-limit", retry_after="date", kind="blob.get")
    yield comes("rate-limit", retry_after="absurd", kind="manifest.head")
    yield comes("connect-reset")
    yield fails("connect-reset", Unavailable, "tag 1 .*reset by peer.*5 attempts", times=None)
    # A status that is no passing one; a HEAD that is refused says nothing yet, and GET is tried.
    for code, error, says in (
        (400, FailedPrecondition, "refused GET of {}"),
        (401, Unauthenticated, "refused pull access"),
        (403, PermissionDenied, "denied pull access"),
        (404, NotFound, "{} .*is not"),
        (418, FailedPrecondition, "refused GET of {}"),
        (501, Unsupported, "does not support GET of {}"),
    ):
        yield fails("status", error, says.format("tag 1"), code=code, kind="manifest", times=None)
        yield fails("status", error, says.format("blob"), code=code, kind="blob.get", times=None)
    for code in (400, 403, 418):
        yield comes("status", code=code, kind="manifest.head")
    yield fails("status", Unavailable, "failed at tag 1 .*500.*5 attempts", code=500, times=None, most=10)
    yield fails(
        "status", Unavailable, "failed at blob .*503.*5 attempts", code=503, times=None, kind="blob.get", most=25
    )
    yield fails("rate-limit", RateLimited, "limits our rate for tag 1 .*5 attempts", times=None)
    yield fails("rate-limit", RateLimited, "limits our rate for blob", times=None, kind="blob.get", most=25)
    for form in ("huge", "html", "malformed", "control", "empty", "nested", "strange"):
        yield comes("error-body", form=form, kind="manifest.head")
        yield fails("error-body", FailedPrecondition, "refused GET of blob", form=form, kind="blob.get")
        yield fails("error-body", PermissionDenied, "denied pull access", form=form, code=403, kind="blob.get")
    yield from _pull_connections()
    yield from _pull_content()
    yield from _pull_addresses()
    yield from _pull_credentials()


def _pull_connections() -> Iterator[Row]:
    """Bodies that break, and registries that always fail."""
    for fault in ("drop", "reset"):
        for after in (0, 1, HALF, LARGE - 1):
            yield comes(fault, after=after, kind="blob.get", path=f"{LAYER}")
        yield comes(fault, after=HALF // 8, times=12, kind="blob.get", path=f"{LAYER}", most=19)
        yield fails(
            fault,
            Unavailable if fault == "reset" else Truncated,
            "blob|layer",
            after=1,
            times=None,
            kind="blob.get",
            most=21,
        )
    yield comes("stall", after=HALF, kind="blob.get")
    yield fails(
        "stall",
        DeadlineExceeded,
        "stopped sending or taking bytes at GET of blob",
        after=1,
        times=None,
        kind="blob.get",
        most=21,
    )
    for fault in ("drop", "reset", "stall"):
        yield comes(fault, after=10, kind="manifest.get")
    yield fails("drop", Truncated, "GET of manifest .*5 attempts", after=10, times=None, kind="manifest.get")
    for fault, error, says in (
        ("slow-head", DeadlineExceeded, "stopped sending"),
        ("silence", DeadlineExceeded, "stopped sending"),
        ("header-flood", Unavailable, "headers"),
        ("long-header", Unavailable, "header"),
        ("junk-status", Unavailable, "no HTTP status line"),
        ("endless-continue", Unavailable, "headers"),
        ("hang-up", Unavailable, "closed without an answer"),
    ):
        yield fails(fault, error, f"(?=.*HEAD of tag 1 )(?=.*{says}).*5 attempts", times=None)
    yield comes("bytes-after", times=None)
    yield comes("slow-body", most=9)
    yield fails("slow-body", DeadlineExceeded, "stopped sending", times=None, most=21)
    yield comes("truncate", to=50_000, most=9)
    yield fails("truncate", DataLoss, "has 50000 bytes, its descriptor says", to=50_000, times=None, most=9)
    yield comes("endless")
    yield comes("endless", times=None)
    yield comes("chunked-junk", after=10)
    yield fails(
        "chunked-junk", Unavailable, "GET of blob .*chunk of the body is no number", after=10, times=None, most=21
    )
    for by in (1, -1):
        yield comes("wrong-length", by=by, most=9)
        yield fails("wrong-length", DataLoss, "its descriptor says", by=by, times=None, most=9)


def _pull_content() -> Iterator[Row]:
    """Other bytes, other headers, ranges that lie, documents that two readers understand differently."""
    for at in (0, -1):
        yield comes("wrong-bytes", at=at, kind="manifest.get")
        yield comes("wrong-bytes", at=at, kind="blob.get", most=9)
    yield fails("wrong-bytes", DigestMismatch, "gave other bytes for manifest", times=None)
    yield fails("wrong-bytes", DigestMismatch, "(layer|config) .*is corrupt", times=None, kind="blob.get", most=9)
    yield fails("wrong-digest-header", NotFound, "manifest sha256:0000", kind="manifest.head")
    yield comes("wrong-digest-header", kind=("manifest.get", "blob"), times=None)
    for value in ("junk", "\x1b[2J", "md5:" + "0" * 32):
        yield comes("wrong-digest-header", value=value, times=None)
    yield comes("wrong-content-type")
    yield comes("wrong-content-type", value=None, times=None)
    yield comes("wrong-content-type", value="text/plain; charset=utf-8", times=None)
    yield fails("wrong-content-type", InvalidArgument, "is a 'text/html', neither", times=None)
    yield fails("wrong-content-type", InvalidArgument, "says mediaType", value=mediatypes.OCI_INDEX, times=None)
    yield fails("wrong-size-header", DataLoss, "manifest .*bytes, not 1 as was said")
    yield comes("wrong-size-header", value="-1")
    yield fails("wrong-size-header", InvalidArgument, "manifest .*at most", value=str(1 << 60))
    yield comes("huge-manifest", size=5 << 20)
    yield fails("huge-manifest", DataLoss, "gave more than 4393216 bytes for GET of manifest", times=None, size=5 << 20)
    yield comes("gzip")
    yield comes("gzip", only_say=True, kind="blob.get")
    yield fails("gzip", DataLoss, "encoded GET of manifest .*wrongly", only_say=True)
    yield fails("gzip", DataLoss, "gave more than 4393216 bytes", bomb=64 << 20)
    yield comes("gzip", bomb=64 << 20, kind="blob.get")  # it is read no further than the layer goes
    old = str(OLD.digest)
    yield comes("substitute", to=old, kind="manifest", another=True)  # as if the tag had moved
    yield fails("substitute", DigestMismatch, "gave other bytes for manifest", to=old, kind="manifest.get")
    yield fails("substitute", DataLoss, "its descriptor says", to=str(OLD_LAYER), kind="blob.get", most=9)
    yield comes("tag-moves", to=old)
    yield comes("ignore-range", beside=CUT_RANGE)
    yield comes("range-refused", beside=CUT_RANGE, most=9)
    yield comes("range-refused", beside=CUT_RANGE, times=None, most=9)
    for form in ("offset", "start", "total", "missing", "junk", "short"):
        yield comes("lying-range", form=form, beside=CUT_RANGE, most=9)
    for form in ("start", "total", "missing", "junk"):
        yield comes("lying-range", form=form, beside=CUT_RANGE, times=None, most=9)
    for form in CONFUSIONS:
        if form in ("wrong-data", "control-media-type"):  # `data` is never looked at; a layer may be of any type
            yield comes("confusion", form=form, another=True)
        elif form == "huge-size":
            yield fails("confusion", NoSpace, "no space", form=form, mirror=(DataLoss, "its descriptor says"))
        elif form in ("small-size", "empty", "index-as-manifest"):
            yield fails("confusion", DataLoss, "", form=form, most=9)
        else:
            yield fails("confusion", Unsupported if form == "schema1" else InvalidArgument, "", form=form)
    yield comes("foreign-urls", another=True)  # what the manifest names elsewhere is not looked at
    yield comes("no-head")
    yield comes("head-without-length")
    yield comes("no-digest-header")


def _pull_addresses() -> Iterator[Row]:
    """Redirects."""
    for to in ("elsewhere", "plain", "dots", "chain", "crlf"):
        yield comes("redirect", to=to, most=16)
    for kind in ("manifest.head", "manifest.get"):
        yield comes("redirect", kind=kind)
    for code in (301, 302, 303, 308):
        yield comes("redirect", code=code)
    for to, error, says in (
        (
            "relative",
            Unavailable,
            "unusable place",
        ),  # `sha256:…` alone is a URL with a scheme of that name (RFC 3986, 4.2)
        ("loop", Unavailable, "more than 5 times"),
        ("none", Unavailable, "no Location"),
        ("file", Unavailable, "neither http nor https"),
        ("link-local", PolicyRefused, "no place for content"),
        ("userinfo", Unavailable, "user information"),
        ("junk", Unavailable, "unusable place"),
    ):
        yield fails("redirect", error, f"blob sha256:.*{says}", to=to, most=21)
    yield fails("redirect", Unavailable, "more than 5 times", to="chain", hops=9, most=21)


def _pull_credentials() -> Iterator[Row]:
    """Challenges and tokens."""
    yield fails("unauthorized", Unauthenticated, "refused pull access .*401")
    yield fails("unauthorized", Unauthenticated, "refused pull access .*401", auth="token", most=10)
    yield fails("unauthorized", PermissionDenied, "denied pull access .*403", code=403)
    for form in ("junk", "huge", "quotes", "none"):
        yield fails("challenge", Unauthenticated, "refused pull access", form=form, auth="token")
    for form in ("unclosed", "crlf", "unknown", "no-realm"):
        yield fails("challenge", Unauthenticated, "offers no way that works", form=form, auth="token")
    yield fails("challenge", Unavailable, "header fields", form="many", auth="token")
    for form in ("elsewhere", "plain"):
        # A registry at loopback may name a token service at another port of loopback; it could ask for the password itself.
        yield fails("challenge", Unauthenticated, "answered 404", form=form, auth="token", realm=True)
    for form in ("link-local", "private", "file", "userinfo"):
        yield fails("challenge", PolicyRefused, "names (the|an unusable) token service", form=form, auth="token")
    for form in ("crlf", "control", "spaces"):
        yield fails("token", Unavailable, "it was not used", form=form, auth="token")
    for form, says in (
        ("huge", "more than"),
        ("huge-body", "more than"),
        ("none", "no token"),
        ("number", "no token"),
        ("html", "not JSON"),
    ):
        yield fails("token", Unavailable, says, form=form, auth="token")
    for fault in ("drop", "reset", "stall"):
        yield comes(fault, after=10, kind="token", auth="token", most=12)
    for form in ("no-expiry", "expired", "absurd-expiry"):
        yield comes("token", form=form, auth="token", most=12)


WRITES = ("manifest.head", "upload.mount", "manifest.put")
CUT_UPLOAD = {"drop": {"after": HALF, "kind": "upload.finish", "path": LAYER.hex}}  # so that its state is asked for
CHUNK = LARGE // 4


def _push() -> Iterator[Row]:
    for (fault, parameters), kind in itertools.product(ONCE, WRITES):
        yield comes(fault, kind=kind, most=17, **parameters)
    for fault, parameters in ONCE:  # of an upload's bytes what has arrived is asked for
        if fault != "bytes-after":
            yield comes(fault, kind="upload.finish", most=23, **parameters)
    for kind in (*WRITES, "upload.finish"):
        yield comes("connection-close", kind=kind, most=13)
        yield comes("expire-tokens", kind=kind, auth="token", most=20)
        yield comes("bytes-after", kind=kind, times=None, most=13)
    yield comes("connect-reset", most=13)
    yield from _push_uploads()
    yield from _push_statuses()
    yield from _push_documents()


def _push_uploads() -> Iterator[Row]:
    for fault in ("drop", "reset"):
        for after in (0, 1, HALF, LARGE - 1):
            yield comes(fault, after=after, kind="upload.finish", path=LAYER.hex, most=18)
        yield comes(fault, after=CHUNK // 2, chunk=CHUNK, times=4, kind="upload.chunk", most=40)
        yield fails(fault, Unavailable, "PUT of (layer|config)", after=0, times=None, kind="upload.finish", most=110)
    yield comes("stall", after=HALF, kind="upload.finish", path=LAYER.hex, most=16)
    for fault in ("silence", "hang-up"):
        yield comes(fault, kind="upload.chunk", chunk=CHUNK, most=40)
        yield comes(fault, kind="upload.status", beside=CUT_UPLOAD, most=20)
    for form in ("relative", "absolute", "last-segment", "no-scheme", "query", "elsewhere", "plain"):
        yield comes("location", form=form, most=13)
    for form, says in (("missing", "no Location"), ("file", "neither http nor https"), ("junk", "unusable place")):
        yield fails("location", Unavailable, f"upload of (layer|config) .*{says}", form=form, most=13)
    yield comes("redirect", kind="upload", to="elsewhere", most=13)
    yield fails("redirect", Unavailable, "redirect that cannot be followed", kind="upload", code=302, most=13)
    for kind in ("upload.finish", "upload.status"):
        yield comes("upload-lost", kind=kind, beside=CUT_UPLOAD, most=22)
    yield comes("upload-lost", kind="upload.chunk", chunk=CHUNK, most=36)
    yield fails("upload-lost", FailedPrecondition, "has lost the upload of (layer|config)", times=None, most=30)
    yield comes("short-accept", chunk=CHUNK, most=36)
    yield fails("short-accept", Unavailable, "no such range of (layer|config)", chunk=CHUNK, times=None, most=80)
    yield comes("upload-moves", most=13)
    yield comes("upload-moves", chunk=CHUNK, most=30)
    yield comes("chunk-refused", chunk=CHUNK, most=36)
    yield fails("chunk-refused", Unavailable, "no such range of (layer|config)", chunk=CHUNK, times=None, most=110)
    yield comes("chunk-min-length", chunk=100_000, size=LARGE // 4, most=40)
    yield comes("mount-ignored", most=15)
    for code in (400, 401, 403, 404, 405, 501):
        yield comes("mount-refused", code=code, most=18)
    for code in (500, 502, 503, 504):
        yield comes("mount-refused", code=code, most=34)
    yield comes("mount-lies", most=20)
    yield comes("mount-lies", times=None, most=20)
    yield comes("commit-lies", most=20)
    yield fails("commit-lies", MissingContent, "refused PUT of tag 1 .*MANIFEST_BLOB_UNKNOWN", times=None, most=26)
    yield comes("exists-lies", most=20)
    yield comes("exists-lies", times=None, beside={"mount-refused": {}}, most=24)
    yield comes("wrong-digest-header", times=None, most=13)
    for fault in ("wrong-size-header", "head-without-length", "no-digest-header", "wrong-digest-header"):
        yield comes(fault, kind="blob.head", beside={"mount-ignored": {}}, there=True, times=None, most=16)
    yield comes("gzip", kind="blob.head", only_say=True, beside={"mount-ignored": {}}, there=True, most=16)
    yield comes("no-head", kind="blob.head", beside={"mount-refused": {}}, there=True, most=18)
    yield comes("no-head", most=16)
    yield comes("head-without-length", most=13)
    yield comes("no-digest-header", most=15)


def _push_statuses() -> Iterator[Row]:
    for code, error, says in (
        (400, FailedPrecondition, "refused PUT of {}"),
        (401, Unauthenticated, "refused push access"),
        (403, PermissionDenied, "denied push access"),
        (413, FailedPrecondition, "finds {} .*too large"),
    ):
        yield fails(
            "status", error, says.format("(layer|config)"), code=code, kind="upload.finish", times=None, most=40
        )
        yield fails("status", error, says.format("tag 1"), code=code, kind="manifest.put", most=14)
    for code in (404, 409, 416):
        yield comes("status", code=code, kind="upload.finish", most=18)
    yield fails(
        "status",
        NotFound,
        "repository acme/app is not",
        code=404,
        kind=("upload.mount", "upload.start"),
        times=None,
        most=16,
    )
    yield fails("status", Unavailable, "failed at (layer|config)", code=500, kind="upload.finish", times=None, most=110)
    yield fails(
        "rate-limit",
        RateLimited,
        "limits our rate for (layer|config)",
        kind=("upload.mount", "upload.start"),
        times=None,
        most=36,
    )
    yield fails("unauthorized", Unauthenticated, "refused pull access", most=14)
    yield fails("unauthorized", Unauthenticated, "refused push access", kind=("upload", "manifest.put"), most=20)
    yield fails("challenge", Unauthenticated, "answered 404", form="elsewhere", auth="token", realm=True)
    yield fails("challenge", PolicyRefused, "token service", form="private", auth="token")
    yield fails("token", Unavailable, "not used", form="crlf", auth="token")
    yield comes("token", form="expired", auth="token", most=30)


def _push_documents() -> Iterator[Row]:
    yield comes("manifest-refused", most=24)
    yield fails("manifest-refused", MissingContent, "refused PUT of tag 1", times=None, most=24)
    yield fails(
        "manifest-refused",
        FailedPrecondition,
        "refused PUT of tag 1 .*MANIFEST_INVALID",
        code="MANIFEST_INVALID",
        most=14,
    )
    yield fails("manifest-refused", NotFound, "MANIFEST_UNKNOWN", code="MANIFEST_UNKNOWN", most=14)
    yield comes("redirect", kind="manifest.put", most=14)
    yield fails("redirect", Unavailable, "redirect that cannot be followed", kind="manifest.put", code=302, most=14)
    yield comes("no-referrers", most=13)
    for form in ("huge", "html", "malformed", "control", "empty", "nested", "strange"):
        yield fails("error-body", FailedPrecondition, "refused PUT of tag 1", form=form, kind="manifest.put", most=14)
        yield fails(
            "error-body", PermissionDenied, "denied push access", form=form, code=403, kind="upload.finish", most=20
        )


PULL = tuple(_pull())
PUSH = tuple(_push())
