"""The reading end of an in-process mailbox."""

import asyncio
from typing import TYPE_CHECKING

from server.bus.interface import Address, Entry, MailboxClosed, MailboxTaken
from server.bus.memory_hub import Box

if TYPE_CHECKING:
    from server.bus.memory import MemoryBus


class MemoryMailbox:
    """See `interface.Mailbox`."""

    __slots__ = ("_bus", "_ended", "_read", "_waiter", "address", "box", "fresh")

    def __init__(self, bus: "MemoryBus", address: Address, box: Box, fresh: bool) -> None:
        self._bus = bus
        self.address = address
        self.box = box
        self.fresh = fresh
        self._read = 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended: MailboxClosed | None = None
        former, box.reader = box.reader, self
        bus.hub.hold(box, self)
        if former is not None:
            former.end(MailboxTaken(address))

    @property
    def note(self) -> bytes:
        return self.box.note

    async def read(self, limit: int = 100) -> list[Entry]:
        while True:
            if self._ended is not None:
                raise type(self._ended)(self.address)
            if self._bus.reachable and (entries := self._unread(limit)):
                self._read = entries[-1].seq
                return entries
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _unread(self, limit: int) -> list[Entry]:
        entries = self.box.entries
        if not entries or entries[-1].seq <= self._read:
            return []
        # seqs are consecutive: what was read begins at the left
        skip = max(0, self._read - entries[0].seq + 1)
        return [entries[index] for index in range(skip, min(len(entries), skip + limit))]

    def ack(self, seq: int, note: bytes | None = None) -> None:
        if self._ended is not None or not self._bus.reachable:
            return
        entries = self.box.entries
        while entries and entries[0].seq <= seq:
            entries.popleft()
        if note is not None:
            self.box.note = note

    async def close(self, *, keep: bool) -> None:
        self._bus.forget_mailbox(self)
        if self._ended is None and self._bus.reachable:
            if keep:
                self._bus.hub.let_expire(self.box, self)
            elif self.box.reader is self:
                self._bus.hub.remove_box(self.address, self.box)
        self.end(MailboxTaken(self.address))

    def end(self, why: MailboxClosed) -> None:
        """From now on every read raises `why`."""
        if self._ended is None:
            self._ended = why
            self._bus.forget_mailbox(self)
        self.wake()

    def wake(self) -> None:
        """There may be something to read."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
