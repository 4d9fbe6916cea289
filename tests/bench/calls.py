"""How fast calls are, and what they cost: `.venv/bin/python -m tests.bench.calls`."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.bench.rig import BACKENDS, Person, Rig, main, open_rig
from tests.bench.table import Table, millis, percentile
from tests.bench.wire import PATIENCE, HttpConnection, SocketConnection, WebSocketConnection, post, together
from tests.support.api import Refused
from tests.support.call import CallsApi, FrameKind, State
from tests.support.frames import Opcode, client_frame

HEARTBEAT = 10.0
"""Seconds between a client's heartbeats, as the contract has it."""
NOT_READY = 3009


def frame(kind: int, payload: str) -> bytes:
    return client_frame(Opcode.TEXT, json.dumps({"type": kind, "payload": payload}).encode())


def signal(to_user_id: int, message: str) -> bytes:
    return frame(FrameKind.SIGNALING, json.dumps({"toUserId": to_user_id, "message": message}))


BEAT = frame(FrameKind.HEARTBEAT, "")
CANDIDATE = "x" * 150
"""About as long as an ICE candidate in its JSON."""


class CallConnection(WebSocketConnection):
    """A call socket. Signaling goes to `on_signal(message)` with the time at which it came."""

    def __init__(self, path: str, token: str) -> None:
        super().__init__(path, client_frame(Opcode.TEXT, token.encode()))
        loop = asyncio.get_running_loop()
        self.states: dict[int, int] = {}
        self.entered: asyncio.Future[float] = loop.create_future()
        self.started: asyncio.Future[float] = loop.create_future()
        self.on_signal: Callable[[str, float], None] = _ignore
        self._changed = asyncio.Event()

    @classmethod
    async def open(cls, port: int, token: str, path: str = "/api/ws/call") -> "CallConnection":
        """A connection that has sent its token."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: cls(path, token), "127.0.0.1", port)
        return protocol

    def text(self, frame: bytes) -> None:
        now = time.perf_counter()
        body = json.loads(frame)
        match body["type"]:
            case FrameKind.SIGNALING:
                self.on_signal(json.loads(body["payload"])["message"], now)
            case FrameKind.ALL_STATES:
                self.states = {each["userId"]: each["state"] for each in json.loads(body["payload"])}
                if not self.entered.done():
                    self.entered.set_result(now)
            case FrameKind.ONE_STATE:
                each = json.loads(body["payload"])
                self.states[each["userId"]] = each["state"]
            case FrameKind.STARTED if not self.started.done():
                self.started.set_result(now)
            case _:
                pass
        self._changed.set()

    def ended(self, error: Exception) -> None:
        for waiting in (self.entered, self.started):
            if not waiting.done():
                waiting.set_exception(error)
                waiting.exception()  # whoever waits is told; nobody may wait
        self._changed.set()

    async def sees_online(self, user_id: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.states.get(user_id) != State.ONLINE:
                assert not self.closed, "the call socket was closed"
                self._changed.clear()
                await self._changed.wait()


def _ignore(_message: str, _moment: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Pair:
    """Two people who are contacts, and the caller's contact."""

    caller: Person
    callee: Person
    contact_id: int


@dataclass(slots=True)
class Talk:
    """A call in which both are online. The one's socket is at the server `places[0]`, the other's at `places[1]`."""

    call_id: int
    pair: Pair
    one: CallConnection
    other: CallConnection

    def close(self) -> None:
        self.one.close()
        self.other.close()

    def beat(self) -> None:
        self.one.send(BEAT)
        self.other.send(BEAT)


async def make_pairs(rig: Rig, count: int) -> list[Pair]:
    people = await rig.people(2 * count)

    async def pair(index: int) -> Pair:
        caller, callee = people[2 * index : 2 * index + 2]
        return Pair(caller, callee, (await rig.befriend(caller, callee))[0])

    pairs: list[Pair] = await together(count, 10, pair)
    return pairs


async def join(rig: Rig, person: Person, call_id: int, place: int) -> str:
    """The token for the call's socket, as soon as the call is ready."""
    while True:
        try:
            return await CallsApi(rig.api(person, place)).join(call_id)
        except Refused as refused:
            if refused.code != NOT_READY:
                raise
            await asyncio.sleep(0)


