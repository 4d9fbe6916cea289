"""One Chromium for all tests of the browser, and a server that serves them a frontend in small."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, ChromiumProcess
from tests.support.server import ServerProcess

SITE = Path(__file__).parent / "site"


@pytest.fixture(scope="session")
def chromium() -> Iterator[ChromiumProcess]:
    with ChromiumProcess() as process:
        yield process


@pytest.fixture
async def browser(chromium: ChromiumProcess) -> AsyncIterator[Browser]:
    async with Browser(chromium.address) as browser:
        yield browser


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the frontend in small at `/`; tests may restart it, and leave it running."""
    server = ServerProcess(tmp_path_factory.mktemp("site"), {"ICHAT_WEB_ROOT": str(SITE)})
    server.start_and_wait()
    yield server
    server.stop()
    server.check_log()
