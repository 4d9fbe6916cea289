"""Files: ranges, conditions, and failures in the contract's shape."""

import os
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from server.api.served import ServedFile
from server.runtime.metrics import Metrics
from tests.api.conftest import Serve
from tests.support.api import read_envelope

CONTENT = bytes(range(200))
MODIFIED = 1_700_000_000
BEFORE, AFTER = "Tue, 14 Nov 2023 00:00:00 GMT", "Thu, 16 Nov 2023 00:00:00 GMT"


@pytest.fixture
async def base(serve: Serve, tmp_path: Path) -> str:
    file = tmp_path / "file"
    file.write_bytes(CONTENT)
    os.utime(file, (MODIFIED, MODIFIED))
    headers = {"Cache-Control": "immutable", "Content-Type": "image/png", "Content-Disposition": "attachment"}

    async def fetch(request: web.Request) -> web.StreamResponse:
        return ServedFile(tmp_path / request.match_info["name"], headers)

    app = web.Application()
    app.router.add_get("/{name}", fetch)
    return await serve(app)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ({}, 200, CONTENT),
        ({"Range": "bytes=0-0"}, 206, CONTENT[:1]),
        ({"Range": "bytes=190-"}, 206, CONTENT[190:]),
        ({"Range": "bytes=-5"}, 206, CONTENT[-5:]),
        ({"Range": "bytes=100-1000"}, 206, CONTENT[100:]),
        ({"Range": "lines=1-2"}, 200, CONTENT),
        ({"Range": "bytes=9-3"}, 200, CONTENT),
        ({"Range": "bytes=a-b"}, 200, CONTENT),
        ({"Range": "bytes=-"}, 200, CONTENT),
        ({"Range": "bytes=-0"}, 200, CONTENT),
        ({"Range": "bytes=0-0,2-3"}, 200, CONTENT),
        ({"Range": "bytes=5-9", "If-Range": BEFORE}, 200, CONTENT),
        ({"Range": "bytes=5-9", "If-Range": AFTER}, 206, CONTENT[5:10]),
        ({"If-Modified-Since": AFTER}, 304, b""),
        ({"If-Modified-Since": BEFORE}, 200, CONTENT),
        ({"If-Modified-Since": "yesterday"}, 200, CONTENT),
        ({"If-None-Match": "*"}, 304, b""),
        ({"If-None-Match": '"other"'}, 200, CONTENT),
        ({"If-Match": "*"}, 200, CONTENT),
        ({"If-Unmodified-Since": AFTER}, 200, CONTENT),
    ],
)
async def test_a_file_or_a_part_of_it(
    base: str, http: aiohttp.ClientSession, method: str, asked: dict[str, str], status: int, body: bytes
) -> None:
    async with http.request(method, f"{base}/file", headers=asked) as got:
        assert (got.status, await got.read()) == (status, body if method == "GET" else b"")
        assert got.headers["Cache-Control"] == "immutable"
        assert got.headers["ETag"]
        if status != 304:
            assert int(got.headers["Content-Length"]) == len(body)
        if status == 206:
            start = CONTENT.index(body)
            assert got.headers["Content-Range"] == f"bytes {start}-{start + len(body) - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "asked", "status", "code"),
    [
        ("/file", {"Range": "bytes=200-"}, 416, 300),
        ("/file", {"If-Match": '"other"'}, 412, 300),
        ("/file", {"If-Unmodified-Since": BEFORE}, 412, 300),
        ("/gone", {}, 404, 404),
    ],
)
async def test_a_failure_is_told_as_one(
    base: str,
    http: aiohttp.ClientSession,
    metrics: Metrics,
    method: str,
    path: str,
    asked: dict[str, str],
    status: int,
    code: int,
) -> None:
    async with http.request(method, base + path, headers=asked) as got:
        assert got.status == status
        assert got.content_type == "application/json"
        assert not got.headers.keys() & {"Cache-Control", "ETag", "Last-Modified", "Content-Disposition"}
        assert got.headers["X-Request-Id"]
        assert got.headers.get("Content-Range") == ("bytes */200" if status == 416 else None)
        if method == "HEAD":
            assert await got.read() == b""
        else:
            assert read_envelope(status, got.content_type, await got.json()).code == code
    counted = {"route": f"{method} /{{name}}", "code": str(code)}
    assert metrics.registry.get_sample_value("ichat_requests_total", counted) == 1
    async with http.get(f"{base}/file") as got:  # the connection is still good
        assert await got.read() == CONTENT
