"""Who may do what: Basic, and Bearer tokens with the server that issues them.

    RegistryServer(auth=Basic({"alice": "secret"}))
    RegistryServer(auth=Token({"alice": "secret"}, anonymous={"pull"}))        tokens from /token on the registry's own port
    with TokenServer(Token({"alice": "secret"})) as tokens:                    tokens from another port
        with RegistryServer(auth=tokens) as registry: …

The token protocol is distribution's ("Token Authentication Specification", "OAuth2"): GET with Basic credentials or none, and
POST of a form with a password or a refresh token.
"""

from __future__ import annotations

import base64
import binascii
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tranship.errors import printable
from tranship.testing.registry.faults.kinds import FaultyServer
from tranship.testing.registry.messages import Headers, Refusal, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tranship.testing.registry.server import TLS

Access = tuple[str, str, frozenset[str]]  # type, name, actions: what a request needs, or a token grants
ALL_ACTIONS = frozenset({"pull", "push", "delete"})
MAX_FORM = 64 * 1024  # bytes
REFUSED = "authentication required"


@dataclass(frozen=True, slots=True)
class Basic:
    """Every request carries a name and a password."""

    users: Mapping[str, str] = field(repr=False)  # -> password
    realm: str = "tranship test registry"

    def challenge(self, origin: str) -> str:  # noqa: ARG002  # as Token's
        """The WWW-Authenticate of a 401."""
        return f'Basic realm="{self.realm}"'

    def expire(self) -> None:
        """Nothing: passwords stay."""

    def check(self, request: Request, needed: Collection[Access], origin: str) -> None:  # noqa: ARG002  # as Token's
        """Refuse a request without good credentials."""
        name, password = basic_credentials(request.headers) or ("", "")
        if not self.users.get(name) or self.users[name] != password:
            raise unauthorized(self.challenge(origin))


@dataclass(slots=True)
class _Grant:
    user: str | None
    access: dict[tuple[str, str], frozenset[str]]
    expires: float  # monotonic seconds


