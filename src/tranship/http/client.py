"""The client: a request goes out, an open response or an error of ours comes back.

Each layer is a loop around the next, named by what it adds:

    open, send ─ _with_retries ─ _with_access ─ _with_redirects ─ _once

A retry starts again at the registry, so that a signed place that has expired is named anew. `send` reads the body within an
attempt; who reads an open answer goes on where it broke by itself. A 401 is answered once a request; a redirect that leaves the
host goes on without anything that the host was to see alone.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypeVar

from tranship.errors import InvalidArgument, PolicyRefused, Unavailable
from tranship.formats.distribution import warnings
from tranship.formats.messages import Flow, Headers, Origin, Request, Response, drive, join, redacted, retry_after
from tranship.formats.realm import RealmRules, may_hold_content
from tranship.http.answer import Answer
from tranship.http.dial import Route
from tranship.http.failures import FAILURES, BadAnswer, Broken, NoAnswer, ProxyFailed, broken, turned_away
from tranship.http.hop import Hop
from tranship.http.limits import Clock, Slots, Throttle, Timeouts
from tranship.http.payload import BodyFailed
from tranship.http.pool import Pool
from tranship.http.proxies import Proxies
from tranship.http.retry import Pace, Retry
from tranship.http.tls import Tls
from tranship.model.manifest import MAX_DOCUMENT
from tranship.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tranship.formats.hosts import Host
    from tranship.formats.token_flow import Grant
    from tranship.http.access import Access
    from tranship.http.connection import Incoming
    from tranship.http.payload import Payload
    from tranship.model.secret import Credential

T = TypeVar("T")
log = logging.getLogger(__name__)
MAX_REDIRECTS = 5


class Client:
    """Sends requests to hosts. One for a transfer; threads share it; `close` it, or use it in a `with` block.

    find         the credential for (host, repository), or None
    per_host     threads that talk to one host at once
    throttle     bytes a second over all connections, both ways; those of other clients too, if they share it
    plain_http   `host:port` of token services that the user allowed plain http for
    note         told in a sentence what happens behind the scenes: retries, redirects, who gets a password
    warned       told what a registry would like its users to know
    """

    def __init__(
        self,
        *,
        find: Callable[[str, str], Credential | None] = lambda _host, _repository: None,
        retry: Retry | None = None,
        timeouts: Timeouts | None = None,
        proxies: Proxies | None = None,
        clock: Clock | None = None,
        per_host: int = 4,
        throttle: Throttle | None = None,
        plain_http: frozenset[str] = frozenset(),
        user_agent: str = f"tranship/{__version__}",
        note: Callable[[str], None] = lambda _text: None,
        warned: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._find = find
        self._retry = retry or Retry()
        self._timeouts = timeouts or Timeouts()
        self._proxies = proxies or Proxies()
        self._clock = clock or Clock()
        self._slots = Slots(per_host)
        self._throttle = throttle or Throttle(None, self._clock)
        self._plain_http = plain_http
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "identity"}  # of every request
        self._note = note
        self._warned = warned
        self._lock = threading.Lock()
        self._pool = Pool(self._timeouts, self._clock)
        self._paces: dict[Origin, Pace] = {}
        self._access: dict[Host, Access] = {}
        self._reached: dict[Host, Host] = {}  # as configured -> as it is really spoken to

    # ---------------------------------------------------------------------------------------------------------- the face

    def open(self, host: Host, request: Request, payload: Payload | None = None) -> Answer:
        """Send a request and give the open response, whatever its status.

        `payload` has the bytes of a request with a span. Raises Unavailable, DeadlineExceeded, PolicyRefused and the
        errors of the token flow; a status that may be otherwise next time is returned only after the last attempt.
        """
        return self._answered(host, request, payload, None)

    def send(
        self, host: Host, request: Request, payload: Payload | None = None, *, limit: int = MAX_DOCUMENT
    ) -> Response:
        """Send a request and read the whole response; DataLoss for a document of more than `limit` bytes.

        Raises what `open` does; a body that breaks is asked for again, as an answer is that does not come.
        """
        with self._answered(host, request, payload, limit) as answer:
            return answer.head

    def run(self, host: Host, flow: Flow[T], payload: Payload | None = None) -> T:
        """Run a protocol of several requests; those with a span get the payload."""
        return drive(flow, lambda request: self.send(host, request, payload if request.span is not None else None))

    def pause(self, attempt: int) -> None:
        """Wait as after attempt number `attempt` of a request; for who takes up broken bodies."""
        self._clock.sleep(self._retry.delay(attempt, None, _chance()))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------------------- the layers

    def _answered(self, host: Host, request: Request, payload: Payload | None, limit: int | None) -> Answer:
        """Send within the host's slots; with a `limit`, the answer has been read."""
        if (request.span is None) != (payload is None):
            raise InvalidArgument(f"{request.method} of {request.object}: a span and a payload belong together")
        host_name = str(host.origin)
        self._slots.acquire(host_name)
        try:
            answer = self._with_retries(host, request, payload, limit)
        except BaseException:
            self._slots.release(host_name)
            raise
        answer.when_closed(lambda: self._slots.release(host_name))
        return answer

    def _with_retries(self, host: Host, request: Request, payload: Payload | None, limit: int | None) -> Answer:
        def attempt_once() -> Answer:
            answer = self._with_access(self._found(host, request), request, payload)
            return answer if limit is None else answer.fetch(limit)

        return self._retrying(host.origin, request, attempt_once)

    def _retrying(self, origin: Origin, request: Request, attempt_once: Callable[[], Answer]) -> Answer:
        """Try until it works, the policy ends it, or the failure is no passing one."""
        pace = self._pace(origin)
        for attempt in itertools.count(1):
            pace.wait()
            failure: Broken | None = None
            answer: Answer | None = None
            try:
                answer = attempt_once()
            except Broken as failed:
                failure = failed
            if answer is not None:
                if attempt > 1:
                    answer.head = replace(answer.head, attempts=answer.head.attempts + attempt - 1)
                if not self._may_pass(origin, answer):
                    pace.succeeded()
                    return answer
            asked = answer.head.retry_after if answer is not None else None
            delay = self._retry.delay(attempt, asked, _chance())
            if answer is not None and (answer.status in (429, 503) or not request.retry):
                pace.hold(delay)
            passing = failure is None or failure.transient
            if not (request.retry and passing and attempt < self._retry.attempts and pace.may_retry()):
                if answer is not None:
                    return answer
                assert failure is not None  # noqa: S101  # one of the two came
                if attempt > 1:
                    failure.error.message += f" (after {attempt} attempts)"
                raise failure.error from failure.__cause__
            why = f"status {answer.status}" if answer is not None else str(failure)
            self._note(f"{origin.authority}: {why}; attempt {attempt + 1} of {self._retry.attempts} in {delay:.1f} s")
            if answer is not None:
                answer.discard()
            self._clock.sleep(delay)
        raise AssertionError("unreachable")

    def _may_pass(self, origin: Origin, answer: Answer) -> bool:
        """Is it a refusal that another attempt may not meet? So is one by a place whose signed address has expired."""
        signed = answer.status in (400, 403) and Origin.of(answer.head.url)[1:] != origin[1:]
        return signed or answer.status in self._retry.statuses

    def _with_access(self, host: Host, request: Request, payload: Payload | None) -> Answer:
        """Send with the grant that is known; answer one 401 of the host itself."""
        known = self._access.get(host)
        grant = known.before(request) if known is not None else None
        answer = self._with_redirects(host, request, payload, grant)
        if answer.status != 401 or Origin.of(answer.head.url) != host.origin:
            return _told(answer, grant)
        try:
            another = self._access_of(host).after(request, answer.head, grant)
        except BaseException:
            answer.close()
            raise
        if another is None or (grant is not None and another.header == grant.header):  # what was refused just now
            return _told(answer, grant)
        answer.discard()
        return _told(self._with_redirects(host, request, payload, another), another)

    def _with_redirects(self, host: Host, request: Request, payload: Payload | None, grant: Grant | None) -> Answer:
        """Follow redirects: a few, to http(s) alone, never from https to http."""
        hop = Hop.first(host, request, payload, grant, self._headers)
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._once(host, hop)
            if not _is_redirect(request.method, answer.status):
                return answer
            what = f"registry {host.authority} redirects {request.about}"
            try:
                url = join(answer.head.url, answer.head.headers.get("location"), what)
            finally:
                answer.discard()
            self._note(f"{what} to {redacted(url)}")
            hop = hop.onward(url)
        raise Unavailable(f"registry {host.authority} redirects {request.about} more than {MAX_REDIRECTS} times")

    def _once(self, host: Host, hop: Hop) -> Answer:
        """One message to one place."""
        request, target = hop.request, Origin.of(hop.url)
        who = f"registry {host.authority}" if target == host.origin else str(target)
        doing = f"{request.method} of {request.about}"
        if not may_hold_content(target.host, host.origin.host):
            raise PolicyRefused(f"registry {host.authority} sends {doing} to {target}, which is no place for content")
        try:
            incoming, attempts = self._exchanged(host, hop, target)
        except BodyFailed as failed:
            raise failed.cause from None
        except FAILURES as error:
            raise broken(error, who, doing) from error
        if log.isEnabledFor(logging.DEBUG):  # object stores keep their signatures in queries, which are left out
            log.debug("%s %s: %d", request.method, redacted(hop.url), incoming.head.status)
        fields = Headers(incoming.head.fields)
        asked = retry_after(fields.get("retry-after"), self._clock.wall())
        response = Response(
            status=incoming.head.status, url=hop.url, headers=fields, attempts=attempts, retry_after=asked
        )
        answer = Answer(incoming, response, who=who, doing=doing, throttle=self._throttle)
        try:
            for text in warnings(fields) if target == host.origin else ():
                self._warned(f"{who} warns: {text}")
        except BaseException:
            answer.close()
            raise
        return answer

    def _exchanged(self, host: Host, hop: Hop, target: Origin) -> tuple[Incoming, int]:
        """Send the message, and read the head of the answer; with it, how often the message was sent."""
        tls = Tls.of(host, target, secret=hop.secret) if target.scheme == "https" else None
        route = Route(target, tls, self._proxies.choose(target))
        head, body = hop.head(route), hop.body(self._throttle)
        head_seconds = self._timeouts.headers if hop.request.span is None else self._timeouts.commit
        ending = contextlib.closing(body) if body is not None else contextlib.nullcontext()
        with ending:  # what the bytes come from is let go of, however far it was read
            # The first of them before there is a connection, which would end itself while a slow source makes it wait.
            sent = itertools.chain([next(body, memoryview(b""))], body) if body is not None else None
            again = False
            for attempts in itertools.count(1):
                connection = self._pool.take(route, host.dial_timeout or self._timeouts.connect, fresh=again)
                # A server may end what is idle in the moment in which a request goes out: no failure of it (RFC 9110, 9.2.2).
                again = connection.used and sent is None and hop.request.retry
                try:
                    incoming = connection.ask(head, sent, hop.request.method, head_seconds)
                    if incoming.head.status == 407 and route.forwarded:
                        raise ProxyFailed from turned_away(hop.request.method, incoming.head)
                    return incoming, attempts
                except (NoAnswer, ConnectionError):
                    connection.close()
                    if not again:
                        raise
                except BaseException:
                    connection.close()
                    raise
        raise AssertionError("unreachable")

    # ------------------------------------------------------------------------------------------------------- the details

    def _token_send(self, host: Host, request: Request) -> Response:
        """Send a request of the token flow, which follows redirects by its own rules."""
        from tranship.formats.token_flow import MAX_BODY

        origin = Origin.of(request.url)
        if "Authorization" in request.headers or request.method == "POST":
            self._note(f"credentials for {host.authority} go to {redacted(request.url)}")
        headers = {**self._headers, **request.headers}
        hop = Hop(request, request.url, headers, secret=True)
        # That a body is too long, the flow says.
        with self._retrying(origin, request, lambda: self._once(host, hop).fetch(MAX_BODY + 1, cut=True)) as answer:
            return answer.head

    def _found(self, host: Host, request: Request) -> Host:
        """The host as it is really spoken to: one that may lack TLS is asked first, in plain http and without credentials.

        In that order, since a TLS server answers plain http at once (400, an alert, or an end), while some plain servers
        wait for the end of a line that a TLS greeting does not have. Nothing is known of a host that could not be reached, and
        nothing is kept of what a proxy may have said for it. `request` is what waits for this, for people.
        """
        if not host.http_fallback:
            return host
        with self._lock:
            found = self._reached.get(host)
        if found is not None:
            return found
        plain = replace(host, url=f"http://{host.url.removeprefix('https://')}", http_fallback=False)
        ping = replace(plain.repository("").ping(), object=request.about)
        proxied = self._proxies.choose(plain.origin) is not None
        try:
            with self._once(plain, Hop(ping, ping.url, self._headers)) as answer:
                tls = answer.status == 400 or 300 <= answer.status < 400  # refused, or sent on to https
                certain = not proxied or answer.status < 500
        except Broken as failed:
            if not isinstance(failed.__cause__, (BadAnswer, ConnectionResetError)):
                raise
            tls, certain = True, not proxied
        found = replace(host, http_fallback=False) if tls else plain
        if certain:
            if not tls:
                self._note(f"{host.authority} does not speak TLS: plain http from here on")
            with self._lock:
                self._reached[host] = found
        return found

    def _access_of(self, host: Host) -> Access:
        from tranship.http.access import Access

        with self._lock:
            found = self._access.get(host)
            if found is None:
                found = self._access[host] = Access(
                    host,
                    self._find,
                    RealmRules(host.origin, self._plain_http),
                    lambda request: self._token_send(host, request),
                    self._clock,
                )
            return found

    def _pace(self, origin: Origin) -> Pace:
        with self._lock:
            return self._paces.setdefault(origin, Pace(self._clock))


def _chance() -> float:
    """A number from 0 to 1 for jitter."""
    import random

    return random.random()  # noqa: S311  # it is no secret


def _told(answer: Answer, grant: Grant | None) -> Answer:
    """Let a refusal say with what the request went."""
    if answer.status in (401, 403):
        answer.head = replace(answer.head, shown=grant.earned_by if grant is not None else "no credentials")
    return answer


def _is_redirect(method: str, status: int) -> bool:
    """Is it one to follow? A 301 to 303 turns other methods than GET into GET, which would lose what they carry."""
    return status in (307, 308) or (status in (301, 302, 303) and method in ("GET", "HEAD"))
