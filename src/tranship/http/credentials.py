"""Where credentials are kept, in the order in which they are asked for (after what an end itself was given):

    DOCKER_AUTH_CONFIG · REGISTRY_AUTH_FILE · docker's config.json · podman's auth.json

The first source that has something for a repository answers. `explain` tells who that is, and what the others said, without the
secret. The environment is a mapping that the caller passes in; nothing is read from the process's own.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from tranship.errors import FailedPrecondition, InvalidArgument, NotFound
from tranship.files import open_regular
from tranship.http.credential_file import MAX_FILE, CredentialFile, Found
from tranship.model.secret import Credential

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

State = Literal["answers", "behind", "nothing", "absent", "failed"]


class Source(Protocol):
    """One place where credentials may be."""

    @property
    def name(self) -> str:
        """For people: a path, a variable, a flag."""
        ...

    def find(self, host: str, repository: str) -> Found | None:
        """What it has; NotFound when the place itself is not there, FailedPrecondition when it cannot say now."""
        ...


@dataclass(slots=True)
class Text:
    """The text of DOCKER_AUTH_CONFIG."""

    text: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    name: str = "DOCKER_AUTH_CONFIG"

    def find(self, host: str, repository: str) -> Found | None:
        """See Source."""
        return CredentialFile(self.text.encode("utf-8", "surrogateescape"), self.name, self.environment).find(
            host, repository
        )


@dataclass(slots=True)
class File:
    """A credential file. `variable` is the one that names it, if one does."""

    path: str
    environment: Mapping[str, str] = field(repr=False)
    variable: str = ""

    @property
    def name(self) -> str:
        """Its path."""
        return self.path

    def find(self, host: str, repository: str) -> Found | None:
        """See Source."""
        where = f"{self.variable}={self.path}" if self.variable else self.path
        return CredentialFile(read(self.path), where, self.environment).find(host, repository)


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one source has to say about a repository.

    answers  its credential is used     behind   it has one, but an earlier source answers
    nothing  it has none                absent   there is no such file      failed  it could not say: `detail`
    """

    source: str
    state: State
    username: str = ""
    detail: str = ""

    def __str__(self) -> str:
        said = {"answers": "answers", "behind": "has one too", "nothing": "has none", "absent": "is not there"}
        text = f"{self.source}: {said.get(self.state, self.detail)}"
        if self.username:
            text += f" as {self.username}"
        return f"{text} ({self.detail})" if self.detail and self.state != "failed" else text


class Credentials:
    """The sources of one end of a transfer; threads share it, and each question is asked once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self._known: dict[tuple[str, str], Credential | None] = {}
        self._lock = threading.Lock()

    def find(self, host: str, repository: str) -> Credential | None:
        """The credential for a repository of a host, or None.

        A helper that fails, or a file that may not be read, is passed over. When nobody else has anything, the answer is
        an empty credential whose `source` says what failed, so that a refusal by the registry can name the reason. A file
        that makes no sense raises InvalidArgument.
        """
        with self._lock:
            if (host, repository) not in self._known:
                self._known[host, repository] = self._find(host, repository)
            return self._known[host, repository]

    def _find(self, host: str, repository: str) -> Credential | None:
        failed: list[str] = []
        for source in self.sources:
            try:
                found = source.find(host, repository)
            except NotFound:
                continue
            except FailedPrecondition as error:
                failed.append(str(error))
            else:
                if found is not None:
                    return found.credential
        return Credential(source="; ".join(failed)) if failed else None

    def explain(self, host: str, repository: str = "") -> tuple[Explanation, ...]:
        """What every source says about a repository of a host, in their order, without a secret."""
        said: list[Explanation] = []
        answered = False
        for source in self.sources:
            try:
                found = source.find(host, repository)
            except NotFound:
                said.append(Explanation(source.name, "absent"))
            except (FailedPrecondition, InvalidArgument) as error:
                said.append(Explanation(source.name, "failed", detail=str(error)))
            else:
                if found is None:
                    said.append(Explanation(source.name, "nothing"))
                    continue
                user = found.credential.username or ("an identity token" if found.credential.identity_token else "")
                state: State = "behind" if answered else "answers"
                said.append(Explanation(source.name, state, user, f"{found.way}: {found.key}"))
                answered = True
        return tuple(said)


def standard(environment: Mapping[str, str], *, file: str | None = None) -> Credentials:
    """The sources that everybody's tools know, as this environment names them; or `file` in the place of all those files."""
    if file is not None:
        return Credentials([File(file, environment)])
    sources: list[Source] = []
    if text := environment.get("DOCKER_AUTH_CONFIG"):
        sources.append(Text(text, environment))
    if path := environment.get("REGISTRY_AUTH_FILE"):
        sources.append(File(path, environment, "REGISTRY_AUTH_FILE"))
    sources += [File(path, environment) for path in (docker_path(environment), *_podman_paths(environment)) if path]
    return Credentials(sources)


def docker_path(environment: Mapping[str, str]) -> str | None:
    """Docker's config.json: in the folder DOCKER_CONFIG, or `~/.docker`; None without a home."""
    folder = environment.get("DOCKER_CONFIG")
    if not folder:
        home = environment.get("HOME")
        folder = os.path.join(home, ".docker") if home else None
    return os.path.join(folder, "config.json") if folder else None


def _podman_paths(environment: Mapping[str, str]) -> list[str]:
    """Podman's auth.json files: of this session, then of this user (containers-auth.json(5))."""
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}"
    session = os.path.join(runtime, "containers") if environment.get("XDG_RUNTIME_DIR") else runtime
    home = environment.get("HOME")
    config = environment.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else None)
    folders = [session] + ([os.path.join(config, "containers")] if config else [])
    return [os.path.join(folder, "auth.json") for folder in folders]


def read(path: str) -> bytes:
    """A credential file's bytes; NotFound where it is absent, FailedPrecondition where it may not be read."""
    try:
        fd = open_regular(path, follow=True)
        with os.fdopen(fd, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FailedPrecondition(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_FILE:
        raise InvalidArgument(f"{path} has more than {MAX_FILE} bytes: it is no credential file")
    return data
