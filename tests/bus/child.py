"""A process of its own with a handle on a Redis bus, which does as its standard input says and prints a line for each.

    python -m tests.bus.child HOST PORT PREFIX

- `open GROUP NAME TTL`: opens a mailbox, and prints whether it is fresh.
- `acquire GROUP TTL`: prints the fence.
- `held`, `put KEY`: whether the last lease is held, or still let it set the key.
- `timer NAME SECONDS`
- `post GROUP NAME`: posts 0, 1, 2, … one after the other for ever; prints each number once it was taken.
"""

import asyncio
import sys
from datetime import timedelta

from server.bus.interface import Address, Lease, Post
from server.bus.redis import RedisBus
from server.clock import SystemClock
from server.config.settings import Redis

PUT_TTL = 60.0


class Child:
    def __init__(self, bus: RedisBus, clock: SystemClock) -> None:
        self._bus = bus
        self._clock = clock
        self._lease: Lease | None = None

    async def open(self, group: str, name: str, ttl: str) -> object:
        return (await self._bus.open_mailbox(Address(group, name), ttl=float(ttl), create=True)).fresh

    async def acquire(self, group: str, ttl: str) -> object:
        self._lease = await self._bus.acquire(group, float(ttl))
        return self._lease and self._lease.fence

    async def held(self) -> object:
        return self._lease is not None and self._lease.held

    async def put(self, key: str) -> object:
        return self._lease is not None and await self._lease.put(key, b"of the child", PUT_TTL)

    async def timer(self, name: str, seconds: str) -> object:
        await self._bus.set_timer(name, self._clock.now() + timedelta(seconds=float(seconds)), b"of the child")
        return None

    async def post(self, group: str, name: str) -> object:
        number = 0
        while await self._bus.post([Post(group, b"%d" % number, name)]) == [1]:
            print(number, flush=True)
            number += 1
        return "lost"


async def main(host: str, port: str, prefix: str) -> None:
    clock = SystemClock()
    bus = RedisBus(Redis(host=host, port=int(port), prefix=prefix), clock)
    await bus.start()
    child = Child(bus, clock)
    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        print(await getattr(child, words[0])(*words[1:]), flush=True)
    await bus.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
