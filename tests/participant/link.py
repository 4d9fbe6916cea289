"""The connection of two people in a mesh, seen from one of them, by the rules of the wire contract.

The lower user id makes the first offer as soon as the other is online; later either may offer. When both do at once,
that of the lower id wins. An offer that isn't answered in time is made again. Beyond the frontend, candidates that come
before a description are kept, and a description of another connection than before (a page loaded anew) begins
a new one.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import Enum, auto

from aiortc import RTCIceCandidate, RTCPeerConnection, RTCSessionDescription
from aiortc.exceptions import InvalidStateError
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from tests.participant.impressions import Impression, Verdict
from tests.participant.picture import luma_of
from tests.participant.signals import PeerSignal, SignalKind
from tests.participant.tone import samples_of

UNANSWERED = 3.0
"""Seconds after which an offer is made again."""

_IDENTITY = re.compile(r"^a=(?:ice-ufrag|fingerprint):.*$", re.MULTILINE)


class _Wish(Enum):
    """What the link itself has to do."""

    OFFER = auto()
    DROP = auto()
    LOOK = auto()
    """Whether something is due has changed."""


class Link:
    """`run` does everything; the other methods post what it has to do.

    `connect` makes a connection with this person's tracks, `say` sends a signal to the other, `sensed` is called when
    the first good sound or picture comes.

    Attributes:
        answered: how many offers of this side were answered.
    """

    def __init__(
        self,
        me: int,
        other: int,
        *,
        connect: Callable[[], RTCPeerConnection],
        say: Callable[[str], Awaitable[None]],
        impression: Impression,
        sensed: Callable[[], Awaitable[None]],
        unanswered: float = UNANSWERED,
    ) -> None:
        self.answered = 0
        self._leads = me < other
        self._connect = connect
        self._say = say
        self._impression = impression
        self._sensed = sensed
        self._unanswered = unanswered
        self._inbox: asyncio.Queue[PeerSignal | _Wish] = asyncio.Queue()
        self._online = False
        self._connection: RTCPeerConnection | None = None
        self._offer: RTCSessionDescription | None = None
        """Made by this side and not answered yet."""
        self._due: float | None = None
        """When to offer (again), by the event loop's clock."""
        self._early: list[RTCIceCandidate | None] = []
        self._listeners: set[asyncio.Task[None]] = set()
        self._any = False

    # what is to be done

    def appeared(self) -> None:
        """The other is online, for the first time or again."""
        self._online = True
        self._inbox.put_nowait(_Wish.OFFER if self._leads else _Wish.LOOK)

    def lost_sight(self) -> None:
        """The other's socket went; the media goes on."""
        self._online = False
        self._inbox.put_nowait(_Wish.LOOK)

    def left(self) -> None:
        """The other isn't in the call any more."""
        self._online = False
        self._inbox.put_nowait(_Wish.DROP)

    def offer(self) -> None:
        """Offer now, as either side may once they are connected."""
        self._inbox.put_nowait(_Wish.OFFER)

    def hear(self, message: str) -> None:
        self._inbox.put_nowait(PeerSignal.decode(message))

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as self._tasks:
            try:
                while True:
                    await self._try(await self._next())
            finally:
                await self._drop()

    async def _try(self, work: PeerSignal | _Wish) -> None:
        try:
            await self._do(work)
        except InvalidStateError:
            if self._connection is None or not _is_useless(self._connection):
                raise
            self._offer = None  # the other ended the connection meanwhile
            self._ended()

    async def _do(self, work: PeerSignal | _Wish) -> None:
        match work:
            case _Wish.OFFER:
                await self._make_offer()
            case _Wish.DROP:
                self._early.clear()
                await self._drop()
            case _Wish.LOOK:
                pass
            case PeerSignal(SignalKind.OFFER):
                await self._take_offer(work.description())
            case PeerSignal(SignalKind.ANSWER):
                await self._take_answer(work.description())
            case PeerSignal(SignalKind.CANDIDATE):
                await self._take_candidate(work.candidate())

    async def _next(self) -> PeerSignal | _Wish:
        due = self._due if self._online else None
        try:
            async with asyncio.timeout_at(due):
                return await self._inbox.get()
        except TimeoutError:
            return _Wish.OFFER if self._online else _Wish.LOOK

    # negotiating

    async def _make_offer(self) -> None:
        connection = await self._usable()
        if self._offer is None and _remote(connection) is None:
            await connection.setLocalDescription(await connection.createOffer())
            self._offer = connection.localDescription
        elif self._offer is None:
            # Set once it is answered: aiortc can't take it back should the other's win.
            self._offer = await connection.createOffer()
        self._offer_due()
        await self._say(PeerSignal.describing(self._offer).encode())

    async def _take_offer(self, offer: RTCSessionDescription) -> None:
        if self._offer is not None:
            if self._leads:
                return
            await self._withdraw()
        connection = await self._usable()
        if _are_different(_remote(connection), offer):
            connection = await self._renew()
        await connection.setRemoteDescription(offer)
        await self._take_early()
        await connection.setLocalDescription(await connection.createAnswer())
        self._due = None
        await self._say(PeerSignal.describing(connection.localDescription).encode())

    async def _take_answer(self, answer: RTCSessionDescription) -> None:
        offer, self._offer = self._offer, None
        connection = self._connection
        if offer is None or connection is None:
            return  # to an offer that was withdrawn, or that was answered before
        self._due = None
        if _are_different(_remote(connection), answer):
            await self._renew()
            self.offer()
            return
        if connection.signalingState == "stable":
            await connection.setLocalDescription(offer)
        await connection.setRemoteDescription(answer)
        await self._take_early()
        self.answered += 1

    async def _take_candidate(self, candidate: RTCIceCandidate | None) -> None:
        self._early.append(candidate)
        if self._connection is not None and _remote(self._connection) is not None:
            await self._take_early()

    async def _take_early(self) -> None:
        early, self._early = self._early, []
        assert self._connection is not None
        for candidate in early:
            await self._connection.addIceCandidate(candidate)

    async def _withdraw(self) -> None:
        """Give up the own offer for the other's."""
        self._offer = None
        if self._connection is not None and self._connection.signalingState != "stable":
            await self._drop()

    def _offer_due(self) -> None:
        self._due = asyncio.get_running_loop().time() + self._unanswered

    # the connection

    async def _usable(self) -> RTCPeerConnection:
        if self._connection is None or _is_useless(self._connection):
            return await self._renew()
        return self._connection

    async def _renew(self) -> RTCPeerConnection:
        await self._drop()
        connection = self._connection = self._connect()

        def changed() -> None:
            if connection is self._connection and _is_useless(connection):
                self._ended()

        connection.on("connectionstatechange", changed)
        connection.on("track", self._listen)
        return connection

    def _ended(self) -> None:
        if self._leads:
            self._offer_due()
            self._inbox.put_nowait(_Wish.LOOK)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._offer, self._due = None, None
        if connection is not None:
            await _close(connection)
        listeners, self._listeners = self._listeners, set()
        for listener in listeners:
            listener.cancel()  # a track that nothing came over doesn't end by itself
        await asyncio.gather(*listeners, return_exceptions=True)

    # listening

    def _listen(self, track: MediaStreamTrack) -> None:
        self._listeners.add(self._tasks.create_task(self._take_frames(track)))

    async def _take_frames(self, track: MediaStreamTrack) -> None:
        with suppress(MediaStreamError):
            while True:
                verdict = self._judge(await track.recv())
                if verdict is Verdict.GOOD and not self._any:
                    self._any = True
                    await self._sensed()

    def _judge(self, frame: object) -> Verdict:
        now = time.monotonic()
        if isinstance(frame, AudioFrame):
            return self._impression.ear.take(samples_of(frame), now, frame.sample_rate)
        assert isinstance(frame, VideoFrame), frame
        return self._impression.eye.take(luma_of(frame), now)


def _are_different(before: RTCSessionDescription | None, now: RTCSessionDescription) -> bool:
    """Whether the descriptions are of two connections."""
    return before is not None and set(_IDENTITY.findall(before.sdp)) != set(_IDENTITY.findall(now.sdp))


def _is_useless(connection: RTCPeerConnection) -> bool:
    """Signaling is closed as soon as aiortc begins to close."""
    return connection.connectionState == "failed" or connection.signalingState == "closed"


async def _close(connection: RTCPeerConnection) -> None:
    """To the end, however often it is cancelled: aiortc can't take up again what stopped halfway."""
    closing = asyncio.ensure_future(connection.close())
    cancelled: asyncio.CancelledError | None = None
    while not closing.done():
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError as error:
            cancelled = error
    closing.result()
    if cancelled is not None:
        raise cancelled


def _remote(connection: RTCPeerConnection) -> RTCSessionDescription | None:
    """None before there is one, which aiortc's annotation leaves out."""
    return connection.remoteDescription
