"""Groups and their members."""

from collections.abc import Collection
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection, bindparam, insert, select, update

from server.clock import Clock
from server.errors import ApiError, ErrorCode
from server.model.entities import Contact, Group
from server.model.enums import ContactStatus
from server.store import rows
from server.store.contacts import select_contacts
from server.store.database import Database, inserted_id
from server.store.files import change_references
from server.store.tables import chat_groups, chat_rooms, contacts, group_members

_BY_IDS = (
    select(*rows.GROUP)
    .join(group_members, group_members.c.group_id == chat_groups.c.group_id)
    .where(chat_groups.c.group_id.in_(bindparam("ids", expanding=True)), group_members.c.user_id == bindparam("me"))
)
_CHOSEN = select(contacts.c.contact_id, contacts.c.owner_id, contacts.c.user_id, contacts.c.status).where(
    contacts.c.contact_id.in_(bindparam("ids", expanding=True))
)
_NAME_ROOM = update(chat_rooms).where(chat_rooms.c.room_id == bindparam("id")).values(name=bindparam("new_name"))
_CONTACTS = select_contacts(contacts.c.group_id == bindparam("id")).order_by(contacts.c.contact_id)


class Groups:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, owner: int, name: str, avatar: str, contact_ids: Collection[int]) -> list[Contact]:
        """A group of `owner` and of the users behind these contacts of theirs. Gives a contact for each member, the
        owner's first.

        Raises:
            ApiError: CONTACT_NOT_FOUND, FORBIDDEN (somebody else's contact), FIELD_INVALID (a group)
        """
        now = self._clock.now()
        return await self._database.write(_create, owner, name, avatar, sorted(set(contact_ids)), now)

    async def by_ids(self, group_ids: Collection[int], me: int) -> dict[int, Group]:
        """Those that `me` is a member of."""
        if not group_ids:
            return {}
        found = await self._database.fetch(_BY_IDS, {"ids": list(set(group_ids)), "me": me})
        return {row.group_id: rows.group(row) for row in found}


def _create(
    connection: Connection, owner: int, name: str, avatar: str, contact_ids: list[int], now: datetime
) -> list[Contact]:
    members = [owner, *_users_behind(connection, owner, contact_ids)]
    times = {"created_at": now, "updated_at": now}
    # A room is named after its group, whose id is known only when it is there, and which needs its room.
    provisional = {"name": f"g-{uuid4()}", **times}
    room_id = inserted_id(connection, chat_rooms, provisional)
    group = {"owner_id": owner, "room_id": room_id, "name": name, "avatar": avatar, **times}
    group_id = inserted_id(connection, chat_groups, group)
    connection.execute(_NAME_ROOM, {"id": room_id, "new_name": f"g-{group_id}"})
    connection.execute(
        insert(group_members), [{"group_id": group_id, "user_id": user_id, **times} for user_id in members]
    )
    contact = {"user_id": None, "group_id": group_id, "room_id": room_id, "status": int(ContactStatus.NORMAL), **times}
    connection.execute(insert(contacts), [{"owner_id": user_id, **contact} for user_id in members])
    change_references(connection, now, stored=[avatar], dropped=[])
    return [rows.contact(row) for row in connection.execute(_CONTACTS, {"id": group_id})]


def _users_behind(connection: Connection, owner: int, contact_ids: list[int]) -> list[int]:
    chosen = connection.execute(_CHOSEN, {"ids": contact_ids}).all()
    if any(row.owner_id != owner for row in chosen):
        raise ApiError(ErrorCode.FORBIDDEN)
    normal = [row for row in chosen if row.status == int(ContactStatus.NORMAL)]
    if len(normal) != len(contact_ids):
        raise ApiError(ErrorCode.CONTACT_NOT_FOUND)
    if any(row.user_id is None for row in normal):
        raise ApiError(ErrorCode.FIELD_INVALID, field="contactIds", rule=("不能包含群", "must be users, not groups"))
    return sorted({row.user_id for row in normal} - {owner})
