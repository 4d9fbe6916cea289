"""The store: one object with the tables' aggregates, over MySQL or SQLite."""

from datetime import timedelta

from server.clock import Clock
from server.config.settings import Settings
from server.runtime.metrics import Metrics
from server.store.calls import Calls
from server.store.contacts import Contacts
from server.store.database import Database
from server.store.deliveries import Deliveries
from server.store.errors import SchemaOutdated
from server.store.files import Files
from server.store.groups import Groups
from server.store.logins import Logins
from server.store.messages import Messages
from server.store.mysql import MysqlDatabase
from server.store.mysql_sending import MysqlBackend
from server.store.revision import check_revision
from server.store.settings import UserSettings
from server.store.sqlite import SqliteDatabase
from server.store.sqlite import path as sqlite_path
from server.store.users import Users
from server.store.writer import PlainBackend, SendBackend, SendWriter


class Store:
    """What lasts. Every method may raise `StoreUnavailable`, within the database's time limit."""

    def __init__(self, database: Database, sending: SendBackend, settings: Settings, clock: Clock) -> None:
        self._database = database
        self._writer = SendWriter(sending, database.limit, settings.chat.batch)
        self._writer.start()
        self.users = Users(database, clock)
        self.logins = Logins(database, clock)
        self.contacts = Contacts(database, clock, timedelta(seconds=settings.chat.request_lifetime))
        self.groups = Groups(database, clock)
        self.messages = Messages(database, self._writer, timedelta(seconds=settings.chat.revoke_window))
        self.deliveries = Deliveries(database)
        self.settings = UserSettings(database, clock)
        self.files = Files(database, clock)
        self.calls = Calls(database, clock)

    @property
    def database(self) -> Database:
        """For the aggregates that live beside this class."""
        return self._database

    async def ping(self) -> float:
        """Seconds for a round trip. Raises StoreUnavailable."""
        return await self._database.ping()

    async def close(self) -> None:
        """Finishes the sends that were taken in."""
        await self._writer.close()
        await self._database.close()


async def open_store(
    settings: Settings, clock: Clock, metrics: Metrics | None = None, *, may_migrate: bool = True
) -> Store:
    """The store that `settings` name. The embedded database is made and brought up to date, if `may_migrate`.

    Raises:
        StoreUnavailable
        SchemaOutdated: the tables aren't those of this version
    """
    database: Database
    sending: SendBackend
    if settings.mysql is None:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        database = SqliteDatabase(sqlite_path(settings.data_dir), settings.sqlite.timeout)
        sending = PlainBackend(database, clock)
    else:
        database = MysqlDatabase(settings.mysql)
        sending = MysqlBackend(database, clock)
    if metrics is not None:
        database.report_to(metrics.database_seconds)
    try:
        try:
            await check_revision(database)
        except SchemaOutdated:
            if settings.mysql is not None or not may_migrate:
                raise
            from server.store.migrations import migrate  # noqa: PLC0415  see `revision`

            await migrate(settings)
    except BaseException:
        await database.close()
        raise
    return Store(database, sending, settings, clock)
