"""Deliveries: what each receiver was told, in order."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, select

from server.model.entities import Delivery
from server.store import rows
from server.store.database import Database
from server.store.tables import calls, chat_messages, delivery_counters, message_deliveries
from server.store.types import AnySelect

_SELECT = (
    select(
        *rows.MESSAGE,
        message_deliveries.c.receiver_id,
        message_deliveries.c.delivery_id,
        message_deliveries.c.is_new,
    )
    .select_from(
        message_deliveries.join(chat_messages, chat_messages.c.message_id == message_deliveries.c.message_id).outerjoin(
            calls, calls.c.call_id == chat_messages.c.call_id
        )
    )
    .where(message_deliveries.c.receiver_id == bindparam("me"), message_deliveries.c.delivery_id > bindparam("after"))
    .limit(bindparam("at_most"))
)
_SYNC = _SELECT.order_by(message_deliveries.c.delivery_id.desc())
_SYNC_BELOW = _SYNC.where(message_deliveries.c.delivery_id < bindparam("below"))
_BETWEEN = _SELECT.where(message_deliveries.c.delivery_id <= bindparam("up_to")).order_by(
    message_deliveries.c.delivery_id
)
_HEADS = select(delivery_counters.c.user_id, delivery_counters.c.last_id).where(
    delivery_counters.c.user_id.in_(bindparam("user_ids", expanding=True))
)


class Deliveries:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def sync(self, user_id: int, synced: int, last: int | None, limit: int) -> list[Delivery]:
        """Deliveries with `synced` < id (< `last`), newest first. One statement."""
        values = {"me": user_id, "after": synced, "at_most": limit}
        if last is None:
            return await self._select(_SYNC, values)
        return await self._select(_SYNC_BELOW, {**values, "below": last})

    async def between(self, user_id: int, after: int, up_to: int, limit: int) -> list[Delivery]:
        """Deliveries with `after` < id <= `up_to`, in order: the first `limit` of them. One statement."""
        return await self._select(_BETWEEN, {"me": user_id, "after": after, "up_to": up_to, "at_most": limit})

    async def heads(self, user_ids: Collection[int]) -> dict[int, int]:
        """The last delivery id of each of these users (0 if none yet). One statement."""
        if not user_ids:
            return {}
        found = await self._database.fetch(_HEADS, {"user_ids": list(user_ids)})
        return {row.user_id: row.last_id for row in found}

    async def _select(self, statement: AnySelect, values: dict[str, Any]) -> list[Delivery]:
        found = await self._database.fetch(statement, values)
        return [Delivery(row.receiver_id, row.delivery_id, bool(row.is_new), rows.message(row)) for row in found]
