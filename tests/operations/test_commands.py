"""The command line: what it prints, and how it ends."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import __version__
from server.__main__ import main
from server.runtime.data import SECRET_FILE
from tests.operations.conftest import StartServer
from tests.support.cluster import Cluster
from tests.support.mariadb import MariaDb
from tests.support.server import START_TIMEOUT

SECRET = "a-secret-of-more-than-32-bytes-for-the-tokens"


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In an empty directory, with none but the default settings, and the process' logging afterwards as it was."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _run(*arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """As its operators run it, in the working directory."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2]), **settings}
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        env=environment, capture_output=True, text=True, timeout=START_TIMEOUT, check=False,
    )  # fmt: skip


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"ichat {__version__}\n"


@pytest.mark.usefixtures("alone")
def test_check_config_shows_every_value_with_its_source(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.yml").write_text("http:\n  host: 127.0.0.1\n")
    monkeypatch.setenv("ICHAT_HTTP_PORT", "9000")
    monkeypatch.setenv("ICHAT_JWT_SECRET", SECRET)
    assert main(["check-config"]) == 0
    shown = capsys.readouterr().out
    lines = {line.split("  ")[0].strip(): line.split(maxsplit=1)[1] for line in shown.splitlines()}
    assert lines["http.port"] == "9000  [ICHAT_HTTP_PORT]"
    assert lines["http.host"].startswith("127.0.0.1  [")
    assert "config.yml" in lines["http.host"]
    assert lines["http.drain"] == "10  [default]"
    assert SECRET not in shown
    assert not Path("data").exists(), "it only looks"


@pytest.mark.usefixtures("alone")
def test_check_config_lists_all_that_is_wrong_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("config.yml").write_text("http:\n  prot: 1\nredis:\n  mode: threefold\nlog-level: loud\n")
    monkeypatch.setenv("ICHAT_HTTP_PORT", "99999")
    for command in ("check-config", "serve", "migrate"):
        assert main([command]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        for key in ("http.prot", "redis.mode", "log-level", "http.port", "jwt.secret"):
            assert key in output.err
    assert not Path("data").exists()


def test_a_command_that_is_none() -> None:
    with pytest.raises(SystemExit) as end:
        main(["fly"])
    assert end.value.code == 2


@pytest.mark.usefixtures("alone")
def test_migrate_makes_the_embedded_database_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate"]) == 0
    first = capsys.readouterr().out
    assert "from nothing to" in first
    assert Path("data/ichat.db").is_file()
    assert main(["migrate"]) == 0
    assert "up to date" in capsys.readouterr().out


@pytest.mark.usefixtures("alone")
def test_migrate_makes_the_tables_of_mysql(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, mariadb: MariaDb
) -> None:
    database = mariadb.create_database()
    environment = {
        "HOST": database.host, "PORT": str(database.port), "USER": database.user,
        "PASSWORD": database.password.get_secret_value(), "DBNAME": database.dbname,
    }  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(f"ICHAT_MYSQL_{name}", value)
    monkeypatch.setenv("ICHAT_JWT_SECRET", SECRET)
    assert main(["serve"]) == 1, "it doesn't start on tables that aren't there"
    assert "database" in capsys.readouterr().err
    assert main(["migrate"]) == 0
    assert "from nothing to" in capsys.readouterr().out
    assert mariadb.execute(f"SHOW TABLES FROM `{database.dbname}` LIKE 'chat_messages'")
    monkeypatch.setenv("ICHAT_MYSQL_PASSWORD", "wrong")
    for command, told in (("migrate", "The database could not be migrated"), ("serve", "The database can't be used")):
        assert main([command]) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("{")]
        assert line.startswith(told)
        assert "Access denied" in line
    mariadb.drop_database(database.dbname)


@pytest.mark.parametrize("arguments", [["--workers", "2"], ["--workers", "0"], ["--workers", "many"]])
def test_several_processes_need_something_between_them(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(["serve", *arguments])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert "--workers" in capsys.readouterr().err


def test_a_secret_is_made_with_a_warning(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server()
    file = tmp_path / "data" / SECRET_FILE
    secret = file.read_text()
    assert f"no jwt.secret is configured: using the one kept in {file}" in server.log()
    assert secret not in server.log()


@pytest.mark.parametrize("cluster", ["embedded"], indirect=True)
def test_a_second_server_is_kept_out(cluster: Cluster, tmp_path: Path) -> None:
    (first,) = cluster.servers
    same_data = {"ICHAT_DATA_DIR": first.environ["ICHAT_DATA_DIR"], "ICHAT_HTTP_PORT": "0"}
    done = _run("serve", **same_data)
    assert done.returncode == 1
    assert f"another server uses {same_data['ICHAT_DATA_DIR']}" in done.stderr
    done = _run("serve", ICHAT_DATA_DIR=str(tmp_path / "other"), ICHAT_HTTP_PORT=str(first.port))
    assert done.returncode == 1
    assert "Can't serve" in done.stderr
    assert "Traceback" not in done.stderr
    assert first.is_ready()


def test_redis_that_is_not_there(tmp_path: Path) -> None:
    done = _run("serve", ICHAT_REDIS_HOST="127.0.0.1", ICHAT_REDIS_PORT="1", ICHAT_JWT_SECRET=SECRET)
    assert done.returncode == 1
    assert "Redis can't be reached" in done.stderr
    assert "Traceback" not in done.stderr
