"""The envelope of answers, and every code with its texts."""

import json
import string
from datetime import datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from server.errors import ApiError, ErrorCode, Language
from server.wire import envelope
from server.wire.objects import Settings

CODES = {
    300: {400},
    401: {401},
    403: {403},
    404: {404},
    405: {405},
    413: {413},
    429: {429},
    500: {500, 503},
    1001: {404},
    1002: {409},
    1003: {400},
    1004: {401},
    1005: {401},
    2001: {409},
    2002: {409},
    2003: {404},
    2004: {409},
    2005: {404},
    2006: {410},
    2007: {409},
    2008: {400},
    2009: {400},
    3001: {410},
    3002: {400},
    3005: {503},
    3006: {404},
    3007: {409},
    3008: {409},
    3009: {409},
    4001: {500},
}
"""The contract's codes, each with the HTTP statuses that fit it here."""


def test_every_code_of_the_contract_is_there_and_no_other() -> None:
    there: dict[int, set[int]] = {}
    for code in ErrorCode:
        there.setdefault(code.number, set()).add(code.status)
    assert there == CODES


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_every_code_has_a_text_in_both_languages_with_the_same_details(code: ErrorCode) -> None:
    chinese, english = code.value.zh, code.value.en
    names = [{name for _, name, _, _ in string.Formatter().parse(text) if name} for text in (chinese, english)]
    assert names[0] == names[1]
    details = {name: (f"中{name}", f"en {name}") for name in names[0]}
    error = ApiError(code, **details)
    assert any("\u4e00" <= character <= "\u9fff" for character in error.text(Language.CHINESE))
    assert error.text(Language.ENGLISH).isascii()
    for name in names[0]:
        assert f"en {name}" in error.text(Language.ENGLISH)
        assert f"中{name}" in error.text(Language.CHINESE)


@pytest.mark.parametrize(
    ("kind", "data", "written"),
    [
        (None, None, "null"),
        (int, 2**63 - 1, "9223372036854775807"),
        (str, 'file/a"b', '"file/a\\"b"'),
        (list[Settings | None], [Settings(wallpaper="图"), None], '[{"wallpaper":"图"},null]'),
    ],
)
def test_a_success(kind: Any, data: object, written: str) -> None:
    body = envelope.success(TypeAdapter(kind), data)
    assert body.decode() == f'{{"status":"ok","code":200,"data":{written}}}'


def test_a_failure() -> None:
    error = ApiError(ErrorCode.TOO_MANY, seconds=7)
    assert json.loads(envelope.failure(error, Language.CHINESE)) == {
        "status": "error",
        "code": 429,
        "message": "操作过于频繁，请 7 秒后再试",
    }
    assert json.loads(envelope.failure(error, Language.ENGLISH))["message"] == "Too many requests: try again in 7 s"


def test_a_detail_may_hold_anything() -> None:
    error = ApiError(ErrorCode.BAD_REQUEST, detail='{braces} "quotes" \u2028')
    assert (
        json.loads(envelope.failure(error, Language.ENGLISH))["message"] == 'Invalid request: {braces} "quotes" \u2028'
    )
    when = ApiError(ErrorCode.BAD_REQUEST, detail=datetime(2026, 1, 2))
    assert when.text(Language.ENGLISH) == "Invalid request: 2026-01-02 00:00:00"
