"""Delivery ids: a gapless sequence for each receiver, allocated within the transaction of what is delivered.

A receiver's counter row is locked until the commit, so deliveries become visible in the order of their ids: whoever
sees one has seen all before it. Counters are locked in the order of the users' ids; a transaction locks them
all at once, and after any other row that it locks.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from server.store.tables import delivery_counters, message_deliveries

_LOCK = (
    select(delivery_counters.c.user_id, delivery_counters.c.last_id)
    .where(delivery_counters.c.user_id.in_(bindparam("ids", expanding=True)))
    .order_by(delivery_counters.c.user_id)
    .with_for_update()
)
_ADVANCE = (
    update(delivery_counters)
    .where(delivery_counters.c.user_id.in_(bindparam("ids", expanding=True)))
    .values(last_id=delivery_counters.c.last_id + bindparam("count"))
)
_INSERT = insert(message_deliveries)


def lock(connection: Connection, user_ids: Iterable[int]) -> dict[int, int]:
    """Lock these users' counters; gives the last delivery id of each."""
    ids = sorted(user_ids)
    return {row.user_id: row.last_id for row in connection.execute(_LOCK, {"ids": ids})} if ids else {}


def advance(connection: Connection, counts: Mapping[int, int]) -> None:
    """Add to the counters, which must be locked. A statement for each different count: there are few."""
    by_count: dict[int, list[int]] = {}
    for user_id, count in counts.items():
        by_count.setdefault(count, []).append(user_id)
    for count, ids in by_count.items():
        connection.execute(_ADVANCE, {"ids": ids, "count": count})


def record(connection: Connection, deliveries: Iterable[tuple[int, int, int]], is_new: bool, now: datetime) -> None:
    """Write the rows of these deliveries: (receiver, delivery id, message id)."""
    rows: list[dict[str, Any]] = [
        {"receiver_id": receiver, "delivery_id": delivery, "message_id": message, "is_new": is_new, "created_at": now}
        for receiver, delivery, message in deliveries
    ]
    if rows:
        connection.execute(_INSERT, rows)


def deliver(
    connection: Connection, message_id: int, receivers: Iterable[int], now: datetime, *, is_new: bool
) -> dict[int, int]:
    """Deliver one message (or a change of it) to each of `receivers`; gives their delivery ids."""
    allocated = {user_id: last_id + 1 for user_id, last_id in lock(connection, receivers).items()}
    if allocated:
        advance(connection, dict.fromkeys(allocated, 1))
        record(connection, ((user_id, new, message_id) for user_id, new in allocated.items()), is_new, now)
    return allocated
