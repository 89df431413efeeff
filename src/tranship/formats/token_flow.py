"""The way from a 401 to an Authorization header, without a socket (distribution, "Token authentication" and "OAuth2").

`authorize` is a flow: it yields the requests that must be made and returns the header that they earned.

    grants.find(scopes, now) or drive(authorize(challenges, credential, scopes, rules, now=now), send)

A credential goes to the registry and to the token service that `RealmRules` lets pass, and nowhere else.
"""

from __future__ import annotations

import base64
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from tranship.errors import (
    InvalidArgument,
    PolicyRefused,
    RateLimited,
    TranshipError,
    Unauthenticated,
    Unavailable,
    printable,
)
from tranship.formats import scopes as scoping
from tranship.formats.messages import Flow, Origin, Request, Response, join, redacted
from tranship.formats.refusals import what_to_do
from tranship.model import strict_json
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tranship.formats.challenge import Challenge
    from tranship.formats.realm import RealmRules
    from tranship.formats.scopes import Scopes

CLIENT_ID = "tranship"
MAX_BODY = 1 << 20  # bytes of a token service's answer
MAX_REDIRECTS = 5
_MAX_TOKEN = 32 * 1024  # characters; servers refuse headers beyond some 8 000 to 64 000
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750, section 2.1: no room for CR, LF or another header
_DEFAULT_LIFE = 60.0  # seconds, when expires_in is absent (distribution, "Token response fields")
_MAX_LIFE = 24 * 3600.0  # seconds; nothing runs longer on one token
_MAX_KEPT = 256  # grants of one registry: a token may have 32 KB
_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Grant:
    """A value for the Authorization header: what it allows, and the monotonic time until which it is good.

    `scopes` is None for a header that serves every request (Basic, a registry token). `earned_by` says with what, for people.
    """

    header: Secret
    scopes: Scopes | None = None
    until: float = float("inf")
    earned_by: str = ""

    def covers(self, wanted: Scopes, now: float) -> bool:
        """Does it allow all of `wanted`, now?"""
        return now < self.until and (self.scopes is None or wanted <= self.scopes)