class Token:
    """Bearer tokens: the rules by which they are issued, and the record of those that were.

    users        name -> password
    anonymous    actions that a client without credentials is granted; when empty, it is refused a token
    permissions  (user or None, repository) -> the actions granted; by default users may do everything
    expires_in   seconds that the answer promises and that a token lives; None: promise nothing, live an hour
    oauth        answer POST too; without it, 404, as older token servers do
    refresh      give refresh tokens to who asks for them
    """

    def __init__(
        self,
        users: Mapping[str, str],
        *,
        anonymous: Collection[str] = (),
        permissions: Callable[[str | None, str], Collection[str]] | None = None,
        service: str = "registry.test",
        expires_in: int | None = 300,
        oauth: bool = True,
        refresh: bool = True,
    ) -> None:
        self.users = dict(users)
        self.anonymous = frozenset(anonymous)
        self.service = service
        self.expires_in = expires_in
        self.oauth = oauth
        self.refresh = refresh
        self.issued = 0  # tokens so far
        self._permissions = permissions or self._everything
        self._lock = threading.Lock()
        self._grants: dict[str, _Grant] = {}
        self._refresh_tokens: dict[str, str] = {}  # -> user

    def expire(self) -> None:
        """Let every token issued so far be void from now on; refresh tokens stay."""
        with self._lock:
            self._grants.clear()

    def challenge(self, origin: str, needed: Collection[Access] = ()) -> str:
        """The WWW-Authenticate of a 401; `origin` is where the token server is."""
        scope = " ".join(f"{kind}:{name}:{','.join(_in_order(actions))}" for kind, name, actions in needed)
        return f'Bearer realm="{origin}/token",service="{self.service}"' + (f',scope="{scope}"' if scope else "")

    def check(self, request: Request, needed: Collection[Access], origin: str) -> None:
        """Refuse a request whose token does not grant what it needs; the challenge says what to ask for, and where."""
        scheme, _, token = (request.headers.get("Authorization") or "").partition(" ")
        challenge = self.challenge(origin, needed)
        if scheme.lower() != "bearer":
            raise unauthorized(challenge)
        with self._lock:
            grant = self._grants.get(token)
        if grant is None or grant.expires <= time.monotonic():
            raise unauthorized(challenge + ',error="invalid_token"')
        if any(not actions <= grant.access.get((kind, name), frozenset()) for kind, name, actions in needed):
            raise unauthorized(challenge + ',error="insufficient_scope"')

    def answer(self, request: Request) -> Response:
        """Answer a request for a token."""
        if request.method == "GET":
            parameters = parse_qs(request.target.partition("?")[2], keep_blank_values=True)
            return self._get(request, parameters)
        raw = request.read(MAX_FORM)
        parameters = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True)
        request.exchange.form = {name: values[-1] for name, values in parameters.items()}
        if not self.oauth:
            raise Refusal(404, "UNSUPPORTED", "this token server answers GET alone")
        if (request.headers.get("Content-Type") or "").partition(";")[0] != "application/x-www-form-urlencoded":
            raise Refusal(400, "UNSUPPORTED", "a token request is a form")
        return self._post(parameters)

    def _get(self, request: Request, parameters: dict[str, list[str]]) -> Response:
        self._check_service(parameters)
        user = None
        if "Authorization" in request.headers:
            user, password = basic_credentials(request.headers) or ("", "")
            self._check_password(user, password)
        elif not self.anonymous:
            raise unauthorized(f'Basic realm="{self.service}"')
        value = self._issue(user, parameters.get("scope", []))
        value["access_token"] = value["token"]
        if parameters.get("offline_token") == ["true"] and user is not None and self.refresh:
            value["refresh_token"] = self._refresh_token(user)
        return json_response(200, value)

    def _post(self, parameters: dict[str, list[str]]) -> Response:
        form = {name: values[-1] for name, values in parameters.items()}
        self._check_service(parameters)
        if not form.get("client_id"):
            raise Refusal(400, "UNSUPPORTED", "client_id is missing")
        if form.get("grant_type") == "password":
            user = form.get("username", "")
            self._check_password(user, form.get("password", ""))
        elif form.get("grant_type") == "refresh_token":
            user = self._refresh_tokens.get(form.get("refresh_token", ""), "")
            if not user:
                raise unauthorized(f'Basic realm="{self.service}"')
        else:
            raise Refusal(400, "UNSUPPORTED", f"unknown grant_type {printable(form.get('grant_type', ''))}")
        value = self._issue(user, parameters.get("scope", []))
        value["access_token"] = value.pop("token")
        if form.get("access_type") == "offline" and self.refresh:
            value["refresh_token"] = self._refresh_token(user)
        return json_response(200, value)

    def _issue(self, user: str | None, scopes: list[str]) -> dict[str, Any]:
        access: dict[tuple[str, str], frozenset[str]] = {}
        for text in (part for scope in scopes for part in scope.split(" ") if part):
            kind, name, actions = _read_scope(text)
            allowed = frozenset(self._permissions(user, name)) if kind == "repository" else self._beyond(user)
            wanted = actions & allowed if "*" not in actions or kind != "repository" else allowed
            access[kind, name] = access.get((kind, name), frozenset()) | wanted
        token = secrets.token_urlsafe(24)
        lifetime = 3600 if self.expires_in is None else self.expires_in
        with self._lock:
            self.issued += 1
            self._grants[token] = _Grant(user, access, time.monotonic() + lifetime)
        value: dict[str, Any] = {"token": token, "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        if self.expires_in is not None:
            value["expires_in"] = self.expires_in
        return value

    def _refresh_token(self, user: str) -> str:
        token = secrets.token_urlsafe(24)
        self._refresh_tokens[token] = user
        return token

    def _check_password(self, user: str, password: str) -> None:
        if not self.users.get(user) or self.users[user] != password:
            raise unauthorized(f'Basic realm="{self.service}"')

    def _check_service(self, parameters: dict[str, list[str]]) -> None:
        if parameters.get("service") != [self.service]:
            raise Refusal(400, "UNSUPPORTED", f"service must be {self.service}")

    def _everything(self, user: str | None, _repository: str) -> Collection[str]:
        return self.anonymous if user is None else ALL_ACTIONS

    @staticmethod
    def _beyond(user: str | None) -> frozenset[str]:
        return frozenset() if user is None else frozenset({"*"})


class TokenServer(FaultyServer):
    """A token server on a port of its own, which takes faults as a registry does."""

    def __init__(self, auth: Token, *, tls: TLS | None = None) -> None:
        super().__init__(tls=tls)
        self.auth = self.rules = auth  # `auth`: what faults act upon

    def kind_of(self, method: str, target: str) -> str:  # noqa: ARG002  # any method
        """`token`, or `other`."""
        return "token" if target.partition("?")[0] == "/token" else "other"

    def handle(self, request: Request) -> Response:
        """Answer a request for a token."""
        if request.kind != "token" or request.method not in ("GET", "POST"):
            raise Refusal(404, "UNSUPPORTED", "no such path")
        return self.rules.answer(request)

    def twin(self, tls: TLS | None) -> FaultyServer:
        """Another one, by the same rules."""
        return TokenServer(self.rules, tls=tls)

    def challenge(self, origin: str) -> str:  # noqa: ARG002  # as Basic's
        """The WWW-Authenticate of a registry's 401: it points here."""
        return self.rules.challenge(self.url)

    def expire(self) -> None:
        """Let every token issued so far be void from now on."""
        self.rules.expire()

    def check(self, request: Request, needed: Collection[Access], origin: str) -> None:  # noqa: ARG002  # as Basic's
        """Refuse a request to a registry whose token does not grant what it needs; the challenge points here."""
        self.rules.check(request, needed, self.url)


def needed_access(kind: str, name: str, mounted_from: str | None) -> list[Access]:
    """What a request of that kind needs, in the words of a scope."""
    if kind == "catalog":
        return [("registry", "catalog", frozenset({"*"}))]
    if not name:
        return []
    if kind.endswith(".delete"):
        return [("repository", name, frozenset({"delete"}))]
    if kind.startswith("upload.") or kind == "manifest.put":
        needed: list[Access] = [("repository", name, frozenset({"pull", "push"}))]
        if mounted_from:
            needed.append(("repository", mounted_from, frozenset({"pull"})))
        return needed
    return [("repository", name, frozenset({"pull"}))]


def basic_credentials(headers: Headers) -> tuple[str, str] | None:
    """Name and password of a Basic Authorization header; None where there is no such."""
    scheme, _, encoded = (headers.get("Authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return name, password


def unauthorized(challenge: str) -> Refusal:
    """A 401 with this challenge."""
    return Refusal(401, "UNAUTHORIZED", REFUSED, headers=[("WWW-Authenticate", challenge)])


def _read_scope(text: str) -> tuple[str, str, frozenset[str]]:
    kind, _, rest = text.partition(":")
    name, colon, actions = rest.rpartition(":")
    if not colon or not kind or not name or not actions:
        raise Refusal(400, "UNSUPPORTED", f"invalid scope {printable(text)}")
    return kind, name, frozenset(actions.split(","))


def _in_order(actions: frozenset[str]) -> list[str]:
    return [action for action in ("pull", "push", "delete", "*") if action in actions]
