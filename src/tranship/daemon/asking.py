"""Asking a client for the credentials of a registry, over the auth stream that its request names."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tranship.containerd.credentials import decode_credential, encode_question
from tranship.containerd.wire import AuthQuestion
from tranship.errors import Unauthenticated, printable

if TYPE_CHECKING:
    from tranship.daemon.streams import OpenStream
    from tranship.model.secret import Credential

PATIENCE = 60.0  # seconds for an answer; Go's client sends none at all when its own helper fails, and containerd waits for ever


class Asking:
    """Finds credentials by asking: one question at a time, and one for each host."""

    def __init__(self, stream: OpenStream, reference: str, patience: float = PATIENCE) -> None:
        self._stream = stream
        self._reference = reference
        self._patience = patience
        self._answers: dict[str, Credential | None] = {}
        self._lock = threading.Lock()

    def __call__(self, host: str, repository: str) -> Credential | None:
        """What the client gives for a host; None: go on without. DeadlineExceeded when no answer comes."""
        del repository  # of the same reference in every question
        with self._lock:
            if host not in self._answers:
                self._answers[host] = self._ask(host)
            return self._answers[host]

    def _ask(self, host: str) -> Credential | None:
        self._stream.send(encode_question(AuthQuestion(host, self._reference)))
        answer = self._stream.receive(self._patience)
        if answer is None:
            raise Unauthenticated(f"{printable(host)} asks for credentials, and the client answers no more questions")
        return decode_credential(answer)


def nobody(host: str, repository: str) -> None:
    """Without an auth stream a registry is spoken to anonymously: the daemon's own user has nothing to do with it."""
    del host, repository
