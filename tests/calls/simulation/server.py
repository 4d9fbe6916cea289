"""One life of a server process in the simulation, with the endpoints that lead to its calls."""

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

from server.bus.interface import BusUnavailable, Post
from server.bus.memory import MemoryBus
from server.calls.events import HangUp, Join
from server.calls.metrics import CallMetrics
from server.calls.outlet import OutletClosed
from server.calls.registry import Calls
from server.clock import epoch_millis
from server.errors import ApiError, ErrorCode, Language
from server.model.entities import Delivery
from server.model.enums import CallStatus
from server.store.errors import StoreUnavailable
from server.wire.call import parse
from tests.calls.memory_store import MemoryCallStore
from tests.calls.simulation.world import TIMES, World

SILENCE = 2 * TIMES.heartbeat_timeout
"""As the call socket's endpoint has it."""


class ConnectionLost(Exception):
    """The server died, or wasn't there."""


@functools.cache
def _metrics() -> CallMetrics:
    """For all servers of all runs: making them takes as long as a minute of calls."""
    return CallMetrics(CollectorRegistry())


class _Store(MemoryCallStore):
    def __init__(self, server: "Server") -> None:
        super().__init__(server.world.database)
        self._server = server

    async def reach(self) -> None:
        world = self._server.world
        await asyncio.sleep(0.001 + 0.003 * world.random.random())
        if world.database_away:
            await asyncio.sleep(1.0)
            await self._server.if_alive()
            raise StoreUnavailable("the database is away")
        await self._server.if_alive()


class _Faults:
    """Between the process and the bus: delays, refusals, repetitions."""

    def __init__(self, server: "Server") -> None:
        self._server = server

    async def before(self, operation: str) -> None:
        world = self._server.world
        chances = world.chances
        if chances.slow and world.random.random() < chances.slow:
            await asyncio.sleep(world.random.random() ** 4)
        elif world.random.random() < 0.2:
            await asyncio.sleep(0.001)
        await self._server.if_alive()
        if chances.refused and world.random.random() < chances.refused:
            raise BusUnavailable(operation)

    def repeats(self, post: Post) -> int:
        world = self._server.world
        return int(world.chances.repeated > 0 and world.random.random() < world.chances.repeated)


