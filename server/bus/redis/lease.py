"""Leases on Redis: a key with a time to live, whose value is its holder and fence; and an entry in the index."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from server.bus.interface import BusUnavailable
from server.bus.redis.lease_index import LeaseIndex
from server.bus.redis.link import Argument, Link
from server.bus.redis.names import Names
from server.bus.redis.scripts import ACQUIRE, DELETE_IF, LEASE_PUT, RENEW_LEASES

_BATCH = 500
_UNSURE = 10_000
"""Groups whose lease was asked for without an answer, that are remembered."""


class RedisLease:
    """See `interface.Lease`."""

    def __init__(
        self, leases: "Leases", group: str, holder: str, fence: int, ttl: float, asked_at: float
    ) -> None:  # fmt: skip
        self._leases = leases
        self.group = group
        self.fence = fence
        self.value = f"{holder} {fence}"
        self.ttl = ttl
        self._lost = asyncio.Event()
        self._released = False
        self.renewed(asked_at)

    @property
    def held(self) -> bool:
        return not self._released and not self._lost.is_set() and asyncio.get_running_loop().time() < self.until

    def renewed(self, asked_at: float) -> None:
        """The bus granted it at some moment after `asked_at`."""
        self.until = asked_at + self.ttl
        self.due = asked_at + self.ttl / 3

    def lose(self) -> None:
        self._lost.set()
        self._leases.forget(self)

    async def wait_lost(self) -> None:
        while not self._lost.is_set():
            try:
                # the heartbeat may be waiting for an answer at that moment
                async with asyncio.timeout_at(None if self._released else self.until):
                    await self._lost.wait()
            except TimeoutError:
                if not self._released and not self.held:
                    self.lose()

    async def put(self, key: str, value: bytes, ttl: float) -> bool:
        return self.held and await self._leases.put(self, key, value, ttl)

    async def release(self) -> None:
        if not self._released:
            self._released = True
            self._leases.forget(self)
            if not self._lost.is_set():
                await self._leases.release(self)


class Leases:
    """The leases that this process holds."""

    def __init__(self, link: Link, names: Names, process_id: str) -> None:
        self._link = link
        self._names = names
        self._process_id = process_id
        self.index = LeaseIndex(link, names)
        self._held: dict[str, RedisLease] = {}
        self._unsure: dict[str, str] = {}
        self._numbers = itertools.count(1)
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __iter__(self) -> Iterator[RedisLease]:
        return iter(list(self._held.values()))

    async def close(self) -> None:
        await asyncio.gather(*(lease.release() for lease in self))

    async def acquire(self, group: str, ttl: float) -> RedisLease | None:
        asked_at = asyncio.get_running_loop().time()
        # who got no answer may have got the lease, then or later: asked by the same holder, it is given again
        holder = self._unsure.pop(group, None) or f"{self._process_id}.{next(self._numbers)}"
        try:
            fence, _ = await asyncio.gather(
                self._link.run(ACQUIRE, (self._names.lease(group),), holder, _millis(ttl)),
                self.index.announce(group, ttl),
            )
        except BusUnavailable:
            self._unsure[group] = holder
            if len(self._unsure) > _UNSURE:
                del self._unsure[next(iter(self._unsure))]
            raise
        if fence is None:
            await self.index.withdraw(group)
            return None
        await self.index.add(group, int(fence), ttl)
        lease = self._held[group] = RedisLease(self, group, holder, int(fence), ttl, asked_at)
        return lease

    def forget(self, lease: RedisLease) -> None:
        if self._held.get(lease.group) is lease:
            del self._held[lease.group]

    async def put(self, lease: RedisLease, key: str, value: bytes, ttl: float) -> bool:
        keys = (self._names.lease(lease.group), self._names.key(lease.group, key))
        held = await self._link.run(LEASE_PUT, keys, lease.value, _millis(lease.ttl), value, _millis(ttl))
        if not held:
            lease.lose()
        return bool(held)

    async def release(self, lease: RedisLease) -> None:
        """Never raises: a lease that isn't renewed runs out by itself."""
        try:
            await self._link.run(DELETE_IF, (self._names.lease(lease.group),), lease.value)
            await self._quiet.wait()  # a renewal on its way would index it again
            await self.index.remove(lease.group, lease.fence)
        except BusUnavailable:
            return

    def expire(self) -> None:
        """Let go of those that couldn't be renewed in time."""
        for lease in self:
            if not lease.held:
                lease.lose()

    @contextmanager
    def renewal(self) -> Iterator[None]:
        """While leases are renewed, here and in the index."""
        self._quiet.clear()
        try:
            yield
        finally:
            self._quiet.set()

    async def renew(self, *, everything: bool) -> list[RedisLease]:
        """Renew those that are due; gives them. Raises BusUnavailable."""
        self.expire()  # else one that ran out meanwhile, and had another holder perhaps, would be taken again
        now = asyncio.get_running_loop().time()
        due = [lease for lease in self if everything or lease.due <= now]
        parts: Sequence[Sequence[RedisLease]]
        if self._link.cluster:
            parts = [[lease] for lease in due]
        else:
            parts = [due[start : start + _BATCH] for start in range(0, len(due), _BATCH)]
        await asyncio.gather(*map(self._renew, parts))
        return [lease for lease in due if lease.held]

    async def _renew(self, part: Sequence[RedisLease]) -> None:
        asked_at = asyncio.get_running_loop().time()
        flat: list[Argument] = []
        for lease in part:
            flat += (self._names.lease(lease.group), lease.value, _millis(lease.ttl))
        answers = await self._link.run(RENEW_LEASES, (), *flat, slot=self._names.lease(part[0].group))
        for lease, held in zip(part, answers, strict=True):
            if held:
                lease.renewed(asked_at)
            else:
                lease.lose()


def _millis(seconds: float) -> int:
    return max(1, round(seconds * 1000))
