"""Which tables this version works with. Apart from `migrations`, because Alembic costs 0.3 s and 10 MB to import."""

from sqlalchemy import column, select, table
from sqlalchemy.exc import DBAPIError

from server.store import mysql, sqlite
from server.store.database import Database
from server.store.errors import SchemaOutdated
from server.store.types import AnySelect

REVISION = "0003"
"""The newest script in `sql/versions`."""

_FOUND: AnySelect = select(column("version_num")).select_from(table("alembic_version"))


async def check_revision(database: Database) -> None:
    """Raises SchemaOutdated unless the database has this version's tables; StoreUnavailable."""
    try:
        found = [row.version_num for row in await database.fetch(_FOUND)]
    except DBAPIError as error:
        if not mysql.is_missing_table(error) and not sqlite.is_missing_table(error):
            raise
        raise SchemaOutdated("the database has no tables of this service yet: run `migrate`") from error
    if found != [REVISION]:
        raise SchemaOutdated(f"the database is at revision {', '.join(found)}, not {REVISION}: run `migrate`")
