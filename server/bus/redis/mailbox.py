"""The reading end of a mailbox on Redis."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from server.bus.interface import Address, BusUnavailable, Entry, MailboxClosed, MailboxLost, MailboxTaken

if TYPE_CHECKING:
    from server.bus.redis.mailboxes import Mailboxes

_AGAIN = 0.2
PAGE = 200


class RedisMailbox:
    """See `interface.Mailbox`.

    Entries come with the doorbell as long as each is the next; otherwise they are read from the stream.
    """

    __slots__ = (
        "_ended",
        "_mailboxes",
        "_ready",
        "_stale",
        "_waiter",
        "acked",
        "address",
        "base",
        "fresh",
        "have",
        "note",
        "token",
        "ttl",
    )  # fmt: skip

    def __init__(
        self, mailboxes: "Mailboxes", address: Address, base: str, token: int, *, fresh: bool, note: bytes, last: int,
        waiting: int, ttl: float,
    ) -> None:  # fmt: skip
        self._mailboxes = mailboxes
        self.address = address
        self.base = base
        self.token = token
        self.fresh = fresh
        self.note = note
        self.ttl = ttl
        self.have = last - waiting
        """The seq of the last entry that is here (or was read); all before it are, too."""
        self.acked = 0
        """The seq up to which the reader is done."""
        self._ready: deque[Entry] = deque()
        self._stale = waiting > 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended: MailboxClosed | None = None

    async def read(self, limit: int = 100) -> list[Entry]:
        while True:
            if self._ended is not None:
                raise type(self._ended)(self.address)
            if self._ready:
                return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            if self._stale:
                await self._fetch()
                continue
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def _fetch(self) -> None:
        """Read on in the stream; a bus in trouble is waited out."""
        self._stale = False
        try:
            entries = await self._mailboxes.fetch(self)
        except asyncio.CancelledError:
            self._stale = True
            raise
        except BusUnavailable:
            self._stale = True
            await asyncio.sleep(_AGAIN)
            return
        for entry in entries:
            if entry.seq > self.have:
                self._ready.append(entry)
                self.have = entry.seq
        self._stale = self._stale or len(entries) == PAGE

    def push(self, seq: int, data: bytes | None) -> None:
        """A doorbell: there is an entry `seq` (and this is it, where `data` is given)."""
        if seq <= self.have:
            return
        if seq == self.have + 1 and data is not None:
            self._ready.append(Entry(seq, data))
            self.have = seq
        else:
            self._stale = True
        self._wake()

    def compare(self, last: int, had: int) -> None:
        """The bus has entries up to `last`; when it was asked, those up to `had` were here."""
        if last < had:
            self.end(MailboxLost(self.address))  # it was set back, by a fail-over say
        elif last > self.have:
            self._stale = True
            self._wake()

    def ack(self, seq: int, note: bytes | None = None) -> None:
        if self._ended is not None:
            return
        self.acked = max(self.acked, seq)
        if note is not None:
            self.note = note
        self._mailboxes.ack(self, soon=seq == 0)

    async def close(self, *, keep: bool) -> None:
        if self._ended is None:
            await self._mailboxes.close_one(self, keep=keep)
        self.end(MailboxTaken(self.address))

    def end(self, why: MailboxClosed) -> None:
        """From now on every read raises `why`."""
        if self._ended is None:
            self._ended = why
            self._ready.clear()
            self._mailboxes.forget(self)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
