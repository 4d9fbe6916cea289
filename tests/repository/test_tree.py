"""Rules that every file keeps."""

import re
from pathlib import Path

import pytest

from tests.repository.tree import files, text

LONGEST = 450
"""Lines; a longer module has two things in it."""
_ONE_MACHINE = re.compile(r"/(?:root|work|home)/\w")


def _written() -> list[Path]:
    """What people write: not what tools do."""
    return [name for name in files() if not (name.parent.name == "requirements" and name.suffix == ".txt")]


def test_the_rules_have_something_to_look_at() -> None:
    assert len(_written()) > 100


def test_no_module_is_too_long() -> None:
    counted = {str(name): len(text(name).splitlines()) for name in _written() if name.suffix != ".md"}
    assert {name: lines for name, lines in counted.items() if lines > LONGEST} == {}


def test_nothing_names_a_directory_of_one_machine() -> None:
    found = {str(name): match[0] for name in files() if (match := _ONE_MACHINE.search(text(name)))}
    assert found == {}


@pytest.mark.parametrize("ending", ["\r\n", "\t\n", " \n"])
def test_lines_end_where_they_end(ending: str) -> None:
    assert [str(name) for name in _written() if ending in (text(name) + "\n")] == []
