"""The rules of a notification session: what a client gets, in which order, and that nothing is missing.

A session's mailbox holds what the client hasn't confirmed. Its bookmark (the mailbox' note) is the last delivery id
that was confirmed, so whichever process the client comes back to goes on from there. Deliveries go out in the order of
their ids and without a gap: one that isn't the next makes the session read what lies between from the database.

The mailbox is a hint, the database the truth: sessions are compared with it when they are resumed, at heartbeats,
and after any trouble of the bus, all sessions that are due in one statement.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Protocol

from server.bus.interface import Address, Bus, BusUnavailable, Mailbox, MailboxLost
from server.clock import Clock, epoch_millis
from server.config.settings import Sessions as SessionSettings
from server.model.entities import Delivery
from server.runtime.metrics import Metrics
from server.services.notifier import FrameMaker
from server.store import Store
from server.store.errors import StoreUnavailable
from server.tasks import OwnedTasks
from server.wire import notification as wire

_PAGE = 200
_RETRY = 0.5
_CHECK_TICK = 2.0
"""Seconds for which heartbeats are gathered into one comparison."""
_CHECK_CHUNK = 500
_MARGIN = timedelta(seconds=30)
"""How long before it was noticed a trouble of the bus may have begun."""
_SESSION_ID = re.compile(r"[0-9a-f]{12}-[A-Za-z0-9_-]{22}")


class OutletClosed(Exception):
    """The connection is gone."""


class Outlet(Protocol):
    """The connection, as a session sees it. Each method raises `OutletClosed` once it is gone."""

    async def send(self, text: str) -> None: ...

    async def ping(self, payload: bytes) -> None: ...


class Session:
    """A session that this process serves. `run` is its writer; `confirmed` takes the client's pongs."""

    __slots__ = (
        "_confirming",
        "_cursor",
        "_hub",
        "_mailbox",
        "_outlet",
        "_seq",
        "_turn",
        "resumed",
        "session_id",
        "user_id",
    )

    def __init__(self, hub: "SessionHub", user_id: int, mailbox: Mailbox, cursor: int, *, resumed: bool) -> None:
        self._hub = hub
        self._mailbox = mailbox
        self._cursor = cursor
        self._seq = 0
        self._confirming: tuple[int, int] | None = None
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
                for entry in entries:
                    await self._pass_on(wire.Queued.decode(entry.data))
                    self._seq = entry.seq
                await self._ask_confirmation()

    async def _reopen(self) -> None:
        """The bus forgot the mailbox: have it again under its name, and look what went by."""
        while True:
            try:
                self._mailbox = await self._hub.open_mailbox(self.user_id, self.session_id, create=True)
            except BusUnavailable:
                await asyncio.sleep(_RETRY)
                self._hub.check_now((self,))
                continue
            self._seq = 0
            self._confirming = None
            self._mailbox.ack(0, _bookmark(self._cursor))
            self._hub.check_now((self,))
            return

    async def _pass_on(self, queued: wire.Queued) -> None:
        if queued.delivery_id == 0:
            await self._outlet.send(queued.frame)
        elif queued.delivery_id > self._cursor:
            if queued.delivery_id > self._cursor + 1:
                await self._fill(queued.delivery_id - 1)
            await self._outlet.send(queued.frame)
            self._cursor = queued.delivery_id
        else:
            return
        self._hub.sent(queued.committed_at)

    async def _fill(self, up_to: int) -> None:
        """Send what the database has after the cursor and up to `up_to`."""
        frames = FrameMaker()
        while self._cursor < up_to:
            missing = await self._hub.between(self.user_id, self._cursor, up_to)
            for delivery in missing:
                await self._outlet.send(frames.frame(delivery))
                self._cursor = delivery.delivery_id
                self._hub.filled()
            if len(missing) < _PAGE:
                self._cursor = up_to  # ids from before the sequence was gapless

    async def catch_up(self, head: int) -> None:
        """The database has deliveries up to `head`: send those that were missed."""
        async with self._turn:
            await self._fill(head)
            await self._ask_confirmation()

    async def pass_on_hints(self, frames: Iterable[str]) -> None:
        """Send notifications that are no deliveries."""
        async with self._turn:
            for frame in frames:
                await self._outlet.send(frame)

    async def _ask_confirmation(self) -> None:
        """A browser answers a protocol ping after everything sent before it. One is under way at a time."""
        if self._confirming is None:
            self._confirming = (self._seq, self._cursor)
            await self._outlet.ping(b"%d" % self._cursor)

    @property
    def confirming(self) -> bool:
        """Whether a ping is under way."""
        return self._confirming is not None

    def confirmed(self) -> bool:
        """The client answered the ping. True if more was sent since and `ask_again` is due."""
        if self._confirming is None:
            return False
        seq, cursor = self._confirming
        self._confirming = None
        self._mailbox.ack(seq, _bookmark(cursor))
        return (seq, cursor) != (self._seq, self._cursor)

    async def ask_again(self) -> None:
        async with self._turn:
            await self._ask_confirmation()

    async def leave(self) -> None:
        """The connection went; the session waits for the next one."""
        await self._mailbox.close(keep=True)


