"""The first tables of this server: made anew, or out of an existing deployment's schema v0."""

from alembic import context, op

from sql.initial import adoption
from sql.initial.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name == "mysql" and adoption.is_needed(connection):
        adoption.adopt(connection, context.config.attributes.get("done", []).append)
    else:
        metadata.create_all(connection)


def downgrade() -> None:
    raise NotImplementedError("what schema v0 can't hold would be lost")
