"""The tables. `sql/` has the migrations that lead to them; a test holds the two together.

Every text is compared exactly, by code points (`utf8mb4_bin` on MySQL, BINARY on SQLite): what is equal for
people is decided by a normalised key (`users.username_key`), not by a collation.

A column is NOT NULL unless NULL says something. Every foreign key has an index that begins with it.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.schema import SchemaItem

from server.store.types import BigId, JsonText, LongText, UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

LOCAL_ID_LENGTH = 255
DEVICE_LENGTH = 255


def _table(name: str, *items: SchemaItem, **options: Any) -> Table:
    return Table(
        name, metadata, *items, mysql_engine="InnoDB", mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin", **options
    )


def _id(name: str) -> Column[int]:
    return Column(name, BigId, primary_key=True, autoincrement=True)


def _reference(name: str, target: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigId, ForeignKey(target), nullable=null)


def _times() -> tuple[Column[Any], Column[Any]]:
    return Column("created_at", UtcDateTime, nullable=False), Column("updated_at", UtcDateTime, nullable=False)


users = _table(
    "users",
    _id("user_id"),
    Column("username", String(255), nullable=False),
    Column("username_key", String(512), nullable=False),
    # 0, or the user's own id where an old database has several users with one key
    Column("twin", BigId, nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("nickname", String(30), nullable=False),
    Column("avatar", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    *_times(),
    UniqueConstraint("username_key", "twin"),
)

# The last delivery id of each user. A table of its own, so that a send doesn't wait for a profile's update, nor
# its foreign keys' shared locks on `users` for another send.
delivery_counters = _table(
    "delivery_counters",
    Column("user_id", BigId, ForeignKey("users.user_id"), primary_key=True, autoincrement=False),
    Column("last_id", BigId, nullable=False),
)

logins = _table(
    "logins",
    _id("login_id"),
    _reference("user_id", "users.user_id"),
    Column("device", String(DEVICE_LENGTH), nullable=False),
    Column("address", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=True),
    Index(None, "user_id", "expires_at"),
    sqlite_autoincrement=True,  # a token names its login: an id is never used again
)

chat_rooms = _table(
    "chat_rooms",
    _id("room_id"),
    Column("name", String(50), nullable=True),
    *_times(),
    UniqueConstraint("name"),
)

chat_groups = _table(
    "chat_groups",
    _id("group_id"),
    _reference("owner_id", "users.user_id"),
    _reference("room_id", "chat_rooms.room_id"),
    Column("name", String(50), nullable=False),
    Column("avatar", Text, nullable=False),
    *_times(),
    Index(None, "owner_id"),
    Index(None, "room_id"),
)

group_members = _table(
    "group_members",
    _id("id"),
    _reference("group_id", "chat_groups.group_id"),
    _reference("user_id", "users.user_id"),
    *_times(),
    UniqueConstraint("group_id", "user_id"),
    Index(None, "user_id"),
)

contact_requests = _table(
    "contact_requests",
    _id("id"),
    _reference("request_uid", "users.user_id"),
    _reference("user_id", "users.user_id"),
    Column("status", SmallInteger, nullable=False),
    Column("expired_at", UtcDateTime, nullable=False),
    *_times(),
    Index(None, "request_uid", "user_id"),
    Index(None, "user_id", "status", "updated_at"),
)

# A line of a contact list. Its last message isn't kept here but read from the room: one home, and a send to a
# group of a hundred writes no hundred contacts.
contacts = _table(
    "contacts",
    _id("contact_id"),
    _reference("owner_id", "users.user_id"),
    _reference("user_id", "users.user_id", null=True),
    _reference("group_id", "chat_groups.group_id", null=True),
    _reference("room_id", "chat_rooms.room_id"),
    Column("status", SmallInteger, nullable=False),
    *_times(),
    UniqueConstraint("owner_id", "user_id"),
    UniqueConstraint("owner_id", "group_id"),
    Index(None, "owner_id", "updated_at"),
    Index(None, "user_id"),
    Index(None, "group_id"),
    Index(None, "room_id", "owner_id"),
)

chat_messages = _table(
    "chat_messages",
    _id("message_id"),
    _reference("room_id", "chat_rooms.room_id"),
    _reference("sender_id", "users.user_id"),
    Column("type", SmallInteger, nullable=False),
    Column("text", LongText, nullable=False),
    Column("image", Text, nullable=False),
    Column("thumbnail", Text, nullable=False),
    Column("call_id", BigId, nullable=False),
    Column("revoked", Boolean, nullable=False),
    Column("local_id", String(LOCAL_ID_LENGTH), nullable=True),
    *_times(),
    UniqueConstraint("sender_id", "room_id", "local_id"),
    Index(None, "room_id"),  # with the primary key behind it on both databases: a room's newest first
)

message_deliveries = _table(
    "message_deliveries",
    _reference("receiver_id", "users.user_id"),
    Column("delivery_id", BigId, nullable=False),
    _reference("message_id", "chat_messages.message_id"),
    Column("is_new", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    PrimaryKeyConstraint("receiver_id", "delivery_id"),
    Index(None, "message_id"),
)

calls = _table(
    "calls",
    _id("call_id"),
    _reference("caller_id", "users.user_id"),
    _reference("message_id", "chat_messages.message_id"),
    _reference("room_id", "chat_rooms.room_id"),
    Column("members", JsonText, nullable=False),
    Column("handled_by", JsonText, nullable=False),
    Column("states", JsonText, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("start_time", UtcDateTime, nullable=True),
    Column("end_time", UtcDateTime, nullable=True),
    Column("end_reason", SmallInteger, nullable=False),
    *_times(),
    Index(None, "caller_id"),
    Index(None, "message_id"),
    Index(None, "room_id"),
    Index(None, "status"),
)

# Who was in which call: what a user's call history is found by.
call_members = _table(
    "call_members",
    _reference("user_id", "users.user_id"),
    _reference("call_id", "calls.call_id"),
    PrimaryKeyConstraint("user_id", "call_id"),
    Index(None, "call_id"),
)

# Who is in a call just now. The key sees to it that nobody is in two.
call_reservations = _table(
    "call_reservations",
    Column("user_id", BigId, ForeignKey("users.user_id"), primary_key=True, autoincrement=False),
    _reference("call_id", "calls.call_id"),
    Index(None, "call_id"),
)

# A call's timeline. `user_id` is 0 where the event is the call's own.
call_events = _table(
    "call_events",
    _id("event_id"),
    _reference("call_id", "calls.call_id"),
    Column("at", UtcDateTime, nullable=False),
    Column("user_id", BigId, nullable=False),
    Column("event", String(40), nullable=False),
    Column("detail", String(255), nullable=False),
    Index(None, "call_id"),
)

user_settings = _table(
    "user_settings",
    Column("user_id", BigId, ForeignKey("users.user_id"), primary_key=True, autoincrement=False),
    Column("wallpaper", Text, nullable=False),
    *_times(),
)

# Uploads. `refs` counts the columns that hold `file/<name>`; `idle_since` is when that came to be none.
files = _table(
    "files",
    Column("name", String(150), primary_key=True),
    Column("size", BigId, nullable=False),
    Column("type", String(100), nullable=False),
    Column("uploader_id", BigId, nullable=False),
    Column("refs", Integer, nullable=False),
    Column("idle_since", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Index(None, "refs", "idle_since"),
)
