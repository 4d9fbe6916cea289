"""`make` and the scripts behind it: what they say where something is missing, and that they change nothing else."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, text

TARGETS = re.findall(r"^([a-z]+):.* ## ", text("Makefile"), re.M)
_TOOLS = ("bash", "cat", "dirname", "env", "flock", "id", "make", "mkdir", "nproc", "sh", "sha256sum")


def _run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=100,
        check=False,
        text=True,
    )


def _programs(directory: Path, scripts: Mapping[str, str], *more: str) -> Path:
    """A directory for PATH with little more than a shell, and `scripts`, which may stand in for one of these."""
    directory.mkdir()
    for name, body in scripts.items():
        with (directory / name).open("x") as script:
            script.write(f"#!/bin/sh\n{body}\n")
        (directory / name).chmod(0o755)
    for name in {*_TOOLS, *more} - scripts.keys():
        (directory / name).symlink_to(shutil.which(name) or "")
    return directory


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What `make setup` and the checks of the programs need, without an environment."""
    clone = tmp_path / "clone"
    for name in ("Makefile", "scripts", "requirements"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, clone / name)
        else:
            clone.mkdir()
            shutil.copy2(source, clone / name)
    return clone


def test_the_commands_that_scripts_of_others_use() -> None:
    assert {"setup", "run", "test", "lint", "format", "bench"} <= set(TARGETS)
    assert set(TARGETS) == set(re.findall(r"^  make (\w+)", _run("make", "help").stdout, re.M))


@pytest.mark.parametrize("target", TARGETS)
def test_every_command_is_understood(target: str) -> None:
    planned = _run("make", "-n", target, TESTS="tests/repository")
    assert planned.returncode == 0, planned.stdout


def test_continuous_integration_ends_as_the_tests_do(tmp_path: Path) -> None:
    for code in (0, 3):
        path = _programs(tmp_path / f"bin{code}", {"make": f'echo "make $*"; exit {code}', "timeout": 'shift 2; "$@"'})
        done = _run("bash", ".ci/run", PATH=str(path))
        assert (done.returncode, done.stdout) == (code, "make test\n")


def test_setup_without_python(clone: Path, tmp_path: Path) -> None:
    other = 'echo "Python 3.12" >&2; exit 1'
    path = _programs(tmp_path / "bin", {"python3": other, "rm": "exit 1"})
    done = _run("make", "setup", cwd=clone, PATH=str(path))
    assert done.returncode != 0
    assert "Python 3.11 is needed" in done.stdout
    assert "apt-get install python3.11 python3.11-venv" in done.stdout
    assert not (clone / ".venv").exists()


def test_setup_where_debian_has_split_off_what_makes_environments(clone: Path, tmp_path: Path) -> None:
    python = 'case "$2" in *ensurepip*) exit 1;; *version_info*) exit 0;; esac; exit 9'
    done = _run("make", "setup", cwd=clone, PATH=str(_programs(tmp_path / "bin", {"python3.11": python})))
    assert done.returncode != 0
    assert "apt-get install python3.11-venv" in done.stdout
    assert not (clone / ".venv").exists()


def test_setup_takes_python3_where_that_is_the_right_one_and_mends_what_was_left_half_made(
    clone: Path, tmp_path: Path
) -> None:
    """A stand-in for Python that keeps a record, and makes an environment that consists of itself."""
    record = tmp_path / "record"
    python = (
        f'echo "$*" >>{record}\n'
        'case "$*" in\n'
        '  "-m venv --clear .venv") mkdir -p .venv/bin; cat "$0" >.venv/bin/python; chmod +x .venv/bin/python;;\n'
        "esac"
    )
    path = _programs(tmp_path / "bin", {"python3": python}, "chmod")
    (clone / ".venv" / "bin").mkdir(parents=True)
    for command in (["make", "setup"], ["make", "setup"], ["scripts/environment", "dev"], ["make", "setup"]):
        done = _run(*command, cwd=clone, PATH=str(path))
        assert done.returncode == 0, done.stdout
    calls = record.read_text().splitlines()
    assert calls.count("-m venv --clear .venv") == 1
    installs = [call for call in calls if call.startswith("-m pip install")]
    assert [call.split()[-1] for call in installs] == ["requirements/runtime.txt", "requirements/dev.txt"]
    assert all("--require-hashes" in call for call in installs)


def test_what_was_pinned_anew_is_installed(clone: Path, tmp_path: Path) -> None:
    record = tmp_path / "record"
    venv = clone / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text(f'#!/bin/sh\necho "$*" >>{record}\n')
    (venv / "python").chmod(0o755)
    path = _programs(tmp_path / "bin", {})
    for _ in range(2):
        assert _run("scripts/environment", "dev", cwd=clone, PATH=str(path)).returncode == 0
        with (clone / "requirements" / "dev.txt").open("a") as lock:
            lock.write("# changed\n")
    assert record.read_text().count("-m pip install") == 2


def test_an_installation_that_failed_is_not_taken_for_one(clone: Path, tmp_path: Path) -> None:
    path = _programs(tmp_path / "bin", {})
    venv = clone / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").write_text('#!/bin/sh\ncase "$*" in *"pip install"*) echo "no network"; exit 1;; esac\n')
    (venv / "python").chmod(0o755)
    for _ in range(2):
        done = _run("make", "setup", cwd=clone, PATH=str(path))
        assert done.returncode != 0
        assert "no network" in done.stdout
        assert "could not be installed" in done.stdout


def test_what_the_tests_need_from_debian_is_named_where_it_can_not_be_installed(clone: Path, tmp_path: Path) -> None:
    everything = ["chromium", "chromedriver", "mariadbd", "nginx", "turnserver"]
    path = _programs(tmp_path / "bin", {"id": "echo 1000", **dict.fromkeys(everything, "exit 0")})
    script = (clone / "scripts" / "debian-packages").read_text()
    alone = script.replace("PATH=$PATH:/usr/sbin:/sbin\n", "")  # this machine's own programs don't count
    assert alone != script
    (clone / "scripts" / "debian-packages").write_text(alone)
    done = _run("scripts/debian-packages", cwd=clone, PATH=str(path))
    assert done.returncode == 1
    assert done.stdout.strip().endswith("sudo apt-get install --yes --no-install-recommends redis-server")


def test_what_the_tests_need_from_debian_is_installed_by_root_without_starting_it(clone: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy-rc.d"
    record = tmp_path / "record"
    apt = f'echo "$*" >>{record}; [ -x {policy} ] && ! {policy} && echo "services stay down" >>{record}; exit 0'
    path = _programs(tmp_path / "bin", {"id": "echo 0", "apt-get": apt}, "mktemp", "rm", "chmod")
    script = (clone / "scripts" / "debian-packages").read_text()
    alone = script.replace("PATH=$PATH:/usr/sbin:/sbin\n", "").replace("/usr/sbin/policy-rc.d", str(policy))
    (clone / "scripts" / "debian-packages").write_text(alone)
    done = _run("scripts/debian-packages", cwd=clone, PATH=str(path))
    assert done.returncode == 0, done.stdout
    update, down, install, down_again = record.read_text().splitlines()
    assert update == "update"
    assert set(install.split()) >= {"install", "mariadb-server", "redis-server", "coturn", "nginx", "chromium-driver"}
    assert down == down_again == "services stay down"
    assert not policy.exists()
