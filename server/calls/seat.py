"""A seat: one user's open call socket, as the process that reads it sees the call.

What the client is sent follows from views: the seat compares each with the one before and tells what changed, so a
view that is lost, late or repeated does no harm, and the death of the call's owner isn't felt. A seat that
sees that its manager takes it for lost says that it is up.
"""

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple

from server.bus.interface import Address, BusUnavailable, Mailbox, MailboxLost, MailboxTaken
from server.calls import view as views
from server.calls.events import MediaSeen, SocketLost, SocketUp
from server.calls.names import SEAT_TTL, call_group, seat_name
from server.calls.outlet import Outlet, SeatOverloaded
from server.calls.view import Place, Signal, View
from server.errors import ApiError, ErrorCode, Language
from server.model.enums import CallStatus, EndReason, UserState
from server.store.errors import StoreUnavailable
from server.wire import call as wire

if TYPE_CHECKING:
    from server.calls.seats import Seats

_AGAIN = 2.0
"""Seconds after which a socket that nobody noticed says again that it is up."""
_PAUSE = 0.5


class _Entry(Enum):
    """How far a seat has come in."""

    OUTSIDE = auto()
    IN = auto()
    """The client has been sent the states; the others don't know that it is online."""
    KNOWN = auto()


class _Asked(NamedTuple):
    """A ping under way: its answer confirms what came up to `seq`, if the mailbox is still that of this round."""

    payload: bytes
    round: int
    seq: int


