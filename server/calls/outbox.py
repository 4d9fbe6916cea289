"""What a process says to managers and sockets of calls: one stream of posts for all of its calls."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from server.bus.interface import Address, Bus, BusUnavailable, Post
from server.calls.codec import Said, encode_said
from server.calls.events import Event
from server.calls.names import INBOX_TTL, MANAGER, call_group

_BATCH = 500
_RETRY = 0.2
SEAT_PATIENCE = 5.0
"""Seconds for which a socket's mailbox may be missing: by then it is noticed that the bus forgot it."""


@dataclass(eq=False, slots=True)
class _Item:
    post: Post
    to: Address
    call_id: int
    until: float
    """When it is given up."""
    done: Callable[[], None] | None = None


class Outbox:
    """Posts in the order in which it was told to. What comes while a batch is on its way travels with the next.

    A bus in trouble is waited out, so nothing is lost as long as this process lives; then something may come twice.
    What finds no mailbox waits for one, and nothing that is for the same overtakes it: a manager's for as long
    as a call can be without one (`homeless(call_id)` is called so that somebody sees to one), a socket's for a moment.
    """

    def __init__(self, bus: Bus, homeless: Callable[[int], None]) -> None:
        self._bus = bus
        self._homeless = homeless
        self._queue: deque[_Item] = deque()
        self._waiting: dict[Address, list[_Item]] = {}
        self._again_at = 0.0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def say(self, call_id: int, event: Event) -> None:
        """Say `event` to the call's manager."""
        self._put(call_id, MANAGER, encode_said(Said(event)), INBOX_TTL, None)

    def send(self, call_id: int, name: str, data: bytes, done: Callable[[], None]) -> None:
        """Post to one of the call's sockets; `done()` is called when that has happened, or was given up."""
        self._put(call_id, name, data, SEAT_PATIENCE, done)

    def _put(self, call_id: int, name: str, data: bytes, patience: float, done: Callable[[], None] | None) -> None:
        group = call_group(call_id)
        until = asyncio.get_running_loop().time() + patience
        item = _Item(Post(group, data, name), Address(group, name), call_id, until, done)
        if item.to in self._waiting:
            self._waiting[item.to].append(item)
            return
        self._queue.append(item)
        self._empty.clear()
        self._wake.set()

    def forget(self, call_id: int) -> None:
        """The call is over: nobody needs to hear what waits."""
        group = call_group(call_id)
        for to in [to for to in self._waiting if to.group == group]:
            for item in self._waiting.pop(to):
                _is_done(item)

    async def drain(self, seconds: float) -> None:
        """Until everything is said, but no longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            now = asyncio.get_running_loop().time()
            if self._waiting and now >= self._again_at:
                self._try_again(now)
            if self._queue:
                await self._post()
                continue
            if not self._waiting:
                self._empty.set()
            self._wake.clear()
            try:
                async with asyncio.timeout_at(self._again_at if self._waiting else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _try_again(self, now: float) -> None:
        for items in self._waiting.values():
            for item in items:
                if item.until > now:
                    self._queue.append(item)
                else:
                    _is_done(item)
        self._waiting.clear()

    async def _post(self) -> None:
        batch = [self._queue[index] for index in range(min(_BATCH, len(self._queue)))]
        try:
            counts = await self._bus.post([item.post for item in batch])
        except BusUnavailable:
            await asyncio.sleep(_RETRY)
            return
        missing: dict[Address, int] = {}
        for item, count in zip(batch, counts, strict=True):
            self._queue.popleft()
            if item.to in missing or not count:
                # also what got through behind one that didn't: it must come after it (and comes twice)
                missing[item.to] = item.call_id
                self._waiting.setdefault(item.to, []).append(item)
            else:
                _is_done(item)
        if missing:
            self._keep_order(missing)

    def _keep_order(self, missing: dict[Address, int]) -> None:
        """What was told meanwhile for a mailbox that wasn't there waits behind what waits."""
        self._again_at = asyncio.get_running_loop().time() + _RETRY
        queue, self._queue = self._queue, deque()
        for item in queue:
            if item.to in missing:
                self._waiting[item.to].append(item)
            else:
                self._queue.append(item)
        for to, call_id in missing.items():
            if to.name == MANAGER:
                self._homeless(call_id)


def _is_done(item: _Item) -> None:
    if item.done is not None:
        item.done()
