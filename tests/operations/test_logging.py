"""What the server writes of a whole story: the ids that tie it together, and nothing that is secret."""

import asyncio
import json
from typing import Any

import aiohttp
from multidict import CIMultiDict

from tests.operations.conftest import StartServer
from tests.support.account import PASSWORD, Account
from tests.support.api import Api, png
from tests.support.notification import PATIENCE
from tests.support.raw_http import END, ask
from tests.support.server import ServerProcess

SECRET = "a-secret-that-signs-all-tokens-of-this-test"
WRONG = "wrong-horse-battery"
NOT_READY = 3009
TEXT = "what ann says to ben is nobody's business"


def _records(server: ServerProcess) -> list[dict[str, Any]]:
    """The lines of the log; those before the first are what the server prints at its start."""
    return [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]


async def _join(api: Api, call_id: int) -> str:
    """The call token, once the call is ready."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await api.answer("POST", "/call/join", params={"callId": call_id})).code == NOT_READY:
            await asyncio.sleep(0.02)
    assert answer.ok, answer
    return str(answer.data)


async def test_a_story_at_the_most_talkative_level(start_server: StartServer, http: aiohttp.ClientSession) -> None:
    server = start_server(
        ICHAT_LOG_LEVEL="debug", ICHAT_LOG_FORMAT="json", ICHAT_JWT_SECRET=SECRET, ICHAT_MONITORING_TOKEN=SECRET[::-1]
    )
    ann, ben = await Account.register(http, server.base), await Account.register(http, server.base)
    contact = await ann.befriend(ben)
    nobody = Api(http, server.base)
    tokens = {ann.api.token, ben.api.token}

    await nobody.answer("POST", "/login", json={"username": ann.username, "password": WRONG})
    tokens.add((await ann.log_in()).api.token)
    await nobody.answer("POST", "/register", json={"username": ann.username, "password": PASSWORD, "nickname": "a"})
    for token in (ann.api.token, "eyJ" + ann.api.token[::-1]):
        await nobody.answer("GET", "/nothing", params={"token": token})
        await nobody.answer("GET", "/contact", params={"token": token})
        await nobody.answer("GET", "/contact", headers={"Authorization": f"Bearer {token}"})
        tokens.add(token)
    await ann.api.answer("POST", "/user/settings", data=b'{"password": "' + PASSWORD.encode())
    await ask(server.port, f"G@T /api/contact?token={ann.api.token} HTTP/1.1\r\nHost: x".encode() + END)
    await ask(server.port, f"GET /api/contact HTTP/1.1\r\nHost: x\r\nAuthorization {ann.api.token}".encode() + END)
    url = await ann.api.upload(png())
    await ann.api.send(contact, image=url)
    async with ben.frontend() as device:
        await ann.api.send(contact, TEXT)
        await device.wait_for_texts({TEXT})
        session_id = device.session_id
        call_id = await ann.api.call("POST", "/call", json={"contactId": contact, "userIds": [ben.user_id]})
        call_token = await _join(ann.api, call_id)
        tokens.add(call_token)
        async with http.ws_connect(ann.api.url("/ws/call")) as socket:
            await socket.send_str(call_token)
            await socket.receive_str(timeout=PATIENCE)
        refused = await ben.api.answer("POST", "/chat/send", json={"contactId": 1 << 40, "text": TEXT})
        assert not refused.ok
    async with http.get(f"{server.base}/metrics", headers={"Authorization": f"Bearer {SECRET[::-1]}"}) as got:
        assert got.status == 200
    assert await server.terminate() == 0

    log = server.log()
    for secret in (*tokens, PASSWORD, WRONG, SECRET, SECRET[::-1], TEXT, "$2b$"):
        assert secret not in log
        assert secret.rpartition(".")[2] not in log, "a token's signature"
    records = _records(server)
    assert all(record.keys() >= {"time", "level", "logger", "message"} for record in records)
    access = {record["request_id"]: record for record in records if record["logger"] == "server.access"}
    line = access[CIMultiDict(refused.headers)["X-Request-Id"]]
    assert line["message"] == f"POST /api/chat/send {refused.code}"
    assert (line["route"], line["code"], line["user_id"]) == ("POST /chat/send", refused.code, ben.user_id)
    assert line["http_status"] == refused.http_status
    assert line["level"] == "INFO"
    assert line["ms"] > 0
    sockets = [record for record in access.values() if record["http_status"] == 101]
    ids = [(record["user_id"], record.get("session_id"), record.get("call_id")) for record in sockets]
    assert sorted(ids, key=str) == sorted([(ben.user_id, session_id, None), (ann.user_id, None, call_id)], key=str)
    sends = [record for record in access.values() if record["route"] == "POST /chat/send" and record["code"] == 200]
    assert [(record["user_id"], record["level"]) for record in sends] == [(ann.user_id, "DEBUG")] * 2
    server.check_log()
