"""TLS settings of a host, and the contexts made of them. `ssl` is imported when a context is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tranship.errors import InvalidArgument, printable

if TYPE_CHECKING:
    import ssl

    from tranship.formats.hosts import Host
    from tranship.formats.messages import Origin


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and what to show (files; a client certificate without key holds both)."""

    ca: tuple[str, ...] = ()
    client: tuple[tuple[str, str | None], ...] = ()
    skip_verify: bool = False

    @classmethod
    def of(cls, host: Host, target: Origin, *, secret: bool = False) -> Tls:
        """The settings for a request on behalf of `host` to `target`, which may be another machine.

        The host's authorities are trusted everywhere. Its client certificate is shown to itself alone. That any
        certificate will do holds for the places that it redirects to, since what comes from there is hashed, and not
        where a `secret` goes.
        """
        if target.host == host.origin.host:
            return cls(host.ca, host.client, host.skip_verify)
        return cls(host.ca, (), host.skip_verify and not secret)

    def context(self) -> ssl.SSLContext:
        """A context that trusts the system's authorities and these; InvalidArgument names a file that cannot be used."""
        import ssl

        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        for path in self.ca:
            try:
                context.load_verify_locations(cafile=path)
            except (OSError, ssl.SSLError) as error:
                raise InvalidArgument(f"cannot use {printable(path)} as certificate authority: {error}") from None
        for certificate, key in self.client:
            try:
                # No password is ever asked for on the terminal: an encrypted key is an error.
                context.load_cert_chain(certificate, key, password=lambda: "")
            except (OSError, ssl.SSLError, ValueError) as error:
                raise InvalidArgument(f"cannot use {printable(certificate)} as client certificate: {error}") from None
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
