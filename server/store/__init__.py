"""What lasts: tables, queries and transactions, on MySQL (MariaDB) and SQLite alike.

A read is one statement in autocommit mode. A write is a function `work(connection, …)` in plain SQLAlchemy Core, one
transaction, the same for both databases; `database` says how it is run. `sending` and `writer` are the hot path.
"""

from server.store.errors import SchemaOutdated, StoreUnavailable
from server.store.files import StoredFile
from server.store.messages import Change
from server.store.sending import SendRequest, SendResult
from server.store.store import Store, open_store
from server.store.users import Credentials

__all__ = [
    "Change",
    "Credentials",
    "SchemaOutdated",
    "SendRequest",
    "SendResult",
    "Store",
    "StoreUnavailable",
    "StoredFile",
    "open_store",
]
