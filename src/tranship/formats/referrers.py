"""Referrers: the manifests that name another as their subject (distribution-spec, "Listing Referrers").

Registries without the API keep the list in an index under a tag made of the subject's digest; whoever pushes a referrer there
keeps that index up to date.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument
from tranship.formats.distribution import Repository, expect
from tranship.formats.messages import Flow, Request, Response, media_type
from tranship.formats.pages import all_pages
from tranship.model import manifest, mediatypes, strict_json
from tranship.model.reference import MAX_TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tranship.model.descriptor import Descriptor
    from tranship.model.digest import Digest

_NO_SUCH_API = frozenset({400, 404, 405, 406, 501})  # what registries of before 2023 answer


def fallback_tag(subject: Digest) -> str:
    """The tag under which a registry without the API keeps the list: `sha256-<hex>`, at most 64 characters of hex."""
    return f"{subject.algorithm}-{subject.hex[:64]}"


def cosign_tags(subject: Digest) -> tuple[str, ...]:
    """The tags under which cosign keeps what belongs to an image: signatures, attestations, bills of materials.

    A SHA-512 is too long for such a tag.
    """
    tags = (f"{subject.algorithm}-{subject.hex}.{what}" for what in ("sig", "att", "sbom"))
    return tuple(tag for tag in tags if len(tag) <= MAX_TAG)


def referrers(
    repository: Repository, subject: Digest, artifact_type: str | None = None
) -> Flow[tuple[Descriptor, ...]]:
    """Every referrer of `subject`, in order of their digests, of one artifact type or of all."""
    request = repository.referrers(subject, artifact_type)
    answer = yield request
    found: Sequence[Descriptor] = ()
    if _knows_referrers(answer):
        found = yield from all_pages(
            request, lambda asked, page: _index(asked, page).manifests, answer, key=lambda entry: entry.digest
        )
    else:
        with contextlib.suppress(InvalidArgument):  # what is under the tag is no index: then there are none
            held = yield from _of_tag(repository, subject)
            found = held.manifests if held is not None else ()
    # Not every registry filters, so filtering is ours (the header OCI-Filters-Applied would only save the look).
    wanted = (entry for entry in found if artifact_type in (None, entry.extra.get("artifactType")))
    return tuple(sorted({entry.digest: entry for entry in wanted}.values(), key=lambda entry: entry.digest))


def keeps_referrers(response: Response) -> bool:
    """Did the registry note the subject of the manifest that was just put? If not, `note_referrer` must."""
    return response.headers.get("oci-subject") is not None


def note_referrer(repository: Repository, subject: Digest, entry: Descriptor) -> Flow[bool]:
    """Add `entry` to the index of the fallback tag; False when it was there.

    Two writers at once may lose one entry: the protocol has no way to say "if unchanged" that registries honour.
    """
    held = yield from _of_tag(repository, subject)
    entries = held.manifests if held is not None else ()
    if any(old.digest == entry.digest for old in entries):
        return False
    yield from _keep(repository, subject, held, [*entries, entry])
    return True


def drop_referrer(repository: Repository, subject: Digest, digest: Digest) -> Flow[bool]:
    """Take a manifest that was deleted out of the index of the fallback tag; False when there is nothing to do.

    A registry with the API does it by itself.
    """
    if _knows_referrers((yield repository.referrers(subject))):
        return False
    held = yield from _of_tag(repository, subject)
    if held is None or all(entry.digest != digest for entry in held.manifests):
        return False
    yield from _keep(repository, subject, held, [entry for entry in held.manifests if entry.digest != digest])
    return True


def _keep(
    repository: Repository, subject: Digest, held: manifest.Index | None, entries: Sequence[Descriptor]
) -> Flow[None]:
    """Put the list with these entries; what else another client has written into it stays."""
    value = strict_json.loads(held.raw, "list of referrers") if held is not None else {}
    value |= {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [entry.to_json() for entry in entries],
    }
    request = repository.put_manifest(fallback_tag(subject), strict_json.dumps(value), mediatypes.OCI_INDEX)
    expect(request, (yield request), 200, 201, 202, 204)


def _knows_referrers(answer: Response) -> bool:
    """Does the registry have the API? One without it says so in several ways, or answers with a page for people."""
    if answer.status == 200:
        return media_type(answer.headers) == mediatypes.OCI_INDEX
    return answer.status not in _NO_SUCH_API


def _of_tag(repository: Repository, subject: Digest) -> Flow[manifest.Index | None]:
    """The list under the fallback tag; None where there is none."""
    request = repository.get_manifest(fallback_tag(subject))
    response = yield request
    return None if response.status == 404 else _index(request, response)


def _index(request: Request, response: Response) -> manifest.Index:
    expect(request, response, 200)
    descriptor = manifest.describe(response.body, mediatypes.OCI_INDEX)
    document = manifest.parse(response.body, descriptor)
    if not isinstance(document, manifest.Index):
        raise InvalidArgument(f"{request.object} of {request.repository}: expected an index")
    return document
