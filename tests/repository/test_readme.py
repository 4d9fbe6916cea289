"""The README tells what is so: links, files, commands, variables, and the table of the configuration."""

import json
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from scripts.configuration_table import with_tables
from server.config.given import FILE_VARIABLE
from server.config.keys import all_keys, all_sections
from server.store.migrations import SCRIPTS
from tests.repository.tree import ROOT, files, text
from tests.support.cluster import Cluster

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


def _prose() -> str:
    """Without the blocks of code."""
    return re.sub(r"```.*?```", "", text("README.md"), flags=re.S)


def _anchors() -> set[str]:
    """The headings, as links name them."""
    headings = re.findall(r"^#+ (.+)$", _prose(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_table_of_the_configuration_is_that_of_the_code() -> None:
    assert with_tables(text("README.md")) == text("README.md"), "run `make docs`"


def test_a_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no place"):
        with_tables("# ichat\n")


def test_links_lead_somewhere() -> None:
    links = {link for link in _LINK.findall(text("README.md")) if "://" not in link}
    assert {"LICENSE", "#configuration"} <= links
    known = {str(path) for file in files() for path in (file, *file.parents)}
    assert {link for link in links if link not in known and link.removeprefix("#") not in _anchors()} == set()


def test_the_files_that_it_names_are_there() -> None:
    roots = {name.parts[0] for name in files() if len(name.parts) > 1}
    named = {code for code in _CODE.findall(_prose()) if code.split("/")[0] in roots and "/" in code}
    assert "requirements/runtime.in" in named
    made = {"docker/.env"}
    missing = {name for name in named - made if not (ROOT / name.split()[0]).exists()}
    assert missing == set()


def test_the_directories_of_the_picture_are_there() -> None:
    (picture,) = re.findall(r"```text\n(server/\n.*?)```", text("README.md"), re.S)
    inside = re.findall(r"(?:^  |  )(\w+/|\w+\.py)(?= )", picture, re.M)
    assert len(inside) >= 11
    assert [name for name in inside if not (ROOT / "server" / name).exists()] == []
    there = {path.name for path in (ROOT / "server").iterdir() if (path / "__init__.py").is_file()}
    assert there == {name.rstrip("/") for name in inside if name.endswith("/")}


def test_the_targets_of_make_are_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), re.M))
    named = set(re.findall(r"(?:^|`|[A-Z]+=\S+ )make ([a-z]+)", text("README.md"), re.M))
    assert {"run", "test", "quick", "bench", "docs", "lock"} <= named
    assert named <= targets


def test_the_commands_of_the_server_are_all_told() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "server", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    commands = set(re.findall(r"^    ([a-z-]+)(?: |$)", told.stdout, re.M))
    assert {"serve", "migrate"} < commands
    assert commands <= set(re.findall(r"^\| `([a-z-]+)[^`]*` \| [A-Z]", text("README.md"), re.M))
    named = set(re.findall(r"-m server ([a-z-]+)", text("README.md")))
    assert named <= commands


def test_the_variables_and_keys_that_it_names_are_there() -> None:
    variables = {key.variable for key in all_keys().values()} | {FILE_VARIABLE}
    named = set(re.findall(r"\bICHAT_\w+", text("README.md"))) - {"ICHAT_", "ICHAT_REDIS_HOTS"}
    assert named <= variables
    sections = {".".join(path) for path in all_sections()}
    keys = {key.name for key in all_keys().values()}
    dotted = {
        code.split(":")[0]
        for code in _CODE.findall(_prose())
        if re.fullmatch(r"[a-z-]+\.[a-z.-]+(: \w+)?", code) and code.split(".")[0] in sections
    }
    assert "http.trusted-proxies" in dotted
    assert dotted - keys == set()


def test_the_migration_that_it_shows_is_the_last_one() -> None:
    last = max(file.stem.split("_")[0] for file in (SCRIPTS / "versions").glob("[0-9]*.py"))
    assert set(re.findall(r"(?:nothing to|up to date at) (\d{4})", text("README.md"))) == {last}


def test_every_version_has_an_entry_in_the_changelog() -> None:
    version = re.search(r'^version = "(.+)"$', text("pyproject.toml"), re.M)
    assert version
    assert f"## [{version[1]}]" in text("CHANGELOG.md")


def _requests() -> list[tuple[list[str], str]]:
    """The words of every `curl` that it shows, and the line below."""
    shown = re.findall(r"^\$ (curl .*(?:\\\n.*)*)\n(\{.*\})$", text("README.md"), re.M)
    return [(shlex.split(command.replace("\\\n", " ")), answer) for command, answer in shown]


async def _answer(http: aiohttp.ClientSession, base: str, words: list[str]) -> Any:
    """What the server says to such a request."""
    method, body, headers = "GET", None, {}
    (path,) = (word.partition("/")[2] for word in words if word.startswith("localhost:8080"))
    for option, value in pairwise(words):
        if option == "-H":
            name, _, content = value.partition(": ")
            headers[name] = content
        elif option == "-d":
            method, body = "POST", value.replace('"ada"', f'"{uuid4().hex[:16]}"')
    async with http.request(method, f"{base}/{path}", data=body, headers=headers) as answer:
        return await answer.json()


async def test_the_server_answers_as_it_is_shown(cluster: Cluster, http: aiohttp.ClientSession) -> None:
    shown = _requests()
    assert len(shown) >= 3
    for words, expected in shown:
        answer, example = await _answer(http, cluster.bases[0], words), json.loads(expected)
        if "token" in expected:
            assert answer["data"].keys() == example["data"].keys()
            answer["data"] = example["data"]
        assert answer == example, words


def test_the_server_starts_as_it_is_shown(cluster: Cluster) -> None:
    (shown,) = re.findall(r"^ichat listens on .*\n(?:  .*\n)+", text("README.md"), re.M)
    labels = re.findall(r"^(ichat listens on|  \w+ +)", shown, re.M)
    assert len(labels) == 5
    (said,) = re.findall(r"^ichat listens on .*\n(?:  .*\n)+", cluster.servers[0].log(), re.M)
    assert re.findall(r"^(ichat listens on|  \w+ +)", said, re.M) == labels
