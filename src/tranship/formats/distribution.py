"""The registry protocol: requests, and what their responses say (OCI distribution specification 1.1).

A Repository builds requests; the functions below it read responses. A response that is not what was asked for becomes the error
of `refusals`. What a registry claims about content (`Docker-Content-Digest`, Content-Type) is a claim: bytes are hashed, and
the claim serves only to see whether something may already be there.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from tranship.errors import DataLoss, DigestMismatch, InvalidArgument, InvalidReference, OutOfRange, printable
from tranship.formats import scopes as scoping
from tranship.formats.messages import OCTETS, Headers, Request, Response, media_type
from tranship.formats.refusals import refusal, registry_name
from tranship.model import manifest, mediatypes
from tranship.model.digest import ALGORITHMS, Digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.formats.scopes import Scopes
    from tranship.model.descriptor import Descriptor

# What containerd sends; `*/*` for artifacts that have a media type of their own.
ACCEPT_DOCUMENTS = (
    f"{mediatypes.DOCKER_MANIFEST}, {mediatypes.DOCKER_INDEX}, {mediatypes.OCI_MANIFEST}, {mediatypes.OCI_INDEX}, */*"
)
# Content types that say nothing about a document; the last is what S3 calls a file of which it knows nothing.
_VAGUE = frozenset({"", "text/plain", "application/json", OCTETS, "binary/octet-stream"})
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
# RFC 7234, section 5.5, as distribution-spec uses it; a proxy may have put several into one field.
_WARNING = re.compile(r'(?:^|,)\s*+([0-9]{3}) +[^ ",]+ +"((?:[^"\\]|\\.){0,4096}+)"')
_MAX_WARNING = 8 * 1024  # characters of one field; all of them together should have no more than 4096 bytes
_RATE = re.compile(r"([0-9]{1,9})(?:;w=([0-9]{1,9}))?")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as one host of it is asked.

    base       the host's API, without a slash at the end: "https://registry-1.docker.io/v2"
    name       "library/alpine"; "" for what concerns the registry as a whole
    namespace  for a mirror: the registry that the reference names, sent as query `ns`
    """

    base: str
    name: str = ""
    namespace: str | None = None

    def __post_init__(self) -> None:
        if any(part in ("", ".", "..") for part in self.name.split("/")) and self.name:
            raise InvalidReference("a repository's parts cannot be empty or dots", self.name, kind="repository")

    def request(
        self,
        method: str,
        path: str,
        object_: str,
        *,
        scopes: Scopes | None = None,
        query: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Request:
        """Build a request for `path` below the repository."""
        parts = [self.base, quote(self.name, safe="/~"), path] if self.name else [self.base, path]
        query = [*query, ("ns", self.namespace)] if self.namespace else query
        return Request(
            method=method,
            url="/".join(parts) + (f"?{urlencode(query)}" if query else ""),
            headers=headers or {},
            body=body,
            repository=self.name,
            scopes=scoping.pull(self.name) if scopes is None else scopes,
            object=object_,
        )

    def ping(self) -> Request:
        """Is it a registry, and does it want a login?"""
        return Request(method="GET", url=f"{self.base}/", object="the API's root")

    def catalog(self, count: int = 1000) -> Request:
        """The names of all repositories; many registries refuse it."""
        return Repository(self.base, "", self.namespace).request(
            "GET", "_catalog", "the list of repositories", scopes=scoping.CATALOG, query=[("n", str(count))]
        )

    def head_manifest(self, reference: str) -> Request:
        """Is the manifest of a tag or digest there?"""
        return self._manifest("HEAD", reference)

    def get_manifest(self, reference: str) -> Request:
        """The document of a tag or digest."""
        return self._manifest("GET", reference)

    def _manifest(self, method: str, reference: str) -> Request:
        headers = {"Accept": ACCEPT_DOCUMENTS}
        return self.request(method, _manifest_path(reference), _object(reference), headers=headers)

    def put_manifest(self, reference: str, raw: bytes, content_type: str) -> Request:
        """Write a document under a tag, or under its own digest."""
        return self.request(
            "PUT",
            _manifest_path(reference),
            _object(reference),
            scopes=scoping.push(self.name),
            headers={"Content-Type": content_type},
            body=raw,
        )

    def delete_manifest(self, reference: str) -> Request:
        """Delete a tag, or a manifest with every tag that names it."""
        path = _manifest_path(reference)
        return self.request("DELETE", path, _object(reference), scopes=scoping.delete(self.name))

    def head_blob(self, digest: Digest) -> Request:
        """Is the blob there?"""
        return self.request("HEAD", f"blobs/{digest}", f"blob {digest.short}")

    def get_blob(self, digest: Digest, offset: int = 0, count: int | None = None) -> Request:
        """A blob's bytes from `offset` on, at most `count` of them."""
        headers: dict[str, str] = {"Accept": "*/*"}
        if offset or count is not None:
            headers["Range"] = f"bytes={offset}-{'' if count is None else offset + count - 1}"
        return self.request("GET", f"blobs/{digest}", f"blob {digest.short}", headers=headers)

    def delete_blob(self, digest: Digest) -> Request:
        """Delete a blob from the repository."""
        return self.request("DELETE", f"blobs/{digest}", f"blob {digest.short}", scopes=scoping.delete(self.name))

    def tags(self, count: int = 1000) -> Request:
        """The first page of the tags' names."""
        return self.request("GET", "tags/list", "the list of tags", query=[("n", str(count))])

    def referrers(self, digest: Digest, artifact_type: str | None = None) -> Request:
        """The manifests that name `digest` as their subject."""
        query = [("artifactType", artifact_type)] if artifact_type else []
        headers = {"Accept": mediatypes.OCI_INDEX}
        return self.request("GET", f"referrers/{digest}", f"referrers of {digest.short}", query=query, headers=headers)


def _manifest_path(reference: str) -> str:
    return f"manifests/{quote(reference, safe=':')}"


def _object(reference: str) -> str:
    if reference.partition(":")[0] in ALGORITHMS:
        return f"manifest {Digest.parse(reference).short}"
    return f"tag {printable(reference)}"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a HEAD says about a document or blob. Nothing of it is verified."""

    media_type: str
    size: int | None  # bytes
    digest: Digest | None


def claims(headers: Headers) -> Claims:
    """Read the claims; what is absent or malformed is None (or "")."""
    length = headers.get("content-length") or ""
    try:
        digest = Digest.parse(headers.get("docker-content-digest"))
    except InvalidReference:
        digest = None
    return Claims(
        media_type(headers),
        int(length) if length.isascii() and length.isdecimal() and len(length) < 20 else None,
        digest,
    )


def expect(request: Request, response: Response, *statuses: int) -> None:
    """Raise what the response means unless its status is one of these."""
    if response.status not in statuses:
        raise refusal(request, response)


def read_document(request: Request, response: Response, wanted: Digest | None = None) -> tuple[Descriptor, bytes]:
    """The document of a GET, and its descriptor by its own bytes.

    With `wanted`, the digest that was asked for: DigestMismatch for other bytes. A Content-Type that says nothing (text/plain
    and the like) gives way to what the document says itself; any other contradiction is refused when the document is
    parsed. DataLoss for what is no document at all, such as a page that wants a login.
    """
    raw = verified(request, response, wanted)
    algorithm = wanted.algorithm if wanted else "sha256"
    said = media_type(response.headers)
    try:
        return manifest.describe(raw, None if said in _VAGUE else said, algorithm), raw
    except InvalidArgument as error:
        raise DataLoss(
            f"registry {registry_name(request)} gave no manifest for {request.about}: {error}", side="source"
        ) from None


def verified(request: Request, response: Response, wanted: Digest | None) -> bytes:
    """The body of a GET by digest; DigestMismatch for other bytes."""
    expect(request, response, 200)
    raw = response.body
    actual = Digest.of(raw, wanted.algorithm) if wanted else None
    if actual != wanted:
        raise DigestMismatch(
            f"registry {registry_name(request)} gave other bytes for {request.about}: their digest is {actual}",
            actual=actual,
            side="source",
        )
    return raw


def check_type(request: Request, response: Response, expected: str) -> None:
    """Raise DataLoss when a document's Content-Type makes something else of it than its descriptor does.

    One that says nothing is none (distribution-spec, "Pulling manifests"; CVE-2021-41190).
    """
    said = media_type(response.headers)
    if said != expected and said not in _VAGUE:
        raise DataLoss(
            f"registry {registry_name(request)} gave {request.about} as {printable(said)},"
            f" its descriptor says {printable(expected)}",
            side="source",
        )


def body_offset(request: Request, response: Response, offset: int, size: int) -> tuple[int, int]:
    """Where in the blob a GET's body begins, and how many bytes of it are to come; asked was `offset` of `size` bytes.

    200: the registry ignores ranges and the body begins at 0; DataLoss for another length than the blob's. 206: its
    Content-Range must be what was asked, else OutOfRange, since the body's place in the blob is unknown.
    """
    if response.status == 200:
        length = claims(response.headers).size
        as_it_is = (response.headers.get("content-encoding") or "identity").lower() == "identity"
        if as_it_is and length is not None and length != size:
            raise DataLoss(f"{_whose(request)} has {length} bytes, its descriptor says {size}", side="source")
        return 0, size
    expect(request, response, 206)
    found = content_range(response.headers.get("content-range"))
    if found is None or found[0] != offset or (found[2] is not None and found[2] != size) or found[1] >= size:
        said = printable(repr(response.headers.get("content-range")))
        raise OutOfRange(f"{_whose(request)}: asked for the bytes from {offset} of {size}, answered with range {said}")
    return offset, found[1] + 1 - offset


def content_range(value: str | None) -> tuple[int, int, int | None] | None:
    """(first, last, total or None) of a Content-Range; None where there is none or it makes no sense."""
    match = _CONTENT_RANGE.fullmatch(value.strip()) if value and len(value) < 100 else None
    if match is None:
        return None
    first, last, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


def warnings(headers: Headers) -> tuple[str, ...]:
    """What the registry would like the user to know (`Warning: 299 - "…"`), printable, at most ten."""
    found = (match for value in headers.all("warning") for match in _WARNING.finditer(value[:_MAX_WARNING]))
    told = (printable(re.sub(r"\\(.)", r"\1", match[2])) for match in found if match[1] == "299")
    return tuple(itertools.islice(told, 10))


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Docker Hub's count of pulls: `remaining` of `limit` in `window` seconds (0: it does not say)."""

    limit: int
    remaining: int
    window: int


def rate_limit(headers: Headers) -> RateLimit | None:
    """Read `RateLimit-Limit` and `RateLimit-Remaining`; None where the registry does not count."""
    limit = _RATE.fullmatch(headers.get("ratelimit-limit") or "")
    remaining = _RATE.fullmatch(headers.get("ratelimit-remaining") or "")
    if limit is None or remaining is None:
        return None
    return RateLimit(int(limit[1]), int(remaining[1]), int(limit[2] or 0))


def _whose(request: Request) -> str:
    return f"{request.about} at registry {registry_name(request)}"
