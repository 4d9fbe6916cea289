"""The manager of one call: an actor that owns the call's state as long as it has the call's lease.

It takes what comes to its inbox one by one, in the order of each sender. What changed is written before anybody hears
of it: to the bus under the lease, and to the database if it must last (`state.is_durable`); then the sockets
are sent the new view, the members are notified, and who asked is answered. Whoever takes the call over finds, with
the state, the effects that may not have been carried out, and carries them out again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import replace

from server.bus.interface import Address, BusUnavailable, Entry, Lease, Mailbox, MailboxLost, Post
from server.calls.codec import (
    Asked,
    Owed,
    Record,
    TimelineEntry,
    Unreadable,
    decode_said,
    encode_answer,
    encode_record,
)
from server.calls.events import (
    Answered,
    Effect,
    Event,
    Handled,
    Happening,
    Join,
    Noted,
    Reserved,
    SocketUp,
    StatusChanged,
    TakenOver,
)
from server.calls.names import (
    INBOX_TTL,
    MANAGER,
    STATE_KEY,
    STATE_RENEWAL,
    STATE_TTL,
    call_group,
    replies_address,
    seat_name,
)
from server.calls.office import Office
from server.calls.ports import Superseded
from server.calls.state import CallState, is_durable, next_deadline, transition
from server.calls.view import View, encode_view
from server.model.entities import Delivery
from server.model.enums import CallStatus, UserState
from server.store.errors import StoreUnavailable

_log = logging.getLogger(__name__)

_BEHIND = 1_000
"""Milliseconds within which the database has also what needn't last."""
_BEHIND_AGAIN = 5_000
_TIMELINE_LIMIT = 1_000
_AT_ONCE = 0.001
"""Seconds to live of what is to be forgotten if the lease is still held."""


class LeaseLost(Exception):
    """The call is somebody else's now."""


