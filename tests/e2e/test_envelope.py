"""Every failure has the contract's shape, whatever was wrong."""

import re
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.register import Register


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
