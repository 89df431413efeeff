"""Credential files: docker's `config.json`, podman's `auth.json`, and the text of DOCKER_AUTH_CONFIG, which look alike.

    {"auths": {"ghcr.io": {"auth": "<base64 of user:password>"}, "quay.io/acme": {...}},
     "credHelpers": {"gcr.io": "gcloud"}, "credsStore": "desktop"}

Keys may be paths (podman's way): the most specific one counts. A helper counts before the file's own entry of the same
key, and the general store before the entry of the whole host, as docker does it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tranship.errors import InvalidArgument, printable
from tranship.formats.hosts import DOCKER_HUB
from tranship.http.credential_helper import Helper
from tranship.model import strict_json
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_FILE = 4 << 20  # bytes
DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # docker's key for its own registry, from before there were others
_DOCKER_HUB_NAMES = (DOCKER_HUB, "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, slots=True)
class Found:
    """A credential, the key that it stood under, and by which way it came ("auths", "credHelpers", "credsStore")."""

    credential: Credential
    key: str
    way: str


class CredentialFile:
    """A file's content, read once. `where` names it for people; `environment` is what helpers run in."""

    def __init__(self, text: bytes, where: str, environment: Mapping[str, str]) -> None:
        value = strict_json.loads(text, where) if text.strip() else {}
        if not isinstance(value, dict):
            raise InvalidArgument(f"{where} must be a JSON object, found {type(value).__name__}")
        self.where = where
        self._environment = environment
        self.auths: dict[str, Any] = _table(value, "auths", where)
        self.helpers: dict[str, Any] = _table(value, "credHelpers", where)
        store = value.get("credsStore")
        self.store: str | None = store if isinstance(store, str) and store else None

    def find(self, host: str, repository: str) -> Found | None:
        """The most specific credential for a repository of a host, or None.

        InvalidArgument for an entry that cannot be read, FailedPrecondition from a helper.
        """
        own = {normal(key): entry for key, entry in reversed(self.auths.items())}  # the first spelling of a key counts
        helpers = {normal(key): name for key, name in reversed(self.helpers.items())}
        store = self.store
        for key in keys(host, repository):
            if isinstance(helpers.get(key), str) and (found := self._ask(helpers[key], key)):
                return self._found(found, key, "credHelpers")
            if store and "/" not in key:
                if found := self._ask(store, key):
                    return self._found(found, key, "credsStore")
                store = None  # it knows Docker Hub by one name, so it is asked once
            credential = self._own(own[key], key) if key in own else None
            if credential is not None and not credential.is_empty:
                return self._found(credential, key, "auths")
        return None

    def _found(self, credential: Credential, key: str, way: str) -> Found:
        """With all of where it came from: the helper, the file, and the entry there."""
        place = f"{way}: {printable(key)}"
        source = f"{credential.source} ({self.where}, {place})" if credential.source else f"{self.where} ({place})"
        return Found(replace(credential, source=source), key, way)

    def helper_of(self, host: str) -> Helper | None:
        """The helper that keeps a host's credentials, if any does."""
        name = next((self.helpers[key] for key in self.helpers if normal(key) in keys(host, "")), self.store)
        return Helper(name, self._environment) if isinstance(name, str) and name else None

    def _ask(self, name: str, key: str) -> Credential | None:
        return Helper(name, self._environment).get(server_key(key))

    def _own(self, entry: Any, key: str) -> Credential:
        where = f"{self.where}: auths of {printable(key)}"
        if not isinstance(entry, dict):
            raise InvalidArgument(f"{where} must be an object")
        fields = {
            name: entry.get(name) or "" for name in ("auth", "username", "password", "identitytoken", "registrytoken")
        }
        if not all(isinstance(text, str) for text in fields.values()):
            raise InvalidArgument(f"{where}: every field must be a string")
        user, password = fields["username"], fields["password"]
        if fields["auth"]:
            try:
                user, colon, password = base64.b64decode(fields["auth"], validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                colon = ""
            if not colon:
                raise InvalidArgument(f"{where}: auth must be base64 of USER:PASSWORD")
        return Credential(
            username=user,
            password=_secret(password.rstrip("\0")),  # docker's own writer once padded with it
            identity_token=_secret(fields["identitytoken"]),
            registry_token=_secret(fields["registrytoken"]),
        )


def keys(host: str, repository: str) -> Iterator[str]:
    """The keys that a repository's credential may stand under, the most specific first, as `normal` spells them."""
    names = _DOCKER_HUB_NAMES if host.lower() in _DOCKER_HUB_NAMES else (host.lower(),)
    parts = repository.split("/") if repository else []
    for count in range(len(parts), -1, -1):
        for name in names:
            yield "/".join([name, *parts[:count]])


def normal(key: str) -> str:
    """A key without the scheme and the API's version that some writers add: `https://ghcr.io/v2/` is ghcr.io."""
    bare = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    host, slash, path = bare.partition("/")
    return host.lower() + (f"/{path}" if slash and path not in ("v1", "v2") else "")


def server_key(key: str) -> str:
    """The key as docker's helpers, and its file, know it."""
    return DOCKER_HUB_KEY if key in _DOCKER_HUB_NAMES else key


def _table(value: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    found = value.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidArgument(f"{where}: {name} must be an object")
    return found


def _secret(text: str) -> Secret | None:
    return Secret(text) if text else None
