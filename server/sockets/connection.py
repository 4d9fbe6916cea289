"""One WebSocket connection with its limits, and the per-process watch over all of them.

A connection has no timer of its own: one tick a second looks at all of them for silence and for sends that hang.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from server.runtime.metrics import Metrics
from server.services.session import OutletClosed
from server.sockets.close_codes import Close
from server.tasks import OwnedTasks

_log = logging.getLogger(__name__)

_EXPECTED = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
_TICK = 1.0
_RATE_WINDOW = 10.0
_CLOSE_WAIT = 2.0
"""Seconds that a client has for its part of a closing handshake."""


class Closed(OutletClosed):
    """The connection is closed or must be, for this reason."""

    def __init__(self, why: Close) -> None:
        super().__init__(why.name)
        self.why = why


class Connection:
    """An accepted WebSocket. One task reads (`receive`); writers take turns by themselves.

    `pong` is called with the payload of each protocol pong and says whether it was asked for.
    """

    __slots__ = (
        "_characters",
        "_characters_per_second",
        "_closing",
        "_count",
        "_frames_per_second",
        "_receiver",
        "_request",
        "_sending",
        "_socket",
        "_window",
        "closing",
        "heard",
        "pong",
        "silence",
        "slow_after",
    )

    def __init__(
        self,
        request: web.Request,
        *,
        frame_limit: int,
        frames_per_second: float,
        silence: float,
        slow_after: float,
        characters_per_second: float = math.inf,
    ) -> None:
        # compression costs 90 KiB a connection and more CPU than it saves on short frames
        self._socket = web.WebSocketResponse(
            compress=False, autoping=False, max_msg_size=frame_limit, timeout=_CLOSE_WAIT, decode_text=True
        )
        self._request = request
        self._frames_per_second = frames_per_second
        self._characters_per_second = characters_per_second
        self._window = 0.0
        self._count = 0
        self._characters = 0
        self.heard = asyncio.get_running_loop().time()
        self._sending: list[float] = []
        self.silence = silence
        self.slow_after = slow_after
        self.closing: Close | None = None
        self._closing: asyncio.Task[bool] | None = None
        self._receiver: asyncio.Task[Any] | None = None
        self.pong: Callable[[bytes], bool] | None = None

    @property
    def response(self) -> web.WebSocketResponse:
        return self._socket

    async def prepare(self) -> None:
        """Shake hands. Raises HTTPUpgradeRequired where the client doesn't ask for a WebSocket as RFC 6455 has it."""
        try:
            await self._socket.prepare(self._request)
        except (web.HTTPBadRequest, ValueError) as error:
            raise web.HTTPUpgradeRequired(headers=_EXPECTED) from error

    async def receive(self) -> str:
        """The next text frame. Pings are answered and pongs reported on the way.

        Raises:
            Closed
        """
        while True:
            message = await self._next()
            now = self.heard = asyncio.get_running_loop().time()
            if message.type is WSMsgType.PONG and self.pong is not None and self.pong(message.data):
                continue
            self._count_frame(now, message)
            match message.type:
                case WSMsgType.TEXT:
                    text: str = message.data
                    return text
                case WSMsgType.PONG:
                    continue
                case WSMsgType.PING:
                    await self._send(self._socket.pong(message.data))
                case WSMsgType.BINARY:
                    raise Closed(Close.UNSUPPORTED_DATA)
                case WSMsgType.ERROR:
                    raise Closed(Close.TOO_BIG if self._socket.close_code == Close.TOO_BIG.code else Close.NORMAL)
                case _:
                    raise Closed(Close.NORMAL)

    async def first_frame(self, timeout: float) -> str:
        """What a client has to begin with, within so many seconds. Raises Closed."""
        try:
            async with asyncio.timeout(timeout):
                return await self.receive()
        except TimeoutError as error:
            raise Closed(Close.NO_FIRST_FRAME) from error

    async def _next(self) -> WSMessage:
        if (why := self.closing) is not None:
            raise Closed(why)
        self._receiver = asyncio.current_task()
        try:
            message = await self._socket.receive()
        except asyncio.CancelledError:
            if not self._ended():
                raise
        finally:
            self._receiver = None
        if (why := self.closing) is not None:
            raise Closed(why)
        return message

    def _ended(self) -> bool:
        """Whether the reader was cancelled by `end`, and by nobody else."""
        return self.closing is not None and self._receiver is not None and not self._receiver.uncancel()

    def _count_frame(self, now: float, message: WSMessage) -> None:
        if now - self._window > _RATE_WINDOW:
            self._window, self._count, self._characters = now, 0, 0
        self._count += 1
        if message.type is WSMsgType.TEXT:
            self._characters += len(message.data)
        if (
            self._count > self._frames_per_second * _RATE_WINDOW
            or self._characters > self._characters_per_second * _RATE_WINDOW
        ):
            raise Closed(Close.POLICY)

    async def send(self, text: str) -> None:
        """Raises Closed."""
        await self._send(self._socket.send_str(text))

    async def ping(self, payload: bytes) -> None:
        """Raises Closed."""
        await self._send(self._socket.ping(payload))

    async def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        # each has its own time: the reader's pongs must not hide that the writer hangs
        start = asyncio.get_running_loop().time()
        self._sending.append(start)
        try:
            await sending
        except (ConnectionError, RuntimeError) as error:
            raise Closed(self.closing or Close.NORMAL) from error
        finally:
            self._sending.remove(start)

    @property
    def sending_since(self) -> float | None:
        """Since when the oldest of the sends under way takes."""
        return self._sending[0] if self._sending else None

    def end(self, why: Close) -> bool:
        """Let the reader end with this reason; it then closes. False if it isn't reading just now.

        Closed under its reader, the connection would be cut off without the closing handshake, and a client that
        says something in that moment would lose what it hasn't read yet.
        """
        if self._receiver is None:
            self.closing = self.closing or why
            return False
        if self.closing is None:  # else it has been told already
            self.closing = why
            self._receiver.cancel()
        return True

    async def close(self, why: Close) -> None:
        """Say goodbye; a client that doesn't answer is cut off after a moment. Not while another task reads."""
        self.closing = self.closing or why
        if self._closing is None:
            self._closing = asyncio.create_task(self._socket.close(code=why.code, message=why.reason.encode()))
        # all who close it wait for the handshake: cut off before, a client may lose what it hasn't read yet
        await asyncio.shield(self._closing)

    def abort(self, why: Close) -> None:
        """Cut the connection at once."""
        self.closing = self.closing or why
        if self._request.transport is not None:
            self._request.transport.abort()


