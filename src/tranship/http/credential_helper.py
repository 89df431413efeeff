"""Docker's credential helpers: programs `docker-credential-NAME` that keep secrets (docker-credential-helpers, "Development").

The action is the argument, the question goes to standard input, the answer comes from standard output. A helper has a time
and an output that it may use, and gets the environment that the caller gives.
"""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship.errors import FailedPrecondition, InvalidArgument, printable
from tranship.model import strict_json
from tranship.model.secret import Credential, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_OUTPUT = 256 * 1024  # bytes
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}")
_TOKEN_USER = "<token>"  # noqa: S105  # the user name that marks the secret as an identity token
_NOT_FOUND = b"credentials not found"  # the reference helpers' words; there is no exit code for it


@dataclass(frozen=True, slots=True)
class Helper:
    """The helper `docker-credential-<name>`: `environment` is what it runs in, `timeout` is in seconds."""

    name: str
    environment: Mapping[str, str]
    timeout: float = 30.0

    def get(self, server: str) -> Credential | None:
        """What it keeps for a server, or None. FailedPrecondition when it is absent, fails, hangs, or answers nonsense."""
        code, output = self._run("get", server.encode())
        if code != 0:
            if _NOT_FOUND in output.lower():
                return None
            # What it says is shown, unless that may be an answer, with the secret in it.
            said = "" if b"{" in output else printable(output.decode("utf-8", "replace").strip())
            raise self._failure(f"failed: {said or f'exit code {code}'}")
        try:
            value = strict_json.loads(output, "its answer")
        except InvalidArgument as error:
            raise self._failure(str(error)) from None
        user, secret = (value.get("Username"), value.get("Secret")) if isinstance(value, dict) else (None, None)
        if not isinstance(user, str) or not isinstance(secret, str):
            raise self._failure("its answer has no Username and Secret")
        if not secret:
            return None
        if user == _TOKEN_USER:
            return Credential(identity_token=Secret(secret), source=self._program)
        return Credential(username=user, password=Secret(secret), source=self._program)

    def store(self, server: str, credential: Credential) -> None:
        """Have it keep a credential."""
        secret = credential.identity_token or credential.password or Secret("")
        user = _TOKEN_USER if credential.identity_token else credential.username
        value = {"ServerURL": server, "Username": user, "Secret": secret.reveal()}
        code, _ = self._run("store", json.dumps(value).encode())
        if code != 0:
            raise self._failure(f"could not store the credentials for {server} (exit code {code})")

    def erase(self, server: str) -> None:
        """Have it forget a server; that it knows none is fine."""
        code, output = self._run("erase", server.encode())
        if code != 0 and _NOT_FOUND not in output.lower():
            raise self._failure(f"could not erase the credentials for {server} (exit code {code})")

    @property
    def _program(self) -> str:
        return f"docker-credential-{self.name}"

    def _failure(self, what: str) -> FailedPrecondition:
        return FailedPrecondition(f"credential helper {printable(self._program)}: {what}")

    def _run(self, action: str, question: bytes) -> tuple[int, bytes]:
        if not _NAME.fullmatch(self.name):  # it comes from a file, and must not lead to another program
            raise self._failure("this is no name of a helper")
        try:
            process = subprocess.Popen(
                [self._program, action],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(self.environment),
            )
        except OSError as error:
            raise self._failure(f"cannot be run: {(error.strerror or str(error)).lower()}") from None
        try:
            return self._talk(process, question)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    def _talk(self, process: subprocess.Popen[bytes], question: bytes) -> tuple[int, bytes]:
        assert process.stdin is not None  # noqa: S101  # both are pipes
        assert process.stdout is not None  # noqa: S101  # as above
        until = time.monotonic() + self.timeout
        with contextlib.suppress(BrokenPipeError):  # a helper that reads nothing; and no question is longer than a pipe
            process.stdin.write(question)
            process.stdin.close()
        output = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                left = until - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise self._failure(f"gave no answer in {self.timeout:.0f} seconds")
                data = process.stdout.read1(64 * 1024)  # type: ignore[attr-defined]  # a buffered reader
                if not data:
                    break
                output += data
                if len(output) > MAX_OUTPUT:
                    raise self._failure(f"wrote more than {MAX_OUTPUT} bytes")
        try:
            return process.wait(max(0.1, until - time.monotonic())), bytes(output)
        except subprocess.TimeoutExpired:
            raise self._failure(f"did not end in {self.timeout:.0f} seconds") from None
