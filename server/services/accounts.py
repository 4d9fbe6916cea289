"""Accounts: registering, logging in and out, and who is behind a token."""

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from server.bus.interface import Bus, BusUnavailable
from server.clock import Clock
from server.config.settings import Limits
from server.errors import ApiError, ErrorCode
from server.model.entities import ContactRequest, Login, User
from server.model.usernames import username_key
from server.runtime.metrics import Metrics
from server.services.passwords import Passwords
from server.services.ratelimit import RateLimiter
from server.services.tokens import Tokens
from server.store import Store
from server.store.errors import StoreUnavailable
from server.tasks import OwnedTasks

_log = logging.getLogger(__name__)

_LOGIN_ENDED = "login-ended"
_CACHED = 50_000
_RECHECK = 60.0
"""Seconds after which a cached login is looked up again, in case the word of its end was lost."""
_CHUNK = 500
"""Logins of one statement."""
_AGAIN = 1.0
"""Seconds until a database that was away is asked again."""
_TOUCH = 30.0
"""Seconds for which last uses are gathered before they are written."""


@dataclass(frozen=True, slots=True)
class LoginSession:
    """Who is behind a login token."""

    user_id: int
    login_id: int
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Visitor:
    """Where a request comes from: its address and what its device calls itself."""

    address: str
    device: str


@dataclass(frozen=True, slots=True)
class NewLogin:
    user_id: int
    token: str


