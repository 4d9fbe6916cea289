"""Clients that begin something and don't go on: no connection waits for ever, and who is only slow is served."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from server.config.settings import Http
from tests.api.conftest import Serve
from tests.support.raw_http import RawAnswer, RawHttp

IMPATIENT = Http(idle=0.5, silence=0.5, drain=1.0)
PARTS = 5
HEAD = b"POST /it HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % PARTS


async def _length(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


async def _length_of_upload(request: web.Request) -> web.Response:
    size = 0
    async for part in await request.multipart():
        size += len(await part.read())  # type: ignore[union-attr]
    return web.Response(text=str(size))


@pytest.fixture
async def port(serve: Serve) -> int:
    app = web.Application()
    app.router.add_post("/it", _length)
    app.router.add_post("/upload", _length_of_upload)
    return urlsplit(await serve(app, IMPATIENT)).port or 0


def _assert_refused(answer: RawAnswer) -> None:
    assert answer.status == 400
    assert json.loads(answer.body)["code"] == 300


@pytest.mark.parametrize("sent", [b"", b"PO", b"POST /it HTTP/1.1\r\nHost: x\r\nX-Slow: a"])
async def test_a_connection_without_a_whole_request_is_closed(port: int, sent: bytes) -> None:
    async with RawHttp(port) as raw:
        await raw.send(sent)
        assert await raw.ended()


async def test_headers_that_trickle_in_have_no_more_time(port: int) -> None:
    async with RawHttp(port) as raw:
        await raw.send(b"POST /it HTTP/1.1\r\n")
        ended = asyncio.create_task(raw.ended())
        while not ended.done():
            try:
                await raw.send(b"X-Slow: a\r\n")
            except ConnectionError:
                break
            await asyncio.wait({ended}, timeout=0.05)
        assert await ended


@pytest.mark.parametrize(
    "begun",
    [
        HEAD,
        HEAD + b"12",
        b"POST /it HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12",
        b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
        b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\n12",
    ],
    ids=["nothing", "a part", "a part of a chunk", "a part of an upload"],
)
async def test_a_body_that_does_not_go_on_is_refused(port: int, begun: bytes) -> None:
    async with RawHttp(port) as raw:
        await raw.send(begun)
        _assert_refused(await raw.answer())
        assert await raw.ended()


async def test_a_body_that_goes_on_is_waited_for(port: int) -> None:
    """It takes longer in all than a client may be silent."""
    async with RawHttp(port) as raw:
        await raw.send(HEAD)
        for _ in range(PARTS):
            await asyncio.sleep(IMPATIENT.silence / 3)  # what is tested is the time that passes
            await raw.send(b"x")
        answer = await raw.answer()
        assert (answer.status, answer.body) == (200, b"5")


async def test_a_connection_serves_one_request_after_the_other(port: int) -> None:
    async with RawHttp(port) as raw:
        for _ in range(PARTS):
            await asyncio.sleep(IMPATIENT.idle / 3)
            await raw.send(HEAD + b"x" * PARTS)
            assert (await raw.answer()).status == 200
        assert await raw.ended()
