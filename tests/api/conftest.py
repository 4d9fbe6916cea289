"""Applications behind the front of the server, in this process."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from aiohttp import web

from server.api.front import METRICS, FrontRunner
from server.config.settings import Http
from server.runtime.metrics import Metrics

QUICK = Http(drain=1.0)


class Serve(Protocol):
    def __call__(self, app: web.Application, http: Http = ...) -> Awaitable[str]: ...


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def serve(metrics: Metrics) -> AsyncIterator[Serve]:
    """Serves an application on a free port: its address."""
    async with AsyncExitStack() as stack:

        async def start(app: web.Application, http: Http = QUICK) -> str:
            app[METRICS] = metrics
            runner = FrontRunner(app, http)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return f"http://127.0.0.1:{runner.addresses[0][1]}"

        yield start
