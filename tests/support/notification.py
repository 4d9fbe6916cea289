"""One connection of the notification socket, raw enough to check every frame."""

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import aiohttp

PATIENCE = 60.0
"""Seconds that a test waits for something that must come, on a loaded machine."""


class Kind(IntEnum):
    MESSAGE = 1
    CONTACT = 2
    CONTACT_REQUEST = 3
    CALL_HANDLED = 4


@dataclass(frozen=True, slots=True)
class Opening:
    """The server's first frame. `last_delivery_id` is None where a session was resumed."""

    session_id: str
    last_delivery_id: int | None

    @property
    def resumed(self) -> bool:
        return self.last_delivery_id is None

    @classmethod
    def parse(cls, frame: str) -> "Opening":
        assert frame.startswith("session:"), frame
        session_id, separator, last = frame.removeprefix("session:").partition("\n")
        assert session_id, frame
        return cls(session_id, int(last) if separator else None)


@dataclass(frozen=True, slots=True)
class Notification:
    kind: Kind
    payload: Any

    @classmethod
    def parse(cls, frame: str) -> "Notification":
        body = json.loads(frame)
        assert body.keys() == {"type", "payload"}, frame
        return cls(Kind(body["type"]), body["payload"])


class SocketClosed(Exception):
    """The socket ended; `code` as the server gave it (1006: without a close frame)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class TextSocket:
    """Text frames in and out. Pings are answered by aiohttp, as by a browser, after everything read before them."""

    def __init__(self, raw: aiohttp.ClientWebSocketResponse) -> None:
        self.raw = raw

    async def send(self, frame: str) -> None:
        await self.raw.send_str(frame)

    async def receive(self, timeout: float | None = PATIENCE) -> str:
        """The next text frame. Raises SocketClosed, TimeoutError."""
        try:
            async with asyncio.timeout(timeout):
                frame = await self.raw.receive()
        except ConnectionError as error:  # a ping could not be answered any more
            raise SocketClosed(1006, repr(error)) from error
        if frame.type is aiohttp.WSMsgType.TEXT:
            return str(frame.data)
        if frame.type is aiohttp.WSMsgType.ERROR:
            raise SocketClosed(1006, repr(self.raw.exception()))
        if frame.type is aiohttp.WSMsgType.CLOSE:  # whether or not our own goodbye still arrived
            raise SocketClosed(frame.data, frame.extra or "")
        assert frame.type in (aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED), frame
        raise SocketClosed(self.raw.close_code or 1006, str(frame.extra or ""))

    async def closed(self, timeout: float = PATIENCE) -> SocketClosed:
        """Reads on until the server closes."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self.receive(None)
        except SocketClosed as end:
            return end

    async def close(self) -> None:
        await self.raw.close()

    def abort(self) -> None:
        """Vanish without a close frame, as a lost network does."""
        if (connection := self.raw.get_extra_info("socket")) is not None:  # it may be gone already
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class NotificationSocket(TextSocket):
    """The frames of the notification socket."""

    async def opening(self, timeout: float = PATIENCE) -> Opening:
        return Opening.parse(await self.receive(timeout))

    async def notification(self, timeout: float | None = PATIENCE) -> Notification:
        return Notification.parse(await self.receive(timeout))

    async def heartbeat(self) -> None:
        await self.send("1")
