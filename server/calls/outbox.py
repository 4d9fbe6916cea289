"""What a process says to managers and sockets of calls: one stream of posts for all of its calls."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from server.bus.interface import Bus, BusUnavailable, Post
from server.calls.codec import Said, encode_said
from server.calls.events import Event
from server.calls.names import INBOX_TTL, MANAGER, call_group

_BATCH = 500
_RETRY = 0.2


@dataclass(eq=False, slots=True)
class _Item:
    post: Post
    posted: Callable[[], None] | None
    """None: it's for a manager."""
    call_id: int = 0
    since: float = 0.0


class Outbox:
    """Posts in the order in which it was told to. What comes while a batch is on its way travels with the next.

    A bus in trouble is waited out, so nothing is lost as long as this process lives; then something may come twice.
    What is said to a manager waits for one if there is none, and nothing overtakes it; `homeless(call_id)` is
    called so that somebody sees to a manager.
    """

    def __init__(self, bus: Bus, homeless: Callable[[int], None]) -> None:
        self._bus = bus
        self._homeless = homeless
        self._queue: deque[_Item] = deque()
        self._waiting: dict[int, list[_Item]] = {}
        self._again_at = 0.0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def say(self, call_id: int, event: Event) -> None:
        """Say `event` to the call's manager."""
        post = Post(call_group(call_id), encode_said(Said(event)), MANAGER)
        item = _Item(post, None, call_id, asyncio.get_running_loop().time())
        if call_id in self._waiting:
            self._waiting[call_id].append(item)
        else:
            self._put(item)

    def send(self, post: Post, posted: Callable[[], None]) -> None:
        """Post to whoever is there; `posted()` is called when that has happened."""
        self._put(_Item(post, posted))

    def _put(self, item: _Item) -> None:
        self._queue.append(item)
        self._empty.clear()
        self._wake.set()

    def forget(self, call_id: int) -> None:
        """The call is over: nobody needs to hear what waits for its manager."""
        self._waiting.pop(call_id, None)

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
            self._queue.extend(item for item in items if item.since > now - INBOX_TTL)
        self._waiting.clear()

    async def _post(self) -> None:
        batch = [self._queue[index] for index in range(min(_BATCH, len(self._queue)))]
        try:
            counts = await self._bus.post([item.post for item in batch])
        except BusUnavailable:
            await asyncio.sleep(_RETRY)
            return
        held: set[int] = set()
        for item, count in zip(batch, counts, strict=True):
            self._queue.popleft()
            if item.posted is not None:
                item.posted()
            elif item.call_id in held or not count:
                # also what got through behind one that didn't: it must come after it (and comes twice)
                held.add(item.call_id)
                self._waiting.setdefault(item.call_id, []).append(item)
        if held:
            self._keep_order(held)

    def _keep_order(self, held: set[int]) -> None:
        """What was said meanwhile to a manager who wasn't there waits behind what waits."""
        self._again_at = asyncio.get_running_loop().time() + _RETRY
        for item in [item for item in self._queue if item.posted is None and item.call_id in held]:
            self._queue.remove(item)
            self._waiting[item.call_id].append(item)
        for call_id in held:
            self._homeless(call_id)
