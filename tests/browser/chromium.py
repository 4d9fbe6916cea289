"""A real Chromium without a window, driven over its DevTools protocol."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

START_TIMEOUT = 90.0
PATIENCE = 60.0
"""Seconds that a test waits for something that must happen in a page, on a loaded machine."""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--mute-audio",
    "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows", "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream=fps=10", "--use-fake-ui-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns", "--ignore-certificate-errors", "--remote-debugging-port=0",
)  # fmt: skip


class ChromiumProcess:
    """The browser with an empty profile; use as a context manager."""

    def __enter__(self) -> Self:
        self._profile = Path(tempfile.mkdtemp(prefix="chromium-"))
        with (self._profile / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["chromium", *FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            self.address = self._wait_for_address()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the group of its own session
        self._process.wait()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _wait_for_address(self) -> str:
        """Where its DevTools protocol is spoken."""
        file = self._profile / "DevToolsActivePort"
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            log = (self._profile / "log").read_text(errors="replace")
            assert self._process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)


class PageError(Exception):
    """A script that was evaluated in a page has thrown."""


class Browser:
    """A connection to a Chromium; what it opened is closed with it. Use as an async context manager."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._tabs: dict[str, Tab] = {}

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession()
        self._socket = await self._http.ws_connect(self._address, max_msg_size=0)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tab in self._tabs.values():
            await self.ask("Target.disposeBrowserContext", browserContextId=tab.context)
        await self._socket.close()
        await self._reader
        await self._http.close()

    async def open(self, url: str) -> "Tab":
        """A new tab, which shares nothing with the others, once its page has loaded."""
        context = (await self.ask("Target.createBrowserContext"))["browserContextId"]
        target = (await self.ask("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        tab = self._tabs[session] = Tab(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await tab.ask(f"{domain}.enable")
        await tab.go(url)
        return tab

    async def ask(self, method: str, *, session: str = "", **parameters: Any) -> Any:
        """The result of a command of the protocol. Raises PageError."""
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": session} if session else {}))
        async with asyncio.timeout(PATIENCE):
            return await future

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                future = self._answers.pop(told["id"])
                if future.done():
                    continue
                if "error" in told:
                    future.set_exception(PageError(told["error"]["message"]))
                else:
                    future.set_result(told["result"])
            elif (tab := self._tabs.get(told.get("sessionId", ""))) is not None:
                tab.hear(told["method"], told["params"])


class Tab:
    """One page. `problems` are the errors that its console shows, `responses` the addresses and kinds (Document, Image,
    Script, …) of what it got."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self._session = session
        self.context = context
        self.problems: list[str] = []
        self.responses: set[tuple[str, str]] = set()
        self._loaded = asyncio.Event()

    async def ask(self, method: str, **parameters: Any) -> Any:
        return await self._browser.ask(method, session=self._session, **parameters)

    def hear(self, method: str, parameters: Any) -> None:
        match method:
            case "Page.loadEventFired":
                self._loaded.set()
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.problems.append(details.get("exception", {}).get("description", details["text"]))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "assert"):
                self.problems.append(str([argument.get("value") for argument in parameters["args"]]))
            case "Network.responseReceived":
                self.responses.add((parameters["response"]["url"], parameters["type"]))
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.problems.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    async def go(self, url: str) -> None:
        """Go there, and return once it has loaded."""
        self._loaded.clear()
        result = await self.ask("Page.navigate", url=url)
        assert "errorText" not in result, (url, result)
        async with asyncio.timeout(PATIENCE):
            await self._loaded.wait()

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page, awaited where it is a promise. Raises PageError."""
        result = await self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise PageError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    async def wait_for(
        self, expression: str, done: Callable[[Any], object] = bool, *, timeout: float = PATIENCE
    ) -> Any:
        """The value of an expression, once `done` says so of it."""
        deadline = time.monotonic() + timeout
        while not done(value := await self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression} is {value!r} after {timeout} s; {self.problems}"
            await asyncio.sleep(0.05)
        return value
