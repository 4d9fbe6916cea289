"""Tokens: JWTs (RFC 7519) signed by HS256 with the claims `iss`, `exp` and `pl`, what the token stands for."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt

from server.clock import Clock
from server.config.settings import Jwt
from server.errors import ApiError, ErrorCode

_CALL = "call:"


@dataclass(frozen=True, slots=True)
class CallPass:
    """What a call token stands for."""

    call_id: int
    user_id: int


class Tokens:
    """Makes and reads both kinds. A token of one kind is none of the other."""

    def __init__(self, settings: Jwt, clock: Clock) -> None:
        self._settings = settings
        self._secret = settings.secret.get_secret_value()
        self._clock = clock

    def login_expiry(self) -> datetime:
        """When a login that is made now ends."""
        return self._clock.now() + timedelta(seconds=self._settings.login_lifetime)

    def for_login(self, login_id: int, expires_at: datetime) -> str:
        return self._make(str(login_id), expires_at)

    def for_call(self, call_id: int, user_id: int) -> str:
        expires_at = self._clock.now() + timedelta(seconds=self._settings.call_lifetime)
        return self._make(f"{_CALL}{call_id}:{user_id}", expires_at)

    def read_login(self, token: str) -> int:
        """The login id.

        Raises:
            ApiError: UNAUTHORIZED, LOGIN_EXPIRED
        """
        login_id = _number(self._read(token))
        if login_id is None:
            raise ApiError(ErrorCode.UNAUTHORIZED)
        return login_id

    def read_call(self, token: str) -> CallPass:
        """Raises ApiError (UNAUTHORIZED, LOGIN_EXPIRED)."""
        payload = self._read(token)
        if payload.startswith(_CALL):
            call_id, _, user_id = payload.removeprefix(_CALL).partition(":")
            call_number, user_number = _number(call_id), _number(user_id)
            if call_number is not None and user_number is not None:
                return CallPass(call_number, user_number)
        raise ApiError(ErrorCode.UNAUTHORIZED)

    def _make(self, payload: str, expires_at: datetime) -> str:
        claims = {"iss": self._settings.issuer, "exp": expires_at, "pl": payload}
        return jwt.encode(claims, self._secret, algorithm="HS256")

    def _read(self, token: str) -> str:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                issuer=self._settings.issuer,
                options={"require": ["iss", "exp", "pl"], "verify_exp": False},
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:  # no text, or JSON that is nested without end
            raise ApiError(ErrorCode.UNAUTHORIZED) from error
        payload = claims["pl"]
        if not isinstance(payload, str) or not isinstance(claims["exp"], int | float):
            raise ApiError(ErrorCode.UNAUTHORIZED)
        if claims["exp"] <= self._clock.now().timestamp():
            raise ApiError(ErrorCode.LOGIN_EXPIRED)
        return payload


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
