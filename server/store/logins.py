"""Logins: what a login token stands for. A login is live until it expires or is ended."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, bindparam, case, select, update

from server.clock import Clock
from server.model.entities import Login
from server.store import rows
from server.store.database import Database, inserted_id
from server.store.tables import DEVICE_LENGTH, logins

_GET = select(*rows.LOGIN).where(logins.c.login_id == bindparam("id"))
_LIVE = (logins.c.ended_at.is_(None), logins.c.expires_at > bindparam("now"))
_OF_USER = (
    select(*rows.LOGIN)
    .where(logins.c.user_id == bindparam("me"), *_LIVE)
    .order_by(logins.c.last_used_at.desc(), logins.c.login_id.desc())
)
_LOCK_LIVE = (
    select(logins.c.login_id)
    .where(logins.c.user_id == bindparam("me"), *_LIVE)
    .order_by(logins.c.login_id)
    .with_for_update()
)
_ENDED = select(logins.c.login_id).where(
    logins.c.login_id.in_(bindparam("ids", expanding=True)), logins.c.ended_at.is_not(None)
)
_END = (
    update(logins).where(logins.c.login_id.in_(bindparam("ids", expanding=True))).values(ended_at=bindparam("moment"))
)


class Logins:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, user_id: int, device: str, address: str, expires_at: datetime) -> Login:
        """`device` is cut to what the column holds."""
        return await self._database.write(
            _create, user_id, device[:DEVICE_LENGTH], address, expires_at, self._clock.now()
        )

    async def get(self, login_id: int) -> Login | None:
        """Whatever its state."""
        found = await self._database.fetch(_GET, {"id": login_id})
        return rows.login(found[0]) if found else None

    async def ended(self, login_ids: Sequence[int]) -> list[int]:
        """Those of them that were ended. One statement."""
        return [row.login_id for row in await self._database.fetch(_ENDED, {"ids": login_ids})] if login_ids else []

    async def of_user(self, user_id: int) -> list[Login]:
        """The live ones, last used first."""
        return [
            rows.login(row) for row in await self._database.fetch(_OF_USER, {"me": user_id, "now": self._clock.now()})
        ]

    async def end(self, user_id: int, login_id: int) -> bool:
        """End a live login of that user; false if there is none of that id."""
        return bool(await self._database.write(_end, user_id, login_id, None, self._clock.now()))

    async def end_others(self, user_id: int, keep: int) -> list[int]:
        """End all live logins of that user but `keep`; gives their ids."""
        return await self._database.write(_end, user_id, None, keep, self._clock.now())

    async def touch(self, used: Mapping[int, datetime]) -> None:
        """Note when each login was used last. One statement."""
        if used:
            await self._database.write(_touch, dict(sorted(used.items())))


def _create(
    connection: Connection, user_id: int, device: str, address: str, expires_at: datetime, now: datetime
) -> Login:
    login = Login(0, user_id, device, address, now, now, expires_at, None)
    row = {column.name: getattr(login, column.name) for column in logins.c if not column.primary_key}
    return replace(login, login_id=inserted_id(connection, logins, row))


def _end(connection: Connection, user_id: int, only: int | None, keep: int | None, now: datetime) -> list[int]:
    live = connection.execute(_LOCK_LIVE, {"me": user_id, "now": now}).scalars()
    ended = [login_id for login_id in live if login_id != keep and only in (None, login_id)]
    if ended:
        connection.execute(_END, {"ids": ended, "moment": now})
    return ended


def _touch(connection: Connection, used: dict[int, datetime]) -> None:
    last_used = case(used, value=logins.c.login_id)
    connection.execute(update(logins).where(logins.c.login_id.in_(used)).values(last_used_at=last_used))
