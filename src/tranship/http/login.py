"""Writing credentials down, and forgetting them: docker's config.json and its helpers.

The file is replaced as a whole, readable by its owner alone, and every field that we do not know stays.
"""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

from tranship.errors import InvalidArgument, NotFound
from tranship.files import replacing
from tranship.http.credential_file import CredentialFile, keys, normal, server_key
from tranship.http.credentials import read
from tranship.model import strict_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tranship.model.secret import Credential


def login(path: str, host: str, credential: Credential, environment: Mapping[str, str]) -> str:
    """Keep a credential for `host`, in the helper that `path` names for it or else in the file; say where.

    `host` may be a path below a host (podman's way), then the credential is for that part alone.
    """
    if credential.is_empty:
        raise InvalidArgument("there is no password or token to keep")
    if ":" in credential.username:
        raise InvalidArgument("a user name cannot hold a colon")
    value, file = _load(path, environment)
    helper = file.helper_of(normal(host).partition("/")[0])
    key = server_key(normal(host))
    if helper is not None:
        helper.store(key, credential)
        _set(value, key, {})  # as docker leaves it, so that its own list of logins shows it
        _write(path, value)
        return f"docker-credential-{helper.name}"
    entry: dict[str, str] = {}
    if credential.password:
        text = f"{credential.username}:{credential.password.reveal()}"
        entry["auth"] = base64.b64encode(text.encode()).decode("ascii")
    elif credential.username:
        entry["auth"] = base64.b64encode(f"{credential.username}:".encode()).decode("ascii")
    if credential.identity_token:
        entry["identitytoken"] = credential.identity_token.reveal()
    if credential.registry_token:
        entry["registrytoken"] = credential.registry_token.reveal()
    _set(value, key, entry)
    _write(path, value)
    return path


def logout(path: str, host: str, environment: Mapping[str, str]) -> bool:
    """Forget the credential for `host` in the helper and in the file; False when neither had one."""
    try:
        value, file = _load(path, environment)
    except NotFound:
        return False
    wanted = normal(host)
    same = set(keys(wanted, "")) if "/" not in wanted else {wanted}
    there = [key for key in file.auths if normal(key) in same]
    helper = file.helper_of(wanted.partition("/")[0])
    had = bool(there)
    if helper is not None:
        had = helper.get(server_key(wanted)) is not None or had
        helper.erase(server_key(wanted))
    if there:
        value["auths"] = {key: entry for key, entry in value["auths"].items() if key not in there}
        _write(path, value)
    return had


def _load(path: str, environment: Mapping[str, str]) -> tuple[dict[str, Any], CredentialFile]:
    try:
        text = read(path)
    except NotFound:
        text = b""
    file = CredentialFile(text, path, environment)
    return (strict_json.loads(text, path) if text.strip() else {}), file


def _set(value: dict[str, Any], key: str, entry: dict[str, str]) -> None:
    auths = value.setdefault("auths", {})
    if auths is None:
        auths = value["auths"] = {}
    for old in [old for old in auths if normal(old) == normal(key) and old != key]:
        del auths[old]
    auths[key] = entry


def _write(path: str, value: dict[str, Any]) -> None:
    target = os.path.realpath(path)  # a link, from a manager of dotfiles, stays one
    os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
    with replacing(target, mode=0o600) as fd:
        os.fchmod(fd, 0o600)  # also where an older file was more open
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(json.dumps(value, indent="\t", ensure_ascii=False).encode() + b"\n")
