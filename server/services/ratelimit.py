"""Rate limits, counted on the bus for all processes together, or here while the bus is away."""

import ipaddress
import math

from server.bus.interface import Bus, BusUnavailable
from server.clock import Clock
from server.config.settings import Limits, RateLimit
from server.errors import ApiError, ErrorCode

_LOCAL = 10_000
"""Counters kept here at most."""
_NETWORK = 64
"""Bits of an IPv6 address that tell one visitor from another: whoever has a network has all the addresses in it."""


class RateLimiter:
    """Counts in windows that begin at multiples of their length, so what is over and when is the same everywhere."""

    def __init__(self, bus: Bus, clock: Clock, settings: Limits) -> None:
        self._bus = bus
        self._clock = clock
        self._enabled = settings.enabled
        self._local: dict[str, tuple[float, int]] = {}

    async def hit_address(self, limit: RateLimit, name: str, address: str) -> None:
        """Count one more of `name` from a network address. Raises ApiError (TOO_MANY)."""
        await self.hit(limit, name, _origin(address))

    async def hit(self, limit: RateLimit, name: str, who: str) -> None:
        """Count one more of `name` by `who`.

        Raises:
            ApiError: TOO_MANY, with the seconds until the window is over
        """
        if not self._enabled:
            return
        now = self._clock.now().timestamp()
        window = int(now // limit.seconds)
        end = (window + 1) * limit.seconds
        key = f"rate:{name}:{who}"
        try:
            count = await self._bus.increment(key, str(window), limit.seconds)
        except BusUnavailable:
            count = self._count_here(key, now, end)
        if count > limit.count:
            raise ApiError(ErrorCode.TOO_MANY, seconds=max(1, math.ceil(end - now)))

    def _count_here(self, key: str, now: float, end: float) -> int:
        known, count = self._local.pop(key, (end, 0))
        if len(self._local) >= _LOCAL:
            self._local = {k: v for k, v in self._local.items() if v[0] > now}
        if len(self._local) >= _LOCAL:
            del self._local[next(iter(self._local))]
        count = count + 1 if known == end else 1
        self._local[key] = (end, count)
        return count


def _origin(address: str) -> str:
    """Of an IPv6 address its network; an IPv4 address as it is, also one that is written as IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed.packed[: _NETWORK // 8] + bytes(16 - _NETWORK // 8), _NETWORK)))
    return str(parsed)
