"""The mailboxes that this process reads, and what it posts to all."""

import asyncio
import heapq
import itertools
from collections.abc import Sequence

from server.bus.interface import Address, BusUnavailable, Entry, Mailbox, MailboxLost, MailboxTaken, Post
from server.bus.redis.lane import Lane
from server.bus.redis.link import Argument, Link
from server.bus.redis.mailbox import PAGE, RedisMailbox
from server.bus.redis.names import Names
from server.bus.redis.scripts import ACK, BOXES, CLOSE, OPEN, POST, READ, RENEW_BOXES
from server.tasks import OwnedTasks

_BATCH = 500
"""Posts of a batch, and mailboxes renewed by one script: more would hold up the others of a Redis for too long."""
_WITH_BELL = 16_384
"""Bytes of an entry that travels with its bell."""
_ACK_PAUSE = 0.05
"""Seconds for which acknowledgements are gathered: one that comes late only makes something come twice."""
_SHORTEST_RENEWAL = 1.0
_GONE, _TAKEN = -1, -2


class Mailboxes:
    def __init__(self, link: Link, names: Names, process_id: str, timeout: float) -> None:
        self._link = link
        self._names = names
        self._process_id = process_id
        self._tokens = itertools.count(1)
        self._by_token: dict[int, RedisMailbox] = {}
        self._due: list[tuple[float, int, RedisMailbox]] = []
        self._opening: dict[int, list[tuple[bytes, int, bytes]]] = {}
        self._acks: dict[RedisMailbox, None] = {}
        self._acking = False
        self._ack_timer: asyncio.TimerHandle | None = None
        self._posts: Lane[Sequence[Post], list[int]] = Lane(self._carry_posts, limit=_BATCH, patience=timeout)
        self._reads: Lane[RedisMailbox, list[Entry]] = Lane(self._carry_reads, limit=_BATCH, patience=timeout)
        self._tasks = OwnedTasks("mailboxes")

    def start(self) -> None:
        self._tasks.start(self._posts.run(), "posts")
        self._tasks.start(self._reads.run(), "reads")

    async def close(self) -> None:
        """Every mailbox lives on for its time to live."""
        mailboxes = list(self._by_token.values())
        for part in self._parts(mailboxes):
            await self._close(part, keep=True)
        for mailbox in mailboxes:
            mailbox.end(MailboxTaken(mailbox.address))
        await self.stop()

    async def stop(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        await self._tasks.close()

    # opening and closing

    async def open(self, address: Address, *, ttl: float, create: bool, capacity: int, note: bytes) -> Mailbox:
        token = next(self._tokens)
        base = self._names.base(address.group)
        bells = self._opening[token] = []  # those that come before the answer
        try:
            opened = await self._link.run(
                OPEN, (), base, address.name, self._process_id, token, _millis(ttl), _expiry(ttl), capacity, note,
                int(create), self._names.process_channels, slot=base,
            )  # fmt: skip
        finally:
            del self._opening[token]
        if opened is None:
            raise MailboxLost(address)
        fresh, kept_note, last, waiting, kept_ttl = opened
        mailbox = RedisMailbox(
            self, address, base, token, fresh=bool(fresh), note=kept_note, last=last, waiting=waiting,
            ttl=int(kept_ttl) / 1000,
        )  # fmt: skip
        # A former reader, here or elsewhere, is rung for by the script: answers come in another order than Redis
        # worked in, so which of two is the newer can't be told here.
        self._by_token[token] = mailbox
        self._renew_later(mailbox)
        for kind, seq, data in bells:
            self.rung(kind, token, seq, data)
        return mailbox

    async def close_one(self, mailbox: RedisMailbox, *, keep: bool) -> None:
        await self._close([mailbox], keep=keep)

    async def _close(self, part: Sequence[RedisMailbox], *, keep: bool) -> None:
        """The acknowledgements go along: one that is on its way may come too late."""
        flat = [argument for mailbox in part for argument in _acknowledged(mailbox)]
        try:
            await self._link.run(CLOSE, (), self._process_id, int(keep), *flat, slot=part[0].base)
        except BusUnavailable:
            return  # they aren't renewed any more, and so run out by themselves

    def forget(self, mailbox: RedisMailbox) -> None:
        self._by_token.pop(mailbox.token, None)
        self._acks.pop(mailbox, None)

    async def names(self, group: str) -> list[str]:
        base = self._names.base(group)
        return [name.decode() for name in await self._link.run(BOXES, (), base, slot=base)]

    # posting and reading

    async def post(self, posts: Sequence[Post]) -> list[int]:
        return await self._posts.put(posts, len(posts)) if posts else []

    async def _carry_posts(self, batch: Sequence[Sequence[Post]]) -> Sequence[list[int]]:
        posts = [post for part in batch for post in part]
        counts = iter(await self._post(posts))
        return [list(itertools.islice(counts, len(part))) for part in batch]

    async def _post(self, posts: Sequence[Post]) -> Sequence[int]:
        """Of a single server in one script, of a cluster by one script a group, whose order is kept that way."""
        if not self._link.cluster:
            return await self._post_together(posts)
        groups: dict[str, list[int]] = {}
        for index, post in enumerate(posts):
            groups.setdefault(post.group, []).append(index)
        counts = [0] * len(posts)

        async def carry(indexes: Sequence[int]) -> None:
            answers = await self._post_together([posts[index] for index in indexes])
            for index, count in zip(indexes, answers, strict=True):
                counts[index] = count

        await asyncio.gather(*map(carry, groups.values()))
        return counts

    async def _post_together(self, posts: Sequence[Post]) -> list[int]:
        counts: list[int] = []
        for start in range(0, len(posts), _BATCH):
            part = posts[start : start + _BATCH]
            arguments: list[Argument] = [self._names.process_channels, _WITH_BELL]
            for post in part:
                arguments += (self._names.base(post.group), post.name or "", post.data)
            counts += await self._link.run(POST, (), *arguments, slot=self._names.base(part[0].group))
        return counts

    async def fetch(self, mailbox: RedisMailbox) -> list[Entry]:
        """The next page of the stream. Raises BusUnavailable."""
        return await self._reads.put(mailbox)

    async def _carry_reads(self, batch: Sequence[RedisMailbox]) -> Sequence[list[Entry]]:
        pages: dict[RedisMailbox, list[Entry]] = {}

        async def read(part: Sequence[RedisMailbox]) -> None:
            flat = [item for mailbox in part for item in (f"{mailbox.base}in:{mailbox.address.name}", mailbox.have)]
            answers = await self._link.run(READ, (), PAGE, *flat, slot=part[0].base)
            for mailbox, page in zip(part, answers, strict=True):
                entries = zip(map(int, page[::2]), page[1::2], strict=True)
                pages[mailbox] = [Entry(seq, data) for seq, data in entries]

        await asyncio.gather(*map(read, self._parts(batch)))
        return [pages[mailbox] for mailbox in batch]

    # the doorbell

    def rung(self, kind: bytes, token: int, seq: int, data: bytes) -> None:
        """`kind`: E an entry, S one that is too large to come along, T the mailbox is taken, L it is lost."""
        mailbox = self._by_token.get(token)
        if mailbox is None:
            if (bells := self._opening.get(token)) is not None:
                bells.append((kind, seq, data))
            return
        match kind:
            case b"E":
                mailbox.push(seq, data)
            case b"S":
                mailbox.push(seq, None)
            case b"T":
                mailbox.end(MailboxTaken(mailbox.address))
            case b"L":
                mailbox.end(MailboxLost(mailbox.address))

    # acknowledging

    def ack(self, mailbox: RedisMailbox, *, soon: bool) -> None:
        """What the mailbox says of itself (`acked`, `note`) has changed. `soon`: the next reader must know."""
        self._acks[mailbox] = None
        if soon:
            self._ack_now()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(_ACK_PAUSE, self._ack_now)

    def _ack_now(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self._acks and not self._acking:
            self._acking = True
            self._tasks.start(self._send_acks(), "acks")

    async def _send_acks(self) -> None:
        """One batch after the other, so that no note is overtaken by an older one."""
        try:
            while self._acks:
                batch, self._acks = self._acks, {}
                try:
                    await asyncio.gather(*map(self._send_part, self._parts(list(batch))))
                except BusUnavailable:
                    self._acks |= {mailbox: None for mailbox in batch if mailbox.token in self._by_token}
                    return  # `recheck` takes it up again
        finally:
            self._acking = False

    async def _send_part(self, part: Sequence[RedisMailbox]) -> None:
        flat = [argument for mailbox in part for argument in _acknowledged(mailbox)]
        await self._link.run(ACK, (), self._process_id, *flat, slot=part[0].base)

    # living on

    def _renew_later(self, mailbox: RedisMailbox) -> None:
        due = asyncio.get_running_loop().time() + _renewal(mailbox.ttl)
        heapq.heappush(self._due, (due, mailbox.token, mailbox))

    async def renew_due(self) -> None:
        """Raises BusUnavailable; what isn't renewed then stays due."""
        now = asyncio.get_running_loop().time()
        due = []
        while self._due and self._due[0][0] <= now:
            mailbox = heapq.heappop(self._due)[2]
            if mailbox.token in self._by_token:
                due.append(mailbox)
        try:
            await self._renew(due)
        except BusUnavailable:
            for mailbox in due:
                heapq.heappush(self._due, (now, mailbox.token, mailbox))
            raise
        for mailbox in due:
            self._renew_later(mailbox)

    async def recheck(self) -> None:
        """Compare all with the bus, after trouble. Raises BusUnavailable."""
        await self._renew(list(self._by_token.values()))
        if self._acks and self._ack_timer is None:
            self._ack_now()

    async def _renew(self, mailboxes: Sequence[RedisMailbox]) -> None:
        await asyncio.gather(*map(self._renew_part, self._parts(mailboxes)))

    async def _renew_part(self, part: Sequence[RedisMailbox]) -> None:
        had = [mailbox.have for mailbox in part]
        flat = [
            argument
            for mailbox in part
            for argument in (mailbox.base, mailbox.address.name, mailbox.token, _expiry(mailbox.ttl))
        ]
        answers = await self._link.run(RENEW_BOXES, (), self._process_id, *flat, slot=part[0].base)
        for mailbox, before, answer in zip(part, had, answers, strict=True):
            if answer == _GONE:
                mailbox.end(MailboxLost(mailbox.address))
            elif answer == _TAKEN:
                mailbox.end(MailboxTaken(mailbox.address))
            else:
                mailbox.compare(answer, before)

    def _parts(self, mailboxes: Sequence[RedisMailbox]) -> list[Sequence[RedisMailbox]]:
        """What one script may serve: some hundreds, of one slot in a cluster."""
        if not self._link.cluster:
            return [mailboxes[start : start + _BATCH] for start in range(0, len(mailboxes), _BATCH)]
        groups: dict[str, list[RedisMailbox]] = {}
        for mailbox in mailboxes:
            groups.setdefault(mailbox.base, []).append(mailbox)
        return list(groups.values())


def _acknowledged(mailbox: RedisMailbox) -> tuple[Argument, ...]:
    return mailbox.base, mailbox.address.name, mailbox.token, mailbox.acked, mailbox.note


def _renewal(ttl: float) -> float:
    """Seconds between two renewals."""
    return max(_SHORTEST_RENEWAL, ttl / 3)


def _expiry(ttl: float) -> int:
    """Milliseconds from one renewal: one of them may come late."""
    return _millis(ttl + _renewal(ttl))


def _millis(seconds: float) -> int:
    return max(1, round(seconds * 1000))
