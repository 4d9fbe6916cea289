"""Real processes that share a Redis, and that are killed or stand still."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from server.bus.interface import Address, Bus
from tests.bus.ground import AnyRedis, RedisGround
from tests.bus.waiting import LIMIT, eventually, read_some, until_gone

LONG = 60.0
SHORT = 1.0
BOX = Address("user:1", "phone")


class Process:
    """See `tests.bus.child`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def ask(self, *words: object) -> str:
        self.tell(*words)
        return await self.line()

    def tell(self, *words: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")

    async def line(self) -> str:
        """What it prints next; "" if it has died."""
        assert self._process.stdout is not None
        async with asyncio.timeout(LIMIT):
            return (await self._process.stdout.readline()).decode().strip()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.communicate()


@pytest.fixture
async def ground(servers: Callable[[str], AnyRedis]) -> AsyncIterator[RedisGround]:
    ground = RedisGround(servers("redis"))
    yield ground
    await ground.close()


@pytest.fixture
async def child(ground: RedisGround) -> AsyncIterator[Process]:
    settings = ground.settings()
    process = Process(
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bus.child", settings.host, str(settings.port), settings.prefix),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    )
    yield process
    await process.end()


def leases_told(bus: Bus) -> Counter[str]:
    told: Counter[str] = Counter()

    async def tell(group: str) -> None:
        told[group] += 1

    bus.on_lease_expired("call:", tell)
    return told


async def test_what_a_killed_process_had(ground: RedisGround, child: Process) -> None:
    bus = await ground.handle()
    told, fired = leases_told(bus), list[tuple[str, bytes]]()

    async def fire(name: str, data: bytes) -> None:
        fired.append((name, data))

    bus.on_timer("ring", fire)
    assert await child.ask("open", BOX.group, BOX.name, SHORT) == "True"
    fence = int(await child.ask("acquire", "call:1", SHORT))
    assert await child.ask("put", "state") == "True"
    assert await child.ask("timer", "ring:1", 1.0) == "None"
    disrupted = asyncio.Event()
    bus.on_disruption(disrupted.set)
    child.signal(signal.SIGKILL)
    assert await child.line() == ""

    await eventually(lambda: told["call:1"] > 0)
    lease = await bus.acquire("call:1", LONG)
    assert lease is not None
    assert lease.fence > fence
    assert await bus.get("call:1", "state") == b"of the child"
    await eventually(lambda: fired == [("ring:1", b"of the child")])
    await until_gone(bus, BOX)
    await asyncio.wait_for(disrupted.wait(), LIMIT)


async def test_what_a_poster_was_told_is_there_though_it_was_killed_meanwhile(
    ground: RedisGround, child: Process
) -> None:
    bus = await ground.handle()
    mailbox = await bus.open_mailbox(BOX, ttl=LONG, create=True)
    child.tell("post", BOX.group, BOX.name)
    taken = [await child.line() for _ in range(100)]
    child.signal(signal.SIGKILL)
    while line := await child.line():
        taken.append(line)
    assert taken == [str(number) for number in range(len(taken))]

    read: list[bytes] = []
    while len(read) < len(taken):
        read += [entry.data for entry in await read_some(mailbox)]
    assert read == [b"%d" % number for number in range(len(read))]
    assert len(read) <= len(taken) + 1  # one whose answer it didn't live to see


async def test_a_process_that_stood_still_has_lost_what_ran_out(ground: RedisGround, child: Process) -> None:
    """Even if others had it and gave it up meanwhile, so that nobody has it when it wakes."""
    bus = await ground.handle()
    told = leases_told(bus)
    fence = int(await child.ask("acquire", "call:1", SHORT))
    assert await child.ask("open", BOX.group, BOX.name, SHORT) == "True"
    child.signal(signal.SIGSTOP)
    await eventually(lambda: told["call:1"] > 0)
    lease = await bus.acquire("call:1", LONG)
    assert lease is not None
    assert lease.fence > fence
    assert await lease.put("state", b"newer", LONG)
    await lease.release()
    await until_gone(bus, BOX)
    child.signal(signal.SIGCONT)

    assert await child.ask("open", BOX.group, BOX.name, LONG) == "True"
    assert await child.ask("held") == "False"
    assert await child.ask("put", "state") == "False"
    assert await bus.get("call:1", "state") == b"newer"
    again = await bus.acquire("call:1", LONG)
    assert again is not None
    assert again.held
    assert await bus.mailboxes(BOX.group) == [BOX.name]
