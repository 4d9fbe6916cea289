"""Several processes on one port: a parent that starts them, starts them again, and stops them."""

import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from server.config.settings import Settings

_log = logging.getLogger(__name__)

_PAUSE = 1.0
"""Seconds before a worker that died is started again; doubled each time that it died young."""
_LONGEST_PAUSE = 30.0
_YOUNG = 10.0


class _Worker:
    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._pause = _PAUSE
        self._started = 0.0
        self._due = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        """Start it if it isn't running and its pause is over."""
        now = time.monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return
            young = now - self._started < _YOUNG
            self._pause = min(self._pause * 2, _LONGEST_PAUSE) if young else _PAUSE
            _log.error(
                "worker %d ended with %s, next in %.0f s", self.process.pid, self.process.returncode, self._pause
            )
            self.process, self._due = None, now + self._pause
        if now >= self._due:
            self._started = now
            self.process = subprocess.Popen(self._command, env=self._environment)  # noqa: S603  ourselves


def supervise(settings: Settings, count: int, arguments: Sequence[str]) -> int:
    """Run `count` workers until SIGTERM or SIGINT; gives the exit code.

    `arguments` are those of a worker's `python -m server`.
    """
    stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with tempfile.TemporaryDirectory(prefix="ichat-metrics-") as metrics, _reserved(settings) as reserved:
        environment = {
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": metrics,
            "ICHAT_HTTP_PORT": str(reserved.getsockname()[1]),
        }
        command = [sys.executable, "-m", "server", *arguments]
        workers = [_Worker(command, environment) for _ in range(count)]
        while not stopping:
            for worker in workers:
                worker.tend()
            _forget_dead(Path(metrics), workers)
            time.sleep(0.2)  # signals interrupt it
        return _stop_all(workers, settings.http.drain + 15)


def _reserved(settings: Settings) -> socket.socket:
    """Holds the port (chosen now, if it is 0) for the workers, without listening on it."""
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind((settings.http.host, settings.http.port))
    return reserved


def _forget_dead(metrics: Path, workers: Sequence[_Worker]) -> None:
    """The live gauges of a dead worker would count its sockets for ever."""
    live = {worker.process.pid for worker in workers if worker.process is not None}
    for file in metrics.glob("gauge_live*_*.db"):
        if int(file.stem.rpartition("_")[2]) not in live:
            file.unlink(missing_ok=True)


def _stop_all(workers: Sequence[_Worker], patience: float) -> int:
    running = [worker.process for worker in workers if worker.process is not None]
    for process in running:
        process.terminate()
    deadline = time.monotonic() + patience
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return max((abs(process.returncode) for process in running), default=0)
