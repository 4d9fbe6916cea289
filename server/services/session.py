"""One notification session: what its client gets, in which order, and that nothing is missing.

A session's mailbox holds what the client hasn't confirmed. Its bookmark (the mailbox' note) is the last delivery id
that was confirmed, so whichever process the client comes back to goes on from there. Deliveries go out in the order of
their ids and without a gap: one that isn't the next makes the session read what lies between from the database.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from server.bus.interface import BusUnavailable, Mailbox, MailboxLost
from server.services.notifier import FrameMaker
from server.wire import notification as wire

if TYPE_CHECKING:
    from server.services.sessions import SessionHub

PAGE = 200
"""Deliveries that are read from the database at once."""
RETRY = 0.5


class OutletClosed(Exception):
    """The connection is gone."""


class Outlet(Protocol):
    """The connection, as a session sees it. Each method raises `OutletClosed` once it is gone."""

    async def send(self, text: str) -> None: ...

    async def ping(self, payload: bytes) -> None: ...


class _Asked(NamedTuple):
    """A ping under way: its answer confirms the mailbox' entries up to `seq` and the deliveries up to `cursor`."""

    payload: bytes
    seq: int
    cursor: int
    moment: datetime


class Session:
    """A session that this process serves. `run` is its writer; `confirmed` takes the client's pongs."""

    __slots__ = (
        "_confirmed",
        "_confirming",
        "_cursor",
        "_hub",
        "_mailbox",
        "_outlet",
        "_pings",
        "_seq",
        "_told",
        "_turn",
        "resumed",
        "session_id",
        "user_id",
    )

    def __init__(self, hub: "SessionHub", user_id: int, mailbox: Mailbox, cursor: int, *, resumed: bool) -> None:
        self._hub = hub
        self._mailbox = mailbox
        self._cursor = cursor
        self._confirmed = cursor
        self._seq = 0
        self._pings = 0
        self._confirming: _Asked | None = None
        self._told = hub.now()
        self._turn = asyncio.Lock()
        self.user_id = user_id
        self.session_id = mailbox.address.name
        self.resumed = resumed

    @property
    def cursor(self) -> int:
        """The last delivery id that was sent."""
        return self._cursor

    @property
    def greeting(self) -> str:
        if self.resumed:
            return wire.session_resumed(self.session_id)
        return wire.session_opened(self.session_id, self._cursor)

    def attach(self, outlet: Outlet) -> None:
        """Where to send to; comes before everything else."""
        self._outlet = outlet

    async def run(self) -> None:
        """Greet, then send what comes, until the connection or the session ends.

        Raises:
            MailboxTaken: a newer socket has the session
            OutletClosed
        """
        await self._outlet.send(self.greeting)
        if self.resumed:
            self._hub.check_now((self,))
        while True:
            try:
                entries = await self._mailbox.read()
            except MailboxLost:
                await self._reopen()
                continue
            async with self._turn:
                sent = []
                for entry in entries:
                    queued = wire.Queued.decode(entry.data)
                    if await self._pass_on(queued):
                        sent.append(queued.committed_at)
                    self._seq = entry.seq
                self._hub.sent(self, sent)

    async def _reopen(self) -> None:
        """The bus forgot the mailbox: have it again under its name, and look what went by."""
        while True:
            try:
                self._mailbox = await self._hub.open_mailbox(self.user_id, self.session_id, create=True)
            except BusUnavailable:
                await asyncio.sleep(RETRY)
                self._hub.check_now((self,))
                continue
            self._seq = 0
            self._confirming = None
            self._mailbox.ack(0, bookmark(self._confirmed))
            self._hub.repeat_hints((self,), self._told)
            self._hub.check_now((self,))
            return

    async def _pass_on(self, queued: wire.Queued) -> bool:
        """False if the client had it already."""
        if queued.delivery_id == 0:
            await self._outlet.send(queued.frame)
        elif queued.delivery_id > self._cursor:
            if queued.delivery_id > self._cursor + 1:
                await self._fill(queued.delivery_id - 1)
            await self._outlet.send(queued.frame)
            self._cursor = queued.delivery_id
        else:
            return False
        return True

    async def _fill(self, up_to: int) -> None:
        """Send what the database has after the cursor and up to `up_to`."""
        frames = FrameMaker()
        while self._cursor < up_to:
            missing = await self._hub.between(self.user_id, self._cursor, up_to)
            for delivery in missing:
                await self._outlet.send(frames.frame(delivery))
                self._cursor = delivery.delivery_id
                self._hub.filled()
            if len(missing) < PAGE:
                self._cursor = up_to  # ids from before the sequence was gapless

    async def catch_up(self, head: int) -> None:
        """The database has deliveries up to `head`: send those that were missed."""
        async with self._turn:
            await self._fill(head)
            self._hub.confirm_soon(self)

    async def pass_on_hints(self, frames: Iterable[str]) -> None:
        """Send notifications that are no deliveries."""
        async with self._turn:
            for frame in frames:
                await self._outlet.send(frame)

    async def ask_confirmation(self) -> None:
        """A browser answers a protocol ping after everything sent before it. One is under way at a time."""
        async with self._turn:
            if self._confirming is None:
                self._pings += 1
                self._confirming = _Asked(b"%d" % self._pings, self._seq, self._cursor, self._hub.now())
                await self._outlet.ping(self._confirming.payload)

    @property
    def confirming(self) -> bool:
        """Whether a ping is under way."""
        return self._confirming is not None

    def confirmed(self, payload: bytes) -> bool:
        """The client answered the ping with this payload: the one under way? An older one says nothing of what was
        sent since, and a pong that nobody asked for (RFC 6455, section 5.5.3) nothing at all."""
        asked = self._confirming
        if asked is None or payload != asked.payload:
            return False
        self._confirming = None
        self._told = asked.moment
        self._confirmed = asked.cursor
        self._mailbox.ack(asked.seq, bookmark(asked.cursor))
        if (asked.seq, asked.cursor) != (self._seq, self._cursor):  # more was sent since
            self._hub.confirm_soon(self)
        return True

    async def leave(self) -> None:
        """The connection went; the session waits for the next one."""
        await self._mailbox.close(keep=True)


def bookmark(cursor: int) -> bytes:
    return b"%d" % cursor
