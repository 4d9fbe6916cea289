"""Alembic's entry. `server.store.migrations` hands over its connection; on the command line, `-x url=…` names the
database for `revision --autogenerate` and `check`."""

from alembic import context
from sqlalchemy import Connection, create_engine, pool

from server.store.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        transactional_ddl=connection.dialect.name == "sqlite",
        transaction_per_migration=True,
        render_as_batch=connection.dialect.name == "sqlite",
    )
    with context.begin_transaction():
        context.run_migrations()


given: Connection | None = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    engine = create_engine(context.get_x_argument(as_dictionary=True)["url"], poolclass=pool.NullPool)
    with engine.connect() as opened:
        run(opened)
        opened.commit()