def _bookmark(cursor: int) -> bytes:
    return b"%d" % cursor


class SessionHub:
    """The sessions that this process serves."""

    def __init__(self, store: Store, bus: Bus, clock: Clock, settings: SessionSettings, metrics: Metrics) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._settings = settings
        self._metrics = metrics
        self._live: dict[Session, None] = {}
        self._due: dict[Session, None] = {}
        self._soon: dict[Session, None] = {}
        self._wake = asyncio.Event()
        self._disrupted: datetime | None = None
        self._tasks = OwnedTasks("sessions")
        bus.on_disruption(self._on_disruption)

    def start(self) -> None:
        self._tasks.start(self._check(), "check")
        self._tasks.start(self._gather(), "gather")

    async def close(self) -> None:
        await self._tasks.close()

    # opening

    async def open(self, user_id: int, wanted: str) -> Session:
        """The user's session of that id if it is alive, else a new one.

        A session id of somebody else's is unknown here: a mailbox belongs to its user's group.

        Raises:
            BusUnavailable, StoreUnavailable
        """
        if _SESSION_ID.fullmatch(wanted):
            try:
                mailbox = await self.open_mailbox(user_id, wanted, create=False)
            except MailboxLost:
                pass
            else:
                if mailbox.note:
                    return Session(self, user_id, mailbox, int(mailbox.note), resumed=True)
                await mailbox.close(keep=False)
        await self._make_room(user_id)
        session_id = f"{epoch_millis(self._clock.now()):012x}-{secrets.token_urlsafe(16)}"
        # The mailbox collects before the last id is read, so nothing falls between the two.
        mailbox = await self.open_mailbox(user_id, session_id, create=True)
        try:
            heads = await self._store.deliveries.heads([user_id])
        except BaseException:
            await mailbox.close(keep=False)
            raise
        cursor = heads.get(user_id, 0)
        mailbox.ack(0, _bookmark(cursor))
        return Session(self, user_id, mailbox, cursor, resumed=False)

    async def open_mailbox(self, user_id: int, session_id: str, *, create: bool) -> Mailbox:
        return await self._bus.open_mailbox(
            Address(wire.session_group(user_id), session_id),
            ttl=self._settings.lifetime,
            create=create,
            capacity=self._settings.queue,
        )

    async def _make_room(self, user_id: int) -> None:
        """Too many sessions: the oldest makes room. (Ids begin with the time of their making.)"""
        names = sorted(await self._bus.mailboxes(wire.session_group(user_id)))
        for name in names[: max(0, len(names) - self._settings.per_user + 1)]:
            try:
                oldest = await self.open_mailbox(user_id, name, create=False)
            except MailboxLost:
                continue
            await oldest.close(keep=False)

    def enter(self, session: Session, outlet: Outlet) -> None:
        """From now on the session is served here."""
        session.attach(outlet)
        self._live[session] = None

    def exit(self, session: Session) -> None:
        self._live.pop(session, None)
        self._due.pop(session, None)
        self._soon.pop(session, None)

    # what sessions report and ask

    def sent(self, committed_at: int) -> None:
        self._metrics.notifications.inc()
        self._metrics.notification_seconds.observe((epoch_millis(self._clock.now()) - committed_at) / 1000)

    def filled(self) -> None:
        self._metrics.notifications.inc()
        self._metrics.notifications_filled.inc()

    async def between(self, user_id: int, after: int, up_to: int) -> list[Delivery]:
        """A page of deliveries; waits while the database is away."""
        while True:
            try:
                return await self._store.deliveries.between(user_id, after, up_to, _PAGE)
            except StoreUnavailable:
                await asyncio.sleep(_RETRY)

    def confirmed(self, session: Session) -> bool:
        """A pong came; false if nobody asked for it."""
        if not session.confirming:
            return False
        if session.confirmed():
            self._start(session.ask_again(), "confirm")
        return True

    # comparing with the database

    def check_now(self, sessions: Iterable[Session]) -> None:
        self._due.update(dict.fromkeys(sessions))
        self._wake.set()

    def check_soon(self, session: Session) -> None:
        """At a heartbeat: with the others of these seconds."""
        self._soon[session] = None

    def _on_disruption(self) -> None:
        self._disrupted = self._disrupted or self._clock.now()
        self.check_now(self._live)

    async def _gather(self) -> None:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        while True:
            await asyncio.sleep(_CHECK_TICK)
            if loop.time() - checked >= self._settings.recheck:
                checked = loop.time()
                self._soon.update(dict.fromkeys(self._live))
            if self._soon:
                due, self._soon = self._soon, {}
                self.check_now(due)

    async def _check(self) -> None:
        while True:
            if not self._due:
                self._wake.clear()
                await self._wake.wait()
            due, self._due = self._due, {}
            disrupted, self._disrupted = self._disrupted, None
            try:
                await self._compare([session for session in due if session in self._live])
                if disrupted is not None:
                    await self._repeat_hints(disrupted - _MARGIN)
            except StoreUnavailable:
                self._due = {**due, **self._due}
                self._disrupted = disrupted or self._disrupted
                await asyncio.sleep(_RETRY)

    async def _compare(self, sessions: list[Session]) -> None:
        for start in range(0, len(sessions), _CHECK_CHUNK):
            chunk = sessions[start : start + _CHECK_CHUNK]
            heads = await self._store.deliveries.heads({session.user_id for session in chunk})
            for session in chunk:
                head = heads.get(session.user_id, 0)
                if head > session.cursor:
                    self._start(session.catch_up(head), "catch-up")

    async def _repeat_hints(self, since: datetime) -> None:
        """After a trouble: contacts and requests that were made since may not have been told."""
        by_user: dict[int, list[Session]] = {}
        for session in self._live:
            by_user.setdefault(session.user_id, []).append(session)
        users = list(by_user)
        for start in range(0, len(users), _CHECK_CHUNK):
            chunk = users[start : start + _CHECK_CHUNK]
            frames = [
                (contact.owner_id, wire.contact_frame(contact))
                for contact in await self._store.contacts.changed_since(chunk, since)
            ]
            frames += [
                (request.user_id, wire.contact_request_frame(request))
                for request in await self._store.contacts.requests_changed_since(chunk, since)
            ]
            for user_id, frame in frames:
                for session in by_user[user_id]:
                    self._start(session.pass_on_hints((frame,)), "hints")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run work of a session beside its writer, which sees for itself when the connection is gone."""

        async def guarded() -> None:
            with contextlib.suppress(OutletClosed):
                await work

        self._tasks.start(guarded(), name)
