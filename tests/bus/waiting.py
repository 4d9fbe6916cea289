"""Waiting for what must come, with a deadline that only something broken misses."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from server.bus.interface import Address, Bus, BusUnavailable, Entry, Mailbox, Post

LIMIT = 30.0
_POLL = 0.02


def now() -> float:
    return asyncio.get_running_loop().time()


async def eventually(condition: Callable[[], bool]) -> None:
    """Returns once `condition` holds."""
    async with asyncio.timeout(LIMIT):
        while not condition():
            await asyncio.sleep(_POLL)


async def asked_until(question: Callable[[], Awaitable[bool]]) -> None:
    """Returns once the bus says yes; while it is unavailable it doesn't."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                if await question():
                    return
            except BusUnavailable:
                pass
            await asyncio.sleep(_POLL)


async def until_available(bus: Bus) -> None:
    async def available() -> bool:
        return await bus.ping() >= 0

    await asked_until(available)


async def until_gone(bus: Bus, address: Address) -> None:
    """Returns once the mailbox has run out."""

    async def gone() -> bool:
        return address.name not in await bus.mailboxes(address.group)

    await asked_until(gone)


async def read_some(mailbox: Mailbox, limit: int = 100) -> list[Entry]:
    async with asyncio.timeout(LIMIT):
        return await mailbox.read(limit)


async def read_data(mailbox: Mailbox, count: int) -> list[bytes]:
    """The data of the next `count` entries."""
    entries: list[Entry] = []
    while len(entries) < count:
        entries += await read_some(mailbox, count - len(entries))
    return [entry.data for entry in entries]


async def post_all(bus: Bus, address: Address, data: Sequence[bytes]) -> None:
    """Post one after the other to one mailbox, which must take all."""
    for one in data:
        assert await bus.post([Post(address.group, one, address.name)]) == [1]


def numbered(count: int, start: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(start, start + count)]
