"""Tokens: what is in them, and that no other is accepted."""

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from server.config.settings import Jwt
from server.errors import ApiError, ErrorCode
from server.services.tokens import CallPass, Tokens
from tests.store.conftest import TestClock

SECRET = "a secret of thirty-two bytes or so"
ISSUER = "chat.example"
BIG = 2**59


@pytest.fixture
def tokens(clock: TestClock) -> Tokens:
    return Tokens(Jwt(secret=SecretStr(SECRET), issuer=ISSUER), clock)


def _code(tokens: Tokens, token: str, *, call: bool = False) -> ErrorCode:
    with pytest.raises(ApiError) as refused:
        tokens.read_call(token) if call else tokens.read_login(token)
    return refused.value.code


def test_a_login_token_holds_the_login_for_24_hours(tokens: Tokens, clock: TestClock) -> None:
    expiry = tokens.login_expiry()
    assert expiry - clock.now() == timedelta(hours=24)
    token = tokens.for_login(BIG, expiry)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=ISSUER, options={"verify_exp": False})
    assert claims == {"iss": ISSUER, "exp": int(expiry.timestamp()), "pl": str(BIG)}
    assert tokens.read_login(token) == BIG


def test_a_call_token_holds_call_and_user_for_3_hours(tokens: Tokens, clock: TestClock) -> None:
    token = tokens.for_call(7, BIG)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=ISSUER, options={"verify_exp": False})
    assert claims["pl"] == f"call:7:{BIG}"
    assert claims["exp"] == int((clock.now() + timedelta(hours=3)).timestamp())
    assert tokens.read_call(token) == CallPass(7, BIG)


def test_a_token_of_one_kind_is_none_of_the_other(tokens: Tokens) -> None:
    assert _code(tokens, tokens.for_call(7, 8)) is ErrorCode.UNAUTHORIZED
    assert _code(tokens, tokens.for_login(7, tokens.login_expiry()), call=True) is ErrorCode.UNAUTHORIZED


def test_a_token_expires_by_the_servers_clock(tokens: Tokens, clock: TestClock) -> None:
    login, call = tokens.for_login(7, tokens.login_expiry()), tokens.for_call(7, 8)
    clock.advance(3 * 3600 - 1)
    assert tokens.read_call(call) == CallPass(7, 8)
    clock.advance(1)
    assert _code(tokens, call, call=True) is ErrorCode.LOGIN_EXPIRED
    clock.advance(21 * 3600 - 1)
    assert tokens.read_login(login) == 7
    clock.advance(1)
    assert _code(tokens, login) is ErrorCode.LOGIN_EXPIRED


def _part(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_forged_tokens_are_no_logins(tokens: Tokens, clock: TestClock) -> None:
    good = tokens.for_login(7, tokens.login_expiry())
    header, claims, signature = good.split(".")
    expired = {"iss": ISSUER, "exp": int(clock.now().timestamp()) - 9, "pl": "7"}
    for forged in (
        "",
        ".",
        "..",
        "7",
        "a.b.c",
        good[:-1],
        good + "x",
        good + ".x",
        f"{header}.{claims}.",
        f"{header}.{_part({'iss': ISSUER, 'exp': 2**40, 'pl': '8'})}.{signature}",
        f"{_part({'alg': 'none'})}.{claims}.",
        f"{_part({'alg': 'none', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{_part({'alg': 'HS512', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{_part(b'no json')}.{claims}.{signature}",
        f"{_part([])}.{claims}.{signature}",
        f"{header}.{_part(b'[' * 100_000)}.{signature}",
        jwt.encode({"iss": ISSUER, "exp": 2**40, "pl": "7"}, "another secret of thirty-two bytes", algorithm="HS256"),
        jwt.encode(expired, "another secret of thirty-two bytes", algorithm="HS256"),
        good.replace(".", "\N{FULL STOP}\0"),
        "😀" * 1000,
        "\ud800",
    ):
        assert _code(tokens, forged) is ErrorCode.UNAUTHORIZED, forged[:100]
        assert _code(tokens, forged, call=True) is ErrorCode.UNAUTHORIZED, forged[:100]


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "another.example"},
        {"iss": None},
        {"exp": None},
        {"exp": "never"},
        {"pl": None},
        {"pl": 7},
        {"pl": ["7"]},
        {"pl": ""},
        {"pl": "-7"},
        {"pl": "+7"},
        {"pl": " 7"},
        {"pl": "7.0"},
        {"pl": "٧"},
        {"pl": "9" * 19},
        {"pl": "call:"},
        {"pl": "call:7"},
        {"pl": "call:7:"},
        {"pl": "call::8"},
        {"pl": "call:7:8:9"},
        {"pl": "Call:7:8"},
    ],
    ids=str,
)
def test_what_is_signed_and_no_token_of_ours_is_refused(tokens: Tokens, changed: dict[str, Any]) -> None:
    claims = {"iss": ISSUER, "exp": 2**40, "pl": "7"} | changed
    token = jwt.encode({name: value for name, value in claims.items() if value is not None}, SECRET, algorithm="HS256")
    assert _code(tokens, token) is ErrorCode.UNAUTHORIZED
    assert _code(tokens, token, call=True) is ErrorCode.UNAUTHORIZED
