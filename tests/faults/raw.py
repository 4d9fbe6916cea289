"""A client that speaks the WebSocket protocol by hand, so that it can break it."""

import asyncio
import socket
from typing import Self

from tests.support.frames import Opcode, client_frame, handshake, parse_server_frame
from tests.support.notification import PATIENCE


class RawSocket:
    """One connection after the WebSocket handshake. It reads only when it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._received = bytearray()

    @classmethod
    async def open(cls, port: int, path: str = "/api/ws/notification", *, receive_buffer: int = 0) -> Self:
        """`receive_buffer`: bytes that the system takes in for this client before it reads; 0: as usual."""
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=receive_buffer or 65_536)
        writer.write(handshake(path))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101"), head
        return cls(reader, writer)

    async def log_in(self, token: str, session_id: str = "") -> str:
        """Send the two first frames: the session's id."""
        await self.send(client_frame(Opcode.TEXT, token.encode()) + client_frame(Opcode.TEXT, session_id.encode()))
        opcode, payload = await self.read()
        assert opcode == Opcode.TEXT, (opcode, payload)
        return payload.decode().removeprefix("session:").split("\n")[0]

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError where the server has hung up."""
        self._writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    async def read(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. Raises ConnectionError, IncompleteReadError at the end."""
        async with asyncio.timeout(PATIENCE):
            while (frame := parse_server_frame(self._received)) is None:
                data = await self._reader.read(65_536)
                if not data:
                    raise asyncio.IncompleteReadError(bytes(self._received), None)
                self._received += data
        opcode, payload, size = frame
        del self._received[:size]
        return opcode, payload

    async def read_to_end(self) -> int | None:
        """Reads until the server has hung up: the code of its close frame, None where it sent none."""
        code = None
        try:
            while True:
                opcode, payload = await self.read()
                if opcode == Opcode.CLOSE:
                    code = int.from_bytes(payload[:2])
        except (ConnectionError, asyncio.IncompleteReadError):
            return code
        finally:
            self.close()

    def close(self) -> None:
        self._writer.transport.abort()
