"""The one subscription of a process: what rings for its mailboxes, and what all are told."""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from redis.asyncio.client import PubSub

from server.bus.interface import BusUnavailable
from server.bus.redis.link import FAILURES, Link

_log = logging.getLogger(__name__)

_PAUSE = 0.2
_LONGEST_PAUSE = 1.0

OnBell = Callable[[bytes, int, int, bytes], None]
"""(kind, token, seq, data) of each thing that a bell brings."""


class Doorbell:
    """`on_all` hears what comes for all. `on_gap` is called when something may have been missed."""

    def __init__(
        self, link: Link, own: str, everybody: str, on_bell: OnBell, on_all: Callable[[bytes], None],
        timeout: float,
    ) -> None:  # fmt: skip
        self._link = link
        self._channels = (own, everybody)
        self._own = own.encode()
        self._on_bell = on_bell
        self._on_all = on_all
        self._timeout = timeout
        self._listening: PubSub | None = None
        self._reading: asyncio.Task[None] | None = None
        self.on_gap: Callable[[], None] = _nothing
        self.heard = 0.0
        """When something came last, in the event loop's time."""

    async def start(self) -> None:
        """Returns once everything that rings is heard. Raises BusUnavailable."""
        try:
            async with asyncio.timeout(self._timeout):
                listening = self._link.listener().pubsub()
                try:
                    await listening.subscribe(*self._channels)
                    for _ in self._channels:
                        await listening.parse_response()
                except BaseException:
                    await _close(listening)
                    raise
        except (*FAILURES, TimeoutError) as error:
            raise BusUnavailable(f"subscribe: {error}") from error
        self._listening = listening
        self.heard = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Runs until it is cancelled, and subscribes again whenever the connection is lost."""
        while True:
            while self._listening is None:
                await self._come_back()
            self._reading = asyncio.create_task(self._listen(self._listening), name="doorbell")
            await asyncio.wait({self._reading})
            if self._reading.cancelled() or self._reading.exception() is None:
                _log.info("the subscription is made anew")
            else:
                _log.warning("the subscription is lost: %s", self._reading.exception())
            await self.close()

    def renew(self) -> None:
        """Nothing was heard for too long: the connection may be dead without either end knowing."""
        if self._reading is not None:
            self._reading.cancel()

    async def _come_back(self) -> None:
        pause = _PAUSE
        while True:
            try:
                await self.start()
            except BusUnavailable:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.on_gap()
                return

    async def _listen(self, listening: PubSub) -> None:
        loop = asyncio.get_running_loop()
        while True:
            kind, channel, data = await listening.parse_response()
            self.heard = loop.time()
            if kind != b"message":
                self.on_gap()  # subscribed again
            elif channel == self._own:
                self._take(data)
            else:
                self._on_all(data)

    def _take(self, bell: bytes) -> None:
        start = 0
        while start < len(bell):
            end = bell.index(b"\n", start)
            token, seq, size = bell[start + 1 : end].split(b" ")
            data_end = end + 1 + int(size)
            self._on_bell(bell[start : start + 1], int(token), int(seq), bell[end + 1 : data_end])
            start = data_end

    async def close(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        if self._listening is not None:
            await _close(self._listening)
            self._listening = None  # only now: who is cancelled on the way leaves it to the next who closes


async def _close(listening: PubSub) -> None:
    """With the pool, which may hold a connection that was given up while it was made."""
    for part in (listening, listening.connection_pool):
        with contextlib.suppress(*FAILURES):
            await part.aclose()


def _nothing() -> None:
    pass
