"""Where a webhook may go: https, to public addresses only.

An owner types the address, and this server calls it: what lies in the server's own network (a
database's page, a cloud's metadata) must not be reached by that. The name is looked up once, every
address it has is looked at, and the call goes to one of those, whatever the name says a moment later.
"""

import ipaddress
import socket
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class TargetRefusedError(ValueError):
    """The address may not be called. The text says why."""


def check(url: str) -> SplitResult:
    """The parts of `url`, whose form is right; nothing is looked up.

    Raises:
        TargetRefusedError: no https address of a host, or one with credentials in it.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise TargetRefusedError("This is not a web address.") from None
    schemes = ("https", "http") if settings.WEBHOOKS_TO_PRIVATE else ("https",)
    if parts.scheme not in schemes or not host or port == 0:
        raise TargetRefusedError("Give an address that begins with https://")
    if parts.username or parts.password:
        raise TargetRefusedError("The address must hold no user name and no password.")
    return parts


def resolve(url: str) -> dict[str, str]:
    """The host of `url` with the address to call.

    Raises:
        TargetRefusedError: its form is wrong, the name is not known, or an address is not public.
    """
    parts = check(url)
    host = str(parts.hostname)
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise TargetRefusedError(f"The name {host} is not known.") from None
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    if not settings.WEBHOOKS_TO_PRIVATE and not all(map(_is_public, addresses)):
        raise TargetRefusedError(f"{host} is not a public address.")
    return {host: str(addresses[0])}


def _is_public(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return _is_public(address.ipv4_mapped)
        # Ways to write an IPv4 address in an IPv6 one.
        if address.sixtofour or address.teredo or address in _NAT64:
            return False
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/32")
