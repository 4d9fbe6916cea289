"""What a browser sees at `/`: a built frontend, or a page about the server."""

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from server.api.site import add_site
from server.config.settings import Settings
from tests.api.conftest import Serve
from tests.support.api import read_envelope

INDEX = b"<!doctype html><title>frontend</title>"
SCRIPT = b"export const answer = 42"
SECRET = b"nobody may read this"


@pytest.fixture
def web_root(tmp_path: Path) -> Path:
    """A built frontend, and beside it what isn't for the public."""
    root = tmp_path / "web"
    (root / "assets").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".well-known").mkdir()
    (root / ".well-known/security.txt").write_bytes(b"Contact: us")
    (root / "index.html").write_bytes(INDEX)
    (root / "logo.svg").write_bytes(b"<svg/>")
    (root / "assets/index-3f2a.js").write_bytes(SCRIPT)
    (root / "assets/font-77.woff2").write_bytes(b"font")
    (root / ".env").write_bytes(SECRET)
    (root / ".git/config").write_bytes(SECRET)
    (tmp_path / "outside.txt").write_bytes(SECRET)
    (tmp_path / "web-other").mkdir()
    (tmp_path / "web-other/file.txt").write_bytes(SECRET)
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "loop.txt").symlink_to(root / "loop.txt")
    return root


async def _login(_request: web.Request) -> web.Response:
    return web.Response(text="logged in")


@pytest.fixture
async def base(serve: Serve, web_root: Path) -> str:
    app = web.Application()
    app.router.add_post("/api/login", _login)
    add_site(app, Settings(web_root=web_root))
    return await serve(app)


async def _get(http: aiohttp.ClientSession, base: str, path: str) -> tuple[int, bytes, dict[str, str]]:
    async with http.get(URL(base + path, encoded=True)) as got:
        if got.status != 200:
            assert read_envelope(got.status, got.content_type, await got.json()).code == got.status
        return got.status, await got.read(), dict(got.headers)


@pytest.mark.parametrize(
    ("path", "body", "kind", "caching"),
    [
        ("/", INDEX, "text/html; charset=utf-8", "no-cache"),
        ("/index.html", INDEX, "text/html; charset=utf-8", "no-cache"),
        ("/logo.svg", b"<svg/>", "image/svg+xml", "no-cache"),
        ("/.well-known/security.txt", b"Contact: us", "text/plain; charset=utf-8", "no-cache"),
        ("/assets/index-3f2a.js", SCRIPT, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/assets/font-77.woff2", b"font", "font/woff2", "public, max-age=31536000, immutable"),
    ],
)
async def test_a_file_of_the_frontend(
    base: str, http: aiohttp.ClientSession, path: str, body: bytes, kind: str, caching: str
) -> None:
    status, got, headers = await _get(http, base, path)
    assert (status, got) == (200, body)
    assert headers["Content-Type"] == kind
    assert headers["Cache-Control"] == caching
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["/chat", "/chat/12", "/user/john.doe", "/assets", "/assets/", "/apis", "/wsx", "/a%00b", "/" + "x" * 3000]
)
async def test_a_path_that_the_frontend_routes_by_itself(base: str, http: aiohttp.ClientSession, path: str) -> None:
    status, body, _ = await _get(http, base, path)
    assert (status, body) == (200, INDEX)


@pytest.mark.parametrize(
    "path", ["/assets/index-old.js", "/nothing.css", "/favicon.ico", "/link.txt", "/loop.txt", "/logo.svg/x.js"]
)
async def test_a_file_that_is_missing_is_no_page(base: str, http: aiohttp.ClientSession, path: str) -> None:
    status, _, _ = await _get(http, base, path)
    assert status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/api", "/api/", "/api/nothing", "/%61pi/nothing", "/ws", "/ws/other", "/healthz", "/readyz", "/metrics",
        "/healthz/", "/api/docs/x.html",
    ],
)  # fmt: skip
async def test_a_path_of_the_server_gives_no_page(base: str, http: aiohttp.ClientSession, path: str) -> None:
    status, _, _ = await _get(http, base, path)
    assert status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/.env", "/.git/config", "/assets/../.env", "/../outside.txt", "/..%2foutside.txt", "/%2e%2e/outside.txt",
        "/assets/..%2f..%2foutside.txt", "/assets/%2e%2e/%2e%2e/outside.txt", "/..%5coutside.txt", "//etc/passwd",
        "/%2fetc/passwd", "/../web-other/file.txt", "/..%2fweb-other%2ffile.txt", "/link.txt", "/.%00/../.env",
    ],
)  # fmt: skip
async def test_nothing_hidden_and_nothing_outside_is_served(base: str, http: aiohttp.ClientSession, path: str) -> None:
    status, body, _ = await _get(http, base, path)
    assert SECRET not in body
    assert b"root:" not in body
    assert status == 404 or body == INDEX


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/login", 405), ("POST", "/api/nothing", 404), ("POST", "/chat", 405), ("DELETE", "/", 405)],
)
async def test_other_methods(base: str, http: aiohttp.ClientSession, method: str, path: str, status: int) -> None:
    async with http.request(method, base + path) as got:
        assert read_envelope(got.status, got.content_type, await got.json()).code == status


async def test_the_frontend_is_not_fetched_twice(base: str, http: aiohttp.ClientSession) -> None:
    async with http.get(base) as got:
        etag = got.headers["ETag"]
    async with http.get(base, headers={"If-None-Match": etag}) as got:
        assert (got.status, await got.read()) == (304, b"")


async def test_without_a_prefix_all_that_is_unknown_is_the_frontend_s(
    serve: Serve, http: aiohttp.ClientSession, web_root: Path
) -> None:
    app = web.Application()
    app.router.add_post("/login", _login)
    add_site(app, Settings(web_root=web_root, api_prefix=""))
    base = await serve(app)
    assert (await _get(http, base, "/api/x"))[1] == INDEX
    assert (await _get(http, base, "/metrics"))[0] == 404
    async with http.post(f"{base}/login") as got:
        assert await got.text() == "logged in"


async def test_the_page_without_a_frontend(serve: Serve, http: aiohttp.ClientSession) -> None:
    app = web.Application()
    add_site(app, Settings(api_prefix="/v1"))
    base = await serve(app)
    async with http.get(base) as got:
        assert got.content_type == "text/html"
        assert "default-src 'none'" in got.headers["Content-Security-Policy"]
        text = await got.text()
    for link in ("/v1/docs", "/v1/openapi.json", "/v1/docs/sockets", "/readyz"):
        assert f'href="{link}"' in text
    assert (await _get(http, base, "/chat"))[0] == 404
