"""Servers of their own, for tests that stop them or want them set otherwise."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import ServerProcess

StartServer = Callable[..., ServerProcess]


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts a server on the embedded backend: `start_server(certificate=…, ICHAT_…="…")`."""
    with ExitStack() as stack:

        def start(*, name: str = "server", certificate: Any = None, **settings: str) -> ServerProcess:
            server = ServerProcess(tmp_path, settings, name=name, certificate=certificate)
            stack.callback(server.stop)
            server.start_and_wait()
            return server

        yield start
