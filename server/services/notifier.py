"""Tells the sessions of users what happened, after it was committed.

What is posted is a hint: the database is the truth, and the sessions compare themselves with it. So a bus in
trouble may delay a post or lose it, and the request that caused it is answered all the same.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice

from server.bus.interface import Bus, BusUnavailable, Post
from server.clock import Clock, epoch_millis
from server.model.entities import Contact, ContactRequest, Delivery, Message
from server.runtime.metrics import Metrics
from server.wire import notification as wire

WAIT = 0.25
"""Seconds that a request waits for the bus before it is answered."""
RETRY = 0.5
BACKLOG = 20_000
"""Posts that wait for a bus in trouble; more are dropped, oldest first."""
_BATCH = 500

_log = logging.getLogger(__name__)


class Notifier:
    """`start` before use; `close` gives what still waits a last try."""

    def __init__(self, bus: Bus, clock: Clock, metrics: Metrics) -> None:
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._queue: deque[Post] = deque()
        self._entered = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        """Who waits until so many of the posts that have entered the queue have left it."""
        self._behind = False
        self._wake = asyncio.Event()
        self._poster: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._poster = asyncio.create_task(self._run(), name="notifier")

    async def close(self) -> None:
        if self._poster is not None:
            self._poster.cancel()
            await asyncio.gather(self._poster, return_exceptions=True)
        if self._queue:
            try:
                await self._bus.post(list(self._queue))
            except BusUnavailable:
                self._metrics.posts_dropped.inc(len(self._queue))
            self._queue.clear()
        self._behind = True  # nobody posts any more, so nobody may wait for it
        self._release()

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Each to its receiver. Those of one message share the work of encoding it."""
        now = epoch_millis(self._clock.now())
        frames = FrameMaker()
        await self._post(
            [
                Post(
                    wire.session_group(delivery.receiver_id),
                    wire.Queued(delivery.delivery_id, now, frames.frame(delivery)).encode(),
                )
                for delivery in deliveries
            ]
        )

    async def contacts(self, contacts: Sequence[Contact]) -> None:
        """Each to its owner."""
        await self._hints([(contact.owner_id, wire.contact_frame(contact)) for contact in contacts])

    async def contact_request(self, request: ContactRequest) -> None:
        """To the one who is asked."""
        await self._hints([(request.user_id, wire.contact_request_frame(request))])

    async def call_handled(self, user_id: int, call_id: int) -> None:
        """To all devices of one who has joined or hung up."""
        await self._hints([(user_id, wire.call_handled_frame(call_id))])

    async def _hints(self, frames: Sequence[tuple[int, str]]) -> None:
        now = epoch_millis(self._clock.now())
        await self._post(
            [Post(wire.session_group(user), wire.Queued(0, now, frame).encode()) for user, frame in frames]
        )

    async def _post(self, posts: Sequence[Post]) -> None:
        """Returns when they are posted, or after a moment: then they go on being posted by themselves."""
        if not posts:
            return
        self._queue.extend(posts)
        self._entered += len(posts)
        self._wake.set()
        if (too_many := len(self._queue) - BACKLOG) > 0:
            self._metrics.posts_dropped.inc(too_many)
            for _ in range(too_many):
                self._queue.popleft()
        if self._behind:
            self._metrics.posts_deferred.inc(len(posts))
            return
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((self._entered, done))
        await done

    async def _run(self) -> None:
        """Post what is queued, in order; what comes while one batch is under way goes with the next."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._queue:
                self._behind = False
                self._wake.clear()
                await self._wake.wait()
            batch = list(islice(self._queue, _BATCH))
            late = loop.call_later(WAIT, self._fall_behind)
            try:
                await self._bus.post(batch)
            except BusUnavailable:
                self._fall_behind()
                await asyncio.sleep(RETRY)
                continue
            except Exception:  # those that come next must be posted all the same
                _log.exception("%d notifications could not be posted", len(batch))
                self._metrics.posts_dropped.inc(len(batch))
            finally:
                late.cancel()
            for post in batch:
                # more may have come meanwhile, and pushed the oldest out
                if self._queue and self._queue[0] is post:
                    self._queue.popleft()
            self._release()

    def _fall_behind(self) -> None:
        """The bus is slow or away: nobody waits for it, until it has caught up."""
        if not self._behind:
            self._behind = True
            self._metrics.posts_deferred.inc(len(self._queue))
        self._release()

    def _release(self) -> None:
        """Let those go on whose posts are posted; while the bus is behind, all."""
        posted = self._entered if self._behind else self._entered - len(self._queue)
        while self._waiting and self._waiting[0][0] <= posted:
            _, done = self._waiting.popleft()
            if not done.done():
                done.set_result(None)


class FrameMaker:
    """Frames of deliveries. The receivers of one message get the same frame but for two fields, so it is encoded
    once and those are put in."""

    def __init__(self) -> None:
        self._message: Message | None = None
        self._is_new = False
        self._parts: tuple[str, str, str] = ("", "", "")

    def frame(self, delivery: Delivery) -> str:
        message = delivery.message
        if message.call is not None:
            return wire.message_frame(delivery)  # everybody has their own view of the call
        if message is not self._message or delivery.is_new != self._is_new:
            self._message, self._is_new = message, delivery.is_new
            self._parts = wire.message_frame_parts(message, is_new=delivery.is_new)
        before, local_id, after = self._parts
        shown = local_id if delivery.receiver_id == message.sender_id else '""'
        return f'{before}{shown},"deliveryId":{delivery.delivery_id}{after}'
