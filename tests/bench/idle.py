"""What a session costs that only sends its heartbeat: `.venv/bin/python -m tests.bench.idle`."""

import asyncio
import gc
import time

from tests.bench.rig import BACKENDS, Rig, main, open_rig
from tests.bench.table import Table, millis, percentile
from tests.bench.wire import SocketConnection, together

SESSIONS = 5_000
HEARTBEAT = 30.0
"""Seconds between a client's heartbeats, as the contract has it."""


async def heartbeats(sockets: list[SocketConnection], seconds: float) -> None:
    """Every socket beats every 30 seconds, evenly spread, for `seconds`."""
    start = time.perf_counter()
    interval = HEARTBEAT / len(sockets)
    index = 0
    while (elapsed := time.perf_counter() - start) < seconds:
        while index * interval <= elapsed:
            sockets[index % len(sockets)].heartbeat()
            index += 1
        await asyncio.sleep(0.01)


async def measure(rig: Rig, table: Table, count: int = SESSIONS) -> None:
    people = await rig.people(count)
    warm = await SocketConnection.open(rig.port, people[0].token, lambda _: None)
    warm.close()
    base = rig.memory()
    came: list[float] = []
    opening = time.perf_counter()
    sockets: list[SocketConnection] = await together(
        count, 50, lambda index: SocketConnection.open(rig.port, people[index].token, lambda _: None)
    )
    opening = time.perf_counter() - opening
    await heartbeats(sockets, HEARTBEAT + 5)  # everybody has beaten once before it counts
    gc.collect()
    commands, cpu, start = rig.redis_commands(), rig.cpu_seconds(), time.perf_counter()
    pings = sum(socket.pings for socket in sockets)
    await heartbeats(sockets, 2 * HEARTBEAT)
    took = time.perf_counter() - start
    cpu, commands = rig.cpu_seconds() - cpu, rig.redis_commands() - commands
    pings = sum(socket.pings for socket in sockets) - pings
    for _ in range(50):
        begun = time.perf_counter()
        await rig.api(people[0]).settings()
        came.append(time.perf_counter() - begun)
    table.add(
        rig.backend,
        f"{count:,}",
        sum(not socket.closed for socket in sockets),
        f"{count / opening:,.0f}",
        f"{cpu / took:.1%}",
        f"{commands / took:.1f}",
        f"{pings / took:.1f}",
        f"{(rig.memory() - base) / count / 1024:.1f}",
        millis(percentile(came, 0.5)),
    )
    for socket in sockets:
        socket.close()


async def run() -> list[Table]:
    table = Table(
        "Idle notification sessions with their heartbeats",
        (
            "backend",
            "sessions",
            "still open",
            "opened a second",
            "server core",
            "Redis commands/s",
            "server pings/s",
            "KiB a session",
            "a GET meanwhile, p50 ms",
        ),
    )
    for backend in BACKENDS:
        async with open_rig(backend) as rig:
            await measure(rig, table)
    return [table]


if __name__ == "__main__":
    main(run)
