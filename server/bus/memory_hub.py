"""What the handles of an in-process bus share: boxes, values, leases, timers, and the handles themselves."""

import asyncio
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from server.bus.interface import Address, Entry, Holdings, MailboxLost, Post

if TYPE_CHECKING:
    from server.bus.memory import MemoryBus
    from server.bus.memory_mailbox import MemoryMailbox

DEATH_NOTICE = 3.0
"""Seconds until the others notice that a process died."""
LEASE_NOTICE = 0.5
"""Seconds from the end of a lease until somebody is told, and until they are told again."""
TIMER_RETRY = 5.0

V = TypeVar("V")


def now() -> float:
    return asyncio.get_running_loop().time()


class Expiring(Generic[V]):
    """Values that vanish when their time is over; what is over is cleared away as others come."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], tuple[V, float]] = {}
        self._ends: list[tuple[float, tuple[str, str]]] = []

    def get(self, key: tuple[str, str]) -> V | None:
        found = self._values.get(key)
        return found[0] if found is not None and found[1] > now() else None

    def put(self, key: tuple[str, str], value: V, ttl: float) -> None:
        end = now() + ttl
        self._values[key] = (value, end)
        heapq.heappush(self._ends, (end, key))
        self._clear_away()

    def change(self, key: tuple[str, str], value: V) -> None:
        """A new value with the time that the old one had left."""
        self._values[key] = (value, self._values[key][1])

    def remove(self, key: tuple[str, str]) -> None:
        self._values.pop(key, None)

    def clear(self) -> None:
        self._values.clear()
        self._ends.clear()

    def names(self) -> list[tuple[str, str]]:
        return [key for key, (_, end) in self._values.items() if end > now()]

    def __len__(self) -> int:
        return sum(end > now() for _, end in self._values.values())

    def _clear_away(self) -> None:
        while self._ends and self._ends[0][0] <= now():
            _, key = heapq.heappop(self._ends)
            if key in self._values and self._values[key][1] <= now():
                del self._values[key]


@dataclass(slots=True, eq=False)
class Box:
    """A mailbox: what was posted and not yet acknowledged."""

    ttl: float
    capacity: int
    note: bytes
    last: int = 0
    entries: deque[Entry] = field(default_factory=deque)
    reader: "MemoryMailbox | None" = None
    expires: float | None = None
    """None while a live process reads it."""


@dataclass(slots=True)
class _Held:
    owner: str
    fence: int
    expires: float | None = None


@dataclass(slots=True)
class _Timer:
    data: bytes
    due: float
    handle: asyncio.Handle


class MemoryHub:
    """The shared part of an in-process bus."""

    def __init__(self) -> None:
        self.values: Expiring[bytes] = Expiring()
        self.sets: Expiring[dict[str, None]] = Expiring()
        self.counters: Expiring[int] = Expiring()
        self._groups: dict[str, dict[str, Box]] = {}
        self._leases: dict[str, _Held] = {}
        self._timers: dict[str, _Timer] = {}
        self._handles: list[MemoryBus] = []
        self._fence = 0
        self._processes = 0
        self._expiries: list[tuple[float, int, str, str]] = []
        self._pushes = 0

    def new_process_id(self) -> str:
        self._processes += 1
        return f"process-{self._processes}"

    def attach(self, handle: "MemoryBus") -> None:
        self._handles.append(handle)
        for name, timer in list(self._timers.items()):
            if timer.due <= now():
                self._fire(name)

    def detach(self, handle: "MemoryBus", *, died: bool) -> None:
        self._handles.remove(handle)
        if died:
            asyncio.get_running_loop().call_later(DEATH_NOTICE, self._tell_all)

    def _tell_all(self) -> None:
        for handle in list(self._handles):
            if handle.reachable:
                handle.disrupted()

    def flush(self) -> None:
        """Forget everything, as a Redis that restarted empty. Handles retake the leases that they held."""
        self._groups.clear()
        self._expiries.clear()
        self.values.clear()
        self.sets.clear()
        self.counters.clear()
        self._leases.clear()
        for timer in self._timers.values():
            timer.handle.cancel()
        self._timers.clear()
        for handle in list(self._handles):
            if not handle.reachable:
                continue
            for mailbox in handle.open_here():
                mailbox.end(MailboxLost(mailbox.address))
            for lease in handle.leases_here():
                lease.renew()
        asyncio.get_running_loop().call_soon(self._tell_all)

    # mailboxes

    def box(self, address: Address) -> Box | None:
        self._expire_boxes()
        return self._groups.get(address.group, {}).get(address.name)

    def boxes(self, group: str) -> dict[str, Box]:
        self._expire_boxes()
        return self._groups.get(group, {})

    def make_box(self, address: Address, box: Box) -> Box:
        self._groups.setdefault(address.group, {})[address.name] = box
        return box

    def remove_box(self, address: Address, box: Box) -> None:
        group = self._groups.get(address.group)
        if group is not None and group.get(address.name) is box:
            del group[address.name]
            box.entries.clear()
            if not group:
                del self._groups[address.group]

    def all_boxes(self) -> Iterator[Address]:
        """Every mailbox there is, for those who check that nothing is left."""
        self._expire_boxes()
        for group, boxes in self._groups.items():
            for name in boxes:
                yield Address(group, name)

    def hold(self, box: Box, reader: "MemoryMailbox") -> None:
        """A live process reads the box."""
        if box.reader is reader:
            box.expires = None

    def let_expire(self, box: Box, reader: "MemoryMailbox") -> None:
        """The reader has stopped: the box lives for its time to live."""
        if box.reader is not reader:
            return
        box.expires = now() + box.ttl
        self._pushes += 1
        heapq.heappush(self._expiries, (box.expires, self._pushes, reader.address.group, reader.address.name))

    def _expire_boxes(self) -> None:
        while self._expiries and self._expiries[0][0] <= now():
            _, _, group, name = heapq.heappop(self._expiries)
            box = self._groups.get(group, {}).get(name)
            if box is not None and box.expires is not None and box.expires <= now():
                self.remove_box(Address(group, name), box)

    def recheck(self, mailbox: "MemoryMailbox") -> None:
        """The reader reaches the hub again: its box may be gone, or have something new."""
        if self.box(mailbox.address) is not mailbox.box:
            mailbox.end(MailboxLost(mailbox.address))
        else:
            mailbox.wake()

    def post(self, post: Post) -> int:
        """Gives how many boxes took it."""
        boxes = self.boxes(post.group)
        if post.name is not None:
            box = boxes.get(post.name)
            return 0 if box is None else self._put(Address(post.group, post.name), box, post.data)
        return sum(self._put(Address(post.group, name), box, post.data) for name, box in list(boxes.items()))

    def _put(self, address: Address, box: Box, data: bytes) -> int:
        if len(box.entries) >= box.capacity:
            self.remove_box(address, box)
            if box.reader is not None:
                box.reader.end(MailboxLost(address))
            return 0
        box.last += 1
        box.entries.append(Entry(box.last, data))
        if box.reader is not None:
            box.reader.wake()
        return 1

    # leases

    def acquire(self, group: str, owner: str) -> int | None:
        held = self._leases.get(group)
        if held is not None and (held.expires is None or held.expires > now()):
            return None
        self._fence += 1
        self._leases[group] = _Held(owner, self._fence)
        return self._fence

    def renew(self, group: str, owner: str, fence: int) -> bool:
        """Whether the lease is still the owner's; one that was only forgotten is taken again."""
        held = self._leases.get(group)
        if held is None:
            self._leases[group] = _Held(owner, fence)
            return True
        if held.fence != fence:
            return False
        held.expires = None
        return True

    def holds(self, group: str, fence: int) -> bool:
        held = self._leases.get(group)
        return held is not None and held.fence == fence and (held.expires is None or held.expires > now())

    def lease_runs_out(self, group: str, fence: int, ttl: float) -> None:
        held = self._leases.get(group)
        if held is not None and held.fence == fence:
            held.expires = now() + ttl
            asyncio.get_running_loop().call_later(ttl + LEASE_NOTICE, self._tell_of_lease, group, fence)

    def release(self, group: str, fence: int) -> None:
        held = self._leases.get(group)
        if held is not None and held.fence == fence:
            del self._leases[group]

    def forget_lease(self, group: str) -> None:
        held = self._leases.get(group)
        if held is not None and held.expires is not None and held.expires <= now():
            del self._leases[group]

    def held_leases(self) -> list[str]:
        """Every lease there is, expired or not, for those who check that nothing is left."""
        return list(self._leases)

    def _tell_of_lease(self, group: str, fence: int) -> None:
        held = self._leases.get(group)
        if held is None or held.fence != fence or held.expires is None or held.expires > now():
            return
        for handle in self._handles:
            handler = next((h for prefix, h in handle.lease_handlers.items() if group.startswith(prefix)), None)
            if handle.reachable and handler is not None:
                handle.tasks.start(handler(group), f"lease-expired:{group}")
                break
        asyncio.get_running_loop().call_later(LEASE_NOTICE, self._tell_of_lease, group, fence)

    # timers

    def set_timer(self, name: str, delay: float, data: bytes) -> None:
        self.drop_timer(name)
        due = now() + max(delay, 0.0)
        self._timers[name] = _Timer(data, due, asyncio.get_running_loop().call_at(due, self._fire, name))

    def drop_timer(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.handle.cancel()

    def _fire(self, name: str) -> None:
        timer = self._timers.get(name)
        if timer is None:
            return
        # Claimed for a while: should the process die or the handler fail, or nobody be there, it fires again.
        timer.due = now() + TIMER_RETRY
        timer.handle = asyncio.get_running_loop().call_at(timer.due, self._fire, name)
        kind = name.partition(":")[0]
        for bus in self._handles:
            if bus.reachable and kind in bus.timer_handlers:
                bus.tasks.start(self._run_timer(bus, kind, name, timer), f"timer:{name}")
                return

    async def _run_timer(self, bus: "MemoryBus", kind: str, name: str, timer: _Timer) -> None:
        await bus.timer_handlers[kind](name, timer.data)
        if self._timers.get(name) is timer:
            self.drop_timer(name)

    def timer_names(self) -> list[str]:
        """Every timer there is, for those who check that nothing is left."""
        return list(self._timers)

    # as a whole

    def survey(self, prefix: str) -> list[Holdings]:
        self._expire_boxes()
        keys: dict[str, set[str]] = {}
        for names in (self.values.names(), self.sets.names(), self.counters.names()):
            for group, key in names:
                keys.setdefault(group, set()).add(key)
        leased = {group for group, held in self._leases.items() if self.holds(group, held.fence)}
        groups = sorted(group for group in {*self._groups, *keys, *leased} if group.startswith(prefix))
        return [
            Holdings(group, group in leased, frozenset(self._groups.get(group, ())), frozenset(keys.get(group, ())))
            for group in groups
        ]

    # broadcast

    def broadcast(self, topic: str, data: bytes) -> None:
        for handle in self._handles:
            if handle.reachable:
                asyncio.get_running_loop().call_soon(handle.hear, topic, data)