class Seat:
    """Made by `Seats.seat`. `run` is its writer, `heard` and `confirmed` take what is read; at last `leave`.

    `client` tells one page of the user from another: what waited for the one isn't for the other. `opened` is when its
    connection was made, in milliseconds since 1970.
    """

    def __init__(
        self, seats: "Seats", call_id: int, user_id: int, client: str, language: Language, opened: int
    ) -> None:
        self.call_id = call_id
        self.user_id = user_id
        self._seats = seats
        self._client = client
        self._language = language
        self._opened = opened
        self._entry = _Entry.OUTSIDE
        self._over = False
        self.replaced = False
        """Whether the client was sent away for a newer socket of its user."""
        self._socket = 0
        self._said_at = 0.0
        self._view: View | None = None
        self._mailbox: Mailbox | None = None
        self._pings = 0
        self._asked: _Asked | None = None
        self._answered = asyncio.Event()
        self._round = 0
        self._seen_seq = 0
        self._framed_seq = 0
        self._sent_seq = 0
        self._confirmed_seq = 0
        self._heard: dict[int, tuple[int, int]] = {}
        self._number = 0
        self._early: list[tuple[int, str]] = []
        self._held: list[tuple[str, bytes]] = []
        self._unposted = 0

    @property
    def socket(self) -> int:
        """The number by which the manager knows this socket."""
        return self._socket

    @property
    def inside(self) -> bool:
        return self._entry is not _Entry.OUTSIDE

    @property
    def _open_now(self) -> Mailbox:
        if self._mailbox is None:
            raise RuntimeError("a seat must be entered first")
        return self._mailbox

    # what the client is sent

    async def run(self, outlet: Outlet) -> None:
        """Take the seat and send what comes, until the client is sent away; its last frame says so.

        Raises:
            BusUnavailable, StoreUnavailable: the seat couldn't be taken; the client may try again.
            OutletClosed
        """
        self._outlet = outlet
        frames = await self._open()
        while True:
            for frame in frames:
                await outlet.send(frame)
            self._sent_seq = self._framed_seq
            if self._over:
                return
            await self._ask_confirmation()
            frames = await self._next()

    async def _next(self) -> list[str]:
        """The next frames, once there are any."""
        while True:
            try:
                entries = await self._open_now.read()
            except MailboxTaken:
                return self._give_way()
            except MailboxLost:
                if frames := await self._reopen():
                    return frames
                continue
            frames = []
            for entry in entries:
                frames += self._take(entry.data)
                self._seen_seq = entry.seq
                if self._over:
                    break
            if frames:
                self._framed_seq = self._seen_seq
                return frames
            self._confirm(self._confirmed_seq)

    async def _ask_confirmation(self) -> None:
        """A browser answers a protocol ping after everything sent before it. One is under way at a time."""
        if self._sent_seq > self._confirmed_seq:
            await self._ping()

    async def _ping(self) -> None:
        if self._asked is None:
            self._pings += 1
            self._asked = _Asked(b"%d" % self._pings, self._round, self._sent_seq)
            await self._outlet.ping(self._asked.payload)

    def confirmed(self, payload: bytes) -> bool:
        """Take in the client's answer to a ping; false if none with this payload was under way."""
        if self._asked is None or payload != self._asked.payload:
            return False
        asked, self._asked = self._asked, None
        self._answered.set()
        if asked.round == self._round:
            self._confirm(asked.seq)
        if self._sent_seq > self._confirmed_seq and not self._over:
            self._seats.start(self._ask_confirmation())
        return True

    def _confirm(self, seq: int) -> None:
        """The client has everything up to `seq`, and so what came since without being for the client."""
        self._confirmed_seq = seq if seq < self._framed_seq else self._seen_seq
        if self._confirmed_seq:
            self._open_now.ack(self._confirmed_seq)

    def _take(self, data: bytes) -> list[str]:
        match views.decode(data):
            case View() as view:
                return self._see(view)
            case Signal(from_user_id, socket, number, frame):
                if self._entry is _Entry.OUTSIDE or (socket, number) <= self._heard.get(from_user_id, (0, 0)):
                    return []
                self._heard[from_user_id] = (socket, number)
                return [frame]

    async def _open(self) -> list[str]:
        """Take the seat; gives the first frames: the states of all, unless the client is sent away."""
        self._mailbox = mailbox = await self._open_mailbox()
        self._round += 1
        self._seen_seq = self._framed_seq = self._sent_seq = self._confirmed_seq = 0
        record = await self._seats.record(self.call_id)  # after the mailbox is open: no view falls between
        member = None if record is None else record.call.member(self.user_id)
        if record is None or member is None:
            return self._end(wire.unauthorized_frame())
        self._number_socket(max(member.socket, _parse_note(mailbox.note)[0]))
        return self._see(View.of(record), again=True)

    async def _open_mailbox(self) -> Mailbox:
        """Take the mailbox over from this user's former socket, with what waits in it if that was of the same page."""
        address = Address(call_group(self.call_id), seat_name(self.user_id))
        while True:
            note = _note(self._socket, self._client)
            mailbox = await self._seats.bus.open_mailbox(address, ttl=SEAT_TTL, create=True, note=note)
            if _parse_note(mailbox.note)[1] == self._client:
                return mailbox
            self._socket = max(self._socket, _parse_note(mailbox.note)[0])
            await mailbox.close(keep=False)

    async def _reopen(self) -> list[str]:
        """The bus has forgotten the mailbox. Frames may be missing: the client gets all states again.

        Its client must be there: one whose connection is half open has, or will have, another socket, and this one
        would take the mailbox from it.
        """
        while True:
            self._answered.clear()
            await self._ping()
            await self._answered.wait()
            try:
                return await self._open()
            except (BusUnavailable, StoreUnavailable):
                await asyncio.sleep(_PAUSE)

    def _see(self, view: View, *, again: bool = False) -> list[str]:
        """What the client is told of `view`; `again`: all of it, as far as it is inside."""
        before = self._view
        if before is not None and view.order < before.order:
            view = before
        self._view = view
        frames: list[str] = []
        if self._entry is not _Entry.OUTSIDE:
            frames = self._states(view) if again or before is None else self._changes(before, view)
        return frames + self._see_myself(view, view.members[self.user_id])

    def _see_myself(self, view: View, me: Place) -> list[str]:
        if view.status is CallStatus.END:
            return self._end(wire.ended_frame(view.reason))
        if me.state is UserState.DEAD and me.socket >= self._left_from(me):
            busy = wire.error_frame(ApiError(ErrorCode.CALLER_BUSY).text(self._language))
            return self._end(*([busy] if me.left is EndReason.BUSY else []), wire.ended_frame(me.left))
        if me.socket > self._socket:
            return self._give_way()
        known = me.socket == self._socket
        match me.state:
            case UserState.INVITED | UserState.REJECTED:
                return self._end(wire.unauthorized_frame())
            case UserState.ACCEPTED | UserState.OFFLINE if known and self._said_at:
                self._number_socket(self._socket)  # taken for lost
                self._come_up()
                return []
            case UserState.ONLINE if known:
                entered = self._come_in(view)
                self._become_known()
                return entered
            case UserState.DEAD:
                self._come_up_again()
                return []  # back in the call only if the manager says so
            case UserState.ONLINE:
                entered = self._come_in(view)
                self._become_known()  # by the socket before, whose loss nobody noticed
                self._come_up_again()
                return entered
            case UserState.ACCEPTED | UserState.OFFLINE:
                entered = self._come_in(view)
                self._come_up_again()
                return entered

    def _left_from(self, me: Place) -> int:
        """From which number on the user, who is dead, has left with this socket: who hangs up leaves with every
        connection made until then, though this one may be known only now."""
        return min(self._socket, self._opened) if me.left is EndReason.NORMAL else self._socket

    def _come_in(self, view: View) -> list[str]:
        if self._entry is not _Entry.OUTSIDE:
            return []
        self._entry = _Entry.IN
        early, self._early = self._early, []
        for to_user_id, message in early:
            self._signal(to_user_id, message)
        return self._states(view)

    def _become_known(self) -> None:
        if self._entry is _Entry.IN:
            self._entry = _Entry.KNOWN
            for name, data in self._held:
                self._seats.outbox.send(self.call_id, name, data, self._posted)
            self._held.clear()

    def _states(self, view: View) -> list[str]:
        """All states; the client's own as it has become, which the view may not show yet."""
        states = (
            wire.MemberState(user_id, UserState.ONLINE if user_id == self.user_id else place.state)
            for user_id, place in view.members.items()
        )
        started = [wire.started_frame()] if view.status is CallStatus.ACTIVE else []
        return [wire.all_states_frame(states), *started]

    def _changes(self, before: View, after: View) -> list[str]:
        frames = [
            wire.one_state_frame(wire.MemberState(user_id, place.state))
            for user_id, place in after.members.items()
            if place.state is not before.members[user_id].state and user_id != self.user_id
        ]
        if after.status is CallStatus.ACTIVE and before.status is not CallStatus.ACTIVE:
            frames.append(wire.started_frame())
        return frames

    def _end(self, *frames: str) -> list[str]:
        """The last frames."""
        self._over = True
        return list(frames)

    def _give_way(self) -> list[str]:
        """To a newer socket of the user."""
        self.replaced = True
        return self._end(wire.unauthorized_frame())

    # what the manager is told

    def _number_socket(self, above: int) -> None:
        """Take a number above all that this user had, for a mailbox opened now."""
        self._socket = max(self._seats.now(), above + 1, self._socket + 1)
        self._said_at = 0.0
        self._open_now.ack(0, _note(self._socket, self._client))

    def _come_up(self) -> None:
        self._said_at = asyncio.get_running_loop().time()
        self._seats.outbox.say(self.call_id, SocketUp(self.user_id, self._socket))

    def _come_up_again(self) -> None:
        """Say it unless it was said a moment ago."""
        if not self._said_at or asyncio.get_running_loop().time() >= self._said_at + _AGAIN:
            self._come_up()

    async def leave(self) -> None:
        """The socket is gone."""
        self._seats.left(self)
        if self._said_at and not self._over:
            self._seats.outbox.say(self.call_id, SocketLost(self.user_id, self._socket))
        if self._mailbox is not None:
            await self._mailbox.close(keep=not self._over)

    # what the client says

    def heard(self, frame: wire.ClientFrame) -> str | None:
        """Take in a frame of the client; gives a frame that answers it, if any.

        Raises:
            SeatOverloaded
        """
        match frame:
            case wire.Heartbeat():
                self._seats.heartbeat(self)
            case wire.Signaling(to_user_id, message):
                return self._signal(to_user_id, message)
            case wire.MediaSeen(user_id):
                self._seats.outbox.say(self.call_id, MediaSeen(self.user_id, user_id))
            case wire.Unknown():
                pass
        return None

    def _signal(self, to_user_id: int, message: str) -> str | None:
        """Pass `message` on to another who is online, or was a moment ago: its mailbox waits for it a while.

        A page that comes back may have something to say before it is let in: that waits.
        """
        if self._unposted + len(self._early) >= self._seats.limit:
            raise SeatOverloaded
        if self._view is None or self._entry is _Entry.OUTSIDE:
            self._early.append((to_user_id, message))
            return None
        place = self._view.members.get(to_user_id)
        if place is None or to_user_id == self.user_id:
            return wire.error_frame(ApiError(ErrorCode.USER_NOT_FOUND).text(self._language))
        if place.state not in (UserState.ONLINE, UserState.OFFLINE):
            return None
        self._unposted += 1
        self._seats.metrics.signals.inc()
        self._number += 1
        signal = Signal(self.user_id, self._socket, self._number, wire.signaling_frame(self.user_id, message))
        name, data = seat_name(to_user_id), views.encode_signal(signal)
        if self._entry is _Entry.KNOWN:
            self._seats.outbox.send(self.call_id, name, data, self._posted)
        else:
            self._held.append((name, data))
        return None

    def _posted(self) -> None:
        self._unposted -= 1


def _note(socket: int, client: str) -> bytes:
    """What is left beside the mailbox for the user's next socket."""
    return f"{socket} {client}".encode()


def _parse_note(note: bytes) -> tuple[int, str]:
    socket, _, client = note.decode().partition(" ")
    return int(socket or 0), client