class Manager:
    """`record` is where the call stands; `created`: nobody had it before."""

    def __init__(self, office: Office, record: Record, lease: Lease, inbox: Mailbox, *, created: bool) -> None:
        self._office = office
        self._call = record.call
        self._lease = lease
        self._inbox = inbox
        self._created = created
        self._owed = record.owed
        self._seq = 0 if inbox.fresh else record.seq
        self._unsaved = record.unsaved
        self._noted = record.noted
        self._written = record.call.version
        self._saved = record.call
        """What the database has, as far as it must last."""
        self._put_at = 0
        self._behind_at: int | None = None
        self._superseded = False
        self._idle = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    @property
    def call(self) -> CallState:
        return self._call

    @property
    def owns(self) -> bool:
        return self._lease.held

    async def run(self) -> None:
        """Until the call has ended, `stop`, or another's ownership.

        Raises:
            LeaseLost, MailboxTaken, Superseded: another process has the call.
        """
        self._task = asyncio.current_task()
        try:
            await self._manage()
        except Superseded:
            self._superseded = True
            raise

    async def _manage(self) -> None:
        await self._go_on()
        while self._call.open and not self._stopping:
            self._arm()
            try:
                entries = await self._read()
            except MailboxLost:
                await self._recover()
                continue
            for entry in entries:
                await self._take(entry)
            await self._commit()
            await self._keep()
            self._inbox.ack(entries[-1].seq)
        if not self._call.open:
            await self._office.patiently(
                lambda: self._office.bus.delete(self._group, STATE_KEY), self._call.call_id, "forgetting the call"
            )

    def stop(self) -> None:
        """Let `run` end after what it is doing now."""
        self._stopping = True
        if self._idle and self._task is not None:
            self._task.cancel()

    async def hand_over(self) -> None:
        """After `run`, however it ended: let go of the call."""
        self._office.deadlines.drop(self._call.call_id)
        try:
            if self._behind_at is not None and self._lease.held:
                await self._save_behind()
        except Superseded:
            self._superseded = True
        if self._superseded:
            await self._retract()
        await self._inbox.close(keep=self._call.open)
        await self._lease.release()

    async def _retract(self) -> None:
        """Take the state back that was put on a bus that had forgotten the later owner: the database knows better."""
        with contextlib.suppress(BusUnavailable):
            await self._lease.put(STATE_KEY, encode_record(self._record()), _AT_ONCE)

    @property
    def _group(self) -> str:
        return call_group(self._call.call_id)

    async def _read(self) -> list[Entry]:
        self._idle = True
        try:
            return await self._inbox.read(500)
        finally:
            self._idle = False

    # deciding

    async def _go_on(self) -> None:
        if not self._created:
            await self._commit(anyway=True)
            self._apply(TakenOver())
        if self._call.status is CallStatus.NEW:
            users = [member.user_id for member in self._call.members if member.alive]
            self._apply(Reserved(await self._reserve(users)))
        await self._commit(anyway=True)

    async def _take(self, entry: Entry) -> None:
        if entry.seq <= self._seq:
            return  # the owner before took it in without acknowledging it
        self._seq = entry.seq
        try:
            said = decode_said(entry.data)
        except Unreadable:
            _log.exception("call %d: what came to its manager can't be read", self._call.call_id)
            return
        if isinstance(said.event, Join) and said.asked is not None and said.asked.until < self._office.now():
            return  # the person was told that it failed, and has no token: their phone must go on ringing
        status = self._call.status
        self._apply(await self._resolved(said.event), said.asked)
        if self._call.status is not status:
            await self._commit()  # each status is told of

    async def _resolved(self, event: Event) -> Event:
        """`event` with what must be found out first: whether its user is in another call."""
        if not isinstance(event, Join | SocketUp) or self._call.status in (CallStatus.NEW, CallStatus.END):
            return event
        member = self._call.member(event.user_id)
        if member is None or member.reserved:
            return event
        if isinstance(event, SocketUp) and event.socket <= member.socket:
            return event  # too late to change anything: nobody must be reserved for it
        match event, member.state:
            case (Join(user_id), UserState.INVITED) | (SocketUp(user_id), UserState.DEAD):
                return replace(event, elsewhere=user_id not in await self._reserve([user_id]))
            case Join(user_id), UserState.DEAD:
                elsewhere = await self._office.patiently(
                    lambda: self._office.store.elsewhere(self._call.call_id, user_id), self._call.call_id, "a join"
                )
                return replace(event, elsewhere=elsewhere)
            case _:
                return event

    async def _reserve(self, users: Sequence[int]) -> frozenset[int]:
        call_id = self._call.call_id
        return await self._office.patiently(
            lambda: self._office.store.reserve(call_id, self._lease.fence, users), call_id, "reserving its users"
        )

    def _apply(self, event: Event, asked: Asked | None = None) -> None:
        now = self._office.now()
        before = self._call
        self._call, effects = transition(before, event, now, self._office.rules)
        self._office.metrics.changed(before, self._call, now)
        for effect in effects:
            self._owe(effect, asked, now)

    def _owe(self, effect: Effect, asked: Asked | None, now: int) -> None:
        owed = self._owed
        match effect:
            case StatusChanged():
                self._owed = replace(owed, status=True)
            case Handled(user_id):
                self._owed = replace(owed, handled=(*owed.handled, user_id))
            case Answered(refusal):
                if asked is not None:
                    self._owed = replace(owed, answers=(*owed.answers, (asked, refusal)))
            case Noted(what, user_id, detail):
                if self._noted < _TIMELINE_LIMIT or what is Happening.ENDED:
                    self._noted += 1
                    self._unsaved = (*self._unsaved, TimelineEntry(now, user_id, what, detail))

    # writing, then telling

    async def _commit(self, *, anyway: bool = False) -> None:
        """Write what changed and carry out what is owed; `anyway`: also if nothing changed."""
        changed = anyway or self._call.version != self._written
        deliveries: Sequence[Delivery] = ()
        if changed:
            record = self._record()
            await self._put(record)
            if anyway or is_durable(self._saved, self._call):
                deliveries = await self._save(record)
            elif self._behind_at is None:
                self._behind_at = self._office.now() + _BEHIND
        owed, self._owed = self._owed, Owed()
        await self._post(owed, views=changed)
        for user_id in owed.handled:
            await self._office.notifier.call_handled(user_id, self._call.call_id)
        if owed.status:
            await self._office.notifier.deliver(deliveries)
            if self._call.status is CallStatus.READY:
                self._office.metrics.rang(self._call, self._office.now())

    def _record(self) -> Record:
        return Record(self._lease.fence, self._call, self._owed, self._seq, self._unsaved, self._noted)

    async def _put(self, record: Record) -> None:
        data = encode_record(record)
        held = await self._office.patiently(
            lambda: self._lease.put(STATE_KEY, data, STATE_TTL), self._call.call_id, "its state"
        )
        if not held:
            raise LeaseLost
        self._written = self._call.version
        self._put_at = self._office.now()

    async def _save(self, record: Record) -> Sequence[Delivery]:
        tell = record.owed.status
        deliveries = await self._office.patiently(
            lambda: self._office.store.save(record, tell=tell), self._call.call_id, "its row"
        )
        self._is_saved(record)
        return deliveries

    def _is_saved(self, record: Record) -> None:
        self._saved = record.call
        self._unsaved = ()
        self._behind_at = None

    async def _save_behind(self) -> None:
        record = self._record()
        try:
            await self._office.store.save(record, tell=False)
        except StoreUnavailable:
            self._behind_at = self._office.now() + _BEHIND_AGAIN
        else:
            self._is_saved(record)

    async def _post(self, owed: Owed, *, views: bool) -> None:
        """Send the sockets the view of the call, and the answers to those who asked."""
        posts: list[Post] = []
        online: list[bool] = []
        if views:
            data = encode_view(View.of(self._record()))
            for member in self._call.members:
                if member.handled:  # it may have a socket that this manager hasn't heard of yet
                    posts.append(Post(self._group, data, seat_name(member.user_id)))
                    online.append(member.state is UserState.ONLINE)
        for asked, refusal in owed.answers:
            address = replies_address(asked.process_id)
            posts.append(Post(address.group, encode_answer(asked.number, refusal), address.name))
        if not posts:
            return
        counts = await self._office.patiently(lambda: self._office.bus.post(posts), self._call.call_id, "its sockets")
        if any(there and not count for there, count in zip(online, counts, strict=False)):
            self._office.suspect(self._call.call_id)

    # keeping

    def _arm(self) -> None:
        dues = (
            next_deadline(self._call, self._office.rules),
            self._behind_at,
            self._put_at + int(STATE_RENEWAL * 1000),
        )
        self._office.tick_at(self._call.call_id, min(due for due in dues if due is not None))

    async def _keep(self) -> None:
        """What is due though nothing happened."""
        now = self._office.now()
        if self._behind_at is not None and self._behind_at <= now:
            await self._save_behind()
        if self._put_at + int(STATE_RENEWAL * 1000) <= now:
            await self._put(self._record())

    async def _recover(self) -> None:
        """The bus has forgotten the inbox, and the state with it. Sockets that see the view and aren't in it as
        they should say so; who asked asks again."""
        self._inbox = await self._office.patiently(
            lambda: self._office.bus.open_mailbox(Address(self._group, MANAGER), ttl=INBOX_TTL, create=True),
            self._call.call_id,
            "its inbox",
        )
        self._seq = 0
        await self._commit(anyway=True)
