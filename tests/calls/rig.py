"""Processes and their sockets in virtual time, one step at a time. See `virtual`."""

import asyncio
import functools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from server.bus.interface import Post
from server.bus.memory import MemoryBus, MemoryHub
from server.calls.events import HangUp, Join
from server.calls.metrics import CallMetrics
from server.calls.outlet import OutletClosed
from server.calls.ports import CallTimes
from server.calls.registry import Calls
from server.calls.seat import Seat
from server.calls.state import CallState
from server.clock import epoch_millis
from server.errors import Language
from server.model.entities import Delivery
from server.model.enums import CallStatus, UserState
from server.wire.call import CallFrameType, Heartbeat, Signaling
from tests.calls.memory_store import MemoryCallStore, MemoryDatabase
from tests.calls.simulation.loop import VirtualClock

TIMES = CallTimes()


@functools.cache
def _metrics() -> CallMetrics:
    return CallMetrics(CollectorRegistry())


class Delays:
    """Faults of one process' way to the bus: `hold` makes operations of these kinds wait until `let_go`."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._free = asyncio.Event()
        self.repeat = 0

    def hold(self, *operations: str) -> None:
        self._held = set(operations)
        self._free.clear()

    def let_go(self) -> None:
        self._held = set()
        self._free.set()

    async def before(self, operation: str) -> None:
        if operation in self._held:
            await self._free.wait()

    def repeats(self, post: Post) -> int:
        return self.repeat


class World:
    def __init__(self) -> None:
        self.clock = VirtualClock(asyncio.get_running_loop())
        self.hub = MemoryHub()
        self.database = MemoryDatabase()

    def now(self) -> int:
        return epoch_millis(self.clock.now())

    def new_call(self, *members: int) -> CallState:
        call_id, _ = self.database.create(members, self.now())
        return self.state(call_id)

    def state(self, call_id: int) -> CallState:
        """As the database has it."""
        return self.database.rows[call_id].record.call


class Process:
    """One server, as far as calls go."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.delays = Delays()
        self.bus = MemoryBus(world.hub, world.clock, self.delays)
        self.told: list[tuple[str, int, int]] = []
        """What notification sockets were told: (status, receiver, call) and ("handled", user, call)."""
        self.calls = Calls(
            bus=self.bus,
            store=MemoryCallStore(world.database),
            notifier=self,
            clock=world.clock,
            times=TIMES,
            metrics=_metrics(),
            seat_limit=100,
        )
        self.alive = True

    async def start(self) -> None:
        await self.bus.start()
        await self.calls.start()

    def kill(self) -> None:
        """As by SIGKILL, for the others: what it does here afterwards reaches nobody."""
        self.alive = False
        self.bus.kill()

    async def stop(self) -> None:
        """As by SIGTERM."""
        self.alive = False
        await self.calls.stop()
        await self.bus.close()

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            assert delivery.message.call is not None
            self.told.append((delivery.message.call.status.name, delivery.receiver_id, delivery.message.call_id))

    async def call_handled(self, user_id: int, call_id: int) -> None:
        self.told.append(("handled", user_id, call_id))

    async def ready_call(self, *members: int) -> int:
        """The id of a new call that is ready."""
        call = self.world.new_call(*members)
        await self.calls.begin(call)
        async with asyncio.timeout(1):
            while self.world.state(call.call_id).status is CallStatus.NEW:
                await asyncio.sleep(0.001)
        return call.call_id

    async def join(self, call_id: int, *user_ids: int) -> None:
        for user_id in user_ids:
            await self.calls.ask(call_id, Join(user_id))

    async def hang_up(self, call_id: int, user_id: int) -> None:
        await self.calls.ask(call_id, HangUp(user_id))


class Client:
    """A call socket and who is at its other end. One that isn't `there` says nothing any more, not even to pings."""

    def __init__(self, process: Process, call_id: int, user_id: int, page: str = "") -> None:
        self.user_id = user_id
        self.there = True
        self.open = True
        self.frames: list[tuple[CallFrameType, str]] = []
        seats = process.calls.seats
        page = page or f"page of {user_id}"
        self.seat: Seat = seats.seat(call_id, user_id, page, Language.ENGLISH, seats.now())
        self._writer = asyncio.create_task(self._run())
        self._beating = asyncio.create_task(self._beat())

    async def _run(self) -> None:
        await self.seat.run(self)
        self.open = False
        self._beating.cancel()
        await self.seat.leave()

    async def send(self, text: str) -> None:
        if not self.open:
            raise OutletClosed
        frame = json.loads(text)
        self.frames.append((CallFrameType(frame["type"]), frame["payload"]))

    async def ping(self, payload: bytes) -> None:
        asyncio.get_running_loop().call_later(0.01, self._pong, payload)

    def _pong(self, payload: bytes) -> None:
        if self.there and self.open:
            self.seat.confirmed(payload)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(10.0)
            if self.there and self.open:
                self.seat.heard(Heartbeat())

    def say(self, to: "Client | int", message: str) -> str | None:
        return self.seat.heard(Signaling(to if isinstance(to, int) else to.user_id, message))

    async def close(self) -> None:
        """Its connection is gone, and the server knows."""
        if not self.open:
            return
        self.open = False
        for task in (self._writer, self._beating):
            task.cancel()
        await asyncio.gather(self._writer, self._beating, return_exceptions=True)
        await self.seat.leave()

    @property
    def kinds(self) -> list[CallFrameType]:
        return [kind for kind, _ in self.frames]

    def heard(self, sender: "Client") -> list[str]:
        said = [json.loads(payload) for kind, payload in self.frames if kind is CallFrameType.SIGNALING]
        return [one["message"] for one in said if one["fromUserId"] == sender.user_id]

    def seen(self, user_id: int) -> list[UserState]:
        """The states in which the user was shown."""
        shown: list[UserState] = []
        for kind, payload in self.frames:
            match kind:
                case CallFrameType.ALL_USER_STATES:
                    states = json.loads(payload)
                case CallFrameType.ONE_USER_STATE:
                    states = [json.loads(payload)]
                case _:
                    continue
            shown += [UserState(one["state"]) for one in states if one["userId"] == user_id]
        return shown


@asynccontextmanager
async def processes(count: int) -> AsyncIterator[list[Process]]:
    """So many processes that share a world; those that are alive at the end are stopped."""
    world = World()
    made = [Process(world) for _ in range(count)]
    for process in made:
        await process.start()
    yield made
    for process in made:
        process.delays.let_go()
        if process.alive:
            await process.stop()


async def pause(seconds: float = 0.1) -> None:
    """Let what is under way come to its end."""
    await asyncio.sleep(seconds)
