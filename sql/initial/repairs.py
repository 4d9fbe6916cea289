"""The rows of schema v0, made to fit: what was NULL or odd gets a value that says the same."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, case, insert, select, text, update

from server.model.usernames import username_key
from sql.initial.schema import call_members, calls, users

_CHUNK = 500
_ZERO = "0000-00-00 00:00:00"
"""What a server in a lax mode may have written for a time that it didn't know."""

_UNKNOWN_TIME = "1970-01-01 00:00:00.000"

# Where neither time of a row is known, the start of the epoch says so.
_TIMES = f"""
    UPDATE {{table}} SET
        created_at = COALESCE(NULLIF(created_at, '{_ZERO}'), NULLIF(updated_at, '{_ZERO}'), '{_UNKNOWN_TIME}'),
        updated_at = COALESCE(NULLIF(updated_at, '{_ZERO}'), NULLIF(created_at, '{_ZERO}'), '{_UNKNOWN_TIME}')
    WHERE created_at IS NULL OR updated_at IS NULL OR created_at = '{_ZERO}' OR updated_at = '{_ZERO}'
"""  # noqa: S608  the pieces are constants

_STATEMENTS = {
    "users": [
        "UPDATE users SET nickname = COALESCE(nickname, ''), avatar = COALESCE(avatar, ''), "
        "enabled = COALESCE(enabled, 0) WHERE nickname IS NULL OR avatar IS NULL OR enabled IS NULL",
    ],
    "chat_groups": [
        "UPDATE chat_groups SET avatar = '' WHERE avatar IS NULL",
        # A group's room had no foreign key. Lost, it is the room of the group's contacts, or the one of its name.
        """
        INSERT INTO chat_rooms (room_id, name, created_at, updated_at)
        SELECT (SELECT COALESCE(MAX(room_id), 0) FROM chat_rooms) + ROW_NUMBER() OVER (ORDER BY g.group_id),
            CONCAT('g-', g.group_id), g.created_at, g.updated_at
        FROM chat_groups g LEFT JOIN chat_rooms r ON r.room_id = g.room_id
        WHERE r.room_id IS NULL
            AND NOT EXISTS (SELECT 1 FROM contacts c JOIN chat_rooms cr ON cr.room_id = c.room_id
                WHERE c.group_id = g.group_id)
            AND NOT EXISTS (SELECT 1 FROM chat_rooms named WHERE named.name = CONCAT('g-', g.group_id))
        """,
        """
        UPDATE chat_groups g LEFT JOIN chat_rooms r ON r.room_id = g.room_id SET g.room_id = COALESCE(
            (SELECT MIN(c.room_id) FROM contacts c JOIN chat_rooms cr ON cr.room_id = c.room_id
                WHERE c.group_id = g.group_id),
            (SELECT named.room_id FROM chat_rooms named WHERE named.name = CONCAT('g-', g.group_id)))
        WHERE r.room_id IS NULL
        """,
    ],
    "contact_requests": [
        "UPDATE contact_requests SET status = 1 WHERE status IS NULL OR status NOT BETWEEN 1 AND 4",
        "UPDATE contact_requests SET expired_at = created_at + INTERVAL 1 DAY "
        "WHERE expired_at IS NULL OR expired_at = '0000-00-00 00:00:00'",
    ],
    "contacts": [
        "UPDATE contacts SET status = 1 WHERE status IS NULL",
        "UPDATE contacts SET user_id = NULL WHERE user_id IS NOT NULL AND group_id IS NOT NULL",
        "DELETE FROM contacts WHERE user_id IS NULL AND group_id IS NULL AND room_id IS NULL",
    ],
    "chat_messages": [
        "UPDATE chat_messages SET text = COALESCE(text, ''), image = COALESCE(image, ''), "
        "thumbnail = COALESCE(thumbnail, ''), call_id = COALESCE(call_id, 0), revoked = COALESCE(revoked, 0) "
        "WHERE text IS NULL OR image IS NULL OR thumbnail IS NULL OR call_id IS NULL OR revoked IS NULL",
        "UPDATE chat_messages SET type = CASE WHEN call_id > 0 THEN 3 WHEN image <> '' OR thumbnail <> '' THEN 2 "
        "ELSE 1 END WHERE type IS NULL OR type NOT BETWEEN 1 AND 3",
    ],
    "calls": [
        "UPDATE calls c JOIN chat_messages m ON m.call_id = c.call_id SET c.message_id = m.message_id "
        "WHERE c.message_id IS NULL",
        "DELETE FROM calls WHERE message_id IS NULL",
        "UPDATE calls c JOIN chat_messages m ON m.message_id = c.message_id SET c.room_id = m.room_id "
        "WHERE c.room_id IS NULL",
        # The server that ran it is gone.
        "UPDATE calls SET end_time = COALESCE(end_time, updated_at), end_reason = 6, status = 4 "
        "WHERE status IS NULL OR status <> 4",
        "UPDATE calls SET end_reason = COALESCE(end_reason, 0) WHERE end_reason IS NULL",
        "UPDATE calls SET end_reason = 6 WHERE end_reason NOT BETWEEN 0 AND 7",
        "UPDATE calls SET handled_by = COALESCE(handled_by, '[]'), states = COALESCE(states, '{}') "
        "WHERE handled_by IS NULL OR states IS NULL",
    ],
    "user_settings": ["UPDATE user_settings SET wallpaper = '' WHERE wallpaper IS NULL"],
}


