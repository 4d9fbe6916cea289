"""Tables on MySQL as they are, compared with `schema` as they should be, and changed step by step.

Every function does nothing where nothing is left to do.
"""

from typing import Any

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Index, Table, UniqueConstraint, text
from sqlalchemy.schema import CreateColumn

from sql.initial.schema import metadata

COLLATION = "utf8mb4_bin"

_COLUMNS = text("""
    SELECT column_name AS name, column_type AS type, is_nullable AS nullable, column_default AS preset, extra,
        collation_name AS collation
    FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = :table
""")
_INDEXES = text("""
    SELECT index_name AS name, non_unique AS repeats, column_name AS member
    FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = :table
    ORDER BY index_name, seq_in_index
""")
_FOREIGN_KEYS = text("""
    SELECT constraint_name AS name FROM information_schema.table_constraints
    WHERE table_schema = DATABASE() AND table_name = :table AND constraint_type = 'FOREIGN KEY'
    ORDER BY constraint_name
""")
_TABLES = text("SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()")


def tables(connection: Connection) -> set[str]:
    return set(connection.execute(_TABLES).scalars())


def columns(connection: Connection, table: str) -> dict[str, Any]:
    """What information_schema says of each column."""
    return {row.name: row for row in connection.execute(_COLUMNS, {"table": table})}


def alter(connection: Connection, table: str, clauses: list[str]) -> None:
    """One statement, so all of it or nothing."""
    if clauses:
        connection.exec_driver_sql(f"ALTER TABLE {table} {', '.join(clauses)}")


def drop_old_foreign_keys(connection: Connection, table: Table) -> None:
    wanted = {str(key.name) for key in table.foreign_key_constraints}
    unwanted = sorted(_foreign_keys(connection, table) - wanted)
    alter(connection, table.name, [f"DROP FOREIGN KEY `{name}`" for name in unwanted])


def add_foreign_keys(connection: Connection, table: Table) -> None:
    there = _foreign_keys(connection, table)
    keys = sorted(table.foreign_key_constraints, key=lambda key: str(key.name))
    alter(connection, table.name, [_add_foreign_key(key) for key in keys if key.name not in there])


def _foreign_keys(connection: Connection, table: Table) -> set[str]:
    return set(connection.execute(_FOREIGN_KEYS, {"table": table.name}).scalars())


def _add_foreign_key(key: ForeignKeyConstraint) -> str:
    (element,) = key.elements
    target = element.column
    return (
        f"ADD CONSTRAINT {key.name} FOREIGN KEY ({element.parent.name}) REFERENCES {target.table.name} ({target.name})"
    )


def add_columns(connection: Connection, table: Table) -> None:
    """Those that are missing, nullable until they are filled."""
    there = columns(connection, table.name)
    missing = [column for column in table.columns if column.name not in there]
    alter(connection, table.name, [f"ADD COLUMN {_declaration(connection, column, null=True)}" for column in missing])


def convert_timestamps(connection: Connection, table: str) -> None:
    """TIMESTAMP, which is kept as UTC and shown in the session's zone, becomes DATETIME(3): in UTC, as the session's
    zone is UTC. Before any row is changed, because such a column may change itself along with its row."""
    found = columns(connection, table).values()
    names = sorted(column.name for column in found if column.type.lower().startswith("timestamp"))
    alter(connection, table, [f"MODIFY COLUMN {name} DATETIME(3) NULL DEFAULT NULL" for name in names])


def finish_columns(connection: Connection, table: Table, stale: tuple[str, ...]) -> None:
    """Give the columns their final types and defaults, drop those that are `stale`, and set the collation."""
    there = columns(connection, table.name)
    clauses = [f"DROP COLUMN {name}" for name in stale if name in there]
    wrong = [column for column in table.columns if not _matches(connection, column, there[column.name])]
    clauses += [f"MODIFY COLUMN {_declaration(connection, column)}" for column in wrong]
    if any(row.collation not in {None, COLLATION} for row in there.values()):
        clauses.insert(0, f"CONVERT TO CHARACTER SET utf8mb4 COLLATE {COLLATION}")
    alter(connection, table.name, clauses)
    _set_default_collation(connection, table.name)


def _set_default_collation(connection: Connection, table: str) -> None:
    found = connection.execute(
        text(
            "SELECT table_collation FROM information_schema.tables "
            "WHERE table_schema = DATABASE() AND table_name = :table"
        ),
        {"table": table},
    ).scalar()
    if found != COLLATION:
        alter(connection, table, [f"CONVERT TO CHARACTER SET utf8mb4 COLLATE {COLLATION}"])


def _matches(connection: Connection, column: Column[Any], row: Any) -> bool:
    return (
        _type(row.type) == _type(column.type.compile(connection.dialect))
        and (row.nullable == "YES") == bool(column.nullable)
        and row.preset in {None, "NULL"}
        and row.extra.lower() == ("auto_increment" if column is column.table.autoincrement_column else "")
    )


def _type(declared: str) -> str:
    """In lower case, without the display width that some versions show and others don't."""
    lower = declared.lower().replace("integer", "int").replace("bool", "tinyint(1)")
    return lower.split("(")[0] if lower.startswith(("bigint", "int", "smallint")) else lower


def _declaration(connection: Connection, column: Column[Any], *, null: bool = False) -> str:
    declared = str(CreateColumn(column).compile(dialect=connection.dialect))
    return declared.replace(" NOT NULL", " NULL") if null else declared


def finish_indexes(connection: Connection, table: Table) -> None:
    """Add the indexes that are missing and drop all others, in one statement."""
    there: dict[str, tuple[bool, tuple[str, ...]]] = {}
    for row in connection.execute(_INDEXES, {"table": table.name}):
        there[row.name] = (not row.repeats, (*there.get(row.name, (False, ()))[1], row.member))
    wanted = _indexes(table)
    clauses = [f"DROP INDEX `{name}`" for name in there if name != "PRIMARY" and there[name] != wanted.get(name)]
    for name, (unique, members) in wanted.items():
        if there.get(name) != (unique, members):
            clauses.append(f"ADD {'UNIQUE ' if unique else ''}INDEX {name} ({', '.join(members)})")
    alter(connection, table.name, clauses)


def _indexes(table: Table) -> dict[str, tuple[bool, tuple[str, ...]]]:
    """Name -> (unique, columns)."""
    items: list[Index | UniqueConstraint] = sorted(table.indexes, key=lambda index: str(index.name))
    items += [constraint for constraint in table.constraints if isinstance(constraint, UniqueConstraint)]
    return {
        str(item.name): (isinstance(item, UniqueConstraint), tuple(column.name for column in item.columns))
        for item in items
    }


def all_tables() -> list[Table]:
    """Of `schema`, each after those it refers to."""
    return metadata.sorted_tables
