"""One process' handle on the bus."""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from server.bus.interface import (
    Address,
    BusUnavailable,
    GroupHandler,
    Holdings,
    Lease,
    Mailbox,
    Post,
    TimerHandler,
    TopicHandler,
)
from server.bus.redis.doorbell import Doorbell
from server.bus.redis.heart import Heart
from server.bus.redis.lease import Leases
from server.bus.redis.link import Link
from server.bus.redis.mailboxes import Mailboxes
from server.bus.redis.names import Names
from server.bus.redis.scripts import ADD_MEMBER, CLAIM, DELETE_IF, INCREMENT
from server.bus.redis.survey import survey
from server.bus.redis.timers import Timers
from server.clock import Clock
from server.config.settings import Redis as RedisSettings
from server.runtime.metrics import Metrics
from server.tasks import OwnedTasks

_BATCH = 500


class RedisBus:
    """See `interface.Bus` for the methods and their guarantees."""

    def __init__(self, settings: RedisSettings, clock: Clock, metrics: Metrics | None = None) -> None:
        self._process_id = secrets.token_hex(8)
        self._link = Link(settings, metrics)
        self._names = names = Names(settings.prefix, self._link.db)
        self._mailboxes = Mailboxes(self._link, names, self._process_id, settings.timeout)
        self._leases = Leases(self._link, names, self._process_id)
        self._doorbell = Doorbell(
            self._link, names.process_channels + self._process_id, names.all_channel, self._mailboxes.rung,
            self._hear, settings.timeout,
        )  # fmt: skip
        self._heart = Heart(self._link, names, self._process_id, self._mailboxes, self._leases, self._doorbell)
        self._doorbell.on_gap = self._heart.worry
        self._timers = self._heart.timers = Timers(self._link, names, clock, self._heart.beat_soon)
        self._topics: dict[str, list[TopicHandler]] = {}
        self._live = False
        self._tasks = OwnedTasks("redis-bus")

    @property
    def process_id(self) -> str:
        return self._process_id

    async def start(self) -> None:
        """Raises BusUnavailable."""
        try:
            await self._link.start()
            await self._doorbell.start()
            await self._heart.start()
        except BusUnavailable:
            await self._doorbell.close()
            await self._link.close()
            raise
        self._link.on_trouble = self._heart.worry
        self._mailboxes.start()
        self._tasks.start(self._doorbell.run(), "doorbell")
        self._tasks.start(self._heart.run(), "heart")
        self._live = True

    async def close(self) -> None:
        """Ends what this handle owns, and waits for the handlers that run."""
        if not self._live:
            return
        self._live = False
        await self._timers.close()
        await self._heart.close()
        await self._mailboxes.close()
        await self._leases.close()
        with contextlib.suppress(BusUnavailable):  # then it is taken for dead in a moment
            await self._link.command("ZREM", self._names.processes, self._process_id, operation="leave")
        await self._end()

    async def kill(self) -> None:
        """End as a killed process ends: nothing is closed or released."""
        self._live = False
        await self._timers.close()
        await self._heart.close()
        await self._mailboxes.stop()
        await self._end()

    async def _end(self) -> None:
        await self._tasks.close()
        await self._doorbell.close()
        await self._link.close()

    async def ping(self) -> float:
        start = asyncio.get_running_loop().time()
        await self._link.command("PING", operation="ping")
        return asyncio.get_running_loop().time() - start

    def on_disruption(self, callback: Callable[[], None]) -> None:
        self._heart.on_disruption(callback)

    # mailboxes

    async def open_mailbox(
        self, address: Address, *, ttl: float, create: bool, capacity: int = 10_000, note: bytes = b""
    ) -> Mailbox:
        return await self._mailboxes.open(address, ttl=ttl, create=create, capacity=capacity, note=note)

    async def post(self, posts: Sequence[Post]) -> list[int]:
        return await self._mailboxes.post(posts)

    async def mailboxes(self, group: str) -> list[str]:
        return await self._mailboxes.names(group)

    # timers

    async def set_timer(self, name: str, due: datetime, data: bytes = b"") -> None:
        await self._timers.set(name, due, data)

    async def drop_timer(self, name: str) -> None:
        await self._timers.drop(name)

    def on_timer(self, kind: str, handler: TimerHandler) -> None:
        self._timers.handle(kind, handler)

    # leases

    async def acquire(self, group: str, ttl: float) -> Lease | None:
        return await self._leases.acquire(group, ttl)

    def on_lease_expired(self, prefix: str, handler: GroupHandler) -> None:
        self._heart.on_lease_expired(prefix, handler)

    async def forget_lease(self, group: str) -> None:
        await self._leases.index.forget(group)

    # keys

    async def get(self, group: str, key: str) -> bytes | None:
        value: bytes | None = await self._link.command("GET", self._names.key(group, key), operation="get")
        return value

    async def put(self, group: str, key: str, value: bytes, ttl: float) -> None:
        await self._link.command("SET", self._names.key(group, key), value, "PX", _millis(ttl), operation="put")

    async def delete(self, group: str, *keys: str) -> None:
        if keys:
            await self._link.command("DEL", *(self._names.key(group, key) for key in keys), operation="delete")

    async def claim(self, group: str, key: str, value: bytes, ttl: float) -> bytes:
        name = self._names.key(group, key)
        current: bytes = await self._link.run(CLAIM, (), value, _millis(ttl), name, slot=name)
        return current

    async def unclaim(self, group: str, key: str, value: bytes) -> bool:
        return bool(await self._link.run(DELETE_IF, (self._names.key(group, key),), value))

    async def claim_many(self, groups: Iterable[str], key: str, value: bytes, ttl: float) -> None:
        names = [self._names.key(group, key) for group in groups]
        size = 1 if self._link.cluster else _BATCH
        parts = [names[start : start + size] for start in range(0, len(names), size)]
        await asyncio.gather(
            *(self._link.run(CLAIM, (), value, _millis(ttl), *part, slot=part[0]) for part in parts)
        )  # fmt: skip

    async def increment(self, group: str, key: str, ttl: float) -> int:
        return int(await self._link.run(INCREMENT, (self._names.key(group, key),), _millis(ttl)))

    async def add_member(self, group: str, key: str, member: str, ttl: float) -> None:
        await self._link.run(ADD_MEMBER, (self._names.key(group, key),), member, _millis(ttl))

    async def remove_member(self, group: str, key: str, member: str) -> None:
        await self._link.command("SREM", self._names.key(group, key), member, operation="remove_member")

    async def members(self, group: str, key: str) -> set[str]:
        found = await self._link.command("SMEMBERS", self._names.key(group, key), operation="members")
        return {member.decode() for member in found}

    # as a whole

    async def survey(self, prefix: str) -> list[Holdings]:
        return await survey(self._link, self._names, prefix)

    # broadcast

    async def broadcast(self, topic: str, data: bytes) -> None:
        message = b"B" + topic.encode() + b"\0" + data
        await self._link.command("PUBLISH", self._names.all_channel, message, operation="broadcast")

    def on_broadcast(self, topic: str, handler: TopicHandler) -> None:
        self._topics.setdefault(topic, []).append(handler)

    def _hear(self, message: bytes) -> None:
        """What comes for all: B a broadcast, D a process died, W a timer was set, due in so many milliseconds."""
        rest = message[1:]
        match message[:1]:
            case b"B":
                topic, _, data = rest.partition(b"\0")
                for handler in self._topics.get(topic.decode(), ()):
                    handler(data)
            case b"D":
                self._heart.disrupted()
            case b"W":
                self._timers.next_in(int(rest))


def _millis(seconds: float) -> int:
    return max(1, round(seconds * 1000))
