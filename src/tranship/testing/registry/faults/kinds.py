r"""What a fault is: a function around the proper answer, aimed at kinds of request, and counted.

    @fault("no-head", aim=("blob.head", "manifest.head"))
    def no_head(strike: Strike) -> Response | None:
        ""\"HEAD is not allowed (405).""\"
        return Refusal(405, …).response()

The function may answer by itself, bend what `strike.proceed()` gives, raise Hangup, or decline by returning None: then the
proper answer goes out and the fault has not been used.
"""

from __future__ import annotations

import inspect
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tranship.testing.registry.messages import Refusal, Request, Response
from tranship.testing.registry.server import TLS, Server

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tranship.testing.registry.auth import Basic, Token, TokenServer

ALWAYS = -1  # as `times`
BLOB_BYTES = ("blob.get", "upload.chunk", "upload.finish", "upload.single")  # requests that move a blob's bytes
EVERYTHING = ("ping", "catalog", "tags", "referrers", "blob", "upload", "manifest")  # but token requests
REQUIRED = inspect.Parameter.empty  # as a parameter's default
_UNSAID = -2


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A named fault: what it is aimed at, and how often it strikes when nothing else is said."""

    name: str
    aim: tuple[str, ...]  # kinds of request, or the parts of kinds before the dot
    times: int  # ALWAYS: until it is removed
    apply: Callable[..., Response | None]

    @property
    def effect(self) -> str:
        """What it does, in a sentence or two."""
        return " ".join((self.apply.__doc__ or "").split())

    @property
    def parameters(self) -> dict[str, Any]:
        """Its parameters and their defaults."""
        found = list(inspect.signature(self.apply).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in found}


FAULTS: dict[str, FaultKind] = {}


def fault(
    name: str, *, aim: tuple[str, ...], times: int = ALWAYS
) -> Callable[[Callable[..., Response | None]], Callable[..., Response | None]]:
    """Give a fault its name and its place in FAULTS."""

    def register(function: Callable[..., Response | None]) -> Callable[..., Response | None]:
        FAULTS[name] = FaultKind(name, aim, times, function)
        return function

    return register


@dataclass(slots=True)
class Strike:
    """One request that a fault is looking at."""

    request: Request
    server: FaultyServer
    memory: dict[str, Any]  # the fault's own, from strike to strike
    _answer: Callable[[], Response]
    _response: Response | None = None

    def proceed(self) -> Response:
        """The proper answer (asked for once, however often this is called)."""
        if self._response is None:
            try:
                self._response = self._answer()
            except Refusal as refusal:
                self._response = refusal.response()
        return self._response


@dataclass(slots=True)
class Fault:
    """A fault at work; ends with `remove`, at the end of its `with` block, or when it has struck `times` times."""

    kind: FaultKind
    parameters: dict[str, Any]
    left: int  # strikes to come, or ALWAYS
    skip: int  # matching requests to let pass first
    aim: tuple[str, ...]
    method: str | None
    path: re.Pattern[str] | None
    hits: int = 0  # strikes so far
    removed: bool = False
    memory: dict[str, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remove(self) -> None:
        """Strike no more."""
        self.removed = True

    def strike(self, request: Request, server: FaultyServer, answer: Callable[[], Response]) -> Response:
        """Answer the request, with the fault's help if it is one that it is aimed at."""
        if not self._matches(request) or not self.take():
            return answer()
        strike = Strike(request, server, self.memory, answer)
        request.exchange.faults.append(self.kind.name)
        response = self.kind.apply(strike, **self.parameters)
        if response is None:
            request.exchange.faults.remove(self.kind.name)
            self._give_back()
            return strike.proceed()
        return response

    def _matches(self, request: Request) -> bool:
        return (
            any(request.kind == aim or request.kind.startswith(f"{aim}.") for aim in self.aim)
            and self.method in (None, request.method)
            and (self.path is None or self.path.search(request.target) is not None)
        )

    def take(self) -> bool:
        """Count a strike, if there is one to make now."""
        with self._lock:
            if self.removed or not self.left:
                return False
            if self.skip:
                self.skip -= 1
                return False
            if self.left > 0:
                self.left -= 1
            self.hits += 1
            return True

    def _give_back(self) -> None:
        with self._lock:
            if self.left != ALWAYS:
                self.left += 1
            self.hits -= 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()


class FaultyServer(Server):
    """A server that answers by `handle`, and less well where a fault was asked for."""

    def __init__(self, *, tls: TLS | None = None) -> None:
        super().__init__(tls=tls)
        self.tls = tls
        self.auth: Basic | Token | TokenServer | None = None
        self._faults: list[Fault] = []
        self._others: dict[bool, FaultyServer] = {}

    def fault(
        self,
        name: str,
        /,
        *,
        times: int | None = _UNSAID,
        skip: int = 0,
        kind: str | tuple[str, ...] | None = None,
        method: str | None = None,
        path: str | None = None,
        **parameters: Any,
    ) -> Fault:
        """Misbehave from now on, as the table in `tranship.testing.registry.faults` says of that name.

        times   strikes until it ends; None: until it is removed; by default the table's number
        skip    requests at which it is aimed that pass unharmed first
        kind    aim at these kinds of request instead of the table's: `"blob"` means all of `"blob.…"`
        method  aim only at requests of this method
        path    aim only at requests whose target (path and query) holds this regular expression

        Raises KeyError for an unknown name, TypeError for parameters that the fault does not take or lacks.
        """
        chosen = FAULTS[name]
        inspect.signature(chosen.apply).bind(None, **parameters)  # TypeError here, rather than at the first strike
        left = chosen.times if times == _UNSAID else ALWAYS if times is None else times
        aim = chosen.aim if kind is None else (kind,) if isinstance(kind, str) else kind
        made = Fault(chosen, parameters, left, skip, aim, method, re.compile(path) if path is not None else None)
        self._faults.append(made)
        return made

    def answer(self, request: Request) -> Response:
        """Let each fault, the newest outermost, have its say around the proper answer."""

        def through(depth: int) -> Response:
            if depth < 0:
                return self.handle(request)
            return faults[depth].strike(request, self, lambda: through(depth - 1))

        faults = tuple(self._faults)
        return through(len(faults) - 1)

    def handle(self, request: Request) -> Response:
        """The proper answer; may raise Refusal, Hangup or ClientGone."""
        raise NotImplementedError

    def welcomes(self) -> bool:
        """Is a new connection to be served, or does a fault want it reset?"""
        return not any("connection" in made.aim and made.take() for made in self._faults)

    def twin(self, tls: TLS | None) -> FaultyServer:
        """A server, not started, with the same content and without authentication."""
        raise NotImplementedError

    @property
    def elsewhere(self) -> FaultyServer:
        """Another host (that is, port) with the same content, where faults send clients; it records what comes."""
        return self._other(secure=self.tls is not None)

    @property
    def elsewhere_plain(self) -> FaultyServer:
        """The same without TLS."""
        return self._other(secure=False)

    def stop(self) -> None:
        """End this server and its others."""
        super().stop()
        for other in self._others.values():
            other.stop()
            self._stumbles += other._stumbles  # noqa: SLF001  # one of ours

    def _other(self, *, secure: bool) -> FaultyServer:
        with self._lock:
            if secure not in self._others:
                self._others[secure] = self.twin(self.tls if secure else None).start()
            return self._others[secure]
