"""Where a token may be asked for: the rules for the realm of a Bearer challenge, and for redirects of a token request.

The realm is a URL that a stranger chose, and it is about to be sent a password. So:

1. https to any named host; its own `host:port` for the registry that challenged.
2. http only where the registry itself was allowed http, and then only to the registry's own `host:port`, from one loopback
   address to another, or to a host that the user allowed http for (CVE-2019-10214: a token over plain http).
3. No private, link-local, loopback or otherwise internal address, unless it is the registry's own host: an on-premises
   registry at 10.0.0.5 may well name itself, a public one has no business in our network (SSRF).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tranship.errors import InvalidArgument, PolicyRefused
from tranship.formats.messages import Origin, redacted

_NUMERIC_LABEL = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
# Where clouds tell a machine its secrets, besides the link-local segment: AWS by IPv6, Alibaba, Azure, Oracle; Google by name.
_SECRET_ADDRESSES = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"))
)
_SECRET_NAMES = frozenset({"metadata.google.internal"})


@dataclass(frozen=True, slots=True)
class RealmRules:
    """The registry that challenges, as it is reached, and the hosts (`host:port`) that the user allowed plain http for."""

    registry: Origin
    plain_http: frozenset[str] = frozenset()

    def check(self, realm: str) -> Origin:
        """Return the realm's origin, or raise PolicyRefused that says which rule forbids it."""
        try:
            origin = Origin.of(realm)
        except InvalidArgument as error:
            raise PolicyRefused(
                f"registry {self.registry.authority} names an unusable token service: {error}"
            ) from None
        if origin == self.registry:
            return origin
        if origin.scheme == "http" and not self._may_be_plain(origin):
            raise self._refusal(realm, "it would send credentials unencrypted")
        if origin.host != self.registry.host and is_internal(origin.host) and not self._both_loopback(origin):
            raise self._refusal(realm, "an internal address that is not the registry's own")
        return origin

    def _may_be_plain(self, origin: Origin) -> bool:
        if self.registry.scheme != "http":
            return False
        same = (origin.host, origin.port) == (self.registry.host, self.registry.port)
        return same or self._both_loopback(origin) or f"{origin.host}:{origin.port}" in self.plain_http

    def _both_loopback(self, origin: Origin) -> bool:
        return is_loopback(origin.host) and is_loopback(self.registry.host)

    def _refusal(self, realm: str, why: str) -> PolicyRefused:
        return PolicyRefused(
            f"registry {self.registry.authority} names the token service {redacted(realm)}: {why}",
            hint="no credentials were sent; check that this is the registry you mean",
        )


def is_loopback(host: str) -> bool:
    """Does the host, a name or an address, mean this machine?"""
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761, section 6.3
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_internal(host: str) -> bool:
    """Is the host an address that is not of the public internet, or a name for this machine?

    A number that is no plain IPv4 address (`0x7f.1`, `2130706433`) counts as internal: some resolvers read it as one.
    """
    if is_loopback(host):
        return True
    address = _address(host)
    if address is None:
        return _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) is not None
    return not address.is_global or address.is_multicast


def may_hold_content(host: str, registry: str) -> bool:
    """May the registry at the host `registry` send us to `host` for content? To its own host, as a matter of course.

    Not to this machine, unless the registry is on it; not to the own network segment and the other places where clouds keep
    their machines' secrets (169.254.169.254). Private addresses may: an on-premises registry keeps blobs next to itself.
    """
    if host == registry:
        return True
    address = _address(host)
    if is_loopback(host) or (address is not None and address.is_unspecified):  # 0.0.0.0 is this machine, too
        return is_loopback(registry)
    if address is None:
        return host not in _SECRET_NAMES and _NUMERIC_LABEL.fullmatch(host.rpartition(".")[2]) is None
    return not (address.is_link_local or address.is_multicast or address in _SECRET_ADDRESSES)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
