"""The server as a real process, as its operators run it: `python -m server serve` with an environment."""

import asyncio
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.certificate import Certificate
from tests.support.process import pause

START_TIMEOUT = 60.0
"""Seconds until a started server must answer, on a loaded machine."""

TROUBLE = ("Traceback (most recent call last)", "was never retrieved", "was never awaited", "Unclosed ")
"""What a healthy server never writes."""


def free_port() -> int:
    """A loopback port nobody listens on, outside the range that the system gives to outgoing connections, so
    that it is still free when a killed server comes back to it."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class ServerProcess:
    """One server process. It may be stopped and started again with the same port, data and log.

    `settings` are environment variables in the server's own names (`ICHAT_…`), beside those for a fast test:
    cheap password hashes, no rate limits and a short drain.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str],
        *,
        name: str = "server",
        cores: Sequence[int] = (),
        arguments: Sequence[str] = (),
        certificate: Certificate | None = None,
    ) -> None:
        """`cores`: the processor cores that it may use; none given, all. `arguments` are those of `serve`. With a
        `certificate` it serves HTTPS."""
        self.name = name
        self._arguments = arguments
        self._certificate = certificate
        self._cores = cores
        self.port = free_port()
        self.base = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.log_file = directory / f"{name}.log"
        if certificate is not None:
            settings = {
                "ICHAT_HTTP_TLS_CERT": str(certificate.cert), "ICHAT_HTTP_TLS_KEY": str(certificate.key), **settings
            }  # fmt: skip
        clean = {key: value for key, value in os.environ.items() if not key.startswith("ICHAT_")}
        self.environ = clean | {
            "ICHAT_HTTP_HOST": "127.0.0.1",
            "ICHAT_HTTP_PORT": str(self.port),
            "ICHAT_DATA_DIR": str(directory / "data"),
            "ICHAT_PASSWORD_BCRYPT_COST": "4",
            "ICHAT_LIMITS_ENABLED": "false",
            "ICHAT_HTTP_DRAIN": "1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} isn't running"
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def run(self, command: str) -> str:
        """Run another of the server's commands (`migrate`, …) to its end: what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "server", command],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=START_TIMEOUT,
            check=False,
            text=True,
        )
        assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def launch(self) -> None:
        assert not self.running
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "server", "serve", *self._arguments],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        if self._cores:
            os.sched_setaffinity(self.process.pid, self._cores)

    def wait_ready(self, timeout: float = START_TIMEOUT) -> None:
        """Returns once the server says that its database and bus answer."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            assert self.running, f"{self.name} ended with {self.process and self.process.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"{self.name} isn't ready after {timeout} s:\n{self.log()}"
            time.sleep(0.02)

    def is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self._certificate.cert)) if self._certificate else None
        try:
            with urllib.request.urlopen(f"{self.base}/readyz", timeout=5, context=context) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def start_and_wait(self) -> None:
        self.launch()
        self.wait_ready()

    async def start(self) -> None:
        """Launch it and wait until it is ready, while the event loop goes on."""
        self.launch()
        await asyncio.to_thread(self.wait_ready)

    def kill(self) -> None:
        """kill -9: it gets no chance to say goodbye."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    async def terminate(self, timeout: float = START_TIMEOUT) -> int:
        """SIGTERM, then wait for its end: the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = await asyncio.to_thread(self.process.wait, timeout)
        self.process = None
        return code

    def pause(self) -> None:
        """SIGSTOP: it is there, and does nothing."""
        pause(self.pid)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """The end of a test: terminate it, and kill it if it doesn't go."""
        if self.process is None or not self.running:
            return
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self.process = None

    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def check_log(self) -> None:
        """Raises AssertionError if the log shows an error nobody handled."""
        for line in self.log().splitlines():
            assert not any(sign in line for sign in TROUBLE), f"{self.name}: {line}"