class Server:
    """Made for one life: `start`, then `kill` or `stop`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.bus = MemoryBus(world.hub, world.clock, _Faults(self))
        self.store = _Store(self)
        self.calls = Calls(
            bus=self.bus,
            store=self.store,
            notifier=self,
            clock=world.clock,
            times=TIMES,
            metrics=_metrics(),
        )
        self.sockets: dict[ServedSocket, None] = {}
        self._dead = world.loop.create_future()

    async def start(self) -> None:
        await self.bus.start()
        await self.calls.start()
        self.world.servers[self.name] = self

    def kill(self) -> None:
        """As by SIGKILL: whatever it was doing never goes on; the kernel closes its sockets."""
        del self.world.servers[self.name]
        self._dead.set_result(None)
        self.bus.kill()
        for socket in list(self.sockets):
            socket.lost_by_server()

    async def stop(self) -> None:
        """As by SIGTERM."""
        del self.world.servers[self.name]
        for socket in list(self.sockets):
            socket.close()
        await asyncio.gather(*(socket.task for socket in list(self.sockets)))
        await self.calls.stop()
        await self.bus.close()
        self._dead.set_result(None)

    async def if_alive(self) -> None:
        """Never returns in a dead process."""
        if self._dead.done():
            limbo = self.world.loop.create_future()
            self.world.limbo.append(limbo)
            await limbo

    # the notification sockets, as far as calls need them

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            self.world.loop.call_later(0.003, self.world.people[delivery.receiver_id].notified, delivery)

    async def call_handled(self, user_id: int, call_id: int) -> None:
        self.world.note(f"{user_id} has handled call {call_id}")

    # HTTP

    async def request(self, work: Awaitable[None]) -> None:
        """Raises ApiError, ConnectionLost."""
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, self._dead}, return_when=asyncio.FIRST_COMPLETED)
        if self._dead.done() and not task.done():
            task.add_done_callback(lambda task: task.exception())  # it may still time out
            raise ConnectionLost
        task.result()

    async def create(self, members: Sequence[int]) -> None:
        await self.store.reach()
        busy = self.world.database.reservations
        if members[0] in busy:
            raise ApiError(ErrorCode.CALLER_BUSY)
        if all(member in busy for member in members[1:]):
            raise ApiError(ErrorCode.CALLEE_BUSY)
        call_id, deliveries = self.world.database.create(members, epoch_millis(self.world.clock.now()))
        call = self.world.database.rows[call_id].record.call
        self.world.note(f"call {call_id} of {members} is created at {self.name}")
        await self.store.reach()
        await self.deliver(deliveries)
        await self.calls.begin(call)

    async def join(self, call_id: int, user_id: int) -> None:
        record = await self.store.record(call_id)
        if record is None:
            raise ApiError(ErrorCode.CALL_NOT_FOUND)
        if record.call.status is CallStatus.END:
            raise ApiError(ErrorCode.CALL_ENDED)
        await self.calls.ask(call_id, Join(user_id))

    async def hang_up(self, call_id: int, user_id: int) -> None:
        record = await self.store.record(call_id)
        if record is None:
            raise ApiError(ErrorCode.CALL_NOT_FOUND)
        if record.call.status is CallStatus.END:
            raise ApiError(ErrorCode.CALL_ENDED)
        await self.calls.ask(call_id, HangUp(user_id))


class Client(Protocol):
    """The other end of a call socket."""

    def received(self, socket: "ServedSocket", text: str) -> None: ...

    def closed(self, socket: "ServedSocket") -> None: ...


class ServedSocket:
    """A call socket between a client and a server, in order in both directions, with a latency. The server closes one
    that it hears nothing of."""

    def __init__(self, server: Server, client: "Client", call_id: int, user_id: int, token: str) -> None:
        world = server.world
        self.server = server
        self.cut = False
        """Nothing passes any more, and nobody has noticed."""
        self._client = client
        self._latency = 0.002 + 0.02 * world.random.random()
        seats = server.calls.seats
        self._seat = seats.seat(call_id, user_id, token, Language.CHINESE, seats.now())
        self._gone = world.loop.create_future()
        self._heard_at = world.loop.time()
        self._to_client: deque[Callable[[], None]] = deque()
        self._to_server: deque[Callable[[], None]] = deque()
        server.sockets[self] = None
        world.loop.call_later(SILENCE, self._close_if_silent)
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        writer = asyncio.ensure_future(self._seat.run(self))
        try:
            await asyncio.wait({writer, self._gone}, return_when=asyncio.FIRST_COMPLETED)
            if writer.done() and not isinstance(writer.exception(), BusUnavailable | StoreUnavailable | None):
                writer.result()
        finally:
            writer.cancel()
            self.close()
            await self._seat.leave()
            self.server.sockets.pop(self, None)

    # the server's side

    async def send(self, text: str) -> None:
        if self._gone.done():
            raise OutletClosed
        self._to(self._to_client, lambda: self._client.received(self, text))

    async def ping(self, payload: bytes) -> None:
        if self._gone.done():
            raise OutletClosed
        self._to(self._to_client, lambda: self._to(self._to_server, lambda: self._pong(payload)))

    def close(self) -> None:
        """By the server, or by the client's goodbye."""
        if not self._gone.done():
            self._gone.set_result(None)
            self._to(self._to_client, lambda: self._client.closed(self))

    def lost_by_server(self) -> None:
        self._to(self._to_client, lambda: self._client.closed(self))
        self.cut = True

    def _close_if_silent(self) -> None:
        if self._gone.done():
            return
        world = self.server.world
        if (left := self._heard_at + SILENCE - world.loop.time()) > 0:
            world.loop.call_later(left, self._close_if_silent)
        else:
            self.close()

    def _pong(self, payload: bytes) -> None:
        self._heard_at = self.server.world.loop.time()
        if not self._gone.done():
            self._seat.confirmed(payload)

    # the client's side

    def say(self, text: str) -> None:
        self._to(self._to_server, lambda: self._heard(text))

    def _heard(self, text: str) -> None:
        self._heard_at = self.server.world.loop.time()
        if not self._gone.done() and self in self.server.sockets:
            self._seat.heard(parse(text))

    def _to(self, queue: deque[Callable[[], None]], work: Callable[[], None]) -> None:
        """Do `work` at the other end, after what is on its way there."""
        if not self.cut:
            queue.append(work)
            self.server.world.loop.call_later(self._latency, _do_next, queue)


def _do_next(queue: deque[Callable[[], None]]) -> None:
    queue.popleft()()
