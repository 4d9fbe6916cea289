"""The API description names what is served, and its pages are there."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from server.app import create_app
from server.config.settings import Jwt, Settings
from server.errors import ErrorCode
from server.runtime.metrics import Metrics
from server.sockets.close_codes import Close
from tests.support.cluster import Cluster

PREFIX = "/v2"
UNDESCRIBED = {
    "/", "/ws/notification", "/ws/call", f"{PREFIX}/ws/notification", f"{PREFIX}/ws/call",
    f"{PREFIX}/openapi.json", f"{PREFIX}/docs", f"{PREFIX}/docs/sockets", f"{PREFIX}/docs/assets/{{name}}",
}  # fmt: skip
"""Pages, and the sockets, which are described in a page of their own."""


one_is_enough = pytest.mark.parametrize("cluster", ["embedded"], indirect=True)


async def _document(http: aiohttp.ClientSession, base: str) -> Any:
    async with http.get(f"{base}/api/openapi.json") as got:
        assert got.content_type == "application/json"
        return await got.json()


def _operations(document: Any) -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


async def test_it_names_every_route_that_is_served(tmp_path: Path) -> None:
    secret = SecretStr("a secret for the tests of the description")
    settings = Settings(data_dir=tmp_path, jwt=Jwt(secret=secret), api_prefix=PREFIX)
    app = await create_app(settings, metrics=Metrics())
    async with TestClient(TestServer(app)) as client, client.get(f"{PREFIX}/openapi.json") as got:
        described = _operations(await got.json())
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.resource.canonical not in UNDESCRIBED and route.method != "HEAD"
    }
    assert described.keys() == served
    assert len(served) > 30
    names = [operation["operationId"] for operation in described.values()]
    assert len(set(names)) == len(names)
    assert all(operation["summary"] and operation["tags"] for operation in described.values())


@one_is_enough
async def test_every_code_it_names_is_one_with_its_own_status(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    document = await _document(http, cluster.bases[0])
    status_of = {(code.number, code.status) for code in ErrorCode}
    named: set[tuple[int, int]] = set()
    for (_, path), operation in _operations(document).items():
        for status, response in operation["responses"].items():
            if int(status) < 400:
                continue
            codes = response["content"]["application/json"]["schema"]["properties"]["code"]["enum"]
            if int(status) in (412, 416):
                assert (codes, "/file/" in path) == ([300], True)
            else:
                named |= {(code, int(status)) for code in codes}
    assert named <= status_of
    general = {(404, 404), (405, 405), (2009, 400), (3005, 503)}  # of no operation, or of one that has no other way
    assert status_of - named <= general


@one_is_enough
async def test_every_reference_in_it_leads_somewhere(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    document = await _document(http, cluster.bases[0])
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


@one_is_enough
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/api/docs", "text/html"),
        ("/api/docs/sockets", "text/html"),
        ("/api/docs/assets/swagger-ui.css", "text/css"),
        ("/api/docs/assets/swagger-ui-bundle.js", "text/javascript"),
        ("/api/docs/assets/start.js", "text/javascript"),
    ],
)
async def test_its_pages_are_there(cluster: Cluster, http: aiohttp.ClientSession, path: str, kind: str) -> None:
    async with http.get(cluster.bases[0] + path) as got:
        assert (got.status, got.content_type) == (200, kind)
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert ("default-src 'none'" in got.headers.get("Content-Security-Policy", "")) is (kind == "text/html")
        assert await got.text()


@one_is_enough
async def test_the_page_of_the_sockets_tells_every_close_code(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{cluster.bases[0]}/api/docs/sockets") as got:
        page = await got.text()
    for close in Close:
        assert f"<td>{close.code}</td>" in page
        assert close.reason in page
