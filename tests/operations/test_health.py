"""`/healthz` and `/readyz`: alive, and ready for what people ask."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.api import read_envelope
from tests.support.cluster import Cluster, open_cluster
from tests.support.notification import PATIENCE

DATABASE_LIMIT, BUS_LIMIT = 1.5, 1.0
SLACK = 5.0
"""Seconds that a loaded machine may need beyond the limits."""


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server whose MariaDB and Redis these tests may stop."""
    settings = {"ICHAT_MYSQL_TIMEOUT": str(DATABASE_LIMIT), "ICHAT_REDIS_TIMEOUT": str(BUS_LIMIT)}
    directory: Path = tmp_path_factory.mktemp("mortal")
    with open_cluster("shared", directory, processes=1, settings=settings) as cluster:
        yield cluster


async def _ask(http: aiohttp.ClientSession, base: str, path: str) -> tuple[int, Any]:
    """HTTP status and data of an answer in the envelope."""
    async with http.get(base + path) as got:
        body = await got.json()
        read_envelope(got.status, got.content_type, body)
        return got.status, body["data"]


async def _becomes(http: aiohttp.ClientSession, base: str, status: int, parts: dict[str, str]) -> None:
    """Returns once `/readyz` says so; each of its answers comes within the time limits."""
    deadline = time.monotonic() + PATIENCE
    while True:
        asked = time.monotonic()
        answer = await _ask(http, base, "/readyz")
        assert time.monotonic() - asked < max(DATABASE_LIMIT, BUS_LIMIT) + SLACK
        if answer == (status, parts):
            return
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)


async def test_all_is_well(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    for base in cluster.bases:
        assert await _ask(http, base, "/healthz") == (200, None)
        assert await _ask(http, base, "/readyz") == (200, {"database": "ok", "bus": "ok"})


@pytest.mark.parametrize("how", ["killed", "stalled"])
@pytest.mark.parametrize("part", ["database", "bus"])
async def test_a_part_is_away_and_comes_back(mortal: Cluster, http: aiohttp.ClientSession, part: str, how: str) -> None:
    server = mortal.mariadb if part == "database" else mortal.redis
    (base,) = mortal.bases
    away, back = (server.kill, server.start) if how == "killed" else (server.stall, server.resume)
    well = {"database": "ok", "bus": "ok"}
    await _becomes(http, base, 200, well)
    await asyncio.to_thread(away)
    try:
        await _becomes(http, base, 503, well | {part: "unavailable"})
        assert await _ask(http, base, "/healthz") == (200, None)
    finally:
        await asyncio.to_thread(back)
    await _becomes(http, base, 200, well)