async def begin(rig: Rig, pair: Pair, places: tuple[int, int] = (0, 0)) -> Talk:
    """A call that the first server made, with both online."""
    call_id = await CallsApi(rig.api(pair.caller)).create(pair.contact_id, [pair.callee.user_id])
    sockets = []
    for person, place in zip((pair.caller, pair.callee), places, strict=True):
        token = await join(rig, person, call_id, place)
        sockets.append(await CallConnection.open(rig.cluster.servers[place].port, token))
    one, other = sockets
    await one.sees_online(pair.callee.user_id)
    await other.sees_online(pair.caller.user_id)
    return Talk(call_id, pair, one, other)


@dataclass
class Traffic:
    """Numbered messages from the one to the other; when each was sent and came."""

    talk: Talk
    sent: list[float] = field(default_factory=list)
    came: list[float] = field(default_factory=list)
    in_order: bool = True

    def __post_init__(self) -> None:
        self.talk.other.on_signal = self._take
        self._all = asyncio.Event()
        self._expected = 0

    def _take(self, message: str, moment: float) -> None:
        self.in_order = self.in_order and int(message.partition(" ")[0]) == len(self.came)
        self.came.append(moment)
        if len(self.came) == self._expected:
            self._all.set()

    def send(self) -> None:
        number = len(self.sent)
        self.sent.append(time.perf_counter())
        self.talk.one.send(signal(self.talk.pair.callee.user_id, f"{number} {CANDIDATE}"))

    async def wait(self) -> None:
        """Until everything that was sent has come."""
        self._expected = len(self.sent)
        if len(self.came) < self._expected:
            async with asyncio.timeout(PATIENCE):
                await self._all.wait()

    def latencies(self) -> list[float]:
        return [came - sent for sent, came in zip(self.sent, self.came, strict=True)]


async def signaling(rig: Rig, table: Table, places: tuple[int, int], where: str) -> None:
    """Fifty messages a second, one at a time; then a thousand at once."""
    (pair,) = await make_pairs(rig, 1)
    talk = await begin(rig, pair, places)
    traffic = Traffic(talk)
    start = time.perf_counter()
    for index in range(500):
        await asyncio.sleep(max(0.0, start + index / 50 - time.perf_counter()))
        traffic.send()
        if index % 100 == 0:
            talk.beat()
    await traffic.wait()
    lone = traffic.latencies()
    burst = Traffic(talk)
    start = time.perf_counter()
    for _ in range(1_000):
        burst.send()
    await burst.wait()
    took = burst.came[-1] - start
    call = await CallsApi(rig.api(pair.caller)).get(talk.call_id)
    table.add(
        where,
        *(millis(percentile(lone, share)) for share in (0.5, 0.99, 1)),
        millis(took),
        "yes" if burst.in_order else "NO",
        "runs" if call["status"] == 3 and not talk.one.closed and not talk.other.closed else "HARMED",
    )
    talk.close()


async def setup(rig: Rig, table: Table, rounds: int = 40) -> None:
    """Calls one after the other whose callee answers as soon as it hears of them."""
    (pair,) = await make_pairs(rig, 1)
    ready: asyncio.Future[float] = asyncio.get_running_loop().create_future()

    def heard(text: bytes) -> None:
        call = json.loads(text).get("payload")
        call = call.get("call") if isinstance(call, dict) else None
        if call and call["status"] == 2 and not ready.done():
            ready.set_result(time.perf_counter())

    phone = await SocketConnection.open(rig.port, pair.callee.token, heard)
    http = await HttpConnection.open(rig.port)
    body = json.dumps({"contactId": pair.contact_id, "userIds": [pair.callee.user_id]}).encode()
    to_ready, to_states, to_started = [], [], []
    for _ in range(rounds):
        ready = asyncio.get_running_loop().create_future()
        start = time.perf_counter()
        call_id = json.loads(await http.request(post("/api/call", pair.caller.token, body)))["data"]
        async with asyncio.timeout(PATIENCE):
            to_ready.append(await ready - start)

        async def answer(person: Person, call_id: int) -> CallConnection:
            token = await join(rig, person, call_id, 0)
            begun = time.perf_counter()
            socket = await CallConnection.open(rig.port, token)
            to_states.append(await socket.entered - begun)
            return socket

        sockets = await asyncio.gather(answer(pair.caller, call_id), answer(pair.callee, call_id))
        async with asyncio.timeout(PATIENCE):
            to_started.append(max(await asyncio.gather(*(socket.started for socket in sockets))) - start)
        await CallsApi(rig.api(pair.caller)).hang_up(call_id)
        for socket in sockets:
            socket.close()
    shares = (0.5, 0.95)
    table.add(
        rig.backend,
        rounds,
        *(millis(percentile(times, share)) for times in (to_ready, to_states, to_started) for share in shares),
    )
    phone.close()
    http.close()


