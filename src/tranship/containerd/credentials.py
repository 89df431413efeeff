"""The auth stream's one question and answer: which credentials for this registry?

The daemon asks (AuthRequest), its client answers (AuthResponse), strictly in turn. Four kinds of answer: none, user and
password, a refresh token, or a whole Authorization header, which containerd decodes and then drops.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from tranship._api.types.transfer import registry_pb2
from tranship.containerd.codec import MAX_ITEMS, pack, text, unpack
from tranship.containerd.wire import AuthQuestion
from tranship.errors import InvalidArgument
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from tranship._api.wellknown import Any


def encode_question(question: AuthQuestion) -> Any:
    """Write a question for credentials."""
    return pack(
        registry_pb2.AuthRequest(host=question.host, reference=question.reference, wwwauthenticate=question.challenges)
    )


def decode_question(wrapped: Any) -> AuthQuestion:
    """Read a question for credentials."""
    m = unpack(wrapped, registry_pb2.AuthRequest)
    return AuthQuestion(text(m.host, "host"), text(m.reference, "reference"), tuple(m.wwwauthenticate[:MAX_ITEMS]))


def encode_credential(credential: Credential | None) -> Any:
    """Write the answer to a question. None, or an empty one, is "anonymous"."""
    if credential is None or credential.is_empty:
        return pack(registry_pb2.AuthResponse(authType=registry_pb2.NONE))
    if credential.registry_token:
        return pack(
            registry_pb2.AuthResponse(
                authType=registry_pb2.HEADER, secret=f"Bearer {credential.registry_token.reveal()}"
            )
        )
    if credential.identity_token:
        return pack(registry_pb2.AuthResponse(authType=registry_pb2.REFRESH, secret=credential.identity_token.reveal()))
    password = credential.password.reveal() if credential.password else ""
    return pack(
        registry_pb2.AuthResponse(authType=registry_pb2.CREDENTIALS, username=credential.username, secret=password)
    )


def decode_credential(wrapped: Any) -> Credential | None:
    """Read the answer to a question; None: go on without. Go clients say so as REFRESH with an empty secret."""
    m = unpack(wrapped, registry_pb2.AuthResponse)
    secret, source = Secret(m.secret), "the client"
    if m.authType == registry_pb2.NONE or not m.secret:
        return None
    if m.authType == registry_pb2.CREDENTIALS:
        return Credential(username=m.username, password=secret, source=source)
    if m.authType == registry_pb2.REFRESH:
        return Credential(identity_token=secret, source=source)
    if m.authType == registry_pb2.HEADER:
        scheme, _, token = m.secret.partition(" ")
        if scheme.lower() == "bearer":
            return Credential(registry_token=Secret(token.strip()), source=source)
        return _basic(token, source)
    raise InvalidArgument(f"an answer of type {m.authType} to a question for credentials")


def _basic(token: str, source: str) -> Credential:
    try:
        username, colon, password = base64.b64decode(token, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise InvalidArgument("the Authorization header in the answer is neither Bearer nor Basic")
    return Credential(username=username, password=Secret(password), source=source)