def repair(connection: Connection, table: str, *, times: bool) -> int:
    """Repair the rows of a table; gives how many changes that took."""
    statements = [_TIMES.format(table=table)] if times else []
    statements += _STATEMENTS.get(table, [])
    return sum(connection.execute(text(statement)).rowcount for statement in statements)


def fill_username_keys(connection: Connection) -> int:
    """Of those whose names are equal the first has the name; the others are its twins. Gives how many those are."""
    rows = connection.execute(select(users.c.user_id, users.c.username, users.c.twin).order_by(users.c.user_id)).all()
    taken: set[str] = set()
    wanted: dict[int, tuple[str, int]] = {}
    for row in rows:
        key = username_key(row.username)
        wanted[row.user_id] = (key, row.user_id if key in taken else 0)
        taken.add(key)
    for chunk in _chunks([row.user_id for row in rows if row.twin is None]):
        keys = case({user_id: wanted[user_id][0] for user_id in chunk}, value=users.c.user_id)
        twins = case({user_id: wanted[user_id][1] for user_id in chunk}, value=users.c.user_id)
        connection.execute(update(users).where(users.c.user_id.in_(chunk)).values(username_key=keys, twin=twins))
    return sum(1 for _, twin in wanted.values() if twin)


def fill_call_members(connection: Connection) -> None:
    """Make every call's list of members a JSON array of numbers, the caller first, and a row for each member."""
    known = set(connection.execute(select(users.c.user_id)).scalars())
    there = {(row.user_id, row.call_id) for row in connection.execute(select(call_members))}
    missing: list[dict[str, int]] = []
    for call_id, caller_id, written in connection.execute(
        text("SELECT call_id, caller_id, members FROM calls ORDER BY call_id")
    ).all():
        members = parse_members(written, caller_id)
        if written != json.dumps(members, separators=(",", ":")):
            connection.execute(update(calls).where(calls.c.call_id == call_id).values(members=members))
        missing += [{"user_id": m, "call_id": call_id} for m in members if m in known and (m, call_id) not in there]
    for chunk in _chunks(missing):
        connection.execute(insert(call_members), chunk)


def parse_members(written: str | None, caller_id: int) -> list[int]:
    """The user ids in what schema v0 has as members, whatever that is, without repetition, the caller first."""
    try:
        parsed = json.loads(written or "[]")
    except ValueError:
        parsed = []
    items = parsed if isinstance(parsed, list) else []
    numbers = [
        int(item) for item in items if isinstance(item, int | str) and str(item).isascii() and str(item).isdigit()
    ]
    return list(dict.fromkeys([caller_id, *(number for number in numbers if 0 < number < 2**63)]))


FILL_IS_NEW = """
    UPDATE message_deliveries d
    JOIN (SELECT receiver_id, message_id, MIN(id) AS first FROM message_deliveries GROUP BY receiver_id, message_id) f
        ON f.receiver_id = d.receiver_id AND f.message_id = d.message_id
    SET d.is_new = (d.id = f.first) WHERE d.is_new IS NULL
"""

FILL_DELIVERY_TIMES = f"""
    UPDATE message_deliveries SET
        created_at = COALESCE(NULLIF(created_at, '{_ZERO}'), NULLIF(updated_at, '{_ZERO}'), '{_UNKNOWN_TIME}')
    WHERE created_at IS NULL OR created_at = '{_ZERO}'
"""  # noqa: S608  the piece is a constant

FILL_COUNTERS = """
    INSERT INTO delivery_counters (user_id, last_id)
    SELECT u.user_id, COALESCE(MAX(d.delivery_id), 0)
    FROM users u LEFT JOIN message_deliveries d ON d.receiver_id = u.user_id
    WHERE NOT EXISTS (SELECT 1 FROM delivery_counters c WHERE c.user_id = u.user_id)
    GROUP BY u.user_id
"""


def _chunks(items: Sequence[Any]) -> Iterator[Any]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
