"""What tests do to processes of any kind."""

import os
import signal
import time
from pathlib import Path

_PATIENCE = 10.0


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