@dataclass(slots=True)
class Grants:
    """The grants that one registry has given, by what they allow, for reuse by all threads."""

    _kept: dict[Scopes | None, Grant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find(self, wanted: Scopes, now: float) -> Grant | None:
        """A grant that covers `wanted`; the one that was asked for in these words, as a rule."""
        with self._lock:
            exact = self._kept.get(wanted)
            if exact is not None and exact.covers(wanted, now):
                return exact
            return next((grant for grant in self._kept.values() if grant.covers(wanted, now)), None)

    def keep(self, grant: Grant, now: float) -> None:
        """Keep a new grant, and drop those that have run out, or the oldest: it is the registry that chooses scopes."""
        with self._lock:
            kept = [(scopes, old) for scopes, old in self._kept.items() if now < old.until and scopes != grant.scopes]
            self._kept = {**dict(kept[1 - _MAX_KEPT :]), grant.scopes: grant}

    def forget(self, grant: Grant) -> None:
        """Drop a grant that was refused."""
        with self._lock:
            if self._kept.get(grant.scopes) is grant:
                del self._kept[grant.scopes]


def authorize(
    challenges: Iterable[Challenge],
    credential: Credential | None,
    scopes: Scopes,
    rules: RealmRules,
    *,
    now: float,
    headers: Mapping[str, str] = _NOTHING,
) -> Flow[Grant]:
    """Answer the strongest challenge there is: Bearer before Basic.

    `now` is monotonic, read before the first request: a token is never thought younger than it is. `headers` are the
    registry's configured ones; its token service gets them too, as containerd does it, a secret one only at the same origin.
    Raises Unauthenticated (no way in, or refused), PolicyRefused (the realm), RateLimited, Unavailable.
    """
    credential = credential or Credential()
    if credential.registry_token:
        return Grant(Secret(f"Bearer {_checked(credential.registry_token.reveal(), 'the configured registry token')}"))
    by_scheme: dict[str, Challenge] = {}
    for challenge in challenges:
        by_scheme.setdefault(challenge.scheme, challenge)
    bearer = by_scheme.get("bearer")
    if bearer is not None and bearer.parameters.get("realm"):
        wanted = scopes | scoping.parse(bearer.parameters.get("scope", ""))
        service = bearer.parameters.get("service", "")
        asked = _Asked(bearer.parameters["realm"], service, wanted, credential, rules, headers)
        return (yield from _bearer(asked, now))
    if "basic" in by_scheme:
        return basic(credential, rules.registry)
    offered = ", ".join(printable(scheme, 20) for scheme in by_scheme) or "nothing"
    raise Unauthenticated(
        f"registry {rules.registry.authority} asks for a login and offers no way that works ({offered})"
    )


def basic(credential: Credential, registry: Origin) -> Grant:
    """The grant of a user name and password."""
    if not credential.password:
        why = f" ({credential.source})" if credential.source else ""
        raise Unauthenticated(
            f"registry {registry.authority} wants a user name and password, and there are none for it{why}",
            hint=f"run `tranship login {registry.authority}`",
        )
    return Grant(_basic_header(credential))


def _basic_header(credential: Credential) -> Secret:
    if ":" in credential.username:
        raise InvalidArgument("a user name for Basic authentication cannot hold a colon (RFC 7617, section 2)")
    password = credential.password.reveal() if credential.password else ""
    return Secret("Basic " + base64.b64encode(f"{credential.username}:{password}".encode()).decode("ascii"))


def _bearer(asked: _Asked, now: float) -> Flow[Grant]:
    """Get a token from the realm.

    1. An identity token is posted (OAuth2, grant type refresh_token).
    2. A password, or nothing, goes with GET, as docker does it.
    3. A service that knows no GET (404, 405) is posted the password (OAuth2, grant type password).
    """
    asked.rules.check(asked.realm)
    credential = asked.credential
    response: Response | None = None
    if credential.identity_token:
        response = yield from _following(asked, asked.refresh(credential.identity_token))
        if response.status >= 400 and not credential.password:
            raise asked.failure(response)
    if response is None or response.status >= 400:
        response = yield from _following(asked, asked.get())
        if response.status in (404, 405) and credential.password:
            response = yield from _following(asked, asked.login(credential.password))
    if response.status != 200:
        raise asked.failure(response)
    token, life = _read(response, asked.where)
    return Grant(Secret(f"Bearer {token}"), asked.scopes, now + life)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question to a token service, in its three spellings."""

    realm: str
    service: str
    scopes: Scopes
    credential: Credential
    rules: RealmRules
    headers: Mapping[str, str]

    @property
    def where(self) -> str:
        return f"token service {redacted(self.realm)} of registry {self.rules.registry.authority}"

    def get(self) -> Request:
        query: list[tuple[str, str]] = [("service", self.service)] if self.service else []
        query += [("scope", text) for text in scoping.spell(self.scopes)]
        secret: dict[str, str] = {}
        if self.credential.password:
            query.append(("account", self.credential.username))
            secret = {"Authorization": _basic_header(self.credential).reveal()}
        url = self.realm.partition("#")[0]
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        return self._request("GET", url, secret, None)

    def refresh(self, token: Secret) -> Request:
        return self._post({"grant_type": "refresh_token", "refresh_token": token.reveal()})

    def login(self, password: Secret) -> Request:
        form = {"grant_type": "password", "username": self.credential.username, "password": password.reveal()}
        return self._post(form)

    def _post(self, form: dict[str, str]) -> Request:
        fields = {
            **form,
            "service": self.service,
            "client_id": CLIENT_ID,
            "scope": " ".join(scoping.spell(self.scopes)),
        }
        body = urlencode({key: value for key, value in fields.items() if value}).encode()
        url = self.realm.partition("#")[0]
        return self._request("POST", url, {"Content-Type": "application/x-www-form-urlencoded"}, body)

    def _request(self, method: str, url: str, own: Mapping[str, str], body: bytes | None) -> Request:
        configured = dict(self.headers)
        if Origin.of(url) != self.rules.registry:
            configured = {k: v for k, v in configured.items() if k.lower() not in ("authorization", "cookie")}
        return Request(method=method, url=url, headers={**configured, **own}, body=body, object="a token")

    def failure(self, response: Response) -> TranshipError:
        said = _said(response.body)
        scope = " ".join(scoping.spell(self.scopes)) or "none"
        told = f"{self.where} answered {response.status}{f' ({said})' if said else ''}"
        if response.status == 429:
            return RateLimited(told, retry_after=response.retry_after)
        if response.status >= 500 or response.status == 408:
            return Unavailable(told)
        return Unauthenticated(
            f"{told} for scope {printable(scope)}, with {self.credential.told}",
            hint=what_to_do(self.rules.registry.authority),
        )


def _following(asked: _Asked, request: Request) -> Flow[Response]:
    """Make a token request and follow its redirects, each checked as the realm was.

    Credentials never follow to another origin: a GET goes on without them, a POST is refused.
    """
    for _ in range(MAX_REDIRECTS + 1):
        response = yield request
        if response.status not in (301, 302, 303, 307, 308):
            return response
        url = join(request.url, response.headers.get("location"), f"{asked.where} redirects")
        same = asked.rules.check(url) == Origin.of(request.url)
        if request.method == "POST" and not same:
            raise PolicyRefused(f"{asked.where} redirects a password to {redacted(url)}; it was not sent there")
        headers = request.headers if same else {}
        if request.method == "POST" and response.status in (301, 302, 303):
            raise Unavailable(
                f"{asked.where} redirects a POST with status {response.status}, which would lose its form"
            )
        request = Request(method=request.method, url=url, headers=headers, body=request.body, object=request.object)
    raise Unavailable(f"{asked.where} redirects more than {MAX_REDIRECTS} times")


def _read(response: Response, where: str) -> tuple[str, float]:
    """The token and its life in seconds, less a margin for the request that will carry it."""
    if len(response.body) > MAX_BODY:
        raise Unavailable(f"{where} answered with more than {MAX_BODY} bytes")
    try:
        value: Any = strict_json.loads(response.body, f"the answer of {where}")
        token = (value.get("token") or value.get("access_token")) if isinstance(value, dict) else None
        if not isinstance(token, str):
            raise InvalidArgument(f"the answer of {where} holds no token")
        token = _checked(token, f"the token of {where}")
    except InvalidArgument as error:
        raise Unavailable(str(error)) from None
    life = value.get("expires_in")
    if isinstance(life, bool) or not isinstance(life, (int, float)) or not life > 0:
        life = _DEFAULT_LIFE
    life = min(float(life), _MAX_LIFE)
    return token, life - min(life / 4, 10.0)


def _checked(token: str, what: str) -> str:
    if len(token) > _MAX_TOKEN or not _TOKEN.fullmatch(token):
        raise InvalidArgument(f"{what} has characters or a length that no token has; it was not used")
    return token


def _said(body: bytes) -> str:
    """What a token service says about its refusal, for people; "" where it says nothing that is understood."""
    try:
        value = strict_json.loads(body[:MAX_BODY], "")
    except InvalidArgument:
        return ""
    if not isinstance(value, dict):
        return ""
    errors = value.get("errors")
    first = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else value
    for key in ("message", "error_description", "details", "error", "code"):
        if isinstance(first.get(key), str) and first[key]:
            return printable(first[key])
    return ""
