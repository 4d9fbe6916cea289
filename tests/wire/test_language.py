"""Which language an `Accept-Language` header asks for."""

import pytest

from server.errors import Language
from server.wire.language import preferred

ENGLISH = [
    "en",
    "en-US",
    "EN-gb",
    "en-US,en;q=0.9",
    "fr,en;q=0.5",
    "en,zh;q=0.9",
    "zh;q=0.5,en;q=0.8",
    "*;q=0.5,en;q=0.6",
    "en;q=1.0, zh-CN;q=0.999",
    "zh;q=0, en;q=0.001",
    "en ; q = 0.5",
]
CHINESE = [
    None,
    "",
    "zh",
    "zh-CN,zh;q=0.9,en;q=0.8",
    "zh-TW",
    "fr",
    "fr-CH, de;q=0.9",
    "*",
    "en,zh",
    "en;q=0",
    "en;q=0.8,zh;q=0.8",
    "english",
    ",;=,;q",
    "en;q=nan",
    "en;q=x",
    "\x00\xff",
    "x," * 10_000 + "en",
]


@pytest.mark.parametrize("header", ENGLISH)
def test_english_is_preferred(header: str) -> None:
    assert preferred(header) is Language.ENGLISH


@pytest.mark.parametrize("header", CHINESE, ids=lambda header: repr(header)[:40])
def test_chinese_is_spoken_otherwise(header: str | None) -> None:
    assert preferred(header) is Language.CHINESE
