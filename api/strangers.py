"""Requests without a valid key: counted by where they come from, so that nobody tries keys for ever.

Keys are checked first; whoever has a valid one is never counted here.
"""

import ipaddress
import math

from familyai.errors import LimitReached
from familyai.quota import STRANGERS_PER_MINUTE, Windows

UNKNOWN = "unknown"
HOUSEHOLD_BITS = 64
"""Of an IPv6 address, the part that one household's router gets; the rest its devices choose as they like."""


class Strangers:
    """The same count in every front. Raises redis-py's errors."""

    def __init__(self, windows: Windows, most: int) -> None:
        self._windows = windows
        self._most = most

    async def count(self, host: str | None) -> None:
        """Raises LimitReached beyond the limit."""
        wait_s = await self._windows.hit(STRANGERS_PER_MINUTE, origin(host), 1, self._most)
        if wait_s is not None:
            words = "too many requests without a valid key came from this address"
            raise LimitReached(
                f"{words}; try again in {math.ceil(wait_s)} seconds", code="too_many_strangers", retry_after_s=wait_s
            )


def origin(host: str | None) -> str:
    """What counts as one place: an IPv4 address, however it is written, or an IPv6 network."""
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, HOUSEHOLD_BITS), strict=False))
