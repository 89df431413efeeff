"""What went wrong on a connection, in our errors: one table, the most specific first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tranship.errors import DeadlineExceeded, PolicyRefused, TranshipError, Truncated, Unavailable, printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tranship.formats.response_head import Head

_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNSUPPORTED_PROTOCOL",
    "RECORD_LAYER_FAILURE",
    "UNEXPECTED_EOF",
    "EOF occurred",
)


class BadAnswer(Exception):  # one of a connection's own, told as an error of ours by `broken`
    """What came is no answer, or cannot be read in one way alone; the message says how."""


class NoAnswer(BadAnswer):  # as above
    """The connection ended before anything of an answer came."""

    def __init__(self) -> None:
        super().__init__("the connection was closed without an answer")


class EndedEarly(Exception):  # as above
    """The connection ended within a body."""


class NotAccepted(TimeoutError):
    """No connection stood in time."""


class NoTls(Exception):  # as above
    """There was no handshake: why is the cause."""


class ProxyFailed(Exception):  # as above
    """A proxy did not do its part: what happened is the cause."""


class LoginWanted(BadAnswer):  # as above; the cause of a ProxyFailed
    """A proxy lets requests through for who logs in at it (407)."""


# What connections raise; a UnicodeError for a host that no name server can be asked for.
FAILURES = (OSError, UnicodeError, BadAnswer, EndedEarly, NoTls, ProxyFailed)


class Broken(Exception):  # carries an error up to where it is decided whether to try again
    """A request came to nothing: `error` to raise, and whether another attempt may do better."""

    def __init__(self, error: TranshipError, *, transient: bool = True) -> None:
        super().__init__(str(error))
        self.error = error
        self.transient = transient


def broken(error: Exception, who: str, doing: str) -> Broken:
    """Tell one of FAILURES. `who` is the other side, `doing` what was asked of it. Raise it, or its `error`, from `error`."""
    import socket
    import ssl

    chain = list(_causes(error))
    proxied = isinstance(error, ProxyFailed)
    who = f"the proxy for {who}" if proxied else who
    certificate = next((link for link in chain if isinstance(link, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return Broken(
            PolicyRefused(
                f"{who} shows a certificate that is not trusted: {printable(certificate.verify_message)}",
                hint="a proxy's authority must be one that the system trusts; SSL_CERT_FILE names others"
                if proxied
                else "give its authority with `ca` in hosts.toml, or allow it with --insecure if you must",
            ),
            transient=False,
        )
    tls = next((link for link in chain if isinstance(link, ssl.SSLError)), None)
    if tls is not None:
        text = printable(str(tls))
        not_tls = any(word in text for word in _NOT_TLS) and any(isinstance(link, NoTls) for link in chain)
        plain = "then call it http:// in the variable" if proxied else "then allow that with --plain-http"
        hint = f"does it speak plain http? {plain}" if not_tls else None
        return Broken(Unavailable(f"no TLS connection to {who}: {text}", hint=hint), transient=not not_tls)
    unknown = next((link for link in chain if isinstance(link, socket.gaierror)), None)
    if unknown is not None:
        again = unknown.errno == socket.EAI_AGAIN
        return Broken(
            Unavailable(f"cannot resolve the host of {who}: {printable(str(unknown.strerror))}"), transient=again
        )
    if any(isinstance(link, UnicodeError) for link in chain):
        return Broken(Unavailable(f"cannot resolve the host of {who}: it is no name"), transient=False)
    if any(isinstance(link, NotAccepted) for link in chain):
        return Broken(DeadlineExceeded(f"{who} does not accept a connection in time"))
    if any(isinstance(link, TimeoutError) for link in chain):
        return Broken(DeadlineExceeded(f"{who} stopped sending or taking bytes at {doing}"))
    if isinstance(error, EndedEarly):
        return Broken(Truncated(f"{who} ended {doing} too early"))
    reason = next((link for link in reversed(chain) if str(link)), error)
    login = any(isinstance(link, LoginWanted) for link in chain)
    hint = "give a login that it takes in its URL, http://USER:PASSWORD@HOST:PORT" if login else None
    told = Unavailable(f"{who} failed at {doing}: {printable(_plain(reason))}", hint=hint)
    return Broken(told, transient=not login)


def turned_away(method: str, head: Head) -> BadAnswer:
    """What a proxy means that answers a request itself."""
    kind = LoginWanted if head.status == 407 else BadAnswer
    return kind(f"it answers {method} with {head.status} {head.reason}".rstrip())


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__


def _plain(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) if isinstance(error, BadAnswer) else f"{type(error).__name__}: {error}"
