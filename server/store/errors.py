"""What goes wrong with the database itself, as against a broken rule (`server.errors.ApiError`)."""


class StoreUnavailable(Exception):
    """The database didn't answer within its time limit, or lost the connection.

    What was asked may have happened all the same if the answer to its commit was lost.
    """


class SchemaOutdated(Exception):
    """The database's tables are not those of this version: it needs `migrate`, or a newer program."""
