"""What is configured of calls: the servers by which browsers find each other, how long a token is good."""

import asyncio
import base64
import hashlib
import hmac
import json
import time

import pytest

from tests.e2e.shapes import refused
from tests.support.call import CallsApi, CallSocket, FrameKind
from tests.support.call_page import CallPage
from tests.support.calling import assert_healthy, group, pages, pair
from tests.support.cluster import Cluster
from tests.support.register import Register


async def test_no_ice_servers_are_told_where_none_are_configured(register: Register) -> None:
    told = await CallsApi((await register()).api).ice()
    assert told == {"iceServers": [], "ttl": 12 * 3600}


SECRET = "the secret of the two servers"


@pytest.mark.settings(
    ICHAT_ICE_STUN="stun:stun.example:3478",
    ICHAT_ICE_TURN="turn:turn.example:3478?transport=udp,turns:turn.example:5349",
    ICHAT_ICE_TURN_SECRET=SECRET,
    ICHAT_ICE_TURN_LIFETIME="600",
)
@pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
async def test_ice_servers_with_credentials_for_a_while(own_cluster: Cluster, register_own: Register) -> None:
    ann = await register_own()
    told = await CallsApi(ann.api).ice()
    assert told.keys() == {"iceServers", "ttl"}
    assert told["ttl"] == 600
    stun, turn = told["iceServers"]
    assert stun == {"urls": ["stun:stun.example:3478"], "username": "", "credential": ""}
    assert turn["urls"] == ["turn:turn.example:3478?transport=udp", "turns:turn.example:5349"]
    until, _, user_id = turn["username"].partition(":")
    assert int(user_id) == ann.user_id
    assert abs(int(until) - time.time() - 600) < 60
    digest = hmac.new(SECRET.encode(), turn["username"].encode(), hashlib.sha1).digest()
    assert turn["credential"] == base64.b64encode(digest).decode()


@pytest.mark.settings(ICHAT_JWT_CALL_LIFETIME="1")
@pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
async def test_a_call_token_is_good_for_its_time(own_cluster: Cluster, register_own: Register) -> None:
    """It is for opening sockets: one that is open stays."""
    room = await pair(register_own)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people) as (anns, bens):
        claims = json.loads(base64.urlsafe_b64decode(bens.token.split(".")[1] + "=="))
        await asyncio.sleep(max(0.0, claims["exp"] - time.time()) + 0.05)
        late = await CallSocket.open(bens.api, bens.token)
        assert (await late.frame()).kind is FrameKind.UNAUTHORIZED
        await late.closed()
        await anns.signal(bens, "still here")
        await bens.wait_for_signals(1)
        async with CallPage(bens.account, call_id) as again:
            assert await bens.wait_over() is None
            await again.wait_started()
            await again.hang_up()
    await assert_healthy(own_cluster)


@pytest.mark.settings(ICHAT_CALLS_MEMBERS="3")
@pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
async def test_a_call_has_so_many_members_at_most(own_cluster: Cluster, register_own: Register) -> None:
    room = await group(register_own, 4)
    ann, ben, cleo, dan = room.people
    with refused(1003):
        await room.call(ann, ben, cleo, dan)
    await CallsApi(ann.api).hang_up(await room.ready_call(ann, ben, cleo))
    await assert_healthy(own_cluster)
