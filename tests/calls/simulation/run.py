"""One run of the simulation: `simulate(seed)`. The same seed gives the same run, event by event."""

import asyncio
from collections.abc import Awaitable, Callable

from server.calls.doctor import examine
from tests.calls.simulation.crowd import Crowd
from tests.calls.simulation.loop import VirtualLoop, run_virtually
from tests.calls.simulation.server import Server
from tests.calls.simulation.ward import Ward, facts_of
from tests.calls.simulation.world import RULES, Chances, World

TROUBLE_UNTIL = 60.0
CALLS_UNTIL = 45.0
END = 360.0
SERVERS = ("A", "B", "C")


class SimulationFailed(AssertionError):
    """Carries the story of the run."""


def simulate(seed: int) -> list[tuple[float, str]]:
    """Run the simulation; gives its diary.

    Raises:
        SimulationFailed: with what was wrong, and all that had happened.
    """
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    world = World(loop, seed)
    loop.set_exception_handler(lambda _, context: world.failures.append(_error_of(context)))
    try:
        run_virtually(loop, _run(world))
    except AssertionError as error:
        raise SimulationFailed(f"seed {seed}:\n{world.story()}\n{error!r}") from error
    finally:
        asyncio.set_event_loop(None)
    return world.diary


def _error_of(context: dict[str, object]) -> BaseException:
    error = context.get("exception")
    return error if isinstance(error, BaseException) else AssertionError(str(context))


async def _run(world: World) -> None:
    for name in SERVERS:
        await Server(world, name).start()
    crowd = Crowd(world)
    patients = Ward(world)
    adversary = Adversary(world, crowd)
    work = [asyncio.ensure_future(each) for each in (crowd.make_calls(CALLS_UNTIL), crowd.catch_up(), adversary.run())]
    while world.loop.time() < END:
        await asyncio.sleep(1.0)
        if world.failures:
            raise world.failures[0]
        crowd.check_told_of_end()
        patients.look()
        if world.loop.time() > TROUBLE_UNTIL + 5 and not leftovers(world):
            break
    for task in work:
        task.cancel()
    await asyncio.sleep(0)
    left = leftovers(world)
    assert not left, f"left behind: {left}"
    assert not (found := examine(facts_of(world), RULES)), found
    crowd.check_calls_began()
    crowd.check_signaling()


def leftovers(world: World) -> list[str]:
    """What shouldn't be there when everybody has gone."""
    left = [f"open call {call_id}" for call_id, row in world.database.rows.items() if row.record.call.open]
    left += [f"{user_id} is reserved by call {call_id}" for user_id, call_id in world.database.reservations.items()]
    left += [f"mailbox {address}" for address in world.hub.all_boxes() if address.group.startswith("call:")]
    left += [f"lease {group}" for group in world.hub.held_leases() if group.startswith("call:")]
    left += [f"{len(world.hub.values)} keys"] if len(world.hub.values) else []
    for server in world.servers.values():
        left += [f"manager of call {call_id} at {server.name}" for call_id in server.calls.managers]
        left += [f"{len(server.calls.seats)} seats at {server.name}"] if len(server.calls.seats) else []
    return left


class Adversary:
    """Does harm, seeded."""

    def __init__(self, world: World, crowd: Crowd) -> None:
        self._world = world
        self._crowd = crowd
        random = world.random
        harms: list[Callable[[], Awaitable[None]]] = [
            self._kill,
            self._stop,
            self._flush,
            self._isolate,
            self._break,
            self._cut,
            self._database_away,
            self._bad_bus,
        ]
        self._harms = random.sample(harms, random.randrange(1, len(harms) + 1))
        self._pause = random.choice([1.5, 4.0, 10.0])

    async def run(self) -> None:
        random = self._world.random
        running: list[asyncio.Future[None]] = []
        while self._world.loop.time() < TROUBLE_UNTIL:
            await asyncio.sleep(2 * self._pause * random.random())
            running.append(asyncio.ensure_future(random.choice(self._harms)()))
        await asyncio.gather(*running)
        self._world.note("*** peace")

    def _server(self) -> Server | None:
        servers = list(self._world.servers.values())
        return self._world.random.choice(servers) if servers else None

    async def _kill(self) -> None:
        if (server := self._server()) is None:
            return
        self._world.trouble(f"kill {server.name}")
        server.kill()
        await self._restart(server.name, 10.0)

    async def _stop(self) -> None:
        if (server := self._server()) is None:
            return
        self._world.trouble(f"stop {server.name}")
        await server.stop()
        await self._restart(server.name, 5.0)

    async def _restart(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds * self._world.random.random())
        self._world.note(f"*** {name} is back")
        await Server(self._world, name).start()

    async def _flush(self) -> None:
        self._world.trouble("flush")
        self._world.hub.flush()

    async def _isolate(self) -> None:
        if (server := self._server()) is None or not server.bus.reachable:
            return
        self._world.trouble(f"isolate {server.name}")
        server.bus.isolate()
        await asyncio.sleep(8 * self._world.random.random())
        if self._world.servers.get(server.name) is server:
            self._world.trouble(f"heal {server.name}")
            server.bus.heal()

    async def _break(self) -> None:
        if (page := self._crowd.any_page()) is not None and page.socket is not None:
            self._world.trouble(f"break {page.person.user_id}")
            page.socket.close()

    async def _cut(self) -> None:
        """Half-open: the server doesn't notice, and the client after a while."""
        if (page := self._crowd.any_page()) is None or (socket := page.socket) is None:
            return
        self._world.trouble(f"cut {page.person.user_id}")
        page.went_down()
        socket.cut = True
        await asyncio.sleep(40 * self._world.random.random())
        page.closed(socket)

    async def _database_away(self) -> None:
        self._world.trouble("database away")
        self._world.database_away = True
        await asyncio.sleep(6 * self._world.random.random())
        self._world.database_away = False
        self._world.note("*** database back")

    async def _bad_bus(self) -> None:
        chances = self._world.chances = Chances(slow=0.1, refused=0.03, repeated=0.1)
        self._world.trouble("bad bus")
        await asyncio.sleep(15 * self._world.random.random())
        if self._world.chances is chances:
            self._world.chances = Chances()
