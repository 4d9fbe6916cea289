"""The commands of the deployment's other services, carried out by hand with the programs that Debian has of them."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.repository import compose
from tests.support.server import START_TIMEOUT, free_port

_STUN_BINDING = b"\x00\x01\x00\x00\x21\x12\xa4\x42" + b"twelve bytes"
"""A request (RFC 8489, section 5)."""


class _Commands:
    """A service's commands with programs that get more options than it gives them: those stand where `"$@"` does."""

    def __init__(self, service: dict[str, Any], directory: Path, given: Mapping[str, str], **options: str) -> None:
        self._service = service
        for program, more in options.items():
            name = program.replace("_", "-")
            (directory / name).write_text(f"#!/bin/sh\nexec {shutil.which(name)} {more}\n")
            (directory / name).chmod(0o755)
        own = {name: compose.filled(value, given) for name, value in service["environment"].items()}
        self._environ = os.environ | own | {"PATH": f"{directory}:{os.environ['PATH']}"}
        self._directory = directory
        self._given = given

    def launch(self) -> subprocess.Popen[str]:
        words = [
            compose.filled(word, self._given)
            for word in [*self._service.get("entrypoint", ()), *self._service["command"]]
        ]
        return subprocess.Popen(
            words,
            cwd=self._directory,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[str]]:
        process = self.launch()
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def is_healthy(self) -> bool:
        kind, *words = self._service["healthcheck"]["test"]
        words = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        words = [compose.filled(word, self._given) for word in words]
        return subprocess.run(words, env=self._environ, capture_output=True, timeout=60, check=False).returncode == 0


def test_redis_asks_for_its_password_and_keeps_nothing(tmp_path: Path) -> None:
    port = free_port()
    commands = _Commands(
        compose.service("redis"),
        tmp_path,
        {"REDIS_PASSWORD": "two words"},
        redis_server=f'"$@" --bind 127.0.0.1 --port {port}',
        redis_cli=f'-p {port} "$@"',
    )
    assert not commands.is_healthy()
    with commands.running() as process:
        deadline = time.monotonic() + START_TIMEOUT
        while not commands.is_healthy():
            assert process.poll() is None
            assert time.monotonic() < deadline
        with redis.Redis(port=port, password="two words", decode_responses=True) as client:
            assert client.config_get("save", "appendonly") == {"save": "", "appendonly": "no"}
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_the_turn_server_does_not_start_without_a_secret(tmp_path: Path) -> None:
    commands = _Commands(compose.service("turn"), tmp_path, {})
    with commands.running() as process:
        output, _ = process.communicate(timeout=START_TIMEOUT)
    assert process.returncode != 0
    assert "TURN_SECRET: set it in docker/.env" in output


def test_the_turn_server_answers_with_the_options_it_gets(tmp_path: Path) -> None:
    port = free_port()
    commands = _Commands(
        compose.service("turn"),
        tmp_path,
        {"TURN_SECRET": "s3cret", "TURN_EXTERNAL_IP": "192.0.2.7"},
        turnserver=f'"$@" --listening-ip=127.0.0.1 --relay-ip=127.0.0.1 --listening-port={port} --pidfile=$PWD/pid',
    )
    with commands.running() as process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.2)
        deadline = time.monotonic() + START_TIMEOUT
        answer = b""
        while not answer:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            try:
                client.sendto(_STUN_BINDING, ("127.0.0.1", port))
                answer = client.recv(1500)
            except (ConnectionError, TimeoutError):
                continue
    assert answer[:2] == b"\x01\x01"
    assert answer[8:20] == b"twelve bytes"
