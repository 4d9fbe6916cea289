"""A user is in one call at a time: a row for each user who is in one."""

import sqlalchemy as sa
from alembic import op

from server.store.types import BigId

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_INDEX = "ix_call_reservations_call_id"


def upgrade() -> None:
    op.create_table(
        "call_reservations",
        sa.Column("user_id", BigId, autoincrement=False, nullable=False),
        sa.Column("call_id", BigId, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_call_reservations"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_call_reservations_user_id"),
        sa.ForeignKeyConstraint(["call_id"], ["calls.call_id"], name="fk_call_reservations_call_id"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        if_not_exists=True,
    )
    # MySQL commits every statement: this migration may have been interrupted here.
    if not any(index["name"] == _INDEX for index in sa.inspect(op.get_bind()).get_indexes("call_reservations")):
        op.create_index(_INDEX, "call_reservations", ["call_id"])


def downgrade() -> None:
    op.drop_table("call_reservations")
