"""Manifests and indexes: reading, pushing and deleting (distribution specification, "Pulling manifests", "Pushing Manifests").

A pushed document is read by the rules of `tranship.model.manifest`, and everything that it names must be in the repository.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from tranship.errors import TranshipError, printable
from tranship.model import manifest, mediatypes
from tranship.model.descriptor import Descriptor
from tranship.model.digest import Digest
from tranship.testing.registry.messages import Headers, Refusal, Response
from tranship.testing.registry.protocol import Call, is_tag, read_digest
from tranship.testing.registry.state import Repository, Stored

if TYPE_CHECKING:
    from tranship.testing.registry.state import State


def read(call: Call) -> Response:
    """GET and HEAD of a manifest by tag or digest."""
    digest, stored = find(call)
    headers = Headers([("Docker-Content-Digest", digest), ("ETag", f'"{digest}"')])
    if call.request.headers.get("If-None-Match") == f'"{digest}"':
        return Response(304, headers)
    accepted = accepted_types(call.request.headers)
    if accepted is not None and not accepted & {stored.media_type, "*/*", "application/*"}:
        raise Refusal(404, "MANIFEST_UNKNOWN", f"the manifest is {stored.media_type}, which Accept does not name")
    headers.set("Content-Type", stored.media_type)
    return Response(200, headers, call.state.storage.body(digest))


def put(call: Call) -> Response:
    """PUT of a manifest: checked, then kept as the bytes that came."""
    tag, named = _target(call.argument)
    tags = _more_tags(call) if tag is None else (tag,)
    length = call.request.length
    if length is not None and length > call.options.max_manifest:
        raise _too_large(call)
    raw = call.request.read(call.options.max_manifest)
    media_type = (call.request.headers.get("Content-Type") or "").partition(";")[0].strip()
    if not media_type:
        raise Refusal(400, "MANIFEST_INVALID", "a manifest needs a Content-Type")
    digest = Digest.of(raw, named.algorithm if named is not None else "sha256")
    if named is not None and digest != named:
        raise Refusal(400, "DIGEST_INVALID", f"the manifest has digest {digest}, not {named}", detail={"digest": named})
    _check_condition(call, tag)
    document = parse(raw, media_type, digest)
    if call.options.strict:
        check_children(call.state, call.name, document, sparse=call.options.sparse_indexes)
    stored = describe(document)
    call.state.put_manifest(call.name, digest, raw, stored, tags)
    headers = Headers([("Location", f"/v2/{call.name}/manifests/{digest}"), ("Docker-Content-Digest", digest)])
    if stored.subject is not None and call.options.referrers:
        headers.set("OCI-Subject", stored.subject)
    if tag is None and tags:
        headers.set("OCI-Tag", ", ".join(tags))
    return Response(201, headers)


def delete(call: Call) -> Response:
    """DELETE of a tag, or of a manifest with all its tags."""
    find(call)
    tag, digest = _target(call.argument)
    if digest is not None:
        call.state.remove_manifest(call.name, digest)
    elif tag is not None:
        with call.state.lock:
            call.state.repositories[call.name].tags.pop(tag, None)
    return Response(202)


def find(call: Call) -> tuple[Digest, Stored]:
    """What the tag or digest of the path means in this repository, or MANIFEST_UNKNOWN."""
    tag, digest = _target(call.argument)
    held = call.state.repository(call.name)
    if held is not None:
        digest = digest or held.tags.get(tag or "")
        if digest in held.manifests:
            return digest, held.manifests[digest]
    raise Refusal(
        404, "MANIFEST_UNKNOWN", f"no manifest {printable(call.argument)} in {call.name}", detail={"tag": call.argument}
    )


def parse(raw: bytes, media_type: str, digest: Digest) -> manifest.Document:
    """Read a document, or refuse it with MANIFEST_INVALID."""
    try:
        return manifest.parse(raw, Descriptor(media_type=media_type, digest=digest, size=len(raw)))
    except TranshipError as error:
        raise Refusal(400, "MANIFEST_INVALID", error.message) from None


def describe(document: manifest.Document) -> Stored:
    """What the registry remembers of a document."""
    return Stored(
        document.descriptor.media_type,
        document.descriptor.size,
        document.subject.digest if document.subject is not None else None,
        document.kind_of_artifact,
        document.annotations,
    )


def check_children(state: State, name: str, document: manifest.Document, *, sparse: bool) -> None:
    """Refuse a document whose children are not in the repository, naming each of them, or that gives a wrong size.

    `subject` may be absent, and so may layers that are not to be distributed and tell where else they are.
    """
    held = state.repository(name) or Repository()
    index = isinstance(document, manifest.Index)
    absent, wrong = [], []
    for child in document.children:
        if child.digest not in (held.manifests if index and child.is_document else held.blobs):
            if not (mediatypes.is_non_distributable(child.media_type) and child.extra.get("urls")) and not (
                index and sparse
            ):
                absent.append(child)
        elif state.storage.size(child.digest) != child.size:
            wrong.append(child)
    if absent:
        refusal = Refusal(400, "MANIFEST_BLOB_UNKNOWN", "")
        refusal.errors = [
            ("MANIFEST_BLOB_UNKNOWN", f"{child} is not in {name}", {"digest": child.digest}) for child in absent
        ]
        raise refusal
    if wrong:
        raise Refusal(400, "SIZE_INVALID", f"{wrong[0]} does not have {wrong[0].size} bytes", detail=wrong[0].to_json())


def accepted_types(headers: Headers) -> set[str] | None:
    """The media types of the Accept headers, without parameters; None: there is no such header."""
    values = headers.all("Accept")
    if not values:
        return None
    return {item.partition(";")[0].strip() for value in values for item in value.split(",")}


def _target(argument: str) -> tuple[str | None, Digest | None]:
    """A tag, or a digest."""
    if ":" in argument:
        return None, read_digest(argument)
    if not is_tag(argument):
        raise Refusal(400, "MANIFEST_INVALID", f"invalid tag: {printable(argument)}", detail={"tag": argument})
    return argument, None


def _more_tags(call: Call) -> tuple[str, ...]:
    """The `tag` parameters of a push by digest (in the specification after 1.1)."""
    tags = parse_qs(call.request.target.partition("?")[2]).get("tag", [])
    for tag in tags:
        if not is_tag(tag):
            raise Refusal(400, "MANIFEST_INVALID", f"invalid tag: {printable(tag)}", detail={"tag": tag})
    return tuple(tags)


def _check_condition(call: Call, tag: str | None) -> None:
    """If-Match and If-None-Match, by which clients guard a list of referrers kept under a tag."""
    held = call.state.repository(call.name)
    current = held.tags.get(tag or "") if held is not None else None
    headers = call.request.headers
    expected, forbidden = headers.get("If-Match"), headers.get("If-None-Match")
    if (expected is not None and expected != f'"{current}"') or (forbidden == "*" and current is not None):
        raise Refusal(412, "DENIED", "the tag has changed since it was read")


def _too_large(call: Call) -> Refusal:
    return Refusal(413, "MANIFEST_INVALID", f"a manifest may have {call.options.max_manifest} bytes")
