"""HTTPS and WSS from certificate files, which may be renewed while the server runs."""

import asyncio
import shutil
import signal
import ssl
import time
from pathlib import Path

import aiohttp
import pytest

from tests.operations.conftest import StartServer
from tests.support.account import Account
from tests.support.certificate import Certificate
from tests.support.notification import PATIENCE
from tests.support.raw_http import END, RawHttp
from tests.support.server import ServerProcess


def _presented(port: int) -> bytes:
    """The certificate that the server shows to a new connection, whoever signed it."""
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", port), timeout=PATIENCE))


def _in(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


async def _wait_for_log(server: ServerProcess, words: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while words not in server.log():
        assert time.monotonic() < deadline, server.log()
        await asyncio.sleep(0.02)


@pytest.fixture
def renewed(tmp_path: Path) -> Certificate:
    directory = tmp_path / "renewed"
    directory.mkdir()
    return Certificate(directory)


async def test_people_chat_and_the_certificate_is_renewed(
    start_server: StartServer, tmp_path: Path, renewed: Certificate
) -> None:
    certificate = Certificate(tmp_path)
    first, second = _in(certificate), _in(renewed)
    server = start_server(certificate=certificate)
    assert "https://127.0.0.1" in server.log()
    context = ssl.create_default_context(cafile=str(certificate.cert))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http:
        ann, ben = await Account.register(http, server.base), await Account.register(http, server.base)
        contact = await ann.befriend(ben)
        async with ben.frontend() as device:
            await ann.api.send(contact, "hello")
            await device.wait_for_texts({"hello"})

            assert server.process is not None
            certificate.cert.write_bytes(renewed.cert.read_bytes())  # the key isn't there yet
            server.process.send_signal(signal.SIGHUP)
            await _wait_for_log(server, "the certificate stays as it was")
            assert await asyncio.to_thread(_presented, server.port) == first

            shutil.copy(renewed.key, certificate.key)
            server.process.send_signal(signal.SIGHUP)
            await _wait_for_log(server, "the certificate was read again")
            assert await asyncio.to_thread(_presented, server.port) == second

            await ann.api.send(contact, "on the old connections")
            await device.wait_for_texts({"on the old connections"})
            assert device.closings == []

    async with RawHttp(server.port) as raw:  # nothing is told over plain HTTP
        await raw.send(b"GET /healthz HTTP/1.1\r\nHost: x" + END)
        assert await raw.ended()
    server.check_log()
