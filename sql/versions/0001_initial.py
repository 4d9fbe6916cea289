"""The first tables of this server: made anew, or of an existing deployment's schema v0."""

from alembic import op

from sql.initial.schema import metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    metadata.create_all(op.get_bind())


def downgrade() -> None:
    raise NotImplementedError("what schema v0 can't hold would be lost")
