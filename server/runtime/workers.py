"""Several processes on one port: a parent that starts them, starts them again, and stops them.

The workers share the port by SO_REUSEPORT; the parent holds it too, without listening. Each worker reads from a pipe
that only the parent could write to, so it learns of the parent's death, however sudden, and stops.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from server.config.settings import Settings
from server.runtime.serving import announce

_log = logging.getLogger(__name__)

_LOOK = 0.1
"""Seconds between two looks at the workers."""
_PAUSE = 1.0
"""Seconds before a worker that died is started again; doubled each time that it died young."""
_LONGEST_PAUSE = 30.0
_YOUNG = 10.0
_LAST_WORDS = 15.0
"""Seconds that a worker has for the rest of its end, after its sockets and its requests."""


class _Worker:
    def __init__(self, start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
        self._start = start
        self._pause = _PAUSE
        self._started = 0.0
        self._due = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def tend(self) -> int | None:
        """Start it if it isn't running and its pause is over; gives the process id of one that was found dead."""
        now = time.monotonic()
        if self.process is None:
            if now >= self._due:
                self._started = now
                self.process = self._start()
            return None
        code = self.process.poll()
        if code is None:
            return None
        dead = self.process.pid
        self._pause = min(self._pause * 2, _LONGEST_PAUSE) if now - self._started < _YOUNG else _PAUSE
        _log.error("worker %d ended with %d, the next one starts in %.0f s", dead, code, self._pause)
        self.process, self._due = None, now + self._pause
        return dead

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)  # none is sent to one that has ended


def supervise(settings: Settings, count: int, arguments: Sequence[str]) -> int:
    """Run `count` workers until SIGTERM or SIGINT, which they are all sent, also a second one, as SIGHUP is.

    `arguments` are those of a worker's `python -m server`. Gives the exit code.

    Raises:
        OSError: the address can't be listened on
    """
    workers: list[_Worker] = []
    stops: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        stops.append(number)
        for worker in workers:
            worker.signal(signal.SIGTERM)

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        for worker in workers:
            worker.signal(signal.SIGHUP)

    with ExitStack() as stack:
        metrics = stack.enter_context(tempfile.TemporaryDirectory(prefix="ichat-metrics-"))
        reserved = stack.enter_context(_reserved(settings))
        port = reserved.getsockname()[1]
        lifeline, ours = os.pipe()
        stack.callback(os.close, lifeline)
        stack.callback(os.close, ours)
        environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": metrics, "ICHAT_HTTP_PORT": str(port)}
        command = [sys.executable, "-m", "server", *arguments]

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(command, env=environment, stdin=lifeline)  # noqa: S603  ourselves

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        if settings.http.tls_cert is not None:
            signal.signal(signal.SIGHUP, hang_up)
        workers += [_Worker(start) for _ in range(count)]
        announce(settings, port, count)
        while not stops:
            for worker in workers:
                if (dead := worker.tend()) is not None:
                    _forget_gauges(Path(metrics), dead)
            time.sleep(_LOOK)
        return _wait_for_all(workers, 2 * settings.http.drain + _LAST_WORDS)


def _reserved(settings: Settings) -> socket.socket:
    """Holds the port (chosen now, if it is 0) for the workers, without listening on it."""
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind((settings.http.host, settings.http.port))
    return reserved


def _forget_gauges(metrics: Path, dead: int) -> None:
    """The live gauges of a dead worker would count its sockets for ever."""
    for file in metrics.glob(f"gauge_live*_{dead}.db"):
        file.unlink(missing_ok=True)


def _wait_for_all(workers: Sequence[_Worker], patience: float) -> int:
    running = [worker.process for worker in workers if worker.process is not None]
    deadline = time.monotonic() + patience
    while any(process.poll() is None for process in running):
        if time.monotonic() >= deadline:
            for process in running:
                process.kill()
        time.sleep(_LOOK)
    return max((abs(process.returncode) for process in running), default=0)
