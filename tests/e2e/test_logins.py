"""One's logins: seeing them, ending them, and how often one may try."""

from datetime import timedelta

import aiohttp
from multidict import CIMultiDict

from tests.e2e.shapes import is_bool, is_id, is_text, is_time, moment, refused
from tests.support.account import PASSWORD, Account
from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.register import Register

LOGIN = {
    "loginId": is_id,
    "device": is_text,
    "address": is_text,
    "createdAt": is_time,
    "lastUsedAt": is_time,
    "expiresAt": is_time,
    "current": is_bool,
}


async def _ended(account: Account) -> None:
    with refused(1005):
        await account.api.contacts()


async def test_ones_logins_are_listed_with_device_and_last_use(register: Register, http: aiohttp.ClientSession) -> None:
    ann = await register()
    body = {"username": ann.username, "password": PASSWORD}
    phone = await Api(http, ann.api.base).answer("POST", "/login", json=body, headers={"User-Agent": "Phone/1 " * 60})
    await ann.api.with_token(phone.data["token"]).contacts()
    here, there = await ann.api.call("GET", "/logins")
    assert [login.keys() for login in (here, there)] == [LOGIN.keys()] * 2
    assert all(check(login[name]) for login in (here, there) for name, check in LOGIN.items())
    assert (here["current"], there["current"]) == (True, False)
    assert there["device"] == ("Phone/1 " * 60)[:255]
    assert here["address"] == "127.0.0.1"
    assert moment(here["lastUsedAt"]) >= moment(there["lastUsedAt"]) >= moment(there["createdAt"])
    lifetime = moment(here["expiresAt"]) - moment(here["createdAt"])
    assert abs(lifetime - timedelta(hours=24)) < timedelta(seconds=2)


async def test_a_login_that_is_ended_is_over_everywhere_and_its_sockets_close(
    register: Register, cluster: Cluster
) -> None:
    ann = await register()
    phone = await ann.log_in(cluster.bases[-1])
    mine, theirs = await ann.api.connect(), await phone.api.connect()
    await mine.opening()
    await theirs.opening()
    (ended,) = [login["loginId"] for login in await ann.api.call("GET", "/logins") if not login["current"]]
    await ann.api.call("POST", "/logins/end", params={"loginId": ended})
    assert (await theirs.closed()).code == 4002
    for base in cluster.bases:
        await _ended(phone.at(base))
    for gone in (ended, 2**62, 0):
        with refused(404):
            await ann.api.call("POST", "/logins/end", params={"loginId": gone})
    await ann.api.contacts()
    await mine.heartbeat()
    refusal = await phone.api.connect()
    assert (await refusal.closed()).code == 4002
    await mine.close()


async def test_a_login_of_somebody_else_can_not_be_ended(register: Register) -> None:
    ann, eve = await register(), await register()
    (login,) = await ann.api.call("GET", "/logins")
    with refused(404):
        await eve.api.call("POST", "/logins/end", params={"loginId": login["loginId"]})
    await ann.api.contacts()


async def test_all_other_logins_end_at_once(register: Register, cluster: Cluster) -> None:
    ann = await register()
    others = [await ann.log_in(base) for base in cluster.bases * 2]
    sockets = [await other.api.connect() for other in others]
    for socket in sockets:
        await socket.opening()
    await ann.api.call("POST", "/logins/endOthers")
    for other, socket in zip(others, sockets, strict=True):
        assert (await socket.closed()).code == 4002
        await _ended(other)
    assert [login["current"] for login in await ann.api.call("GET", "/logins")] == [True]


async def test_logging_out_ends_this_login_only(register: Register) -> None:
    ann = await register()
    other = await ann.log_in()
    await other.api.call("POST", "/logout")
    await _ended(other)
    await ann.api.contacts()


async def test_too_many_tries_are_refused_by_all_servers_together(
    hasty: Cluster, register_hasty: Register, http: aiohttp.ClientSession
) -> None:
    ann = await register_hasty()
    apis = [Api(http, base) for base in hasty.bases * 4][:4]
    codes = []
    for api, password in zip(apis, ("wrong 1", "wrong 2", PASSWORD, PASSWORD), strict=True):
        answer = await api.answer("POST", "/login", json={"username": ann.username, "password": password})
        codes.append(answer.code)
    assert codes == [1004, 1004, 200, 429]
    assert answer.http_status == 429
    assert 0 < int(CIMultiDict(answer.headers)["Retry-After"]) <= 10_000
    await ann.api.contacts()  # who is logged in stays so
    uploads = [await api.answer("POST", "/file/upload", data={"other": "x"}) for api in apis[:3]]
    assert [answer.code for answer in uploads] == [300, 300, 429]
