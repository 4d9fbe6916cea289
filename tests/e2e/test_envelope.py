"""Every failure has the contract's shape, whatever was wrong."""

import json
import re
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from tests.support.api import Api, read_envelope
from tests.support.cluster import Cluster
from tests.support.raw_http import END, RawAnswer, RawHttp, ask
from tests.support.register import Register

API, PAGE = "/api/contact", "/"
POST = b"POST /api/login HTTP/1.1\r\nHost: x\r\n"
GET = b"GET /api/contact HTTP/1.1\r\nHost: x\r\n"


async def test_an_unknown_path_and_a_wrong_method(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    api = Api(http, cluster.bases[0])
    for path in ("/nothing", "/chat", "/chat/send/more"):
        answer = await api.answer("GET", path)
        assert (answer.http_status, answer.code) == (404, 404)
    answer = await api.answer("GET", "/login")
    assert (answer.http_status, answer.code) == (405, 405)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"username": 1}', b"[" * 100_000, b'{"username":"' + b"x"],
    ids=repr,
)
async def test_a_body_that_is_no_fitting_json(cluster: Cluster, http: aiohttp.ClientSession, body: bytes) -> None:
    answer = await Api(http, cluster.bases[0]).answer(
        "POST", "/login", data=body, headers={"Content-Type": "application/json"}
    )
    assert answer.code in (300, 1003)
    assert 400 <= answer.http_status < 500


async def test_a_body_over_the_limit(register: Register) -> None:
    ann = await register()
    body = BytesIO(b'{"contactId": 1, "text": "' + b"x" * 2_000_000 + b'"}')
    answer = await ann.api.answer("POST", "/chat/send", data=body, headers={"Content-Type": "application/json"})
    assert (answer.http_status, answer.code) == (413, 413)


@pytest.mark.parametrize("value", ["abc", "", "1.5", "-1", str(2**63), "9" * 400, "1 or 1=1", "\x00"], ids=repr)
async def test_an_id_that_is_none(register: Register, value: str) -> None:
    ann = await register()
    for path, parameter in (("/contact/members", "contactId"), ("/chat/messages", "contactId")):
        answer = await ann.api.answer("GET", path, params={parameter: value})
        assert answer.code in (300, 1003, 2005), answer
        assert 400 <= answer.http_status < 500


@pytest.mark.parametrize("value", ["1", 1.5, True, None, -1, 2**63, 10**400, [], {}], ids=str)
async def test_an_id_of_another_type(register: Register, value: Any) -> None:
    ann = await register()
    answer = await ann.api.answer("POST", "/chat/send", json={"contactId": value, "localId": "", "text": "x"})
    assert answer.code in (300, 1003, 2005), answer
    assert 400 <= answer.http_status < 500