class ConnectionWatch:
    """All connections of this process: closes the silent and the stuck, sends all away when the server stops."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._open: dict[Connection, str] = {}
        self._tasks = OwnedTasks("connections")
        self._draining = False

    def start(self) -> None:
        self._tasks.start(self._watch(), "watch")

    async def close(self) -> None:
        await self._tasks.close()

    @property
    def draining(self) -> bool:
        return self._draining

    def __len__(self) -> int:
        return len(self._open)

    async def serve(
        self, connection: Connection, kind: str, serving: Coroutine[Any, Any, None]
    ) -> web.WebSocketResponse:
        """The life of a connection: `serving`, which raises Closed with the reason for its end, and the goodbye."""
        with closing(serving):  # else it complains where it isn't begun
            await connection.prepare()
            self._open[connection] = kind
            self._metrics.sockets.labels(kind).inc()
            why = Close.RESTART if self._draining else Close.INTERNAL
            try:
                if not self._draining:
                    await serving
            except Closed as closed:
                why = closed.why
            except asyncio.CancelledError:
                why = Close.GOING_AWAY
                raise
            except Exception:
                _log.exception("a %s socket failed", kind)
            finally:
                await connection.close(why)
                connection.pong = None  # aiohttp may hold the connection a while longer: not all that it served
                self._forget(connection, connection.closing or why)
        return connection.response

    def _forget(self, connection: Connection, why: Close) -> None:
        kind = self._open.pop(connection)
        self._metrics.sockets.labels(kind).dec()
        self._metrics.socket_closes.labels(kind, why.name.lower()).inc()

    def close_soon(self, connection: Connection, why: Close) -> None:
        """Close it without waiting for that."""
        if not connection.end(why):
            self._tasks.start(connection.close(why), why.name)

    async def drain(self, spread: float) -> None:
        """Tell every client to come back, evenly over `spread` seconds, so that they don't all come at once."""
        self._draining = True
        connections = list(self._open)
        for number, connection in enumerate(connections):
            self.close_soon(connection, Close.RESTART)
            if number + 1 < len(connections):
                await asyncio.sleep(spread / len(connections))

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            self._look(loop.time())

    def _look(self, now: float) -> None:
        for connection in list(self._open):
            since = connection.sending_since
            if since is not None and now - since > connection.slow_after:
                connection.abort(Close.SLOW)
            elif now - connection.heard > connection.silence:
                connection.abort(Close.SILENT)
