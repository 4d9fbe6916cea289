"""A local id names a send within its room: a client that counts its messages for each room loses none."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLE = "chat_messages"
_OLD = "uq_chat_messages_sender_id_local_id"
_NEW = "uq_chat_messages_sender_id_room_id_local_id"


def upgrade() -> None:
    _replace(_OLD, _NEW, ["sender_id", "room_id", "local_id"])


def downgrade() -> None:
    _replace(_NEW, _OLD, ["sender_id", "local_id"])


def _replace(old: str, new: str, columns: list[str]) -> None:
    """MySQL commits every statement, so each looks whether it was done; the new key comes first, because the foreign
    key of its first column needs one of the two."""
    there = {str(key["name"]) for key in sa.inspect(op.get_bind()).get_unique_constraints(_TABLE)}
    with op.batch_alter_table(_TABLE) as table:
        if new not in there:
            table.create_unique_constraint(new, columns)
        if old in there:
            table.drop_constraint(old, type_="unique")
