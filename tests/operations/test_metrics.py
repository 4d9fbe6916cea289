"""`/metrics`: what happened is counted and timed."""

import asyncio
import time
from collections.abc import Callable, Sequence

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.support.cluster import Cluster
from tests.support.notification import PATIENCE
from tests.support.register import Register


class Readings:
    """The sum of the samples of some servers."""

    def __init__(self, pages: Sequence[str]) -> None:
        self._samples = [
            sample for page in pages for family in text_string_to_metric_families(page) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """Of all samples of the name that have these labels (and maybe others)."""
        return sum(
            sample.value for sample in self._samples if sample.name == name and labels.items() <= sample.labels.items()
        )


async def read(http: aiohttp.ClientSession, cluster: Cluster) -> Readings:
    async def page(base: str) -> str:
        async with http.get(f"{base}/metrics") as got:
            assert got.content_type == "text/plain"
            return await got.text()

    return Readings(await asyncio.gather(*map(page, cluster.bases)))


async def wait_for(http: aiohttp.ClientSession, cluster: Cluster, done: Callable[[Readings], bool]) -> Readings:
    deadline = time.monotonic() + PATIENCE
    while not done(readings := await read(http, cluster)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return readings


async def test_a_message_is_counted_and_timed_on_its_way(
    cluster: Cluster, http: aiohttp.ClientSession, register: Register
) -> None:
    ann, ben = await register(), await register(server=1)
    contact = await ann.befriend(ben)
    before = await read(http, cluster)
    async with ann.frontend(), ben.frontend() as device:
        await asyncio.gather(*(ann.api.send(contact, f"message {number}") for number in range(10)))
        await device.wait_for_count(10)
        after = await read(http, cluster)

    def grown(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert grown("ichat_requests_total", route="POST /chat/send", code="200") == 10
    assert grown("ichat_request_seconds_count", route="POST /chat/send") == 10
    assert 0 < grown("ichat_request_seconds_sum", route="POST /chat/send") < 10 * PATIENCE
    assert grown("ichat_sockets", kind="notification") == 2
    assert grown("ichat_notifications_sent_total") >= 20
    assert grown("ichat_notification_seconds_count") >= 10
    assert 0 <= grown("ichat_notification_seconds_sum") < 20 * PATIENCE
    for operation in ("read", "write"):
        assert grown("ichat_database_seconds_count", operation=operation) >= 1
        assert grown("ichat_database_seconds_sum", operation=operation) > 0
    assert grown("ichat_bus_seconds_count") >= 1
    assert grown("ichat_bus_seconds_sum") > 0
    assert after.value("ichat_build_info") == len(cluster.bases)

    gone = await wait_for(http, cluster, lambda now: now.value("ichat_sockets") == before.value("ichat_sockets"))
    assert gone.value("ichat_socket_closes_total") - before.value("ichat_socket_closes_total") >= 2


async def test_failures_are_counted_by_their_code(
    cluster: Cluster, http: aiohttp.ClientSession, register: Register
) -> None:
    ann = await register()
    before = await read(http, cluster)
    await ann.api.answer("GET", "/call", params={"callId": 1 << 60})
    await ann.api.answer("GET", "/nothing/of/the/kind")
    after = await read(http, cluster)
    for route, code in (("GET /call", "3006"), ("other", "404")):
        labels = {"route": route, "code": code}
        assert after.value("ichat_requests_total", **labels) - before.value("ichat_requests_total", **labels) == 1
