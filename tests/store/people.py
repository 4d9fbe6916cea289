"""Users, contacts and sends for tests, in few words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Table, insert, select

from server.model.entities import Contact, Delivery
from server.model.enums import MessageType
from server.store import SendRequest, SendResult, Store, tables

_numbers = count(1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def register(store: Store, name: str | None = None) -> int:
    return await store.users.create(name or f"user {next(_numbers)}", "hash", "nick", "")


async def befriend(store: Store, one: int, other: int) -> Contact:
    """Both are contacts now; gives that of `one`."""
    request = await store.contacts.request(one, other)
    made = await store.contacts.accept(request.id, other)
    return next(contact for contact in made if contact.owner_id == one)


async def pair(store: Store) -> tuple[Contact, Contact]:
    """Two new users' contacts, each the other's."""
    one, other = await register(store), await register(store)
    mine = await befriend(store, one, other)
    return mine, next(contact for contact in await store.contacts.of_owner(other))


async def group(store: Store, members: int) -> list[Contact]:
    """A new group; its members' contacts, the owner's first. Made at once: a hundred friendships would take long."""
    users = await store.database.write(_group, [f"member {next(_numbers)}" for _ in range(members)])
    return await store.contacts.changed_since(users, _EPOCH)


def _group(connection: Connection, names: list[str]) -> list[int]:
    times = {"created_at": _EPOCH, "updated_at": _EPOCH}

    def insert_all(table: Table, *rows: dict[str, Any]) -> int:
        """The id of the first."""
        columns = {column.name for column in table.c}
        for_all = {name: value for name, value in times.items() if name in columns}
        first: int = connection.execute(insert(table), {**rows[0], **for_all}).lastrowid
        if rows[1:]:
            connection.execute(insert(table), [{**row, **for_all} for row in rows[1:]])
        return first

    profile = {"password_hash": "hash", "nickname": "", "avatar": "", "enabled": True, "twin": 0}
    insert_all(tables.users, *({"username": name, "username_key": name, **profile} for name in names))
    found = select(tables.users.c.user_id).where(tables.users.c.username.in_(names)).order_by(tables.users.c.user_id)
    users = list(connection.execute(found).scalars())
    insert_all(tables.delivery_counters, *({"user_id": user, "last_id": 0} for user in users))
    room = insert_all(tables.chat_rooms, {"name": f"room of {names[0]}"})
    made = insert_all(tables.chat_groups, {"owner_id": users[0], "room_id": room, "name": "a group", "avatar": ""})
    insert_all(tables.group_members, *({"group_id": made, "user_id": user} for user in users))
    contact = {"user_id": None, "group_id": made, "room_id": room, "status": 1}
    insert_all(tables.contacts, *({"owner_id": user, **contact} for user in users))
    return users


def text(contact: Contact, content: str = "hello", local_id: str | None = None) -> SendRequest:
    """A send by the contact's owner, with a new local id unless one is given."""
    local = uuid4().hex if local_id is None else local_id
    return SendRequest(contact.owner_id, contact.contact_id, local, MessageType.TEXT, content, "", "")


def picture(contact: Contact, image: str = "", thumbnail: str = "") -> SendRequest:
    return SendRequest(contact.owner_id, contact.contact_id, uuid4().hex, MessageType.IMAGE, "", image, thumbnail)


async def say(store: Store, contact: Contact, content: str = "hello") -> SendResult:
    return await store.messages.send(text(contact, content))


async def everything(store: Store, user_id: int) -> list[Delivery]:
    """All deliveries of a user, in order."""
    return await store.deliveries.between(user_id, 0, 2**62, 1_000_000)


def ids(deliveries: Sequence[Delivery]) -> list[int]:
    return [delivery.delivery_id for delivery in deliveries]
