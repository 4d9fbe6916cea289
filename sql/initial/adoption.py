"""A database of schema v0, brought to the tables of revision 0001 in place."""

from collections.abc import Callable

from sqlalchemy import Connection, Table, text

from sql.initial import repairs, structure
from sql.initial.schema import metadata
from sql.initial.twins import merge_twins

_V0 = (
    "users",
    "chat_rooms",
    "chat_groups",
    "group_members",
    "contact_requests",
    "contacts",
    "chat_messages",
    "message_deliveries",
    "calls",
    "user_settings",
)
_STALE = {
    # read from the room's newest message now
    "contacts": ("last_msg_id", "last_msg_time", "last_msg_content"),
    # always 1
    "message_deliveries": ("status", "updated_at"),
}

_RELABEL_DELIVERIES = (
    "CHANGE COLUMN id delivery_id BIGINT NOT NULL",
    "DROP PRIMARY KEY",
    "ADD PRIMARY KEY (receiver_id, delivery_id)",
)


def is_needed(connection: Connection) -> bool:
    """Whether there are tables of ours already: schema v0's, or what an interrupted run left."""
    return bool(structure.tables(connection) & {table.name for table in metadata.sorted_tables})


def adopt(connection: Connection, say: Callable[[str], None]) -> None:
    """Do whatever is still to be done. `say` is told, in a line each, what was."""
    # Old rows may hold dates of nothing but zeros, which a stricter mode refuses to touch.
    connection.exec_driver_sql("SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'")
    connection.exec_driver_sql("SET SESSION time_zone = '+00:00'")
    old = [metadata.tables[name] for name in _V0 if name in structure.tables(connection)]
    _prepare(connection, old)
    _create_missing(connection)
    _repair(connection, old, say)
    _finish(connection, old)


def _prepare(connection: Connection, old: list[Table]) -> None:
    for table in old:
        structure.drop_old_foreign_keys(connection, table)
    for table in old:
        structure.convert_timestamps(connection, table.name)
    if "password" in structure.columns(connection, "users"):
        structure.alter(connection, "users", ["CHANGE COLUMN password password_hash VARCHAR(255) NOT NULL"])
    for table in old:
        if table.name != "message_deliveries":
            structure.add_columns(connection, table)


def _create_missing(connection: Connection) -> None:
    there = structure.tables(connection)
    for table in metadata.sorted_tables:
        if table.name not in there:
            table.create(connection)


def _repair(connection: Connection, old: list[Table], say: Callable[[str], None]) -> None:
    _relabel_deliveries(connection)
    for table in old:
        if repaired := repairs.repair(connection, table.name, times="updated_at" in table.c):
            say(f"{table.name}: {repaired} repairs")
        connection.commit()
    if twins := repairs.fill_username_keys(connection):
        say(f"users: {twins} whose names equal an earlier user's")
    if merged := merge_twins(connection):
        say(f"contacts: {merged} twins merged")
    connection.execute(text(repairs.FILL_COUNTERS))
    repairs.fill_call_members(connection)
    connection.commit()


def _relabel_deliveries(connection: Connection) -> None:
    """The global id becomes the receiver's cursor: it goes on above its highest."""
    columns = structure.columns(connection, "message_deliveries")
    if "id" not in columns:
        return
    if "is_new" not in columns:
        structure.alter(connection, "message_deliveries", ["ADD COLUMN is_new BOOL NULL"])
    connection.execute(text(repairs.FILL_IS_NEW))
    connection.execute(text(repairs.FILL_DELIVERY_TIMES))
    connection.commit()
    structure.alter(connection, "message_deliveries", list(_RELABEL_DELIVERIES))


def _finish(connection: Connection, old: list[Table]) -> None:
    for table in old:
        structure.finish_columns(connection, table, _STALE.get(table.name, ()))
    for table in metadata.sorted_tables:
        structure.finish_indexes(connection, table)
    for table in metadata.sorted_tables:
        structure.add_foreign_keys(connection, table)
