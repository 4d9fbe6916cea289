"""Uploaded files, and how many places refer to each.

The count is kept inside the transactions that store or drop a url; the sweep removes what nothing refers to.
Files from before the count have no row: they are never removed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from server.clock import Clock
from server.store.database import Database
from server.store.tables import files

_URL = re.compile(r"(?:^|.*/)file/([^/?#]+)(?:[?#].*)?", re.DOTALL)
"""The url of an upload: `file/<name>`, or what a client makes of it, such as `https://host/api/file/<name>`."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """`type` is the content type, `uploader_id` 0 where nobody was logged in."""

    name: str
    size: int
    type: str
    uploader_id: int
    created_at: datetime


_GET = select(files.c.name, files.c.size, files.c.type, files.c.uploader_id, files.c.created_at).where(
    files.c.name == bindparam("file_name")
)
_UNREFERENCED = (
    select(files.c.name)
    .where(files.c.refs == 0, files.c.idle_since < bindparam("before"))
    .order_by(files.c.idle_since)
    .limit(bindparam("at_most"))
)
_LOCK_IDLE = (
    select(files.c.name)
    .where(files.c.refs == 0, files.c.name.in_(bindparam("names", expanding=True)))
    .order_by(files.c.name)
    .with_for_update()
)
_DELETE = delete(files).where(files.c.name.in_(bindparam("names", expanding=True)))
_COUNT = (
    update(files)
    .where(files.c.name.in_(bindparam("names", expanding=True)))
    .values(refs=files.c.refs + bindparam("difference"), idle_since=bindparam("moment"))
)


class Files:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def add(self, name: str, size: int, type: str, uploader_id: int = 0) -> None:
        await self._database.write(_add, name, size, type, uploader_id, self._clock.now())

    async def get(self, name: str) -> StoredFile | None:
        rows = await self._database.fetch(_GET, {"file_name": name})
        return StoredFile(*rows[0]) if rows else None

    async def unreferenced(self, before: datetime, limit: int) -> list[str]:
        """Names of files that nothing has referred to since `before`, the longest idle first."""
        return [row.name for row in await self._database.fetch(_UNREFERENCED, {"before": before, "at_most": limit})]

    async def remove(self, names: Sequence[str]) -> list[str]:
        """Forget those of `names` that nothing refers to; gives them, so that their content can be deleted."""
        return await self._database.write(_remove, sorted(names)) if names else []


def _add(connection: Connection, name: str, size: int, type: str, uploader_id: int, now: datetime) -> None:
    row = {"name": name, "size": size, "type": type, "uploader_id": uploader_id}
    connection.execute(insert(files), {**row, "refs": 0, "idle_since": now, "created_at": now})


def _remove(connection: Connection, names: list[str]) -> list[str]:
    idle = list(connection.execute(_LOCK_IDLE, {"names": names}).scalars())
    if idle:
        connection.execute(_DELETE, {"names": idle})
    return idle


def change_references(connection: Connection, now: datetime, *, stored: Iterable[str], dropped: Iterable[str]) -> None:
    """Count within a transaction: it stored the urls `stored` and dropped the urls `dropped`."""
    difference = Counter(_names(stored))
    difference.subtract(_names(dropped))
    names_by_difference: dict[int, list[str]] = {}
    for name, count in difference.items():
        if count:
            names_by_difference.setdefault(count, []).append(name)
    for count, names in sorted(names_by_difference.items()):
        connection.execute(_COUNT, {"names": sorted(names), "difference": count, "moment": now})


def _names(urls: Iterable[str]) -> Iterator[str]:
    """Of the files behind these urls; one of somebody else's files isn't known here and changes nothing."""
    return (found[1] for url in urls if (found := _URL.fullmatch(url)) is not None)
