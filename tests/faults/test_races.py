"""Two people, or one with two hands, do the same thing at the same moment, on two servers where there are two."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any

import aiohttp

from tests.support.account import PASSWORD
from tests.support.api import Api, Refused
from tests.support.cluster import Cluster
from tests.support.register import Register

TRIES = 8


async def outcomes(*calls: Awaitable[Any]) -> list[int]:
    """The code of each call, all made at once: 200 or that of its refusal, smallest first."""

    async def code(call: Awaitable[Any]) -> int:
        try:
            await call
        except Refused as refused:
            return refused.code
        return 200

    return sorted(await asyncio.gather(*map(code, calls)))


async def test_two_accept_the_same_request_at_once(register: Register, cluster: Cluster) -> None:
    for _ in range(TRIES):
        ann, ben = await register(), await register(server=1)
        request = await ann.api.ask(ben.user_id)
        hands = [ben.api.at(base) for base in (cluster.bases[0], cluster.bases[-1])]
        assert await outcomes(*(hand.accept(request["id"]) for hand in hands * 2)) == [200, 2004, 2004, 2004]
        assert len(await ann.api.contacts()) == len(await ben.api.contacts()) == 1


async def test_accept_against_reject(register: Register, cluster: Cluster) -> None:
    for _ in range(TRIES):
        ann, ben = await register(), await register(server=1)
        request = await ann.api.ask(ben.user_id)
        other = ben.api.at(cluster.bases[0])
        assert await outcomes(ben.api.accept(request["id"]), other.reject(request["id"])) == [200, 2004]
        assert len(await ann.api.contacts()) == len(await ben.api.contacts())


async def test_both_ask_each_other_at_once(register: Register) -> None:
    for _ in range(TRIES):
        ann, ben = await register(), await register(server=1)
        assert await outcomes(ann.api.ask(ben.user_id), ben.api.ask(ann.user_id)) == [200, 2002]
        (request,) = await ann.api.pending() + await ben.api.pending()
        asked = ann if request["userId"] == ann.user_id else ben
        await asked.api.accept(request["id"])
        assert [len(await person.api.contacts()) for person in (ann, ben)] == [1, 1]


async def test_one_asks_twice_at_once(register: Register, cluster: Cluster) -> None:
    for _ in range(TRIES):
        ann, ben = await register(), await register(server=1)
        other = ann.api.at(cluster.bases[-1])
        assert await outcomes(ann.api.ask(ben.user_id), other.ask(ben.user_id)) == [200, 2002]
        assert len(await ben.api.pending()) == 1


async def test_two_register_one_name_at_once(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    for number in range(TRIES):
        name = f"twin{number}-{datetime.now(UTC):%H%M%S%f}"
        apis = [Api(http, base) for base in (cluster.bases[0], cluster.bases[-1])]
        names = (name, name.upper())
        calls = [api.register(name, PASSWORD, "Twin") for api, name in zip(apis, names, strict=True)]
        assert await outcomes(*calls) == [200, 1002]


async def test_one_send_made_twice_at_once_is_one_message(register: Register, cluster: Cluster) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    async with ben.frontend() as device:
        for number in range(TRIES):
            hands = [ann.api.at(base) for base in (cluster.bases[0], cluster.bases[-1])] * 2
            calls = (hand.send(contact_id, f"text {number}", local_id=f"local {number}") for hand in hands)
            assert len({message["messageId"] for message in await asyncio.gather(*calls)}) == 1
        await device.wait_for_texts({f"text {number}" for number in range(TRIES)})
        assert device.came == list(range(1, TRIES + 1))


async def test_revoke_against_delay_upload(register: Register, cluster: Cluster) -> None:
    """The image may come before the revocation or not at all; a revoked message has none."""
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    other = ann.api.at(cluster.bases[-1])
    async with ben.frontend() as device:
        for _ in range(TRIES):
            message_id = (await ann.api.send(contact_id, thumbnail="file/t"))["messageId"]
            codes = await outcomes(ann.api.revoke(message_id), other.fill_image(message_id, "file/i"))
            assert codes in ([200, 200], [200, 403])
            (message,) = await ann.api.history(contact_id, limit=1)
            assert (message["revoked"], message["image"], message["thumbnail"]) == (True, "", "")
            assert (await device.wait_until_revoked(message_id))["image"] == ""


async def test_two_fill_in_one_image_at_once(register: Register, cluster: Cluster) -> None:
    ann, ben = await register(), await register(server=1)
    contact_id = await ann.befriend(ben)
    other = ann.api.at(cluster.bases[-1])
    for _ in range(TRIES):
        message_id = (await ann.api.send(contact_id, thumbnail="file/t"))["messageId"]
        calls = ann.api.fill_image(message_id, "file/1"), other.fill_image(message_id, "file/2")
        assert await outcomes(*calls) == [200, 403]


async def test_many_send_to_one_who_syncs_all_the_while(register: Register) -> None:
    """A client that polls for what is above the last id it saw never misses one."""
    ben = await register()
    senders = [await register(server=number) for number in range(10)]
    contact_ids = [await sender.befriend(ben) for sender in senders]
    total = 10 * len(senders)
    seen: list[int] = []

    async def send(index: int) -> None:
        for number in range(10):
            await senders[index].api.send(contact_ids[index], f"{index}.{number}")

    async def sync() -> None:
        while len(seen) < total:
            page = await ben.api.sync(seen[-1] if seen else 0)
            news = [message["deliveryId"] for message in reversed(page)]
            upper = news[0] if news else 0
            while len(page) == 50 and upper > (seen[-1] if seen else 0) + 1:
                page = await ben.api.sync(seen[-1] if seen else 0, last=upper)
                news[:0] = [message["deliveryId"] for message in reversed(page)]
                upper = news[0]
            seen.extend(news)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(sync())
        for index in range(len(senders)):
            group.create_task(send(index))
    assert seen == list(range(1, total + 1))
