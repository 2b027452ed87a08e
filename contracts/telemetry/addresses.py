"""IP addresses by value: one address has many spellings, and exporters do not agree on one."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable


@functools.lru_cache(4096)
def canonical_address(text: str) -> str | None:
    """The one spelling of an address (RFC 5952 for IPv6), or None for what is no address.

    An IPv4 address inside IPv6 (`::ffff:192.0.2.1`) is that IPv4 address; a zone (`fe80::1%eth0`) is left out, since
    it names an interface of whoever wrote it down.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        address = ipaddress.IPv6Address(int(address))
    return str(address)


def canonical_addresses(texts: Iterable[str]) -> frozenset[str]:
    """A guest's addresses, for comparison; what is no address equals none."""
    return frozenset(found for found in map(canonical_address, texts) if found is not None)
