"""Processes of the tests' own: what is the same whichever server they run."""

import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Self

_PATIENCE = 10.0


class Private(ABC):
    """Something that the tests start for themselves. As a context manager it is started, and removed at the end.

    Everything blocks; inside an event loop call it through `asyncio.to_thread`.
    """

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    @abstractmethod
    def start(self) -> None:
        """Start it (again, on the same port) and wait until it answers."""

    @abstractmethod
    def remove(self) -> None:
        """End it, whatever its state, and delete what it left."""


class PrivateServer(Private):
    """One server process."""

    stop_timeout = 10.0
    """Seconds after which one that is told to stop is killed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started and not ended; it may be stalled."""
        return self._process is not None

    def stop(self) -> None:
        """In order, as an administrator would."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(self.stop_timeout)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def kill(self) -> None:
        """As the power going off would, as far as a process can."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """It answers nothing and closes nothing, until `resume`."""
        assert self._process is not None
        pause(self._process.pid)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


def pause(pid: int) -> None:
    """SIGSTOP, and wait until it stands still: its threads stop one after the other, after the signal was sent."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _PATIENCE
    while not all(_stopped(task / "stat") for task in Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {pid} doesn't stop")
        time.sleep(0.001)


def _stopped(stat: Path) -> bool:
    try:
        state = stat.read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
        return True
    return state in "TtZX"
