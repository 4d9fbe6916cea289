"""Rate limits, counted on the bus for all processes together, or here while the bus is away."""

import asyncio
import math

from server.bus.interface import Bus, BusUnavailable
from server.config.settings import Limits, RateLimit
from server.errors import ApiError, ErrorCode

_LOCAL = 10_000
"""Counters kept here at most."""


class RateLimiter:
    def __init__(self, bus: Bus, settings: Limits) -> None:
        self._bus = bus
        self._enabled = settings.enabled
        self._local: dict[str, tuple[float, int]] = {}

    async def hit(self, limit: RateLimit, name: str, who: str) -> None:
        """Count one more of `name` by `who`.

        Raises:
            ApiError: TOO_MANY
        """
        if not self._enabled:
            return
        key = f"rate:{name}:{who}"
        try:
            count = await self._bus.increment(key, "count", limit.seconds)
        except BusUnavailable:
            count = self._count_here(key, limit.seconds)
        if count > limit.count:
            raise ApiError(ErrorCode.TOO_MANY, seconds=math.ceil(limit.seconds))

    def _count_here(self, key: str, seconds: float) -> int:
        now = asyncio.get_running_loop().time()
        end, count = self._local.get(key, (0.0, 0))
        if end <= now:
            if len(self._local) >= _LOCAL:
                self._local = {k: v for k, v in self._local.items() if v[0] > now}
            end, count = now + seconds, 0
        self._local[key] = (end, count + 1)
        return count + 1
