"""Logs as text or JSON, with the ids of what they belong to and without secrets."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import Any

import pytest

from server.runtime import logs

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJwbCI6IjEifQ.c2lnbmF0dXJl"
_IDS: list[tuple[ContextVar[Any], Any]] = [
    (logs.request_id_var, ""), (logs.user_id_var, 0), (logs.session_id_var, ""), (logs.call_id_var, 0),
]  # fmt: skip
_log = logging.getLogger("tests.some.part")


@pytest.fixture(autouse=True)
def _kept_logging() -> Iterator[None]:
    """`configure` is for the whole process: afterwards all is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    ids = [(var, var.set(nothing)) for var, nothing in _IDS]
    yield
    for var, token in ids:
        var.reset(token)
    root.handlers[:] = handlers
    root.setLevel(level)


Written = pytest.CaptureFixture[str]


def _record(capsys: Written) -> dict[str, Any]:
    (line,) = capsys.readouterr().err.splitlines()
    record: dict[str, Any] = json.loads(line)
    return record


def test_as_json_where_nobody_looks(capsys: Written) -> None:
    logs.configure("info", "auto")
    _log.info("hello %s", "世界", extra={"route": "GET /it", "ms": 1.5})
    record = _record(capsys)
    moment = datetime.fromisoformat(record.pop("time"))
    assert moment.utcoffset() == timedelta(0)
    assert record == {
        "level": "INFO", "logger": "tests.some.part", "message": "hello 世界", "route": "GET /it", "ms": 1.5,
    }  # fmt: skip


def test_as_text_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        logs.configure("info", "auto")
        logs.request_id_var.set("abc")
        _log.warning("careful")
        terminal.flush()
        line = os.read(ours, 1000).decode()
    os.close(ours)
    assert line.rstrip().endswith("WARNING tests.some.part: careful request_id=abc")


@pytest.mark.parametrize("style", ["text", "json"])
def test_the_ids_of_what_is_going_on(capsys: Written, style: Any) -> None:
    logs.configure("info", style)
    logs.request_id_var.set("0123456789abcdef")
    logs.user_id_var.set(7)
    logs.session_id_var.set("a-session")
    logs.call_id_var.set(0)
    _log.info("on the way")
    if style == "json":
        record = _record(capsys)
        assert record["request_id"] == "0123456789abcdef"
        assert (record["user_id"], record["session_id"]) == (7, "a-session")
        assert "call_id" not in record
    else:
        line = capsys.readouterr().err.rstrip()
        assert line.endswith("on the way request_id=0123456789abcdef user_id=7 session_id=a-session")


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_tokens_not_even_in_a_traceback(capsys: Written, style: Any) -> None:
    logs.configure("info", style)
    try:
        raise ValueError(f"bad token={TOKEN}&more=1")
    except ValueError:
        _log.exception("asked with Authorization: Bearer %s and ?token=%s", "a-secret", "another-secret")
    text = capsys.readouterr().err
    for secret in (TOKEN, TOKEN.rpartition(".")[2], "a-secret", "another-secret"):
        assert secret not in text
    assert "ValueError" in text
    assert "more=1" in text


def test_the_level_counts_and_chatty_libraries_are_quiet(capsys: Written) -> None:
    logs.configure("debug", "json")
    _log.debug("said")
    for library in ("asyncio", "aiosqlite", "aiohttp.access", "alembic"):
        logging.getLogger(library).info("chatter")
    logs.configure("error", "json")
    _log.warning("not said")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["said"]
