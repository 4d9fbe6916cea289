"""A process' heartbeat on Redis: it says that the process lives, keeps what the process holds alive, and brings what
the process must know of the others.

Trouble is mended here: once Redis answers again, everything that is held is compared with it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence

from server.bus.interface import BusUnavailable, GroupHandler
from server.bus.redis.doorbell import Doorbell
from server.bus.redis.lease import Leases, RedisLease
from server.bus.redis.lease_index import LeaseIndex
from server.bus.redis.link import Argument, Link
from server.bus.redis.mailboxes import Mailboxes
from server.bus.redis.names import Names
from server.bus.redis.scripts import BEAT
from server.bus.redis.timers import Timers
from server.tasks import OwnedTasks

_log = logging.getLogger(__name__)

_BEAT = 0.5
_AGAIN = 0.2
"""Seconds after a beat that failed."""
_DEAD = 3.0
"""Seconds of silence after which a process is dead."""
_TELL_AGAIN = 1.0
"""Seconds until a lease that ran out, and that nobody acquired, is told again."""
_FIRE_AGAIN = 5.0
"""Seconds until a timer whose handler didn't finish fires again."""
_ECHO = 5.0
"""Seconds between two rings of the own bell."""
_DEAF = 12.0
"""Seconds without hearing even those after which the subscription is dead."""


class Heart:
    def __init__(
        self, link: Link, names: Names, process_id: str, mailboxes: Mailboxes, leases: Leases, doorbell: Doorbell
    ) -> None:
        self._link = link
        self._names = names
        self._process_id = process_id
        self._mailboxes = mailboxes
        self._leases = leases
        self._doorbell = doorbell
        self.timers: Timers | None = None
        self._lease_handlers: dict[str, GroupHandler] = {}
        self._disruption: list[Callable[[], None]] = []
        self._epoch: bytes | None = None
        self._trouble = False
        self._soon = asyncio.Event()
        self._echoed_at = 0.0
        self._tasks = OwnedTasks("heart")

    def on_disruption(self, callback: Callable[[], None]) -> None:
        self._disruption.append(callback)

    def on_lease_expired(self, prefix: str, handler: GroupHandler) -> None:
        self._lease_handlers[prefix] = handler

    def beat_soon(self) -> None:
        self._soon.set()

    def worry(self) -> None:
        """Something failed or may have been missed."""
        if not self._trouble:
            self._trouble = True
            self._soon.set()

    def disrupted(self) -> None:
        for callback in self._disruption:
            callback()

    async def start(self) -> None:
        """The first beat. Raises BusUnavailable."""
        await self._beat()
        self._trouble = False

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            pause = _BEAT
            try:
                await self._beat()
            except BusUnavailable as error:
                if not self._trouble:
                    _log.warning("Redis doesn't answer: %s", error)
                self._trouble = True
                pause = _AGAIN
            self._leases.expire()
            if pause == _BEAT:
                try:
                    async with asyncio.timeout(pause):
                        await self._soon.wait()
                except TimeoutError:
                    pass
            else:
                await asyncio.sleep(pause)
            self._soon.clear()

    async def close(self) -> None:
        await self._tasks.close()

    async def _beat(self) -> None:
        """Raises BusUnavailable."""
        troubled, self._trouble = self._trouble, False
        try:
            epoch = await self._renew_and_exchange(everything=troubled)
            forgot = self._epoch is not None and epoch != self._epoch
            self._epoch = epoch
            if forgot:
                _log.warning("Redis has forgotten everything")
                await self._renew_and_exchange(everything=True)
            if troubled or forgot:
                await self._mailboxes.recheck()
                self.disrupted()
            else:
                await self._mailboxes.renew_due()
        except BusUnavailable:
            self._trouble = True
            raise

    async def _renew_and_exchange(self, *, everything: bool) -> bytes:
        with self._leases.renewal():
            return await self._exchange(await self._leases.renew(everything=everything))

    async def _exchange(self, renewed: Sequence[RedisLease]) -> bytes:
        """One beat; gives the epoch, which changes when Redis forgets."""
        names, timers = self._names, self.timers
        kinds = timers.kinds if timers is not None else []
        prefixes = list(self._lease_handlers)
        arguments: list[Argument] = [
            self._process_id, secrets.token_hex(8), _millis(_DEAD), _millis(_TELL_AGAIN), _millis(_FIRE_AGAIN),
            names.all_channel, int(self._echo_is_due()), names.process_channels + self._process_id,
            len(prefixes), *prefixes, len(kinds), *kinds,
        ]  # fmt: skip
        for lease in renewed:
            arguments += LeaseIndex.entry(lease.group, lease.fence, lease.ttl)
        keys = (names.epoch, names.processes, names.leases, names.lease_fences, names.timers, names.timer_data)
        epoch, ran_out, due, wait = await self._link.run(BEAT, keys, *arguments)
        for group in ran_out:
            self._tell_of_lease(group.decode())
        if timers is not None:
            for name, data, claim in due:
                timers.fire(name.decode(), data, claim)
            timers.next_in(wait)
        return bytes(epoch)

    def _echo_is_due(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._doorbell.heard > _DEAF:
            self._doorbell.heard = now
            self._doorbell.renew()
        if now - self._echoed_at < _ECHO:
            return False
        self._echoed_at = now
        return True

    def _tell_of_lease(self, group: str) -> None:
        handler = next((one for prefix, one in self._lease_handlers.items() if group.startswith(prefix)), None)
        if handler is not None:
            self._tasks.start(handler(group), f"lease-expired:{group}")


def _millis(seconds: float) -> int:
    return round(seconds * 1000)
