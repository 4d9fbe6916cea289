"""Registering users at a cluster under test."""

from collections.abc import Awaitable
from typing import Protocol

import aiohttp

from tests.support.account import Account
from tests.support.cluster import Cluster


class Register(Protocol):
    """Registers a user at one of the cluster's servers (counted around, where there are fewer)."""

    def __call__(self, username: str = "", *, server: int = 0, nickname: str = "") -> Awaitable[Account]: ...


def register_with(cluster: Cluster, http: aiohttp.ClientSession) -> Register:
    async def register(username: str = "", *, server: int = 0, nickname: str = "") -> Account:
        base = cluster.bases[server % len(cluster.bases)]
        return await Account.register(http, base, username, nickname=nickname or "Somebody")

    return register
