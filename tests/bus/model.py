"""What mailboxes must do, in the simplest words: lists of what was posted, and how far each reader is."""

import asyncio
from dataclasses import dataclass, field

from server.bus.interface import Address, Bus, Mailbox, MailboxLost, MailboxTaken, Post
from tests.bus.waiting import LIMIT, read_some

CAPACITY = 5
TTL = 60.0


@dataclass
class Box:
    """A mailbox that exists. Acknowledgements may be carried out a moment later, so some things are only bounded."""

    note: bytes
    posted: list[bytes] = field(default_factory=list)
    acked: int = 0
    """The seq up to which a reader has acknowledged."""
    surely_acked: int = 0
    """The seq up to which that is surely carried out."""
    surely_noted: bool = True
    reader: Mailbox | None = None
    read: int | None = 0
    """The seq that the reader had last; None: it begins somewhere behind `surely_acked`, at `acked` the latest."""

    def read_by(self, reader: Mailbox) -> None:
        self.reader, self.read = reader, None


class Mailboxes:
    """Does each step on a bus and on the model, and compares. Steps that make no sense just now are left out."""

    def __init__(self, handles: list[Bus], addresses: list[Address]) -> None:
        self._handles = handles
        self._addresses = addresses
        self._boxes: dict[Address, Box] = {}
        self._ended: list[tuple[Mailbox, type[Exception]]] = []
        self._number = 0

    async def open(self, handle: int, which: int, create: bool) -> None:
        bus, address = self._handles[handle], self._addresses[which]
        note = b"note %d" % self._count()
        box = self._boxes.get(address)
        try:
            mailbox = await bus.open_mailbox(address, ttl=TTL, create=create, capacity=CAPACITY, note=note)
        except MailboxLost:
            assert box is None
            assert not create
            return
        assert mailbox.fresh == (box is None)
        if box is None:
            assert create
            box = self._boxes[address] = Box(note)
        elif box.reader is not None:
            self._ended.append((box.reader, MailboxTaken))
        assert mailbox.note == box.note or not box.surely_noted
        box.note, box.surely_noted = mailbox.note, True
        box.read_by(mailbox)

    async def post(self, handle: int, which: int, to_all: bool, count: int) -> None:
        """To one mailbox or all of its group, several at once."""
        address = self._addresses[which]
        name = None if to_all else address.name
        data = [b"post %d" % self._count() for _ in range(count)]
        taken = await self._handles[handle].post([Post(address.group, one, name) for one in data])
        addresses = [one for one in self._boxes if one.group == address.group and name in (None, one.name)]
        left = await self._handles[handle].mailboxes(address.group)
        for one in addresses:
            if one.name in left:
                box = self._boxes[one]
                box.posted += data
                assert len(box.posted) - box.acked <= CAPACITY
            else:
                self._lose(one, count)
        assert sorted(left) == sorted(one.name for one in self._boxes if one.group == address.group)
        if all(one.name in left for one in addresses):
            assert taken == [len(addresses)] * count
        else:  # how many one took before it was lost is known only within bounds
            assert len(addresses) >= taken[0]
            assert taken == sorted(taken, reverse=True)
            assert taken[-1] < len(addresses)

    def _lose(self, address: Address, count: int) -> None:
        """That must have been possible with as many posts."""
        box = self._boxes.pop(address)
        assert len(box.posted) + count - box.surely_acked > CAPACITY
        if box.reader is not None:
            self._ended.append((box.reader, MailboxLost))

    async def read(self, which: int, limit: int) -> None:
        box = self._boxes.get(self._addresses[which])
        if box is None or box.reader is None:
            return
        if len(box.posted) <= (box.acked if box.read is None else box.read):
            return  # it would wait
        entries = await read_some(box.reader, limit)
        assert 1 <= len(entries) <= limit
        if box.read is None:
            assert box.surely_acked < entries[0].seq <= box.acked + 1
            box.read = entries[0].seq - 1
        for seq, data in entries:
            assert seq == box.read + 1
            assert data == box.posted[seq - 1]
            box.read = seq

    async def ack(self, which: int, back: int, note: bool) -> None:
        box = self._boxes.get(self._addresses[which])
        if box is None or box.reader is None or box.read is None:
            return
        seq = max(0, box.read - back)
        box.acked = max(box.acked, seq)
        if note:
            box.note, box.surely_noted = b"note %d" % self._count(), False
            box.reader.ack(seq, box.note)
        else:
            box.reader.ack(seq)

    async def close(self, which: int, keep: bool) -> None:
        address = self._addresses[which]
        box = self._boxes.get(address)
        if box is None or box.reader is None:
            return
        await box.reader.close(keep=keep)
        self._ended.append((box.reader, MailboxTaken))
        if keep:
            box.surely_acked, box.surely_noted, box.reader = box.acked, True, None
        else:
            del self._boxes[address]

    async def touch_ended(self, index: int, keep: bool) -> None:
        """A reader whose mailbox is no longer its own learns of it, and does no harm."""
        if not self._ended:
            return
        mailbox, reason = self._ended[index % len(self._ended)]
        async with asyncio.timeout(LIMIT):
            while True:
                try:
                    await mailbox.read()  # what it had already
                except reason:
                    break
        mailbox.ack(1_000, b"not its own")
        await mailbox.close(keep=keep)

    async def check(self) -> None:
        """Everything is where it should be."""
        for number in range(len(self._ended)):
            await self.touch_ended(number, number % 2 == 0)
        for which, address in enumerate(self._addresses):
            if address in self._boxes:
                await self.open(0, which, create=False)
                await self.post(1, which, to_all=False, count=1)
            if address in self._boxes:
                box = self._boxes[address]
                while box.read != len(box.posted):
                    await self.read(which, 2)

    def _count(self) -> int:
        self._number += 1
        return self._number
