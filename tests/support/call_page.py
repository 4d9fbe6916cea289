"""A simulated call page, without media: it does with the call socket what the contract says that the real one does."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Self

import aiohttp

from tests.support.account import Account
from tests.support.api import JsonObject
from tests.support.call import CallFrame, CallsApi, CallSocket, FrameKind, Reason, Signal, State, Status
from tests.support.notification import PATIENCE, SocketClosed

HEARTBEAT = 10.0
RETRY = 3.0
LOST = (aiohttp.ClientError, SocketClosed, ConnectionError)
FIRST = {FrameKind.ALL_STATES, FrameKind.UNAUTHORIZED, FrameKind.ENDED, FrameKind.ERROR}


class CallPage:
    """One person's page in one call. Use as an async context manager: it joins once the call is ready, then keeps its
    socket open, with heartbeats, and opens it again after `retry` seconds until it is told 1 or 7.

    Attributes:
        api: at which server the next socket is opened.
        frames: all that came, of all its sockets.
        states: every user's state, as shown just now.
        heard: the signaling that came.
        started: whether it was told that the call is active.
        reason: the end reason that it was told.
        sent_away: whether it was told that it is unauthorized.
        errors: the texts that it was told.
        closings: how its sockets ended.
        connections: how many sockets it has opened.
        heartbeat: seconds from one to the next; 0: it sends none.
    """

    def __init__(self, account: Account, call_id: int, *, heartbeat: float = HEARTBEAT, retry: float = RETRY) -> None:
        self.account = account
        self.api = account.api
        self.call_id = call_id
        self.heartbeat = heartbeat
        self.retry = retry
        self.token = ""
        self.frames: list[CallFrame] = []
        self.states: dict[int, State] = {}
        self.heard: list[Signal] = []
        self.started = False
        self.reason: Reason | None = None
        self.sent_away = False
        self.errors: list[str] = []
        self.closings: list[SocketClosed] = []
        self.connections = 0
        self.stay_away = False
        """While true it doesn't open its socket again."""
        self.socket: CallSocket | None = None
        self._changed = asyncio.Condition()
        self._runner: asyncio.Task[None] | None = None

    @property
    def user_id(self) -> int:
        return self.account.user_id

    @property
    def over(self) -> bool:
        return self.sent_away or self.reason is not None

    @property
    def open_socket(self) -> CallSocket:
        assert self.socket is not None, "the page has no socket just now"
        return self.socket

    async def __aenter__(self) -> Self:
        await wait_for_status(self.account, self.call_id, Status.READY)
        self.token = await CallsApi(self.api).join(self.call_id)
        self._runner = asyncio.create_task(self._run(), name=f"call page of {self.user_id}")
        await self.wait_until(lambda: self.frames or self.stay_away, "the first frame")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._runner is not None
        self._runner.cancel()
        (ended,) = await asyncio.gather(self._runner, return_exceptions=True)
        if isinstance(ended, Exception) and error is None:
            raise ended

    async def wait_until(self, done: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Returns once `done()` is true; it is asked after every frame."""

        def checked() -> bool:
            if self._runner is not None and self._runner.done() and not self._runner.cancelled():
                self._runner.result()
            return bool(done())

        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(checked)
        except TimeoutError:
            raise AssertionError(f"waited {timeout} s for {what}; {self.describe()}") from None

    async def wait_for_state(self, user_id: int, state: State, timeout: float = PATIENCE) -> None:
        await self.wait_until(lambda: self.states.get(user_id) is state, f"{user_id} {state.name.lower()}", timeout)

    async def wait_started(self) -> None:
        await self.wait_until(lambda: self.started, "the start")

    async def wait_over(self, timeout: float = PATIENCE) -> Reason | None:
        """The end reason that it is told, None if it is sent away."""
        await self.wait_until(lambda: self.over, "the end", timeout)
        return self.reason

    async def wait_for_signals(self, count: int, timeout: float = PATIENCE) -> None:
        await self.wait_until(lambda: len(self.heard) >= count, f"{count} signals", timeout)

    async def signal(self, other: "CallPage | int", message: str) -> None:
        await self.open_socket.signal(other if isinstance(other, int) else other.user_id, message)

    async def hang_up(self) -> None:
        await CallsApi(self.api).hang_up(self.call_id)

    async def drop(self) -> None:
        """Lose the connection as a broken network does; it comes back after `retry` seconds."""
        if self.socket is not None:
            self.socket.abort()
        await self.wait_until(lambda: self.socket is None, "the end of the connection")

    def heard_from(self, other: "CallPage") -> list[str]:
        return [signal.message for signal in self.heard if signal.from_user_id == other.user_id]

    def seen(self, user_id: int) -> list[State]:
        """The states in which the user was shown, repetitions left out."""
        told = [frame.states()[user_id] for frame in self.frames if user_id in frame.states()]
        return [state for index, state in enumerate(told) if index == 0 or told[index - 1] is not state]

    def describe(self) -> str:
        shown = ", ".join(f"{frame.kind.name} {frame.payload[:60]}" for frame in self.frames[-6:])
        return (
            f"user {self.user_id} in call {self.call_id}: {self.connections} connections, "
            f"closings {self.closings[-3:]}, {len(self.frames)} frames, the last: {shown}"
        )

    async def _run(self) -> None:
        while not self.over:
            if not self.stay_away:
                with contextlib.suppress(*LOST):
                    await self._connection()
                await self._set_socket(None)
            if not self.over:
                await asyncio.sleep(self.retry)

    async def _connection(self) -> None:
        socket = await CallSocket.open(self.api, self.token)
        self.connections += 1
        await self._set_socket(socket)
        beating = asyncio.create_task(self._beat(socket))
        first = True
        try:
            while True:
                frame = await socket.frame(None)
                assert not first or frame.kind in FIRST, f"the first frame is {frame}"
                first = False
                await self._take(frame)
        except SocketClosed as end:
            self.closings.append(end)
            raise
        finally:
            beating.cancel()
            with contextlib.suppress(*LOST):
                await socket.close()

    async def _beat(self, socket: CallSocket) -> None:
        with contextlib.suppress(*LOST):
            while self.heartbeat:
                await asyncio.sleep(self.heartbeat)
                await socket.heartbeat()

    async def _take(self, frame: CallFrame) -> None:
        async with self._changed:
            self.frames.append(frame)
            self.states |= frame.states()
            match frame.kind:
                case FrameKind.SIGNALING:
                    self.heard.append(frame.signal())
                case FrameKind.STARTED:
                    assert frame.payload == "", frame
                    self.started = True
                case FrameKind.ENDED:
                    self.reason = frame.reason()
                case FrameKind.UNAUTHORIZED:
                    assert frame.payload == "", frame
                    self.sent_away = True
                case FrameKind.ERROR:
                    assert frame.payload, frame
                    self.errors.append(frame.payload)
                case FrameKind.ALL_STATES | FrameKind.ONE_STATE:
                    pass
                case FrameKind.HEARTBEAT:
                    raise AssertionError(f"the server sends no {frame}")
            self._changed.notify_all()

    async def _set_socket(self, socket: CallSocket | None) -> None:
        async with self._changed:
            self.socket = socket
            self._changed.notify_all()


async def wait_for_status(account: Account, call_id: int, status: Status, timeout: float = PATIENCE) -> JsonObject:
    """The Call, once it has come to `status` (or further)."""
    async with asyncio.timeout(timeout):
        while True:
            call = await CallsApi(account.api).get(call_id)
            if call["status"] >= status:
                return call
            await asyncio.sleep(0.01)


def members_of(call: JsonObject) -> list[int]:
    """The user ids of a Call, the caller first."""
    members: list[int] = json.loads(call["members"])
    return members
