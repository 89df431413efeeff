"""What one host has let us in with: challenges that it made, and the grants that answered them."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from tranship.formats import challenge
from tranship.formats.messages import Request, Response, drive
from tranship.formats.token_flow import Grant, Grants, authorize
from tranship.model.secret import Credential

if TYPE_CHECKING:
    from collections.abc import Callable

    from tranship.formats.hosts import Host
    from tranship.formats.realm import RealmRules
    from tranship.http.limits import Clock


class Access:
    """The authorization state of one host, shared by all threads.

    Only one thread at a time asks for a token: the others would ask for the same one, and find it when their turn comes.
    """

    def __init__(
        self,
        host: Host,
        find: Callable[[str, str], Credential | None],
        rules: RealmRules,
        send: Callable[[Request], Response],
        clock: Clock,
    ) -> None:
        self._host = host
        self._find = find
        self._rules = rules
        self._send = send
        self._clock = clock
        self._challenges: tuple[challenge.Challenge, ...] = ()
        self._grants: dict[Credential | None, Grants] = {}
        self._lock = threading.Lock()

    def before(self, request: Request) -> Grant | None:
        """The grant to send with a request: None as long as the host has not asked for any."""
        return self._grant(request) if self._challenges else None

    def after(self, request: Request, response: Response, used: Grant | None) -> Grant | None:
        """Another grant after a 401, or None where the host does not say how."""
        found = challenge.parse(response.headers.all("www-authenticate"))
        if not found:
            return None
        return self._grant(request, found, refused=used)

    def _grant(
        self, request: Request, found: tuple[challenge.Challenge, ...] = (), refused: Grant | None = None
    ) -> Grant:
        """A grant by the challenges that the request has `found`, or else by the latest that any has."""
        credential = self._find(self._host.authority, request.repository)
        with self._lock:
            # Not what another has found while this one waited: it may name another repository, and another token service.
            challenges = self._challenges = found or self._challenges
            grants = self._grants.setdefault(credential, Grants())
            if refused is not None:
                grants.forget(refused)
            now = self._clock.monotonic()
            grant = grants.find(request.scopes, now)
            if grant is None:
                headers = dict(self._host.headers)
                flow = authorize(challenges, credential, request.scopes, self._rules, now=now, headers=headers)
                told = (credential or Credential()).told
                grant = replace(drive(flow, self._send), earned_by=told)
                grants.keep(grant, now)
            return grant
