"""People who go on sending while things break, and the check that nothing they were promised is lost."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import uuid4

from tests.e2e.shapes import content
from tests.support.account import Account
from tests.support.api import Refused
from tests.support.frontend import LOST, FrontendClient
from tests.support.notification import PATIENCE

LOGGED_OUT = {401, 1005}


class Chatter:
    """Sends texts to one contact, one after the other.

    `stubborn`: a send that failed is made again with its `localId` until it is answered 200; else it is let go, and
    whether it was carried out stays open.

    Attributes:
        acknowledged: the texts that were answered 200.
        refusals: the failures that the server answered.
        slowest: seconds that the slowest answer took (of any kind; not counting broken connections).
    """

    def __init__(self, account: Account, contact_id: int, *, stubborn: bool = True, pause: float = 0.0) -> None:
        self.account = account
        self.contact_id = contact_id
        self.stubborn = stubborn
        self.pause = pause
        self.acknowledged: set[str] = set()
        self.refusals: list[Refused] = []
        self.broken = 0
        self.slowest = 0.0
        self.stopping = False
        self._name = uuid4().hex[:8]

    async def run(self) -> None:
        for number in itertools.count():
            text = f"{self._name} {number}"
            while not self.stopping and not await self._sent(text) and self.stubborn:
                await asyncio.sleep(0.05)
            if self.stopping:
                return
            await asyncio.sleep(self.pause)

    async def _sent(self, text: str) -> bool:
        start = time.monotonic()
        try:
            await self.account.api.send(self.contact_id, text, local_id=text)
        except Refused as refused:
            self.refusals.append(refused)
            return False
        except LOST as error:
            assert not isinstance(error, TimeoutError), f"no answer for {time.monotonic() - start:.0f} s"
            self.broken += 1
            await asyncio.sleep(0.05)
            return False
        finally:
            self.slowest = max(self.slowest, time.monotonic() - start)
        self.acknowledged.add(text)
        return True

    async def progress(self, more: int = 5, timeout: float = PATIENCE) -> None:
        """Returns when so many more sends have been acknowledged."""
        wanted = len(self.acknowledged) + more
        async with asyncio.timeout(timeout):
            while len(self.acknowledged) < wanted:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def chatting(*chatters: Chatter) -> AsyncIterator[None]:
    """They chat during the block; at its end each waits for the answer to its last send."""
    tasks = [asyncio.create_task(chatter.run()) for chatter in chatters]
    try:
        yield
    finally:
        for chatter in chatters:
            chatter.stopping = True
        await asyncio.gather(*tasks)


async def assert_nothing_lost(
    reader: Account, chatters: Iterable[Chatter], devices: Iterable[FrontendClient], timeout: float = PATIENCE
) -> None:
    """Everything acknowledged to the chatters is in the history of `reader`, once, and everything in that history
    is on each of the reader's devices, in the same state."""
    devices = list(devices)
    for chatter in chatters:
        contact = await reader.contact(chatter.account)
        history = await reader.api.whole_history(contact["contactId"])
        texts = [message["text"] for message in history]
        assert len(set(texts)) == len(texts), "sent once, stored twice"
        missing = chatter.acknowledged - set(texts)
        assert not missing, f"answered 200 and not in the history: {sorted(missing)[:5]} and more: {len(missing)}"
        assert not [refused for refused in chatter.refusals if refused.code in LOGGED_OUT], "logged out"
        for device in devices:
            await device.wait_for_texts(set(texts), timeout)
            shown = [content(message) for message in device.room(contact["roomId"])]
            assert shown == [content(message) for message in history]
