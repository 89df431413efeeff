"""What a registry says when it refuses: its error documents, and the errors that we raise from them.

A message names the registry, the object and its repository, the status, and the registry's own words; the words are capped and
made printable, since they come from outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tranship.errors import (
    DataLoss,
    DigestMismatch,
    FailedPrecondition,
    InvalidArgument,
    InvalidReference,
    NotFound,
    OutOfRange,
    PermissionDenied,
    RateLimited,
    TranshipError,
    Unauthenticated,
    Unavailable,
    Unsupported,
    printable,
)
from tranship.formats import scopes as scoping
from tranship.formats.messages import Origin, Request, Response
from tranship.model import strict_json
from tranship.model.digest import Digest

MAX_BODY = 1 << 20  # bytes of an error document
_MAX_ERRORS = 1000  # in one document; a manifest may miss that many blobs


@dataclass(frozen=True, slots=True)
class RegistryError:
    """One entry of an error document (distribution-spec, "Error codes"): the code in capitals."""

    code: str
    message: str
    detail: Any = None


def errors(body: bytes) -> tuple[RegistryError, ...]:
    """Read an error document; () for anything else (a proxy's HTML page, mostly)."""
    if len(body) > MAX_BODY:
        return ()
    try:
        value = strict_json.loads(body, "error document")
    except InvalidArgument:
        return ()
    entries = value.get("errors") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        return ()
    return tuple(
        RegistryError(_text(entry.get("code")).upper(), _text(entry.get("message")), entry.get("detail"))
        for entry in entries[:_MAX_ERRORS]
        if isinstance(entry, dict)
    )


def codes(response: Response) -> frozenset[str]:
    """The error codes of a response, in capitals."""
    return frozenset(error.code for error in errors(response.body))


def missing_blobs(response: Response) -> tuple[Digest, ...]:
    """The digests that a refused manifest lacks at the registry, as far as the registry names them, in its order."""
    found: dict[Digest, None] = {}
    for error in errors(response.body):
        if error.code in ("MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"):
            detail = error.detail
            named = detail.get("digest", detail.get("Digest")) if isinstance(detail, dict) else detail
            for text in (named, *error.message.split()):
                try:
                    found[Digest.parse(text.strip(".,;:'\"()") if isinstance(text, str) else text)] = None
                except InvalidReference:
                    continue
    return tuple(found)


def registry_name(request: Request) -> str:
    """The registry for people: its host, and Docker Hub's by the name that everybody uses."""
    authority = Origin.of(request.url).authority
    return "docker.io" if authority == "registry-1.docker.io" else authority


def refusal(request: Request, response: Response) -> TranshipError:
    """The error that a response means which is not what `request` hoped for."""
    registry, status = registry_name(request), response.status
    found = errors(response.body)
    named = frozenset(error.code for error in found)
    place = request.about
    said = f"({_words(response)})"
    answered = Origin.of(response.url)
    if status in (400, 401, 403) and answered[1:] != Origin.of(request.url)[1:]:
        kind: type[TranshipError] = Unauthenticated if status == 401 else Unavailable
        return kind(
            f"{answered}, where registry {registry} keeps {place}, refused it {said}",
            hint="the registry may have signed an address that has expired; try again",
        )
    if status == 401:
        return Unauthenticated(
            f"registry {registry} refused {_access(request, response)} {said}", hint=what_to_do(registry)
        )
    if status == 429 or "TOOMANYREQUESTS" in named:
        return RateLimited(
            f"registry {registry} limits our rate for {place} {said}",
            retry_after=response.retry_after,
            hint=f"log in (`tranship login {registry}`) for a higher limit, or try again later",
        )
    if status == 403 or "DENIED" in named:
        return PermissionDenied(
            f"registry {registry} denied {_access(request, response)} {said}",
            hint=f"check what the account may do there; `tranship auth explain {registry}` says whose credentials are used",
        )
    if "BLOB_UPLOAD_UNKNOWN" in named:
        return FailedPrecondition(f"registry {registry} has lost the upload of {place} {said}")
    if status in (404, 410):
        if ("NAME_UNKNOWN" in named or request.method in ("POST", "PUT")) and request.repository:
            place = f"repository {printable(request.repository)}"
        return NotFound(
            f"{place} is not at registry {registry} {said}",
            hint="registries answer so for private repositories, too: check the spelling, or log in;"
            " some want a repository to be made before it is pushed to",
        )
    if status == 416:
        return OutOfRange(f"registry {registry} has no such range of {place} {said}")
    if named & {"DIGEST_INVALID", "SIZE_INVALID"}:
        kind = DigestMismatch if "DIGEST_INVALID" in named else DataLoss
        return kind(f"registry {registry} says that it received other bytes for {place} {said}")
    if status in (405, 501) or "UNSUPPORTED" in named:
        return Unsupported(f"registry {registry} does not support {request.method} of {place} {said}")
    if status == 413:
        return FailedPrecondition(
            f"registry {registry} finds {place} too large {said}",
            hint="the registry, or a proxy before it, limits the size of a request",
        )
    if status == 408 or status >= 500:
        return Unavailable(f"registry {registry} failed at {place} {said}")
    if 300 <= status < 400:
        return Unavailable(f"registry {registry} answered {place} with a redirect that cannot be followed {said}")
    if 200 <= status < 300:
        return Unavailable(f"registry {registry} answered {request.method} of {place} with an unexpected status {said}")
    return FailedPrecondition(f"registry {registry} refused {request.method} of {place} {said}")


def _words(response: Response) -> str:
    parts = [str(response.status)]
    for error in errors(response.body)[:3]:
        text = ": ".join(part for part in (printable(error.code, 40), printable(error.message)) if part)
        if text:
            parts.append(text)
    if response.attempts > 1:
        parts.append(f"after {response.attempts} attempts")
    return ", ".join(parts)


def what_to_do(registry: str) -> str:
    """The hint for whoever is not let in."""
    return (
        f"correct the credentials where they come from (`tranship auth explain {registry}` says who is asked), or run"
        f" `tranship login {registry}`; check that the repository exists and what the account may do"
    )


def _access(request: Request, response: Response) -> str:
    """What was asked for, with which scopes, and as whom."""
    shown = f", with {printable(response.shown)}" if response.shown else ""
    if not request.repository:
        return f"access to {request.about}{shown}"
    actions = {scope.action for scope in request.scopes if scope.name == request.repository}
    action = next((action for action in ("delete", "push") if action in actions), "pull")
    scope = " ".join(scoping.spell(request.scopes))
    asked = f"{action} access to {printable(request.repository)}" + (f", scope {printable(scope)}" if scope else "")
    return asked + shown


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
