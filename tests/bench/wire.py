"""Connections that cost the load generator little: HTTP and notification sockets on bare asyncio protocols.

A generator built on a general client would need more CPU than the server it measures.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from tests.support.frames import Opcode, client_frame, handshake, parse_server_frame
from tests.support.notification import Opening

PATIENCE = 60.0


class HttpConnection(asyncio.Protocol):
    """A kept-alive connection with one request under way at a time."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[bytes] | None = None

    @classmethod
    async def open(cls, port: int) -> "HttpConnection":
        _, protocol = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).lower()
        start = head.index(b"content-length: ") + 16
        length_end = head.find(b"\r\n", start)
        total = head_end + 4 + int(head[start : length_end if length_end > 0 else None])
        if len(self._received) < total:
            return
        body = bytes(self._received[head_end + 4 : total])
        del self._received[:total]
        answer, self._answer = self._answer, None
        assert answer is not None, "an answer without a question"
        if answer.cancelled():
            return
        if head.startswith(b"http/1.1 200"):
            answer.set_result(body)
        else:
            answer.set_exception(RuntimeError(head[:12].decode() + " " + body[:300].decode()))

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed while a request was under way"))

    def request(self, request: bytes) -> asyncio.Future[bytes]:
        """The body of the answer; anything but 200 is an error."""
        assert self._answer is None
        self._answer = answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return answer

    def close(self) -> None:
        self._transport.close()


def post(path: str, token: str, body: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class WebSocketConnection(asyncio.Protocol):
    """A WebSocket that sends `first` at once, answers pings and hands every text frame to `text`.

    `pings` counts the server's pings.
    """

    def __init__(self, path: str, first: bytes) -> None:
        self._first = handshake(path) + first
        self._received = bytearray()
        self._upgraded = False
        self.closed = False
        self.pings = 0

    def text(self, frame: bytes) -> None:
        raise NotImplementedError

    def ended(self, error: Exception) -> None:
        """The connection is gone. Called once or more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._first)
        self._first = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        if not self._upgraded:
            head_end = self._received.find(b"\r\n\r\n")
            if head_end < 0:
                return
            assert self._received.startswith(b"HTTP/1.1 101"), bytes(self._received[:200])
            del self._received[: head_end + 4]
            self._upgraded = True
        while (frame := parse_server_frame(self._received)) is not None:
            opcode, payload, size = frame
            del self._received[:size]
            self._frame(opcode, payload)

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == Opcode.TEXT:
            self.text(payload)
        elif opcode == Opcode.PING:
            self.pings += 1
            self._transport.write(client_frame(Opcode.PONG, payload))
        elif opcode == Opcode.CLOSE:
            self._end(ConnectionResetError(f"closed by the server: {payload!r}"))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionResetError("closed by the server"))

    def _end(self, error: Exception) -> None:
        self.closed = True
        self.ended(error)

    def send(self, frame: bytes) -> None:
        """A frame made by `client_frame`, or several of them."""
        if not self.closed:
            self._transport.write(frame)

    def close(self) -> None:
        self._transport.abort()


class SocketConnection(WebSocketConnection):
    """A notification socket. `opening` is set by the server's first frame; all others go to `on_text`."""

    def __init__(self, path: str, token: str, on_text: Callable[[bytes], None]) -> None:
        super().__init__(path, client_frame(Opcode.TEXT, token.encode()) + client_frame(Opcode.TEXT))
        self._on_text = on_text
        self.opening: asyncio.Future[Opening] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(
        cls, port: int, token: str, on_text: Callable[[bytes], None], path: str = "/api/ws/notification"
    ) -> "SocketConnection":
        """Connected, with its session open."""
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(lambda: cls(path, token, on_text), "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE):
            await protocol.opening
        return protocol

    def text(self, frame: bytes) -> None:
        if self.opening.done():
            self._on_text(frame)
        else:
            self.opening.set_result(Opening.parse(frame.decode()))

    def ended(self, error: Exception) -> None:
        if not self.opening.done():
            self.opening.set_exception(error)

    def heartbeat(self) -> None:
        self.send(_HEARTBEAT)


_HEARTBEAT = client_frame(Opcode.TEXT, b"1")


async def together(count: int, at_once: int, make: Callable[[int], Any]) -> list[Any]:
    """The results of `make(0)` … `make(count - 1)`, at most `at_once` of them under way."""
    results: list[Any] = [None] * count
    indexes = iter(range(count))

    async def work() -> None:
        for index in indexes:
            results[index] = await make(index)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
    return results
