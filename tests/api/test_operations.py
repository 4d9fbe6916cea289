"""Who may read the metrics."""

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from server.api.dispatch import Dispatcher
from server.api.operations import OperationsApi
from server.config.settings import Monitoring
from server.runtime.metrics import Metrics
from tests.api.conftest import Serve
from tests.support.api import read_envelope

TOKEN = "a token for monitoring"


def _app(metrics: Metrics, settings: Monitoring) -> web.Application:
    app = web.Application()
    dispatcher = Dispatcher(None, ())  # type: ignore[arg-type]
    for route in OperationsApi(None, None, metrics, settings).routes():  # type: ignore[arg-type]
        app.router.add_route(route.method, route.full_path("/api"), dispatcher.handler(route))
    return app


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": "Bearer \udcff"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
async def test_with_a_token(
    serve: Serve, http: aiohttp.ClientSession, metrics: Metrics, given: dict[str, str], status: int
) -> None:
    base = await serve(_app(metrics, Monitoring(token=SecretStr(TOKEN))))
    async with http.get(f"{base}/metrics", headers=given) as got:
        assert got.status == status
        if status == 401:
            assert read_envelope(got.status, got.content_type, await got.json()).code == 401
        else:
            assert "ichat_build_info" in await got.text()


async def test_without_one_whoever_reaches_it(serve: Serve, http: aiohttp.ClientSession, metrics: Metrics) -> None:
    base = await serve(_app(metrics, Monitoring()))
    async with http.get(f"{base}/metrics") as got:
        assert got.status == 200


async def test_nobody_where_there_are_none(serve: Serve, http: aiohttp.ClientSession, metrics: Metrics) -> None:
    base = await serve(_app(metrics, Monitoring(metrics=False)))
    async with http.get(f"{base}/metrics") as got:
        assert got.status == 404
