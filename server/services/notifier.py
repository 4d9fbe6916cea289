"""Tells the sessions of users what happened, after it was committed.

What is posted is a hint: the database is the truth, and the sessions compare themselves with it. So a bus in
trouble may delay a post or lose it, and the request that caused it is answered all the same.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

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


class Notifier:
    """`start` before use; `close` gives what still waits a last try."""

    def __init__(self, bus: Bus, clock: Clock, metrics: Metrics) -> None:
        self._bus = bus
        self._clock = clock
        self._metrics = metrics
        self._backlog: deque[Post] = deque(maxlen=BACKLOG)
        self._posting: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._retrier: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._retrier = asyncio.create_task(self._retry(), name="notifier")

    async def close(self) -> None:
        if self._retrier is not None:
            self._retrier.cancel()
            await asyncio.gather(self._retrier, *self._posting, return_exceptions=True)
        if self._backlog:
            try:
                await self._bus.post(list(self._backlog))
            except BusUnavailable:
                self._metrics.posts_dropped.inc(len(self._backlog))

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
        if self._backlog:
            self._defer(posts)  # behind what waits already
            return
        task = asyncio.create_task(self._post_or_defer(posts))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)
        await asyncio.wait((task,), timeout=WAIT)

    async def _post_or_defer(self, posts: Sequence[Post]) -> None:
        try:
            await self._bus.post(posts)
        except BusUnavailable:
            self._defer(posts)

    def _defer(self, posts: Sequence[Post]) -> None:
        self._metrics.posts_deferred.inc(len(posts))
        self._metrics.posts_dropped.inc(max(0, len(self._backlog) + len(posts) - BACKLOG))
        self._backlog.extend(posts)
        self._wake.set()

    async def _retry(self) -> None:
        while True:
            if not self._backlog:
                self._wake.clear()
                await self._wake.wait()
            batch = [self._backlog[index] for index in range(min(500, len(self._backlog)))]
            try:
                await self._bus.post(batch)
            except BusUnavailable:
                await asyncio.sleep(RETRY)
                continue
            for post in batch:
                # more may have come meanwhile, and pushed the oldest out
                if self._backlog and self._backlog[0] is post:
                    self._backlog.popleft()


class FrameMaker:
    """Frames of deliveries. The receivers of one message get the same frame but for three fields, so it is encoded
    once and those are put in."""

    def __init__(self) -> None:
        self._message: Message | None = None
        self._is_new = False
        self._parts: tuple[str, str] = ("", "")

    def frame(self, delivery: Delivery) -> str:
        message = delivery.message
        if delivery.receiver_id == message.sender_id or message.call is not None:
            return wire.message_frame(delivery)  # with its local id, or its own view of the call
        if message is not self._message or delivery.is_new != self._is_new:
            self._message, self._is_new = message, delivery.is_new
            before, _, after = wire.message_frame(delivery).rpartition(f'"deliveryId":{delivery.delivery_id}')
            self._parts = (before, after)
        return f'{self._parts[0]}"deliveryId":{delivery.delivery_id}{self._parts[1]}'
