"""Column types that mean the same on MySQL and SQLite."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Dialect, Integer, Row, Select, Text, TypeDecorator
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

AnyRow = Row[*tuple[Any, ...]]
AnySelect = Select[*tuple[Any, ...]]

BigId = BigInteger().with_variant(Integer(), "sqlite")
"""A signed 64-bit key. SQLite numbers the rows of an INTEGER key only."""

LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql")
"""A text that may be longer than the 65,535 bytes of MySQL's TEXT."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC with milliseconds, always aware in Python: DATETIME(3) on MySQL, ISO 8601 text on SQLite."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(mysql.DATETIME(fsp=3) if dialect.name == "mysql" else DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class JsonText(TypeDecorator[Any]):
    """A JSON document kept as text: MariaDB has no JSON type of its own, and nothing searches inside."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)
