"""The image's steps, by hand: the files that it copies in a directory of their own, which can't be written to, and the
commands that it runs there."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from server import __version__
from tests.repository.dockerfile import stages
from tests.repository.tree import ROOT
from tests.support.certificate import Certificate
from tests.support.server import START_TIMEOUT, free_port

_UNPRIVILEGED = ("setpriv", "--inh-caps=-all", "--bounding-set=-all") if os.geteuid() == 0 else ()
"""Root, too, is then held to the permissions of files."""


class Image:
    """Its file tree below `root`, its data in `data`."""

    def __init__(self, root: Path, data: Path) -> None:
        self._build, self._final = stages()
        self.app = root / "app"
        self.data = data
        self._make()

    def _make(self) -> None:
        self.app.mkdir(parents=True)
        for source, target in self._build.copied:
            self._copy(ROOT / source, self.app / target)
        for step in self._build.all("RUN"):
            if "pip install" not in step and " -m venv " not in step:
                subprocess.run(self._words(shlex.split(step)), cwd=self.app, check=True)
        for path in (self.app, *self.app.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(exist_ok=True)
            shutil.copy2(source, target)

    @staticmethod
    def _words(command: Sequence[str]) -> list[str]:
        """The command with the interpreter of these tests in the place of the image's."""
        program, *rest = command
        assert Path(program).name == "python", command
        return [sys.executable, *rest]

    def run(self, instruction: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """One of the image's commands, in its environment; `arguments` replace those that the image has for it."""
        command = self._words(self._final.command(instruction))
        if instruction == "ENTRYPOINT":
            command += arguments or self._final.command("CMD")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("ICHAT_", "PYTHON"))}
        image = self._final.environment | {"ICHAT_DATA_DIR": str(self.data), "PATH": os.environ["PATH"]}
        return subprocess.Popen(
            [*_UNPRIVILEGED, *command],
            cwd=self.app,
            env=clean | image | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output(self, instruction: str, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit code and output of a command that ends by itself."""
        with self.run(instruction, *arguments, **environment) as process:
            output, _ = process.communicate(timeout=START_TIMEOUT)
            return process.returncode, output

    @contextmanager
    def serving(self, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """While it serves and its health check passes."""
        process = self.run("ENTRYPOINT", **environment)
        try:
            deadline = time.monotonic() + START_TIMEOUT
            while self.output("HEALTHCHECK", **environment)[0] != 0:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
            yield process
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return Image(tmp_path_factory.mktemp("image"), tmp_path_factory.mktemp("data"))


def _tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_the_tree_can_not_be_written_to(image: Image) -> None:
    wrote = subprocess.run(
        [*_UNPRIVILEGED, "touch", str(image.app / "server" / "new")], capture_output=True, check=False
    )
    assert wrote.returncode != 0


def test_the_commands_that_end(image: Image) -> None:
    assert image.output("ENTRYPOINT", "version") == (0, f"ichat {__version__}\n")
    code, output = image.output("ENTRYPOINT", "check-config", ICHAT_HTTP_PORT="1234")
    assert code == 0
    assert "1234  [ICHAT_HTTP_PORT]" in output
    assert f"{image.data}  [ICHAT_DATA_DIR]" in output


def test_it_serves_with_its_data_in_the_volume_and_stops_in_order(image: Image) -> None:
    before = _tree(image.app)
    port = str(free_port())
    with image.serving(ICHAT_HTTP_PORT=port, ICHAT_HTTP_DRAIN="1") as server:
        server.send_signal(signal.SIGTERM)
        output, _ = server.communicate(timeout=START_TIMEOUT)
        assert server.returncode == 0, output
    assert f":{port}" in output
    assert {"jwt-secret", "uploads"} < _tree(image.data)
    assert _tree(image.app) == before
    code, output = image.output("HEALTHCHECK", ICHAT_HTTP_PORT=port)
    assert code == 1
    assert "refused" in output


def test_the_health_check_follows_the_configuration(image: Image, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    file = tmp_path / "config.yml"
    file.write_text(
        f"http: {{host: '::1', port: {free_port()}, tls-cert: {certificate.cert}, tls-key: {certificate.key}}}\n"
    )
    with image.serving(ICHAT_CONFIG=str(file), ICHAT_DATA_DIR=str(tmp_path / "data")):
        pass
