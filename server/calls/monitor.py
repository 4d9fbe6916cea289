"""Which calls this process manages: those made here, and those whose owner is gone.

A call without an owner is found in four ways: its lease runs out, its owner says that it stops, somebody has
something to say to its manager, or it is open in the database and nobody has its lease.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import MappingProxyType

from server.bus.interface import Address, Bus, BusUnavailable, Lease, MailboxTaken
from server.calls.codec import Record
from server.calls.kept import record_on_bus
from server.calls.manager import LeaseLost, Manager
from server.calls.names import CALL_PREFIX, INBOX_TTL, MANAGER, RELEASED_TOPIC, STATE_KEY, call_group, call_of
from server.calls.office import Office
from server.calls.ports import Superseded
from server.calls.state import CallState
from server.store.errors import StoreUnavailable
from server.tasks import OwnedTasks

_log = logging.getLogger(__name__)

_SCAN = 3.0
"""Seconds between looks for open calls without an owner."""
_KNOWN = 15.0
"""Seconds for which a call that has an owner elsewhere isn't looked at again: the bus tells when its lease runs out."""
_GOODBYE = 3.0


class Monitor:
    """`lease` is the time to live of an ownership; `ended(call_id)` is told of calls that need no manager any more."""

    def __init__(self, office: Office, lease: float, ended: Callable[[int], None]) -> None:
        self._office = office
        self._lease = lease
        self._ended = ended
        self._managers: dict[int, Manager] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._taking: set[int] = set()
        self._known: dict[int, float] = {}
        self._seen: set[int] = set()
        self._scan_now = asyncio.Event()
        self._stopping = False
        self._tasks = OwnedTasks("calls")

    @property
    def managers(self) -> Mapping[int, Manager]:
        """The managers of this process by their calls."""
        return MappingProxyType(self._managers)

    @property
    def _bus(self) -> Bus:
        return self._office.bus

    async def start(self) -> None:
        self._bus.on_lease_expired(CALL_PREFIX, self._lease_expired)
        self._bus.on_broadcast(RELEASED_TOPIC, lambda data: self.want(int(data)))
        self._tasks.start(self._scan(), "scan")

    async def stop(self) -> None:
        """Hand every call over."""
        self._stopping = True
        for manager in self._managers.values():
            manager.stop()
        if tasks := list(self._running.values()):
            await asyncio.wait(tasks, timeout=_GOODBYE)
        await self._tasks.close()

    def disrupted(self) -> None:
        """The bus may have forgotten who owns what."""
        self._known.clear()
        self._scan_now.set()

    def want(self, call_id: int) -> None:
        """Somebody has something to say to the call's manager and there is none."""
        if not self._stopping and call_id not in self._taking:
            self._tasks.start(self.take(call_id), f"take {call_id}")

    async def take(self, call_id: int, *, new: CallState | None = None) -> None:
        """Manage the call unless somebody does. A bus or a database in trouble is logged: it is tried again.

        `new` is the state of a call that was just created, which needs not be asked for.
        """
        manager = self._managers.get(call_id)
        if self._stopping or call_id in self._taking or (manager is not None and manager.owns):
            return
        self._taking.add(call_id)
        try:
            if (task := self._running.get(call_id)) is not None:
                task.cancel()
                await asyncio.wait({task})
            lease = await self._bus.acquire(call_group(call_id), self._lease)
            if lease is None:
                self._known[call_id] = asyncio.get_running_loop().time() + _KNOWN
                return
            await self._manage(call_id, lease, new)
        except (BusUnavailable, StoreUnavailable, Superseded) as error:
            _log.warning("call %d can't be taken: %s %s", call_id, type(error).__name__, error)
        except Exception:  # no call may keep the others from being taken
            _log.exception("call %d can't be taken", call_id)
        finally:
            self._taking.discard(call_id)

    async def _manage(self, call_id: int, lease: Lease, new: CallState | None) -> None:
        """Start a manager with what the bus and the database know of the call, or clear up if it is over."""
        try:
            record = await self._record(call_id, lease) if new is None else Record(lease.fence, new)
            inbox = await self._bus.open_mailbox(Address(call_group(call_id), MANAGER), ttl=INBOX_TTL, create=True)
            if record is None:
                await inbox.close(keep=False)
                await self._bus.delete(call_group(call_id), STATE_KEY)
        except BaseException:
            await lease.release()
            raise
        if record is None:
            await lease.release()
            self._ended(call_id)
            return
        if new is None:
            self._office.metrics.takeovers.inc()
            _log.info("call %d is taken over", call_id)
        manager = Manager(self._office, record, lease, inbox, created=new is not None)
        self._managers[call_id] = manager
        self._running[call_id] = self._tasks.start(self._run(call_id, manager), f"{call_id}")
        self._office.metrics.managed.set(len(self._managers))

    async def _record(self, call_id: int, lease: Lease) -> Record | None:
        """Where the call stands: the later of what bus and database have; None if nothing is left to be done."""
        on_bus = await record_on_bus(self._bus, call_id)
        try:
            stored = await self._office.store.take(call_id, lease.fence)
        except StoreUnavailable:
            if on_bus is None:
                raise
            return on_bus
        if on_bus is not None and stored is not None and on_bus.order >= stored.order:
            return on_bus
        return stored if stored is not None and stored.call.open else None

    async def _run(self, call_id: int, manager: Manager) -> None:
        try:
            await manager.run()
        except (LeaseLost, MailboxTaken, Superseded) as error:
            _log.info("call %d has another owner: %s", call_id, type(error).__name__)
        except Exception:
            _log.exception("call %d: its manager failed", call_id)
        finally:
            del self._managers[call_id], self._running[call_id]
            self._office.metrics.managed.set(len(self._managers))
            await manager.hand_over()
            if not manager.call.open:
                self._ended(call_id)
            elif self._stopping:
                await self._tell_released(call_id)

    async def _tell_released(self, call_id: int) -> None:
        try:
            await self._bus.broadcast(RELEASED_TOPIC, b"%d" % call_id)
        except BusUnavailable as error:
            _log.warning("call %d: nobody is told that it has no owner: %s", call_id, error)

    async def _lease_expired(self, group: str) -> None:
        await self.take(call_of(group))

    async def _scan(self) -> None:
        self._scan_now.set()
        while True:
            urgent = self._scan_now.is_set()
            self._scan_now.clear()
            try:
                await self._take_orphans(urgent=urgent)
            except StoreUnavailable as error:
                _log.warning("calls without an owner can't be looked for: %s", error)
            try:
                async with asyncio.timeout(_SCAN):
                    await self._scan_now.wait()
            except TimeoutError:
                continue

    async def _take_orphans(self, *, urgent: bool) -> None:
        """Take open calls that have no owner: in time those seen twice, for a call that was just created is about to be
        taken where it was; after trouble all of them."""
        open_calls = await self._office.store.open_calls()
        seen, self._seen = self._seen, set(open_calls)
        now = asyncio.get_running_loop().time()
        self._known = {call_id: until for call_id, until in self._known.items() if until > now}
        for call_id in open_calls:
            if call_id not in self._known and (urgent or call_id in seen):
                await self.take(call_id)
