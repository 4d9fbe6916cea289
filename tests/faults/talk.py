"""People in a call who say something to each other all the time while things break, and the check that it was heard."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp

from tests.support.call import State
from tests.support.call_page import CallPage
from tests.support.notification import PATIENCE, SocketClosed

PAUSE = 0.02


class Talk:
    """Everybody tells everybody else one number after the other.

    Attributes:
        said: how many numbers each has told each other one.
    """

    def __init__(self, pages: Sequence[CallPage]) -> None:
        self.pages = pages
        self.said: dict[tuple[int, int], int] = {
            (one.user_id, other.user_id): 0 for one, other in itertools.permutations(pages, 2)
        }
        self.stopping = False

    async def run(self) -> None:
        while not self.stopping:
            for page, other in itertools.permutations(self.pages, 2):
                if page.socket is not None and page.states.get(other.user_id) in (State.ONLINE, State.OFFLINE):
                    await self._say(page, other)
            await asyncio.sleep(PAUSE)

    async def _say(self, page: CallPage, other: CallPage) -> None:
        pair = page.user_id, other.user_id
        try:
            await page.signal(other, f"{self.said[pair]}")
        except (aiohttp.ClientError, ConnectionError, SocketClosed):
            return
        self.said[pair] += 1

    def heard(self, other: CallPage, page: CallPage) -> list[int]:
        """What `other` has heard of `page`, in order."""
        return [int(message) for message in other.heard_from(page)]

    async def progress(self, more: int = 10, *, timeout: float = PATIENCE) -> None:
        """Returns when everybody has heard so many more numbers from everybody else."""
        for page, other in itertools.permutations(self.pages, 2):
            wanted = max(self.heard(other, page), default=-1) + more

            def enough(page: CallPage = page, other: CallPage = other, wanted: int = wanted) -> bool:
                return max(self.heard(other, page), default=-1) >= wanted

            await other.wait_until(enough, f"{more} more of {page.user_id}", timeout)

    async def assert_all_heard(self, page: CallPage, other: CallPage) -> None:
        """`other` has heard everything that `page` said, in order. Over several sockets something may come twice."""
        said = self.said[page.user_id, other.user_id]
        await other.wait_until(lambda: set(range(said)) <= set(self.heard(other, page)), f"all of {page.user_id}")
        heard = self.heard(other, page)
        if other.connections == 1:
            assert heard == list(range(said))
        assert list(dict.fromkeys(heard)) == list(range(said))

    def assert_in_order(self, page: CallPage, other: CallPage) -> None:
        """What `other` has heard of `page` for the first time came in order, though something may be missing."""
        heard = list(dict.fromkeys(self.heard(other, page)))
        assert heard == sorted(heard)


@asynccontextmanager
async def talking(*pages: CallPage) -> AsyncIterator[Talk]:
    """They talk during the block, and see and hear each other at its beginning. Nobody is ever shown as dead."""
    talk = Talk(pages)
    task = asyncio.create_task(talk.run())
    try:
        await talk.progress()
        yield talk
    finally:
        talk.stopping = True
        await task
    for page in pages:
        for other in pages:
            assert State.DEAD not in page.seen(other.user_id), f"{page.user_id} saw {other.user_id} dead"
