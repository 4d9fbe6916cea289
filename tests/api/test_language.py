"""Chinese unless English is preferred (RFC 9110, section 12.5.4)."""

import pytest

from server.errors import Language
from server.wire.language import preferred

ZH, EN = Language.CHINESE, Language.ENGLISH


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, ZH),
        ("", ZH),
        ("en", EN),
        ("EN-us", EN),
        ("zh-CN", ZH),
        ("zh-CN,zh;q=0.9,en;q=0.8", ZH),
        ("en-GB,en;q=0.9,zh;q=0.5", EN),
        ("fr,en;q=0.1", EN),
        ("fr", ZH),
        ("en;q=0.5,zh;q=0.5", ZH),
        ("en;q=0", ZH),
        ("*", ZH),
        ("zh;q=0.2,*;q=0.7", EN),
        ("en;q=0.2,*;q=0.7", ZH),
        ("en;q=high,zh;q=0.1", ZH),
        ("en;q=7", EN),
        ("en ; q = 0.9 , zh ; q=0.8", EN),
        (";;,=,q", ZH),
        ("x" * 10_000 + ",en", ZH),
    ],
)
def test_which_language_is_preferred(header: str | None, language: Language) -> None:
    assert preferred(header) is language
