"""The notification sessions that a process serves: opening them, and comparing them with the database.

The mailbox is a hint, the database the truth: sessions are compared with it when they are resumed, at heartbeats,
and after any trouble of the bus, all sessions that are due in one statement.
"""

import asyncio
import contextlib
import logging
import re
import secrets
from collections.abc import Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from server.bus.interface import Address, Bus, Mailbox, MailboxLost
from server.clock import Clock, epoch_millis
from server.config.settings import Sessions as SessionSettings
from server.model.entities import Delivery
from server.runtime.metrics import Metrics
from server.services.session import PAGE, RETRY, Outlet, OutletClosed, Session, bookmark
from server.store import Store
from server.store.errors import StoreUnavailable
from server.tasks import OwnedTasks
from server.wire import notification as wire

_log = logging.getLogger(__name__)

_CHECK_TICK = 2.0
"""Seconds for which heartbeats are gathered into one comparison."""
_CHECK_CHUNK = 500
_CONFIRM_PAUSE = 0.2
"""Seconds for which what was sent is gathered into one ping: what is confirmed late only makes something come twice."""
_MARGIN = timedelta(seconds=30)
"""How long before it was noticed a trouble of the bus may have begun."""
_SESSION_ID = re.compile(r"[0-9a-f]{12}-[A-Za-z0-9_-]{22}")


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
        self._untold: dict[Session, datetime] = {}
        self._unconfirmed: dict[Session, None] = {}
        self._confirm_timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._tasks = OwnedTasks("sessions")
        bus.on_disruption(self._on_disruption)

    def start(self) -> None:
        self._tasks.start(self._check(), "check")
        self._tasks.start(self._gather(), "gather")

    async def close(self) -> None:
        if self._confirm_timer is not None:
            self._confirm_timer.cancel()
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
        mailbox.ack(0, bookmark(cursor))
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
        self._untold.pop(session, None)
        self._unconfirmed.pop(session, None)

    # what sessions report and ask

    def now(self) -> datetime:
        return self._clock.now()

    def sent(self, session: Session, committed_at: Sequence[int]) -> None:
        """Notifications went out just now: the times when what they tell of was committed."""
        now = epoch_millis(self._clock.now())
        self._metrics.notifications.inc(len(committed_at))
        for moment in committed_at:
            self._metrics.notification_seconds.observe((now - moment) / 1000)
        self.confirm_soon(session)

    def filled(self) -> None:
        self._metrics.notifications.inc()
        self._metrics.notifications_filled.inc()

    async def between(self, user_id: int, after: int, up_to: int) -> list[Delivery]:
        """A page of deliveries; waits while the database is away."""
        while True:
            try:
                return await self._store.deliveries.between(user_id, after, up_to, PAGE)
            except StoreUnavailable:
                await asyncio.sleep(RETRY)

    def confirm_soon(self, session: Session) -> None:
        """Ask the client in a moment what it has, with all others: what is sent until then is asked for, too."""
        self._unconfirmed[session] = None
        if self._confirm_timer is None:
            self._confirm_timer = asyncio.get_running_loop().call_later(_CONFIRM_PAUSE, self._confirm)

    def _confirm(self) -> None:
        self._confirm_timer = None
        due, self._unconfirmed = self._unconfirmed, {}
        for session in due:
            if session in self._live and not session.confirming:
                self._start(session.ask_confirmation(), "confirm")

    # comparing with the database

    def check_now(self, sessions: Iterable[Session]) -> None:
        self._due.update(dict.fromkeys(sessions))
        self._wake.set()

    def check_soon(self, session: Session) -> None:
        """At a heartbeat: with the others of these seconds."""
        self._soon[session] = None

    def repeat_hints(self, sessions: Iterable[Session], since: datetime) -> None:
        """At the next comparison, tell these sessions again of contacts and requests that were made since."""
        for session in sessions:
            self._untold[session] = min(since, self._untold.get(session, since))

    def _on_disruption(self) -> None:
        self.repeat_hints(self._live, self._clock.now())
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
            untold, self._untold = self._untold, {}
            try:
                await self._compare([session for session in due if session in self._live])
                await self._tell_again({session: since for session, since in untold.items() if session in self._live})
            except StoreUnavailable:
                self._due = {**due, **self._due}
                for session, since in untold.items():
                    self.repeat_hints((session,), since)
                await asyncio.sleep(RETRY)
            except Exception:  # what comes next must be compared all the same
                _log.exception("%d sessions could not be compared with the database", len(due))

    async def _compare(self, sessions: list[Session]) -> None:
        for start in range(0, len(sessions), _CHECK_CHUNK):
            chunk = sessions[start : start + _CHECK_CHUNK]
            heads = await self._store.deliveries.heads({session.user_id for session in chunk})
            for session in chunk:
                head = heads.get(session.user_id, 0)
                if head > session.cursor:
                    self._start(session.catch_up(head), "catch-up")

    async def _tell_again(self, untold: dict[Session, datetime]) -> None:
        """Of contacts and requests that were made since: whether they were told nobody knows."""
        by_user: dict[int, list[Session]] = {}
        for session in untold:
            by_user.setdefault(session.user_id, []).append(session)
        users = list(by_user)
        for start in range(0, len(users), _CHECK_CHUNK):
            chunk = users[start : start + _CHECK_CHUNK]
            since = min(untold[session] for user_id in chunk for session in by_user[user_id]) - _MARGIN
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
