"""A private TURN server: Debian's coturn, which takes credentials made with a shared secret (its `use-auth-secret`)."""

import random
import re
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.process import PrivateServer
from tests.support.server import free_port

HOST = "127.0.0.1"
_START_TIMEOUT = 30.0
_POLL = 0.02
_RELAY_PORTS = 200
_RELAYED = re.compile(r"peer usage: realm=<[^>]*>, username=<([^>]*)>, rp=(\d+), rb=\d+, sp=(\d+),")


class TurnServer(PrivateServer):
    """On a free loopback port for UDP and TCP. Its relay addresses are of loopback, too.

    with TurnServer() as turn:
        urls, secret = turn.url, turn.secret
    """

    secret = "a secret of the TURN server and of the application"

    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory(prefix="coturn-")
        self.directory = Path(self._temporary.name)
        self.port = free_port()

    @property
    def address(self) -> tuple[str, int]:
        return HOST, self.port

    @property
    def url(self) -> str:
        """RFC 7065."""
        return f"turn:{HOST}:{self.port}?transport=udp"

    def log(self) -> str:
        log_file = self.directory / "log"
        return log_file.read_text(errors="replace") if log_file.exists() else ""

    def relayed(self) -> Counter[str]:
        """Packets that went to and from peers, by the user name of the credentials. A connection counts once it has
        ended."""
        packets: Counter[str] = Counter()
        for username, received, sent in _RELAYED.findall(self.log()):
            packets[username] += int(received) + int(sent)
        return packets

    def start(self) -> None:
        first_port = random.randrange(30_000, 32_000)
        self._process = subprocess.Popen(
            [
                "turnserver",
                "-n",  # no configuration file
                *("--listening-ip", HOST, "--relay-ip", HOST, "--listening-port", str(self.port)),
                *("--min-port", str(first_port), "--max-port", str(first_port + _RELAY_PORTS)),
                *("--use-auth-secret", "--static-auth-secret", self.secret, "--realm", "test"),
                *("--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--no-rfc5780"),
                *("--db", str(self.directory / "db"), "--pidfile", str(self.directory / "pid")),
                *("--log-file", str(self.directory / "log"), "--simple-log", "--verbose"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + _START_TIMEOUT
        while not self._listens():
            assert self._process.poll() is None, f"coturn ended with {self._process.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"coturn doesn't listen after {_START_TIMEOUT} s:\n{self.log()}"
            time.sleep(_POLL)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0 and "UDP listener opened on" in self.log()

    def remove(self) -> None:
        self.stop()
        self._temporary.cleanup()
