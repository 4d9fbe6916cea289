"""A fuzzer that is driven by the API description finds no failure of the server and no answer that isn't described:
neither its status, nor its content type, nor its body."""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.account import Account
from tests.support.api import Api, png
from tests.support.server import ServerProcess

ENDS_LOGINS = r"^/api/(logout|logins/end)$"
"""What would lock the fuzzer out."""
UNCHECKED = (
    "positive_data_acceptance",  # a rule that isn't one of form (a message that is empty) is refused by 400 too
    "allow_header_conformance",  # GET /file/{name} takes POST /file/upload's path as well
)
TIMEOUT = 110.0


@dataclass(frozen=True, slots=True)
class Target:
    """A server of its own, with ids that begin at 1: Ann, who fuzzes, her contacts, a group, messages, a call."""

    server: ServerProcess
    ann: Account
    document: Any
    file: str


async def _populate(base: str) -> tuple[Account, str]:
    async with aiohttp.ClientSession() as http:
        ann, ben, cyd = [await Account.register(http, base, name) for name in ("ann", "ben", "cyd")]
        contact = await ann.befriend(ben)
        await ann.befriend(cyd)
        dora = await Account.register(http, base, "dora")
        await dora.api.ask(ann.user_id)
        await ann.api.make_group("group", [contact])
        url = await ann.api.upload(png())
        await ann.api.send(contact, "hello")
        await ann.api.send(contact, thumbnail=url)
        await ann.api.call("POST", "/call", json={"contactId": contact, "userIds": [ben.user_id]})
        return ann, url.removeprefix("file/")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    server = ServerProcess(tmp_path_factory.mktemp("fuzz"), {})
    try:
        server.start_and_wait()
        ann, file = asyncio.run(_populate(server.base))
        with urllib.request.urlopen(f"{server.base}/api/openapi.json") as got:  # noqa: S310  our own http
            yield Target(server, ann, json.load(got), file)
        server.check_log()
        assert '"code": 500' not in server.log()
    finally:
        server.stop()


def _near(schema: Any, name: str, file: str) -> Any:
    """The schema of what is sent, where ids are those of things that are there, or nearly."""
    if isinstance(schema, list):
        return [_near(item, name, file) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "properties" in schema:
        return schema | {"properties": {key: _near(value, key, file) for key, value in schema["properties"].items()}}
    if schema.get("type") == "integer" and name.endswith(("Id", "Ids")):
        return schema | {"minimum": 1, "maximum": 6}
    if schema.get("type") == "string" and name == "name" and "minLength" in schema and "maxLength" not in schema:
        return schema | {"enum": [file]}
    return {key: _near(value, name, file) for key, value in schema.items()}


def _near_document(target: Target) -> Any:
    """The description, but what is asked for is mostly there."""
    document = json.loads(json.dumps(target.document))
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                parameter["schema"] = _near(parameter["schema"], parameter["name"], target.file)
            for content in operation.get("requestBody", {}).get("content", {}).values():
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                if name:
                    schemas = document["components"]["schemas"]
                    schemas[name] = _near(schemas[name], "", target.file)
    return document


def _fuzz(target: Target, document: Any, directory: Path, *options: str) -> None:
    file = directory / "openapi.json"
    file.write_text(json.dumps(document))
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", target.server.base, "--no-color",
        "--header", f"Authorization: {target.ann.api.token}", "--generation-deterministic", "--no-shrink",
        "--checks", "all", "--exclude-checks", ",".join(UNCHECKED), "--continue-on-failure", "--warnings", "off",
        *options,
    ]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ICHAT_")}
    done = subprocess.run(
        command, cwd=directory, env=environment, timeout=TIMEOUT, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_at_the_limits_of_every_field(target: Target, tmp_path: Path) -> None:
    options = ("--phases", "coverage", "--exclude-path-regex", ENDS_LOGINS)
    _fuzz(target, target.document, tmp_path, *options)


def test_with_ids_of_what_is_there(target: Target, tmp_path: Path) -> None:
    options = ("--phases", "fuzzing", "--mode", "positive", "--max-examples", "12")
    _fuzz(target, _near_document(target), tmp_path, *options, "--exclude-path-regex", ENDS_LOGINS)


def test_with_what_does_not_fit(target: Target, tmp_path: Path) -> None:
    options = ("--phases", "fuzzing", "--mode", "negative", "--max-examples", "4")
    _fuzz(target, target.document, tmp_path, *options, "--exclude-path-regex", ENDS_LOGINS)


def test_what_ends_the_login(target: Target, tmp_path: Path) -> None:
    _fuzz(target, target.document, tmp_path, "--phases", "coverage", "--include-path-regex", ENDS_LOGINS)
    again = asyncio.run(_answers(target))
    assert again in (401, 1005), "the fuzzer never logged out"


async def _answers(target: Target) -> int:
    async with aiohttp.ClientSession() as http:
        return (await Api(http, target.server.base, target.ann.api.token).answer("GET", "/contact")).code
