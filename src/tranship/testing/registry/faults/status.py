"""Faults of the status: errors for a while, requests that are not supported, and error bodies nobody wants to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

from tranship.testing.registry.faults.kinds import EVERYTHING, Strike, fault
from tranship.testing.registry.messages import Body, Headers, Refusal, Response

RetryAfter = int | Literal["date", "past", "absurd", "negative", "junk"] | None


@fault("status", aim=EVERYTHING, times=1)
def status(_strike: Strike, *, code: int = 503, retry_after: RetryAfter = None) -> Response | None:
    """The answer is an error with this code."""
    return _error(code, retry_after)


@fault("rate-limit", aim=EVERYTHING, times=1)
def rate_limit(_strike: Strike, *, retry_after: RetryAfter = 0) -> Response | None:
    """429, with a Retry-After of so many seconds, or one that is a `"date"` two seconds ahead, a date in the `"past"`,
    `"absurd"` (a year), `"negative"`, `"junk"`, or absent (None).
    """
    return _error(429, retry_after)


@fault("no-head", aim=("blob.head", "manifest.head"))
def no_head(_strike: Strike) -> Response | None:
    """HEAD is not supported (405)."""
    return Refusal(405, "UNSUPPORTED", "no HEAD here").response()


@fault("head-without-length", aim=("blob.head", "manifest.head"))
def head_without_length(strike: Strike) -> Response | None:
    """The answer to HEAD has no Content-Length."""
    response = strike.proceed()
    if response.status != 200:
        return None
    response.framing = "none"
    return response


@fault("no-digest-header", aim=("blob", "manifest"))
def no_digest_header(strike: Strike) -> Response | None:
    """No answer has a Docker-Content-Digest, as in older registries."""
    response = strike.proceed()
    if "Docker-Content-Digest" not in response.headers:
        return None
    response.headers.remove("Docker-Content-Digest")
    return response


@fault("no-delete", aim=("blob.delete", "manifest.delete"))
def no_delete(_strike: Strike) -> Response | None:
    """DELETE is not supported (405)."""
    return Refusal(405, "UNSUPPORTED", "no DELETE here").response()


@fault("no-referrers", aim=("referrers", "manifest.put"))
def no_referrers(strike: Strike) -> Response | None:
    """There is no referrers API: 404, and no OCI-Subject in the answer to a manifest."""
    if strike.request.kind == "referrers":
        return Refusal(404, "UNSUPPORTED", "no referrers here").response()
    response = strike.proceed()
    response.headers.remove("OCI-Subject")
    return response


@fault("error-body", aim=EVERYTHING, times=1)
def error_body(
    strike: Strike,
    *,
    form: Literal["huge", "html", "malformed", "control", "empty", "nested", "strange"] = "html",
    code: int = 400,
) -> Response | None:
    """An error whose body is `"huge"` (64 MiB of JSON), `"html"`, `"malformed"` JSON, `"control"` (a good body whose text would
    fool a terminal), `"empty"`, deeply `"nested"` JSON, or `"strange"` (JSON of other types than the specification's).
    """
    strike.proceed()
    media_type = "text/html" if form == "html" else "application/json"
    return Response(code, Headers([("Content-Type", media_type)]), _BODIES[form])


_HUGE_PART = b"x" * (1 << 20)
_BODIES = {
    "huge": Body(64 * len(_HUGE_PART), lambda: iter([b'{"errors":"' + _HUGE_PART[11:], *[_HUGE_PART] * 63])),
    "html": Body.of(b"<html><body><h1>Bad gateway</h1></body></html>"),
    "malformed": Body.of(b'{"errors":[{"code":"UNKNOWN","message":'),
    "control": Body.of(
        b'{"errors":[{"code":"DENIED\\u001b[2J","message":"\\u001b]0;owned\\u0007\\u001b[31mgo\\r\\nERROR: away\\u202e"}]}'
    ),
    "empty": Body.of(b""),
    "nested": Body.of(b'{"errors":' + b"[" * 100_000),
    "strange": Body.of(b'{"errors":[null,7,"text",{"code":5,"message":{"a":[]},"detail":[[]]},[]]}'),
}


def _error(code: int, retry_after: RetryAfter) -> Response:
    response = Refusal(code, "TOOMANYREQUESTS" if code == 429 else "UNKNOWN", "not now").response()
    if retry_after is not None:
        response.headers.set("Retry-After", _retry_after(retry_after))
    return response


def _retry_after(value: int | str) -> str:
    if value in ("date", "past"):
        moment = datetime.now(UTC) + timedelta(seconds=2 if value == "date" else -3600)
        return format_datetime(moment, usegmt=True)
    return {"absurd": "31536000", "negative": "-5", "junk": "soon\x7f"}.get(str(value), str(value))