async def test_messages_are_chinese_unless_english_is_preferred(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    api = Api(http, cluster.bases[0])

    async def message(language: str | None) -> str:
        headers = {"Accept-Language": language} if language else {}
        return (await api.answer("GET", "/contact", headers=headers)).message

    chinese = await message(None)
    assert re.search(r"[\u4e00-\u9fff]", chinese)
    assert await message("zh-CN,zh;q=0.9,en;q=0.8") == chinese
    english = await message("en-GB,en;q=0.9,zh;q=0.5")
    assert english.isascii()
    assert await message("fr") == chinese


def _failure(answer: RawAnswer) -> tuple[int, int]:
    """HTTP status and code of an answer that must be the contract's failure, with the request's id."""
    envelope = read_envelope(answer.status, answer.headers["Content-Type"], json.loads(answer.body))
    assert not envelope.ok
    assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-Id"])
    return answer.status, envelope.code


@pytest.mark.parametrize("path", [API, PAGE])
@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"G@T %b HTTP/1.1\r\nHost: x", 400),
        (b"FETCH %b HTTP/1.1\r\nHost: x", 400),
        (b"get %b HTTP/1.1\r\nHost: x", 400),
        (b"GET %b HTTP/9.9\r\nHost: x", 400),
        (b"GET %b HTTP/2.0\r\nHost: x", 505),
        (b"GET %b", 505),
        (b"GET %b HTTP/1.1", 400),
        (b"GET %b\xff HTTP/1.1\r\nHost: x", 400),
        (b"GET %b HTTP/1.1\r\nHost: x\r\nno colon", 400),
        (b"GET %b HTTP/1.1\r\nHost: x\r\na b: c", 400),
        (b"GET %b HTTP/1.1\r\nHost: x\r\nX: \0", 400),
        (b"GET %b HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000, 431),
        (b"GET %b?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x", 431),
        (b"GET %b HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 500 + b"X: 1", 400),
        (b"GET %b HTTP/1.1\r\nHost: x\r\nExpect: wonders", 417),
        (b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: -1", 400),
        (b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        (b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        (b"POST %b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip", 400),
        (b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nContent-Length: 1", 400),
    ],
    ids=lambda value: value[:60].decode(errors="replace") if isinstance(value, bytes) else str(value),
)
async def test_what_is_no_http_request(cluster: Cluster, head: bytes, status: int, path: str) -> None:
    async with RawHttp(cluster.servers[0].port) as raw:
        await raw.send(head.replace(b"%b", path.encode(), 1) + END)
        assert _failure(await raw.answer()) == (status, 300)
        assert status == 417 or await raw.ended()


@pytest.mark.parametrize(
    "greeting", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-OpenSSH\r\n", b"\r\n\0\r\n"]
)
async def test_another_protocol(cluster: Cluster, greeting: bytes) -> None:
    answer = await ask(cluster.servers[0].port, greeting + END)
    assert _failure(answer) == (400, 300)


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n",
        POST + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        POST + b'Content-Encoding: deflate\r\nContent-Length: 9\r\n\r\n{"a": 12}',
        b"POST /api/file/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n3\r\n--bXX\r\n",
        b"POST /api/file/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\nContent-Length: 1\r\n\r\n-",
        b"POST /api/file/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        b"Content-Length: 20\r\n\r\n--b\r\nContent-: x\r\n\r\n\0",
    ],
    ids=lambda value: value[-60:].decode(errors="replace"),
)
async def test_a_body_that_breaks_http(cluster: Cluster, request_bytes: bytes) -> None:
    answer = await ask(cluster.servers[0].port, request_bytes)
    assert _failure(answer) == (400, 300)


async def test_a_chunk_that_is_none_after_the_request_was_taken_in(cluster: Cluster) -> None:
    """The parser finds it while the handler waits for more."""
    async with RawHttp(cluster.servers[0].port) as raw:
        await raw.send(POST + b"Transfer-Encoding: chunked\r\nExpect: 100-continue" + END)
        assert (await raw.answer()).status == 100
        await raw.send(b"2\r\n{}\r\nno number\r\n")
        assert _failure(await raw.answer()) == (400, 300)
        assert await raw.ended()


async def test_garbage_behind_a_request(cluster: Cluster) -> None:
    async with RawHttp(cluster.servers[0].port) as raw:
        await raw.send(GET + b"\r\n")
        assert _failure(await raw.answer()) == (401, 401)
        await raw.send(b"GARBAGE" + END)
        assert _failure(await raw.answer()) == (400, 300)
        assert await raw.ended()


async def test_header_values_that_are_no_text(cluster: Cluster) -> None:
    """Where they mean nothing to the request, they do it no harm."""
    odd = b"Authorization: \xff\xfe\r\nAccept-Language: \xff\r\nUser-Agent: \xed\xa0\x80\xff\r\nConnection: close"
    answer = await ask(cluster.servers[0].port, GET + odd + END)
    assert _failure(answer) == (401, 401)
    body = json.dumps({"username": f"odd{id(answer)}", "password": "secret1", "nickname": "Odd"}).encode()
    register = b"POST /api/register HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    answer = await ask(cluster.servers[0].port, register + odd + END + body)
    assert answer.status == 200, answer


@pytest.mark.parametrize("token", ["W1tb" * 2000 + ".e30.e30", "a.b.c", "..", "%FF%ED%A0%80", "e30.e30.", "\u2028"])
async def test_a_token_that_is_none(cluster: Cluster, http: aiohttp.ClientSession, token: str) -> None:
    answer = await Api(http, cluster.bases[0]).answer("GET", "/contact", params={"token": token})
    assert (answer.http_status, answer.code) == (401, 401)


async def test_expecting_to_be_told_to_go_on(cluster: Cluster) -> None:
    async with RawHttp(cluster.servers[0].port) as raw:
        await raw.send(POST + b"Content-Length: 2\r\nExpect: 100-continue" + END)
        assert (await raw.answer()).status == 100
        await raw.send(b"{}")
        assert _failure(await raw.answer()) == (401, 1004)


async def test_a_head_is_the_head_of_a_get_for_pages_and_files(register: Register, http: aiohttp.ClientSession) -> None:
    ann = await register()
    url = await ann.api.upload(b"some text", "a.txt", "text/plain")
    for path in ("/", "/api/docs", "/api/docs/sockets", "/api/openapi.json", f"/api/{url}", "/healthz"):
        async with http.get(ann.api.base + path) as got, http.head(ann.api.base + path) as head:
            assert (head.status, await head.read()) == (200, b"")
            for name in ("Content-Type", "Content-Length", "Cache-Control", "ETag"):
                assert head.headers.get(name) == got.headers.get(name), (path, name)


@pytest.mark.parametrize(
    ("method", "path", "status", "allowed"),
    [
        ("HEAD", "/contact", 405, {"GET"}),
        ("HEAD", "/nothing", 404, set()),
        ("HEAD", "/file/nothing", 404, set()),
        ("OPTIONS", "/login", 405, {"POST"}),
        ("OPTIONS", "/user/settings", 405, {"GET", "POST"}),
        ("DELETE", "/contact", 405, {"GET"}),
        ("POST", "/nothing", 404, set()),
        ("POST", "/ws/notification", 405, {"GET"}),
        ("HEAD", "/ws/call", 405, {"GET"}),
    ],
)
async def test_a_method_that_is_none(
    cluster: Cluster, http: aiohttp.ClientSession, method: str, path: str, status: int, allowed: set[str]
) -> None:
    async with http.request(method, f"{cluster.bases[0]}/api{path}") as got:
        assert got.status == status
        assert got.content_type == "application/json"
        assert set(filter(None, got.headers.get("Allow", "").split(","))) == allowed
        assert got.headers["X-Request-Id"]
        if method != "HEAD":
            assert read_envelope(got.status, got.content_type, await got.json()).code == status


@pytest.mark.parametrize("socket", ["/ws/notification", "/ws/call"])
@pytest.mark.parametrize(
    "handshake",
    [
        b"",
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 5\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: \xff\r\n",
    ],
)
async def test_a_socket_that_is_asked_for_otherwise(cluster: Cluster, socket: str, handshake: bytes) -> None:
    request = f"GET /api{socket} HTTP/1.1\r\nHost: x\r\n".encode() + handshake + b"\r\n"
    answer = await ask(cluster.servers[0].port, request)
    assert _failure(answer) == (426, 300)
    assert (answer.headers["Upgrade"], answer.headers["Sec-WebSocket-Version"]) == ("websocket", "13")
