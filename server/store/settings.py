"""A user's own settings."""

from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from server.clock import Clock
from server.store.database import Database
from server.store.files import change_references
from server.store.tables import user_settings, users

_WALLPAPER = select(user_settings.c.wallpaper).where(user_settings.c.user_id == bindparam("me"))
_LOCK_USER = select(users.c.user_id).where(users.c.user_id == bindparam("me")).with_for_update()
_SET_WALLPAPER = (
    update(user_settings)
    .where(user_settings.c.user_id == bindparam("me"))
    .values(wallpaper=bindparam("url"), updated_at=bindparam("now"))
)


class UserSettings:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def wallpaper(self, user_id: int) -> str | None:
        """None if the user never set one."""
        found = await self._database.fetch(_WALLPAPER, {"me": user_id})
        return found[0].wallpaper if found else None

    async def set_wallpaper(self, user_id: int, url: str) -> None:
        await self._database.write(_set_wallpaper, user_id, url, self._clock.now())


def _set_wallpaper(connection: Connection, user_id: int, url: str, now: datetime) -> None:
    connection.execute(_LOCK_USER, {"me": user_id})  # two first settings at once: one inserts, the other updates
    before = connection.execute(_WALLPAPER, {"me": user_id}).scalar()
    if before is None:
        row = {"user_id": user_id, "wallpaper": url, "created_at": now, "updated_at": now}
        connection.execute(insert(user_settings), row)
    else:
        connection.execute(_SET_WALLPAPER, {"me": user_id, "url": url, "now": now})
    change_references(connection, now, stored=[url], dropped=[before or ""])
