"""Twins among schema v0's contacts, whose unique key NULLs defeated: merged into one, with their rooms and messages."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from sql.initial.schema import chat_groups, chat_messages, chat_rooms, contacts

_NORMAL = 1
Unit = tuple[str, int, int]
"""What a contact is one side of: two users, or a group."""


@dataclass(frozen=True, slots=True)
class _Contact:
    contact_id: int
    owner_id: int
    user_id: int | None
    group_id: int | None
    room_id: int | None
    status: int

    @property
    def unit(self) -> Unit | None:
        if self.group_id is not None:
            return ("g", self.group_id, self.group_id)
        if self.user_id is not None:
            return ("u", min(self.owner_id, self.user_id), max(self.owner_id, self.user_id))
        return None


def merge_twins(connection: Connection) -> int:
    """Give each pair of users and each group one room with all messages, and each owner one contact there: the oldest
    that is in use. Gives how many contacts were merged away."""
    everything = _contacts(connection)
    users_of_room: dict[int, set[Unit | None]] = defaultdict(set)
    units: dict[Unit, list[_Contact]] = defaultdict(list)
    for contact in everything:
        if contact.room_id is not None:
            users_of_room[contact.room_id].add(contact.unit)
        if contact.unit is not None:
            units[contact.unit].append(contact)
    group_rooms = {row.group_id: row.room_id for row in connection.execute(select(chat_groups))}
    for group_id, room_id in group_rooms.items():
        users_of_room[room_id].add(("g", group_id, group_id))
    merged = 0
    for unit, members in units.items():
        own = sorted({c.room_id for c in members if c.room_id is not None and users_of_room[c.room_id] == {unit}})
        rooms = {contact.room_id for contact in members}
        if unit[0] == "g":
            room = group_rooms[unit[1]]
        elif len(rooms) == 1 and None not in rooms:
            room = next(iter(rooms))
        else:
            room = _room_of_pair(connection, unit, own, members)
        _move(connection, (old for old in own if old != room), room)
        _set_room(connection, [contact for contact in members if contact.room_id != room], room)
        merged += _keep_one_each(connection, members)
    return merged


def _contacts(connection: Connection) -> list[_Contact]:
    columns = (contacts.c[name] for name in _Contact.__slots__)
    return [_Contact(*row) for row in connection.execute(select(*columns).order_by(contacts.c.contact_id))]


def _room_of_pair(connection: Connection, unit: Unit, own: list[int], members: list[_Contact]) -> int:
    """The room that has the pair's name, else the oldest that is theirs alone, else a new one."""
    name = f"u-{unit[1]}-{unit[2]}"
    for named in connection.execute(select(chat_rooms.c.room_id).where(chat_rooms.c.name == name)).scalars():
        return int(named)
    if own:
        return own[0]
    ids = [contact.contact_id for contact in members]
    made_at = connection.execute(select(func.min(contacts.c.created_at)).where(contacts.c.contact_id.in_(ids))).scalar()
    values = {"name": name, "created_at": made_at, "updated_at": made_at}
    created: int = connection.execute(insert(chat_rooms), values).lastrowid
    return created


def _move(connection: Connection, from_rooms: Iterable[int], to_room: int) -> None:
    for old in from_rooms:
        connection.execute(
            update(chat_messages).where(chat_messages.c.room_id == old).values(room_id=bindparam("new_room")),
            {"new_room": to_room},
        )


def _set_room(connection: Connection, wrong: list[_Contact], room_id: int) -> None:
    if wrong:
        ids = [contact.contact_id for contact in wrong]
        connection.execute(update(contacts).where(contacts.c.contact_id.in_(ids)).values(room_id=room_id))


def _keep_one_each(connection: Connection, members: list[_Contact]) -> int:
    by_owner: dict[int, list[_Contact]] = defaultdict(list)
    for contact in members:
        by_owner[contact.owner_id].append(contact)
    spare: list[int] = []
    for twins in by_owner.values():
        kept = next((contact for contact in twins if contact.status == _NORMAL), twins[0])
        spare += [contact.contact_id for contact in twins if contact is not kept]
    if spare:
        connection.execute(delete(contacts).where(contacts.c.contact_id.in_(spare)))
    return len(spare)
