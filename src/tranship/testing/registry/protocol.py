"""The frame of the distribution protocol: the routes, the kinds of request, and the names that a path may hold.

KINDS is what requests are recorded and counted under, and what faults are aimed at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

from tranship.errors import InvalidReference, printable
from tranship.model.digest import Digest
from tranship.testing.registry.messages import Refusal, Request

if TYPE_CHECKING:
    from tranship.testing.registry.state import State

# Both grammars are the specification's ("Pulling manifests").
NAME = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
MAX_NAME = 255  # characters; longer names meet clients that cannot say them

_ROUTES: tuple[tuple[re.Pattern[str], dict[str, str]], ...] = tuple(
    (re.compile(pattern), kinds)
    for pattern, kinds in (
        (r"/v2/", {"GET": "ping", "HEAD": "ping"}),
        (r"/v2/_catalog", {"GET": "catalog"}),
        (r"/v2/(?P<name>.+)/tags/list", {"GET": "tags"}),
        (r"/v2/(?P<name>.+)/referrers/(?P<argument>[^/]+)", {"GET": "referrers"}),
        (r"/v2/(?P<name>.+)/blobs/uploads/", {"POST": "upload.start"}),
        (
            r"/v2/(?P<name>.+)/blobs/uploads/(?P<argument>[^/]+)",
            {"PATCH": "upload.chunk", "PUT": "upload.finish", "GET": "upload.status", "DELETE": "upload.cancel"},
        ),
        (
            r"/v2/(?P<name>.+)/blobs/(?P<argument>[^/]+)",
            {"GET": "blob.get", "HEAD": "blob.head", "DELETE": "blob.delete"},
        ),
        (
            r"/v2/(?P<name>.+)/manifests/(?P<argument>[^/]+)",
            {"GET": "manifest.get", "HEAD": "manifest.head", "PUT": "manifest.put", "DELETE": "manifest.delete"},
        ),
        (r"/token", {"GET": "token", "POST": "token"}),
    )
)
KINDS = (
    *dict.fromkeys(kind for _, kinds in _ROUTES for kind in kinds.values()),
    "upload.mount",  # an upload.start with `mount`
    "upload.single",  # one with `digest`
    "other",
    "malformed",
)


@dataclass(frozen=True, slots=True)
class Options:
    """What the registry allows; RegistryServer documents each."""

    strict: bool = True
    referrers: bool = True
    deletes: bool = True
    writes: bool = True
    sparse_indexes: bool = False
    single_post: bool = True
    page_size: int = 1000
    links: bool = True
    max_manifest: int = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to its handler: the repository, and the digest, tag or upload that its path names."""

    request: Request
    state: State
    options: Options
    name: str = ""
    argument: str = ""

    def digest(self) -> Digest:
        """The argument as a digest, or DIGEST_INVALID."""
        return read_digest(self.argument)


def kind_of(method: str, target: str) -> str:
    """The kind of a request, by its method and target."""
    path, _, query = target.partition("?")
    for pattern, kinds in _ROUTES:
        if pattern.fullmatch(path):
            kind = kinds.get(method, "other")
            if kind == "upload.start" and query:
                given = parse_qs(query, keep_blank_values=True)
                return "upload.mount" if "mount" in given else "upload.single" if "digest" in given else kind
            return kind
    return "other"


def route(request: Request, state: State, options: Options) -> Call:
    """Find out what the path names. Refuses unknown paths (404), methods (405) and names (400)."""
    for pattern, kinds in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match is None:
            continue
        if request.method not in kinds:
            allowed = [("Allow", ", ".join(kinds))]
            raise Refusal(405, "UNSUPPORTED", f"{request.method} is not for this path", headers=allowed)
        named = match.groupdict()
        call = Call(request, state, options, named.get("name") or "", unquote(named.get("argument") or ""))
        if "name" in named:
            check_name(call.name)
        return call
    raise Refusal(404, "UNSUPPORTED", f"no such path: {printable(request.path)}")


def check_name(name: str) -> None:
    """Refuse what is no repository's name. Such names need no percent-encoding, so none is undone."""
    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        raise Refusal(400, "NAME_INVALID", f"invalid repository name: {printable(name)}")


def read_digest(text: str) -> Digest:
    """Read a digest, or refuse with DIGEST_INVALID."""
    try:
        return Digest.parse(text)
    except InvalidReference as error:
        raise Refusal(400, "DIGEST_INVALID", str(error), detail={"digest": text}) from None


def is_tag(text: str) -> bool:
    """Is it a tag, by the grammar?"""
    return TAG.fullmatch(text) is not None
