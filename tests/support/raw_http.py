"""HTTP bytes made by hand, for what no client library would send."""

import asyncio
from dataclasses import dataclass
from typing import Self

from multidict import CIMultiDict

from tests.support.notification import PATIENCE

END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    status: int
    headers: CIMultiDict[str]
    body: bytes


class RawHttp:
    """One connection. Use as an async context manager."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    async def answer(self) -> RawAnswer:
        """The next answer, an interim one too; it must tell its length. Raises IncompleteReadError at the end."""
        async with asyncio.timeout(PATIENCE):
            head = (await self._reader.readuntil(END)).decode("latin-1").removesuffix("\r\n\r\n")
            status_line, *lines = head.split("\r\n")
            headers = CIMultiDict((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
            body = await self._reader.readexactly(int(headers.get("Content-Length", "0")))
        return RawAnswer(int(status_line.split(" ")[1]), headers, body)

    async def ended(self) -> bool:
        """Whether the server closes the connection, without a word more."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read(1) == b""


async def ask(port: int, data: bytes) -> RawAnswer:
    """The answer to what a new connection brings."""
    async with RawHttp(port) as raw:
        await raw.send(data)
        return await raw.answer()