async def load(rig: Rig, table: Table, count: int = 100, rate: int = 2_000, seconds: float = 8) -> None:
    """`rate` messages a second, spread over `count` calls."""
    async with running(rig, count) as talks:
        await _load(rig, table, talks, rate, seconds)


async def _load(rig: Rig, table: Table, talks: list[Talk], rate: int, seconds: float) -> None:
    traffics = [Traffic(talk) for talk in talks]
    count = len(talks)
    before, start, total = rig.cpu_seconds(), time.perf_counter(), int(rate * seconds)
    for index in range(total):
        if (late := start + index / rate - time.perf_counter()) > 0:
            await asyncio.sleep(late)
        elif index % 50 == 0:
            await asyncio.sleep(0)  # let the socket be read, though the generator is late
        traffics[index % count].send()
    await asyncio.gather(*(traffic.wait() for traffic in traffics))
    took, cpu = time.perf_counter() - start, rig.cpu_seconds() - before
    latencies = [each for traffic in traffics for each in traffic.latencies()]
    table.add(
        rig.backend,
        count,
        f"{total / took:,.0f}",
        *(millis(percentile(latencies, share)) for share in (0.5, 0.99)),
        f"{cpu / took:.0%}",
        "yes" if all(traffic.in_order for traffic in traffics) else "NO",
    )


async def idle(rig: Rig, table: Table, count: int = 1_000, seconds: float = 40) -> None:
    """`count` calls in which both only send their heartbeat, every ten seconds."""
    async with running(rig, count) as talks:
        await asyncio.sleep(HEARTBEAT)  # the last ones join the rhythm
        commands, cpu, start = rig.redis_commands(), rig.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - start
        cpu, commands = rig.cpu_seconds() - cpu, rig.redis_commands() - commands
        alive = sum(not talk.one.closed and not talk.other.closed for talk in talks)
        table.add(rig.backend, f"{count:,}", alive, f"{cpu / took:.1%}", f"{commands / took:,.0f}")


@asynccontextmanager
async def running(rig: Rig, count: int) -> AsyncIterator[list[Talk]]:
    """`count` calls whose clients send their heartbeats."""
    talks: list[Talk] = []
    beating = asyncio.create_task(_beat(talks))
    try:
        for pair in await make_pairs(rig, count):
            talks.append(await begin(rig, pair))
        yield talks
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
        for talk in talks:
            talk.close()


async def _beat(talks: list[Talk]) -> None:
    """Every call beats every ten seconds, at a moment of its own."""
    step = 0.05
    tick = 0
    while True:
        for talk in talks[tick % int(HEARTBEAT / step) :: int(HEARTBEAT / step)]:
            talk.beat()
        tick += 1
        await asyncio.sleep(step)


async def run() -> list[Table]:
    traffic = Table(
        "Signaling from socket to socket, and 1,000 messages at once through one call (ms)",
        ("where", "p50", "p99", "max", "1,000 at once", "in order", "the call"),
    )
    setups = Table(
        "A call is set up (ms from POST /call; the states from the token)",
        ("backend", "calls", "ready p50", "p95", "first states p50", "p95", "started p50", "p95"),
    )
    loads = Table(
        "Signaling of many calls, one process",
        ("backend", "calls", "messages/s", "p50 ms", "p99 ms", "server core", "in order"),
    )
    idles = Table(
        "Calls with their heartbeats only, two users each, one process",
        ("backend", "calls", "still running", "server core", "Redis commands/s"),
    )
    async with open_rig("shared", processes=3) as rig:
        await signaling(rig, traffic, (1, 2), "MariaDB + Redis, three processes: owner and each socket on its own")
    for backend in BACKENDS:
        async with open_rig(backend) as rig:
            await signaling(rig, traffic, (0, 0), f"{rig.backend}, one process")
            await setup(rig, setups)
            await load(rig, loads)
            await idle(rig, idles)
    return [traffic, setups, loads, idles]


if __name__ == "__main__":
    main(run)
