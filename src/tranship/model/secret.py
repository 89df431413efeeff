"""Secrets and the credentials that hold them: values that never print themselves.

A secret leaves through `reveal()` alone, which is called where a request header or a helper's input is built, and nowhere
else; whatever logs, formats or fails shows three asterisks.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import Any, NoReturn


class Secret:
    """A password or token. Its repr, str and format hide it; it cannot be pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, _memo: Any) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a registry, or its token service, is shown.

    username, password  for Basic, and for a token service
    identity_token      a refresh token for the token service (OAuth2), in place of the password
    registry_token      a bearer token to be sent as it is
    source              where it was found, in words for people; takes no part in comparing
    """

    username: str = ""
    password: Secret | None = None
    identity_token: Secret | None = None
    registry_token: Secret | None = None
    source: str = field(default="", compare=False)

    @property
    def is_empty(self) -> bool:
        """Holds it no secret at all? Docker writes such entries where a helper keeps the real ones."""
        return not (self.password or self.identity_token or self.registry_token)

    @property
    def told(self) -> str:
        """What it is, for people: "credentials from --creds"; or "no credentials", and why if that is known."""
        if self.is_empty:
            return f"no credentials ({self.source})" if self.source else "no credentials"
        return f"credentials from {self.source}" if self.source else "credentials"
