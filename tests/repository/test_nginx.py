"""The web server of the deployment in front of a real server: pages, requests, sockets, uploads, and an outage."""

import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.repository.nginx import Nginx
from tests.support.account import PASSWORD, Account
from tests.support.api import Api, Refused, png
from tests.support.cluster import Cluster, open_cluster
from tests.support.notification import Kind

PAGE = b"<!doctype html><title>the frontend</title>"
SITES = ("http", "https")


class _Frontend(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def frontend() -> Iterator[str]:
    """The address of a web server that has one page, at every path."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Frontend) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that knows of its proxy."""
    settings = {"ICHAT_HTTP_TRUSTED_PROXIES": "127.0.0.1"}
    with open_cluster("embedded", tmp_path_factory.mktemp("server"), settings=settings) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=SITES)
def nginx(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deployed: Cluster, frontend: str
) -> Iterator[Nginx]:
    server = deployed.bases[0].removeprefix("http://")
    web = Nginx(tmp_path_factory.mktemp("nginx"), request.param, server, frontend)
    with web.running():
        yield web


@pytest.fixture
async def browser(nginx: Nginx) -> AsyncIterator[aiohttp.ClientSession]:
    """One that trusts the certificate."""
    connector = aiohttp.TCPConnector(ssl=nginx.trust, limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


@pytest.mark.parametrize("site", SITES)
def test_nginx_takes_the_configuration(site: str, tmp_path: Path) -> None:
    code, said = Nginx(tmp_path, site, "127.0.0.1:1", "127.0.0.1:2").check()
    assert code == 0, said
    assert "[warn]" not in said


@pytest.mark.parametrize("path", ["/", "/chat/7", "/metrics", "/readyz", "/apis"])
async def test_every_page_is_of_the_frontend(nginx: Nginx, browser: aiohttp.ClientSession, path: str) -> None:
    async with browser.get(nginx.base + path) as got:
        assert (got.status, await got.read()) == (200, PAGE)
        assert ("Strict-Transport-Security" in got.headers) is nginx.base.startswith("https:")


async def test_without_tls_one_is_sent_to_the_page_with_it(
    tmp_path: Path, frontend: str, http: aiohttp.ClientSession
) -> None:
    web = Nginx(tmp_path, "https", "127.0.0.1:1", frontend)
    plain = f"http://localhost:{web.ports['80']}/chat/7?a=b"
    with web.running():
        async with http.get(plain, allow_redirects=False) as got:
            assert (got.status, got.headers["Location"]) == (308, "https://localhost/chat/7?a=b")


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_message_reaches_the_other_socket(nginx: Nginx, browser: aiohttp.ClientSession, prefix: str) -> None:
    ann = await Account.register(browser, nginx.base)
    ben = await Account.register(browser, nginx.base)
    contact = await ann.befriend(ben)
    socket = await browser.ws_connect(f"{nginx.base}{prefix}/ws/notification")
    await socket.send_str(ben.api.token)
    await socket.send_str("")
    assert (await socket.receive_str()).startswith("session:")
    sent = await ann.api.send(contact, "你好")
    notification = await socket.receive_json(timeout=30)
    assert notification["type"] == Kind.MESSAGE
    assert notification["payload"]["messageId"] == sent["messageId"]
    await socket.close()


async def test_uploads_as_large_as_the_server_takes_them(nginx: Nginx, browser: aiohttp.ClientSession) -> None:
    ann = await Account.register(browser, nginx.base)
    picture = png()
    url = await ann.api.upload(picture)
    assert (await ann.api.download(url))[2] == picture
    assert await ann.api.upload(b"x" * (10 * 1024 * 1024), "fits.txt", "text/plain")
    with pytest.raises(Refused) as refused:
        await ann.api.upload(b"x" * (10 * 1024 * 1024 + 1), "big.txt", "text/plain")
    assert (refused.value.http_status, refused.value.code) == (413, 413)


async def test_what_a_client_says_of_its_address_is_not_believed(nginx: Nginx, browser: aiohttp.ClientSession) -> None:
    ann = await Account.register(browser, nginx.base)
    body = {"username": ann.username, "password": PASSWORD}
    forged = {"X-Forwarded-For": "203.0.113.7"}
    answer = await ann.api.answer("POST", "/login", json=body, headers=forged)
    assert answer.ok
    logins = await ann.api.call("GET", "/logins")
    assert {login["address"] for login in logins} == {"127.0.0.1"}


async def test_while_the_server_is_away_clients_get_an_answer_that_they_understand(
    tmp_path: Path, frontend: str, http: aiohttp.ClientSession
) -> None:
    web = Nginx(tmp_path, "http", "127.0.0.1:1", frontend)
    with web.running():
        answer = await Api(http, web.base).answer("POST", "/login", json={})
        assert (answer.http_status, answer.code) == (503, 500)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{web.base}/ws/call")
        assert refused.value.status == 503
