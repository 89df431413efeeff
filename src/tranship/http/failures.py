"""What went wrong on a connection, in our errors: one table, the most specific first."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tranship.errors import (
    DeadlineExceeded,
    PolicyRefused,
    TranshipError,
    Truncated,
    Unavailable,
    Unsupported,
    printable,
)
from tranship.http.payload import BodyFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNSUPPORTED_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_EOF",
    "EOF occurred",
)


class Broken(Exception):  # carries an error up to where it is decided whether to try again
    """A request came to nothing: `error` to raise, and whether another attempt may do better."""

    def __init__(self, error: TranshipError, *, transient: bool = True) -> None:
        super().__init__(str(error))
        self.error = error
        self.transient = transient


@contextlib.contextmanager
def as_broken(who: str, doing: str) -> Iterator[None]:
    """Raise what goes wrong with a connection as Broken. `who` is the other side, `doing` what was asked of it."""
    from http.client import HTTPException

    from urllib3.exceptions import HTTPError

    try:
        yield
    except BodyFailed as failed:
        raise failed.cause from None
    except (HTTPError, HTTPException, OSError, ValueError) as error:
        raise _judge(error, who, doing) from error


@contextlib.contextmanager
def as_errors(who: str, doing: str) -> Iterator[None]:
    """The same for who does not try again: raise the error itself."""
    try:
        with as_broken(who, doing):
            yield
    except Broken as broken:
        raise broken.error from broken.__cause__


def _judge(error: Exception, who: str, doing: str) -> Broken:
    import http.client
    import socket
    import ssl

    from urllib3 import exceptions as kinds

    chain = list(_causes(error))
    certificate = next((link for link in chain if isinstance(link, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return Broken(
            PolicyRefused(
                f"{who} shows a certificate that is not trusted: {printable(certificate.verify_message)}",
                hint="give its authority with `ca` in hosts.toml, or allow it with --insecure if you must",
            ),
            transient=False,
        )
    tls = next((link for link in chain if isinstance(link, (ssl.SSLError, kinds.SSLError))), None)
    if tls is not None:
        text = printable(str(tls))
        not_tls = any(word in text for word in _NOT_TLS)
        hint = "does it speak plain http? then allow that with --plain-http" if not_tls else None
        return Broken(Unavailable(f"no TLS connection to {who}: {text}", hint=hint), transient=not not_tls)
    unknown = next((link for link in chain if isinstance(link, socket.gaierror)), None)
    if unknown is not None:
        again = unknown.errno == socket.EAI_AGAIN
        return Broken(
            Unavailable(f"cannot resolve the host of {who}: {printable(str(unknown.strerror))}"), transient=again
        )
    if isinstance(error, kinds.ConnectTimeoutError) and not isinstance(error, kinds.NewConnectionError):
        return Broken(DeadlineExceeded(f"{who} does not accept a connection in time"))
    if any(isinstance(link, (TimeoutError, kinds.ReadTimeoutError)) for link in chain):
        return Broken(DeadlineExceeded(f"{who} stopped sending or taking bytes at {doing}"))
    if any(isinstance(link, (http.client.IncompleteRead, kinds.IncompleteRead)) for link in chain):
        return Broken(Truncated(f"{who} ended {doing} too early"))
    if isinstance(error, kinds.ProxySchemeUnknown):
        return Broken(
            Unsupported(f"the proxy for {who} is of an unknown kind: {printable(str(error))}"), transient=False
        )
    through = "the proxy for " if any(isinstance(link, kinds.ProxyError) for link in chain) else ""
    reason = next((link for link in reversed(chain) if str(link)), error)
    return Broken(Unavailable(f"{through}{who} failed at {doing}: {printable(_plain(reason))}"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what urllib3 has wrapped in it, and what that came from."""
    seen: set[int] = set()
    waiting: list[object] = [error]
    while waiting:
        link = waiting.pop(0)
        if isinstance(link, BaseException) and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [*link.args, getattr(link, "reason", None), link.__cause__]


def _plain(error: BaseException) -> str:
    from http.client import HTTPException, RemoteDisconnected

    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, RemoteDisconnected):
        return "the connection was closed without an answer"
    if type(error) is HTTPException:  # one of ours
        return str(error)
    return f"{type(error).__name__}: {error}"
