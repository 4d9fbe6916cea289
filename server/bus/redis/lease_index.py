"""When each lease runs out, so that somebody is told: kept beside the leases, which a cluster spreads over its nodes.

An entry is that of one owner, known by its fence, so that neither a former owner nor whoever tried in vain moves it.
"""

from server.bus.redis.link import Argument, Link
from server.bus.redis.names import Names
from server.bus.redis.scripts import INDEX_LEASE, UNINDEX_LEASE

_SLACK = 0.1
"""Seconds by which the index is later than the lease itself."""
_ABOUT_TO_GET_IT, TOLD = 0, -1
"""Instead of a fence."""


class LeaseIndex:
    """Every method raises BusUnavailable."""

    def __init__(self, link: Link, names: Names) -> None:
        self._link = link
        self._keys = (names.leases, names.lease_fences)

    async def announce(self, group: str, ttl: float) -> None:
        """Somebody may be about to get it; should it die just then, that is told."""
        await self.add(group, _ABOUT_TO_GET_IT, ttl)

    async def withdraw(self, group: str) -> None:
        """It didn't get it."""
        await self.remove(group, _ABOUT_TO_GET_IT)

    async def add(self, group: str, fence: int, ttl: float) -> None:
        await self._link.run(INDEX_LEASE, self._keys, *self.entry(group, fence, ttl))

    async def remove(self, group: str, fence: int) -> None:
        await self._link.run(UNINDEX_LEASE, self._keys, group, fence)

    async def forget(self, group: str) -> None:
        """Its end was told, and is known."""
        await self.remove(group, TOLD)

    @staticmethod
    def entry(group: str, fence: int, ttl: float) -> tuple[Argument, ...]:
        """What scripts are told of a lease: its group, its fence, and milliseconds from now."""
        return group, fence, round((ttl + _SLACK) * 1000)
