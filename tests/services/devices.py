"""A device at the end of a session: what it was sent, and how it stops reading, answers pings or goes away."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from server.bus.interface import MailboxClosed
from server.services.session import OutletClosed, Session
from server.services.sessions import SessionHub

PATIENCE = 20.0


class Device:
    """An outlet that notes what comes. `answers`: it answers pings at once, as a browser does."""

    def __init__(self, session: Session, *, answers: bool) -> None:
        self.session = session
        self.frames: list[str] = []
        self.pings = 0
        self.confirmed = 0
        """The delivery up to which it has answered pings."""
        self.ended: BaseException | None = None
        self.answers = answers
        self._reading = asyncio.Event()
        self._reading.set()
        self._gone = False
        self.asked = b""
        self._had = 0

    async def send(self, text: str) -> None:
        await self._reading.wait()
        if self._gone:
            raise OutletClosed
        self.frames.append(text)

    async def ping(self, payload: bytes) -> None:
        await self._reading.wait()
        if self._gone:
            raise OutletClosed
        self.pings += 1
        self.asked = payload
        self._had = self.session.cursor
        if self.answers:
            asyncio.get_running_loop().call_soon(self.pong)

    def pong(self, payload: bytes | None = None) -> bool:
        """Answer the last ping, or send this; whether it was asked for."""
        asked_for = self.session.confirmed(self.asked if payload is None else payload)
        if asked_for:
            self.confirmed = self._had
        return asked_for

    def stop_reading(self) -> None:
        self._reading.clear()

    def read_on(self) -> None:
        self._reading.set()

    def go(self) -> None:
        self._gone = True
        self._reading.set()

    @property
    def greeting(self) -> str:
        return self.frames[0]

    @property
    def told(self) -> list[dict[str, Any]]:
        """The notifications, in the order of coming."""
        return [json.loads(frame) for frame in self.frames[1:]]

    @property
    def deliveries(self) -> list[int]:
        return [one["payload"]["deliveryId"] for one in self.told if one["type"] == 1]

    @property
    def hints(self) -> list[tuple[int, int]]:
        """Type and id of what is no delivery."""
        ids = {2: "contactId", 3: "id"}
        return [(one["type"], one["payload"][ids[one["type"]]]) for one in self.told if one["type"] != 1]


@asynccontextmanager
async def connected(
    hub: SessionHub, user_id: int, wanted: str = "", *, answers: bool = True, keep: bool = True
) -> AsyncIterator[Device]:
    """A device with its session, as the socket's endpoint runs it; `keep`: the session waits for the next one."""
    session = await hub.open(user_id, wanted)
    device = Device(session, answers=answers)
    hub.enter(session, device)

    async def run() -> None:
        try:
            await session.run()
        except (OutletClosed, MailboxClosed) as error:
            device.ended = error

    writer = asyncio.create_task(run())
    try:
        await until(lambda: device.frames or device.ended, "the greeting")
        yield device
    finally:
        writer.cancel()
        with suppress(asyncio.CancelledError):
            await writer
        hub.exit(session)
        if keep:
            await session.leave()


async def until(done: Callable[[], object], what: str = "it") -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not done():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None
