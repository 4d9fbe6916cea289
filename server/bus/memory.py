"""The bus within one process: the embedded default, and the ground that simulations stand on.

A `MemoryHub` is what Redis is to the other backend; each server instance has a `MemoryBus`, its handle. Several
instances in one process can share a hub. Time is the event loop's, so it may be virtual; nothing here is random and
no thread is involved: the same calls in the same order give the same answers in the same order.

Faults: `Faults` delays, refuses and repeats; `MemoryBus.isolate` cuts a handle off, `MemoryBus.kill` ends it as a
killed process ends, `MemoryHub.flush` forgets everything.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from server.bus.interface import (
    Address,
    BusUnavailable,
    GroupHandler,
    Holdings,
    Lease,
    Mailbox,
    MailboxLost,
    Post,
    TimerHandler,
    TopicHandler,
)
from server.bus.memory_hub import Box, MemoryHub
from server.bus.memory_lease import MemoryLease
from server.bus.memory_mailbox import MemoryMailbox
from server.clock import Clock
from server.runtime.metrics import Metrics
from server.tasks import OwnedTasks

__all__ = ["Faults", "MemoryBus", "MemoryHub"]


class Faults(Protocol):
    """What may go wrong between one handle and the hub."""

    async def before(self, operation: str) -> None:
        """Called before each operation: may wait, or raise BusUnavailable."""
        ...

    def repeats(self, post: Post) -> int:
        """How many times more than once this post arrives."""
        ...


class MemoryBus:
    """A handle on a hub. See `interface.Bus` for the methods and their guarantees."""

    def __init__(
        self, hub: MemoryHub, clock: Clock, faults: Faults | None = None, metrics: Metrics | None = None
    ) -> None:
        self.hub = hub
        self._clock = clock
        self._faults = faults
        self._times = functools.cache(metrics.bus_seconds.labels) if metrics is not None else None
        self._process_id = hub.new_process_id()
        self.live = False
        self._isolated = False
        self._open: dict[Address, MemoryMailbox] = {}
        self._leases: dict[str, MemoryLease] = {}
        self._disruption: list[Callable[[], None]] = []
        self._topics: dict[str, list[TopicHandler]] = {}
        self.timer_handlers: dict[str, TimerHandler] = {}
        self.lease_handlers: dict[str, GroupHandler] = {}
        self.tasks = OwnedTasks("memory-bus")

    @property
    def process_id(self) -> str:
        return self._process_id

    @property
    def reachable(self) -> bool:
        return self.live and not self._isolated

    async def start(self) -> None:
        self.live = True
        self.hub.attach(self)

    async def close(self) -> None:
        """Ends what this handle owns, and waits for the handlers that run."""
        if not self.live:
            return
        await self.tasks.close()
        for mailbox in list(self._open.values()):
            await mailbox.close(keep=True)
        for lease in list(self._leases.values()):
            await lease.release()
        self.live = False
        self.hub.detach(self, died=False)

    async def ping(self) -> float:
        start = asyncio.get_running_loop().time()
        await self.pass_through("ping")
        return asyncio.get_running_loop().time() - start

    def on_disruption(self, callback: Callable[[], None]) -> None:
        self._disruption.append(callback)

    # faults

    def kill(self) -> None:
        """End as a killed process ends: nothing is closed or released, whoever waits here waits for ever."""
        self.live = False
        self.tasks.cancel()
        self._let_go()
        self.hub.detach(self, died=True)

    def isolate(self) -> None:
        """Cut this handle off: every operation is BusUnavailable, its leases and mailboxes run out."""
        self._isolated = True
        self._let_go()

    def heal(self) -> None:
        """End `isolate`: what hasn't run out meanwhile is this handle's again."""
        self._isolated = False
        for mailbox in list(self._open.values()):
            self.hub.hold(mailbox.box, mailbox)
            self.hub.recheck(mailbox)
        for lease in list(self._leases.values()):
            lease.renew()
        self.disrupted()

    def _let_go(self) -> None:
        for mailbox in self._open.values():
            self.hub.let_expire(mailbox.box, mailbox)
        for lease in self._leases.values():
            lease.let_expire()

    def disrupted(self) -> None:
        for callback in self._disruption:
            callback()

    async def pass_through(self, operation: str) -> None:
        """What every operation meets first: this handle's faults. Nothing else takes time that is worth a look."""
        start = time.perf_counter()
        if self._faults is not None:
            await self._faults.before(operation)
        if self._times is not None:
            self._times(operation).observe(time.perf_counter() - start)
        if not self.reachable:
            raise BusUnavailable("cut off")

    # mailboxes

    async def open_mailbox(
        self, address: Address, *, ttl: float, create: bool, capacity: int = 10_000, note: bytes = b""
    ) -> Mailbox:
        await self.pass_through("open_mailbox")
        box = self.hub.box(address)
        fresh = box is None
        if box is None:
            if not create:
                raise MailboxLost(address)
            box = self.hub.make_box(address, Box(ttl=ttl, capacity=capacity, note=note))
        mailbox = MemoryMailbox(self, address, box, fresh)
        self._open[address] = mailbox
        return mailbox

    def forget_mailbox(self, mailbox: MemoryMailbox) -> None:
        if self._open.get(mailbox.address) is mailbox:
            del self._open[mailbox.address]

    async def post(self, posts: Sequence[Post]) -> list[int]:
        await self.pass_through("post")
        taken = [self.hub.post(post) for post in posts]
        if self._faults is not None:
            for post in posts:
                for _ in range(self._faults.repeats(post)):
                    self.hub.post(post)
        return taken

    async def mailboxes(self, group: str) -> list[str]:
        await self.pass_through("mailboxes")
        return list(self.hub.boxes(group))

    # timers

    async def set_timer(self, name: str, due: datetime, data: bytes = b"") -> None:
        await self.pass_through("set_timer")
        self.hub.set_timer(name, (due - self._clock.now()).total_seconds(), data)

    async def drop_timer(self, name: str) -> None:
        await self.pass_through("drop_timer")
        self.hub.drop_timer(name)

    def on_timer(self, kind: str, handler: TimerHandler) -> None:
        self.timer_handlers[kind] = handler

    # leases

    async def acquire(self, group: str, ttl: float) -> Lease | None:
        await self.pass_through("acquire")
        fence = self.hub.acquire(group, self._process_id)
        if fence is None:
            return None
        lease = self._leases[group] = MemoryLease(self, group, fence, ttl)
        return lease

    def forget_own_lease(self, lease: MemoryLease) -> None:
        if self._leases.get(lease.group) is lease:
            del self._leases[lease.group]

    def on_lease_expired(self, prefix: str, handler: GroupHandler) -> None:
        self.lease_handlers[prefix] = handler

    async def forget_lease(self, group: str) -> None:
        await self.pass_through("forget_lease")
        self.hub.forget_lease(group)

    # keys

    async def get(self, group: str, key: str) -> bytes | None:
        await self.pass_through("get")
        return self.hub.values.get((group, key))

    async def put(self, group: str, key: str, value: bytes, ttl: float) -> None:
        await self.pass_through("put")
        self.hub.values.put((group, key), value, ttl)

    async def delete(self, group: str, *keys: str) -> None:
        await self.pass_through("delete")
        for key in keys:
            self.hub.values.remove((group, key))
            self.hub.sets.remove((group, key))
            self.hub.counters.remove((group, key))

    async def claim(self, group: str, key: str, value: bytes, ttl: float) -> bytes:
        await self.pass_through("claim")
        return self._claim(group, key, value, ttl)

    def _claim(self, group: str, key: str, value: bytes, ttl: float) -> bytes:
        current = self.hub.values.get((group, key))
        if current is None or current == value:
            self.hub.values.put((group, key), value, ttl)
            return value
        return current

    async def unclaim(self, group: str, key: str, value: bytes) -> bool:
        await self.pass_through("unclaim")
        if self.hub.values.get((group, key)) != value:
            return False
        self.hub.values.remove((group, key))
        return True

    async def claim_many(self, groups: Iterable[str], key: str, value: bytes, ttl: float) -> None:
        await self.pass_through("claim_many")
        for group in groups:
            self._claim(group, key, value, ttl)

    async def increment(self, group: str, key: str, ttl: float) -> int:
        await self.pass_through("increment")
        count = self.hub.counters.get((group, key))
        if count is None:
            self.hub.counters.put((group, key), 1, ttl)
            return 1
        self.hub.counters.change((group, key), count + 1)
        return count + 1

    async def add_member(self, group: str, key: str, member: str, ttl: float) -> None:
        await self.pass_through("add_member")
        known = self.hub.sets.get((group, key)) or {}
        self.hub.sets.put((group, key), known | {member: None}, ttl)

    async def remove_member(self, group: str, key: str, member: str) -> None:
        await self.pass_through("remove_member")
        if (known := self.hub.sets.get((group, key))) is not None:
            known.pop(member, None)

    async def members(self, group: str, key: str) -> set[str]:
        await self.pass_through("members")
        return set(self.hub.sets.get((group, key)) or ())

    # as a whole

    async def survey(self, prefix: str) -> list[Holdings]:
        await self.pass_through("survey")
        return self.hub.survey(prefix)

    # broadcast

    async def broadcast(self, topic: str, data: bytes) -> None:
        await self.pass_through("broadcast")
        self.hub.broadcast(topic, data)

    def hear(self, topic: str, data: bytes) -> None:
        for handler in self._topics.get(topic, ()):
            handler(data)

    def on_broadcast(self, topic: str, handler: TopicHandler) -> None:
        self._topics.setdefault(topic, []).append(handler)

    # what the hub needs

    def open_here(self) -> list[MemoryMailbox]:
        return list(self._open.values())

    def leases_here(self) -> list[MemoryLease]:
        return list(self._leases.values())
