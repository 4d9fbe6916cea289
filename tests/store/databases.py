"""What is in a database, for comparing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from pymysql.constants import CLIENT
from sqlalchemy import Connection, NullPool, create_engine, inspect, text

from server.config.settings import Mysql, Settings
from server.store import mysql, sqlite


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    if settings.mysql is None:
        engine = create_engine(f"sqlite:///{sqlite.path(settings.data_dir)}", poolclass=NullPool)
    else:
        engine = create_engine(mysql.url(settings.mysql, "mysql+pymysql"), poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def session(database: Mysql) -> "pymysql.Connection[Any]":
    """A connection of a test's own. Without TLS, which costs 20 ms."""
    return pymysql.connect(
        host=database.host,
        port=database.port,
        user=database.user,
        password=database.password.get_secret_value(),
        database=database.dbname,
        charset="utf8mb4",
        client_flag=CLIENT.MULTI_STATEMENTS,
        autocommit=True,
        ssl_disabled=True,
    )


def run_script(database: Mysql, script: str) -> None:
    """Many statements, `;` between them."""
    with session(database) as connection, connection.cursor() as cursor:
        cursor.execute(script)
        while cursor.nextset():
            pass


def dump(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table."""
    with connected(settings) as connection:
        return {
            table: sorted(
                (dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()),  # noqa: S608
                key=lambda row: str(sorted(row.items(), key=lambda item: item[0])),
            )
            for table in sorted(inspect(connection).get_table_names())
        }


def schema(settings: Settings, *, types: bool = True) -> dict[str, Any]:
    """Tables with columns, keys and indexes; in an order of their own where the order means nothing."""
    with connected(settings) as connection:
        inspector = inspect(connection)
        return {
            table: {
                "columns": {
                    column["name"]: (
                        str(column["type"]) if types else None,
                        column["nullable"],
                        column["default"],
                        column.get("autoincrement") is True if types else None,
                    )
                    for column in inspector.get_columns(table)
                },
                "primary key": inspector.get_pk_constraint(table)["constrained_columns"],
                "indexes": {
                    (index["name"], tuple(index["column_names"]), bool(index["unique"]))
                    for index in inspector.get_indexes(table)
                    if not index.get("duplicates_constraint") and not index["unique"]
                },
                "unique": {
                    (constraint["name"], tuple(constraint["column_names"]))
                    for constraint in inspector.get_unique_constraints(table)
                },
                "foreign keys": {
                    (key["name"], tuple(key["constrained_columns"]), key["referred_table"])
                    for key in inspector.get_foreign_keys(table)
                },
                "options": inspector.get_table_options(table) if types else None,
            }
            for table in inspector.get_table_names()
        }
