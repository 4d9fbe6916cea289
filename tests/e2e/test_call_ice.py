"""The servers by which browsers find each other, and their credentials."""

import base64
import hashlib
import hmac
import time

import pytest

from tests.support.call import CallsApi
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
