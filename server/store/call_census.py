"""Calls as a whole, with what every table says of them: for those who check that it agrees."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import BindParameter, bindparam, select

from server.model.enums import CallStatus
from server.store import rows
from server.store.calls import StoredCall, stored_call
from server.store.database import Database
from server.store.tables import call_members, call_reservations, calls, chat_messages

_RECENT = 1_000
_PAGE = 500


@dataclass(frozen=True, slots=True)
class CallRows:
    """A call. `listed`: whose histories have it; `message_call`: which call its message names (0: there is none)."""

    stored: StoredCall
    listed: frozenset[int]
    message_call: int


@dataclass(frozen=True, slots=True)
class Census:
    """Not of one moment: what changes meanwhile may be seen half."""

    calls: dict[int, CallRows]
    reserved: dict[int, int]
    """In which call each user is who is in one."""


_IDS: BindParameter[int] = bindparam("ids", expanding=True)
_OPEN = select(calls.c.call_id).where(calls.c.status < int(CallStatus.END))
_LATEST = select(calls.c.call_id).order_by(calls.c.call_id.desc()).limit(_RECENT)
_RESERVED = select(call_reservations.c.user_id, call_reservations.c.call_id)
_CALLS = (
    select(*rows.CALL, calls.c.states, chat_messages.c.call_id.label("message_call"))
    .select_from(calls.outerjoin(chat_messages, chat_messages.c.message_id == calls.c.message_id))
    .where(calls.c.call_id.in_(_IDS))
)
_LISTED = select(call_members.c.call_id, call_members.c.user_id).where(call_members.c.call_id.in_(_IDS))


class CallCensus:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, also: Collection[int]) -> Census:
        """All open calls, all that hold anybody, the latest, and those of `also` that there are.

        Raises:
            StoreUnavailable
        """
        fetch = self._database.fetch
        opened, latest, reserved = await asyncio.gather(fetch(_OPEN), fetch(_LATEST), fetch(_RESERVED))
        ids = {row.call_id for row in (*opened, *latest, *reserved)} | set(also)
        ordered = sorted(ids)
        found: dict[int, CallRows] = {}
        for start in range(0, len(ordered), _PAGE):
            found |= await self._calls(ordered[start : start + _PAGE])
        return Census(found, {row.user_id: row.call_id for row in reserved})

    async def _calls(self, ids: list[int]) -> dict[int, CallRows]:
        fetch = self._database.fetch
        found, listed = await asyncio.gather(fetch(_CALLS, {"ids": ids}), fetch(_LISTED, {"ids": ids}))
        members: dict[int, set[int]] = {}
        for row in listed:
            members.setdefault(row.call_id, set()).add(row.user_id)
        return {
            row.call_id: CallRows(stored_call(row), frozenset(members.get(row.call_id, ())), row.message_call or 0)
            for row in found
        }