class Accounts:
    """`start` before use, `close` after."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        clock: Clock,
        tokens: Tokens,
        passwords: Passwords,
        limiter: RateLimiter,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._tokens = tokens
        self._passwords = passwords
        self._limiter = limiter
        self._limits = limits
        self._metrics = metrics
        self._cache: OrderedDict[bytes, tuple[LoginSession, float]] = OrderedDict()
        self._ended: dict[int, None] = {}
        self._used: dict[int, datetime] = {}
        self._on_ended: list[Callable[[int], None]] = []
        self._tasks = OwnedTasks("accounts")
        self._in_use: Callable[[], Sequence[int]] = tuple
        self._doubt = asyncio.Event()
        bus.on_broadcast(_LOGIN_ENDED, lambda data: self._forget(int(data)))
        bus.on_disruption(self._on_disruption)

    def start(self) -> None:
        self._tasks.start(self._touch_regularly(), "touch")
        self._tasks.start(self._look_regularly(), "look")

    async def close(self) -> None:
        await self._tasks.close()
        await self._touch()

    def on_login_ended(self, callback: Callable[[int], None]) -> None:
        """`callback(login id)` in every process, soon after a login was ended."""
        self._on_ended.append(callback)

    def watch(self, in_use: Callable[[], Sequence[int]]) -> None:
        """`in_use()` are logins whose end must be noticed here though nobody asks, and even if nobody could tell."""
        self._in_use = in_use

    # coming in

    async def register(self, username: str, password: str, nickname: str, avatar: str, visitor: Visitor) -> NewLogin:
        """Raises ApiError (USERNAME_TAKEN, TOO_MANY, UNAVAILABLE)."""
        await self._limiter.hit_address(self._limits.register_address, "register", visitor.address)
        password_hash = await self._passwords.hash(password)
        user_id = await self._store.users.create(username, password_hash, nickname, avatar)
        return await self._log_in(user_id, visitor)

    async def login(self, username: str, password: str, visitor: Visitor) -> NewLogin:
        """Raises ApiError (WRONG_PASSWORD, TOO_MANY, UNAVAILABLE)."""
        await self._limiter.hit_address(self._limits.login_address, "login-address", visitor.address)
        await self._limiter.hit(self._limits.login_account, "login-account", _digest(username_key(username)).hex())
        known = await self._store.users.credentials(username)
        if not await self._passwords.check(password, known.password_hash if known else None) or known is None:
            self._metrics.logins.labels("refused").inc()
            raise ApiError(ErrorCode.WRONG_PASSWORD)
        if not self._passwords.is_current(known.password_hash):
            current = await self._passwords.hash(password)
            await self._store.users.set_password_hash(known.user_id, known.password_hash, current)
        return await self._log_in(known.user_id, visitor)

    async def _log_in(self, user_id: int, visitor: Visitor) -> NewLogin:
        expires_at = self._tokens.login_expiry()
        login = await self._store.logins.create(user_id, visitor.device, visitor.address, expires_at)
        self._metrics.logins.labels("accepted").inc()
        return NewLogin(user_id, self._tokens.for_login(login.login_id, expires_at))

    # who is it

    async def authenticate(self, token: str) -> LoginSession:
        """Who is behind a login token.

        Raises:
            ApiError: UNAUTHORIZED (no such login), LOGIN_EXPIRED (expired or ended), UNAVAILABLE (can't tell now)
        """
        token = _without_scheme(token)
        if not token:
            raise ApiError(ErrorCode.UNAUTHORIZED)
        key = _digest(token)
        now, moment = asyncio.get_running_loop().time(), self._clock.now()
        cached = self._cache.get(key)
        if cached is not None and now - cached[1] < _RECHECK:
            session = cached[0]
            if session.expires_at <= moment:
                raise ApiError(ErrorCode.LOGIN_EXPIRED)
        else:
            try:
                session = await self._look_up(self._tokens.read_login(token))
            except StoreUnavailable as error:
                if cached is None:
                    raise ApiError(ErrorCode.UNAVAILABLE) from error
                session = cached[0]  # it was good a minute ago; a database that is away logs nobody out
            if session.login_id in self._ended:  # heard while it was looked up
                raise ApiError(ErrorCode.LOGIN_EXPIRED)
            self._cache[key] = (session, now)
            if len(self._cache) > _CACHED:
                self._cache.popitem(last=False)
        self._used[session.login_id] = moment
        return session

    async def _look_up(self, login_id: int) -> LoginSession:
        login = await self._store.logins.get(login_id)
        if login is None:
            raise ApiError(ErrorCode.UNAUTHORIZED)
        if login.ended_at is not None:
            self._forget(login_id)
        if login.ended_at is not None or login.expires_at <= self._clock.now():
            raise ApiError(ErrorCode.LOGIN_EXPIRED)
        return LoginSession(login.user_id, login.login_id, login.expires_at)

    def is_over(self, session: LoginSession) -> bool:
        """Whether the login has expired, or its end was heard of here."""
        return session.login_id in self._ended or session.expires_at <= self._clock.now()

    # logins

    async def logout(self, session: LoginSession) -> None:
        await self.end_login(session, session.login_id)

    async def logins(self, session: LoginSession) -> Sequence[Login]:
        """One's live logins, last used first."""
        await self._touch()
        return await self._store.logins.of_user(session.user_id)

    async def end_login(self, session: LoginSession, login_id: int) -> None:
        """End one of one's logins; one that is over already is none. Raises ApiError (NOT_FOUND)."""
        if not await self._store.logins.end(session.user_id, login_id):
            raise ApiError(ErrorCode.NOT_FOUND)
        await self._tell_ended([login_id])

    async def end_other_logins(self, session: LoginSession) -> None:
        await self._tell_ended(await self._store.logins.end_others(session.user_id, session.login_id))

    async def _tell_ended(self, login_ids: Sequence[int]) -> None:
        for login_id in login_ids:
            self._forget(login_id)
            try:
                await self._bus.broadcast(_LOGIN_ENDED, b"%d" % login_id)
            except BusUnavailable:
                _log.warning("the other processes learn late that login %d has ended", login_id)

    def _forget(self, login_id: int) -> None:
        if login_id in self._ended:
            return
        self._ended[login_id] = None
        if len(self._ended) > _CACHED:
            del self._ended[next(iter(self._ended))]
        for key in [key for key, (session, _) in self._cache.items() if session.login_id == login_id]:
            del self._cache[key]
        for callback in self._on_ended:
            callback(login_id)

    def _on_disruption(self) -> None:
        """The end of a login may have been told in vain."""
        self._cache.clear()
        self.look_soon()

    def look_soon(self) -> None:
        """See whether logins in use were ended."""
        self._doubt.set()

    async def _look_regularly(self) -> None:
        """After trouble of the bus, and now and then: the one who ended a login may have been cut off."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RECHECK):
                    await self._doubt.wait()
            self._doubt.clear()
            in_use = self._in_use()
            try:
                for start in range(0, len(in_use), _CHUNK):
                    for login_id in await self._store.logins.ended(in_use[start : start + _CHUNK]):
                        self._forget(login_id)
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN)
                self._doubt.set()

    async def _touch_regularly(self) -> None:
        while True:
            await asyncio.sleep(_TOUCH)
            await self._touch()

    async def _touch(self) -> None:
        used, self._used = self._used, {}
        if used:
            try:
                await self._store.logins.touch(used)
            except StoreUnavailable:
                self._used = used | self._used

    # profiles

    async def infos(self, user_ids: Sequence[int]) -> list[User | None]:
        """In the order asked, None for an unknown id."""
        found = await self._store.users.by_ids(set(user_ids))
        return [found.get(user_id) for user_id in user_ids]

    async def update_profile(self, session: LoginSession, nickname: str, avatar: str) -> None:
        await self._store.users.update_profile(session.user_id, nickname, avatar)

    async def search(
        self, session: LoginSession, keyword: str, page: int, size: int
    ) -> list[tuple[User, bool, ContactRequest | None]]:
        """A page of the users whose names start with `keyword`, by id: (user, is a friend, pending request)."""
        return await self._store.users.search(keyword, session.user_id, size, (page - 1) * size)

    async def wallpaper(self, session: LoginSession) -> str | None:
        return await self._store.settings.wallpaper(session.user_id)

    async def set_wallpaper(self, session: LoginSession, url: str) -> None:
        await self._store.settings.set_wallpaper(session.user_id, url)


def _without_scheme(credentials: str) -> str:
    """The token in an `Authorization` header, whether it begins with `Bearer ` (RFC 6750, section 2.1) or not."""
    scheme, _, token = credentials.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else credentials.strip()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
