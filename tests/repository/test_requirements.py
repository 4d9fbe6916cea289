"""The locked requirements: whole, pinned with hashes, and enough for what is imported."""

import ast
import importlib.metadata
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, text

_PIN = re.compile(r"^([\w.-]+)(?:\[[\w,-]+])?==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.M)
_OURS = {"server", "sql", "tests", "scripts"}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _pins(lock: str) -> dict[str, tuple[str, int]]:
    """Of each package in `requirements/<lock>.txt`: its version, and how many hashes it has."""
    found = _PIN.finditer(text(f"requirements/{lock}.txt"))
    return {
        _canonical(name): (version, hashes.count("--hash")) for name, version, hashes in (m.groups() for m in found)
    }


def _asked(source: str) -> set[str]:
    """The packages that `requirements/<source>.in` names."""
    lines = text(f"requirements/{source}.in").splitlines()
    return {_canonical(re.split(r"[\[=<>~!; ]", line)[0]) for line in lines if line and line[0] not in "-#"}


def _imported(*directories: str) -> Iterator[tuple[str, Path]]:
    """Each top-level module that is imported, and where."""
    for directory in directories:
        for file in sorted((ROOT / directory).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from ((alias.name.partition(".")[0], file) for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    yield node.module.partition(".")[0], file


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_every_package_is_pinned_with_its_hashes(name: str) -> None:
    pins = _pins(name)
    lines = text(f"requirements/{name}.txt").splitlines()
    assert len(pins) == sum(not line.startswith((" ", "#")) for line in lines if line)
    assert {package for package, (_, hashes) in pins.items() if not hashes} == set()
    assert _asked(name) <= pins.keys()


def test_tests_run_with_the_versions_that_the_server_gets() -> None:
    assert _pins("runtime").items() <= _pins("dev").items()


def test_the_environment_has_what_is_pinned() -> None:
    pinned = {name: version for name, (version, _) in _pins("dev").items()}
    assert {name: importlib.metadata.version(name) for name in pinned} == pinned


@pytest.mark.parametrize(
    ("lock", "directories"), [("runtime", ("server", "sql", "docker")), ("dev", ("tests", "scripts"))]
)
def test_what_is_imported_is_locked(lock: str, directories: tuple[str, ...]) -> None:
    distributions = importlib.metadata.packages_distributions()
    missing = {
        (module, str(file.relative_to(ROOT)))
        for module, file in _imported(*directories)
        if module not in sys.stdlib_module_names | _OURS
        and not {_canonical(name) for name in distributions.get(module, ())} & _pins(lock).keys()
    }
    assert missing == set()


def test_a_login_of_mysql_8_needs_no_more() -> None:
    """Its default authentication encrypts the password with RSA, for which the driver needs another package."""
    assert "cryptography" in _pins("runtime")
