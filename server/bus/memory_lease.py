"""A lease of an in-process bus: it holds as long as its handle lives and reaches the hub."""

import asyncio
import math
from typing import TYPE_CHECKING

from server.bus.memory_hub import now

if TYPE_CHECKING:
    from server.bus.memory import MemoryBus


class MemoryLease:
    """See `interface.Lease`."""

    def __init__(self, bus: "MemoryBus", group: str, fence: int, ttl: float) -> None:
        self._bus = bus
        self.group = group
        self.fence = fence
        self._ttl = ttl
        self._lost = asyncio.Event()
        self._released = False
        self._end: asyncio.TimerHandle | None = None
        self._until = math.inf
        """When it runs out, while it can't be renewed."""

    @property
    def held(self) -> bool:
        return not self._released and not self._lost.is_set() and now() < self._until

    async def wait_lost(self) -> None:
        await self._lost.wait()

    async def put(self, key: str, value: bytes, ttl: float) -> bool:
        if not self.held:
            return False
        await self._bus.pass_through("lease_put")
        if not self.held or not self._bus.hub.holds(self.group, self.fence):
            return False
        self._bus.hub.values.put((self.group, key), value, ttl)
        return True

    async def release(self) -> None:
        if self._released:
            return
        self._released = True
        self._bus.forget_own_lease(self)
        if self._end is not None:
            self._end.cancel()
        if self._bus.reachable and not self._lost.is_set():
            self._bus.hub.release(self.group, self.fence)

    def let_expire(self) -> None:
        """The handle can't renew it any more."""
        self._until = min(self._until, now() + self._ttl)  # not later than in the hub, where it is another's then
        self._bus.hub.lease_runs_out(self.group, self.fence, self._ttl)
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(self._ttl, self._lose)

    def renew(self) -> None:
        """The handle reaches the hub again, or the hub forgot."""
        if self._end is not None:
            self._end.cancel()
            self._end = None
        if self._released:
            return
        if not self.held:
            self._lose()
            return
        self._until = math.inf
        if not self._bus.hub.renew(self.group, self._bus.process_id, self.fence):
            self._lose()

    def _lose(self) -> None:
        self._lost.set()
        self._bus.forget_own_lease(self)
