"""A call of some people at a server, told on standard output."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from random import sample

import aiohttp
from aiortc import RTCIceServer

from tests.participant.gathering import hear_and_see_each_other, meet
from tests.participant.mesh import MeshPage
from tests.participant.person import Person
from tests.participant.table import lines_of, render
from tests.support.account import Account
from tests.support.api import Refused

_NAMES = [
    *("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ida", "Jan", "Kim", "Leo", "Mia"),
    *("Noah", "Olga", "Paul", "Quin", "Rosa", "Sam", "Tao", "Uma", "Vera", "Wim", "Xiu", "Yara", "Zoe"),
]
FIRST_MEDIA = 30.0
"""Seconds that everybody has to be heard and seen for the first time."""
_PATIENCE = aiohttp.ClientTimeout(total=30)


class TrialFailed(Exception):
    """It didn't come to a call. The text is for the person who tries."""


class Trial:
    """`people` who talk for `seconds` at the server at `url`; `relay_only`: through TURN servers alone."""

    def __init__(self, url: str, people: int, seconds: float, *, relay_only: bool = False) -> None:
        self._url = url
        self._count = people
        self._seconds = seconds
        self._relay_only = relay_only
        self._names: dict[int, str] = {}

    async def run(self) -> bool:
        """Whether everybody heard and saw everybody. Raises TrialFailed."""
        try:
            async with self._people() as people:
                return await self._talk(people)
        except aiohttp.ClientConnectionError as error:
            raise TrialFailed(f"no server answers at {self._url}: {error}") from error
        except TimeoutError as error:
            raise TrialFailed(f"the server at {self._url} doesn't answer in time") from error
        except Refused as refused:
            raise TrialFailed(f"the server refuses: {refused.message} (code {refused.code})") from refused
        except (aiohttp.ClientError, AssertionError, ValueError) as error:
            raise TrialFailed(f"what answers at {self._url} doesn't keep to the contract: {error}") from error

    @asynccontextmanager
    async def _people(self) -> AsyncIterator[list[Person]]:
        async with aiohttp.ClientSession(timeout=_PATIENCE, headers={"Accept-Language": "en"}) as http:
            names = sample(_NAMES, self._count)
            accounts = [await Account.register(http, self._url, nickname=name) for name in names]
            people = [Person(account, use_ice=True, relay_only=self._relay_only) for account in accounts]
            self._names = {one.user_id: f"{name} ({one.user_id})" for name, one in zip(names, people, strict=True)}
            print(f"registered: {', '.join(self._names.values())}", flush=True)
            if self._relay_only and not any(map(_is_turn, await people[0].ice_servers())):
                raise TrialFailed(f"the server at {self._url} tells of no TURN server")
            async with AsyncExitStack() as stack:
                for person in people:
                    await stack.enter_async_context(person)
                try:
                    yield people
                finally:
                    await asyncio.gather(*map(_hang_up, people))

    async def _talk(self, people: Sequence[Person]) -> bool:
        began = time.monotonic()
        pages = await meet(*people)
        print(f"in call {pages[0].call_id} after {time.monotonic() - began:.2f} s", flush=True)
        await self._wait_for_media(pages, began)
        since = time.monotonic()
        await asyncio.sleep(self._seconds)
        lines = lines_of(pages, since, time.monotonic())
        for page in pages:
            if page.over:
                print(f"{self._names[page.user_id]} was put out of the call: {page.describe()}")
        print(render(lines, self._names))
        return all(line.worked for line in lines)

    async def _wait_for_media(self, pages: Sequence[MeshPage], began: float) -> None:
        try:
            await hear_and_see_each_other(pages, sounds=1, pictures=1, timeout=FIRST_MEDIA)
            print(f"everybody hears and sees everybody after {time.monotonic() - began:.2f} s", flush=True)
        except* AssertionError as missing:
            print(*missing.exceptions, sep="\n", flush=True)


def _is_turn(server: RTCIceServer) -> bool:
    return any(url.startswith("turn") for url in server.urls)


async def _hang_up(person: Person) -> None:
    if person.talks:
        with contextlib.suppress(Refused, aiohttp.ClientError, TimeoutError):
            await person.hang_up()
            await person.page.wait_over()
