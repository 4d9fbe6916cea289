"""Users: their accounts, profiles and passwords, and finding them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, exists, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from server.clock import Clock
from server.errors import ApiError, ErrorCode
from server.model.entities import ContactRequest, User
from server.model.enums import ContactStatus, RequestStatus
from server.model.usernames import username_key
from server.store import rows
from server.store.database import Database, inserted_id
from server.store.files import change_references
from server.store.tables import contact_requests, contacts, delivery_counters, users

_HIGHEST = "\U0010ffff"


@dataclass(frozen=True, slots=True)
class Credentials:
    user_id: int
    password_hash: str


_BY_IDS = select(*rows.USER).where(users.c.user_id.in_(bindparam("user_ids", expanding=True)))
_CREDENTIALS = (
    select(users.c.user_id, users.c.username, users.c.password_hash)
    .where(users.c.username_key == bindparam("key"))
    .order_by(users.c.user_id)
)
_SET_PASSWORD_HASH = (
    update(users)
    .where(users.c.user_id == bindparam("id"), users.c.password_hash == bindparam("old"))
    .values(password_hash=bindparam("new"), updated_at=bindparam("now"))
)
_LOCK_AVATAR = select(users.c.avatar).where(users.c.user_id == bindparam("id")).with_for_update()
_UPDATE_PROFILE = (
    update(users)
    .where(users.c.user_id == bindparam("id"))
    .values(nickname=bindparam("new_nickname"), avatar=bindparam("new_avatar"), updated_at=bindparam("now"))
)
_SEARCH = (
    select(
        *rows.USER,
        exists()
        .where(
            contacts.c.owner_id == bindparam("me"),
            contacts.c.user_id == users.c.user_id,
            contacts.c.status == int(ContactStatus.NORMAL),
        )
        .label("is_friend"),
    )
    .where(
        users.c.username_key >= bindparam("first"),
        users.c.username_key <= bindparam("last"),
        users.c.user_id != bindparam("me"),
    )
    .order_by(users.c.user_id)
    .limit(bindparam("at_most"))
    .offset(bindparam("skip"))
)
_PENDING_WITH = (
    select(*rows.REQUEST)
    .where(
        or_(
            and_(
                contact_requests.c.request_uid == bindparam("me"),
                contact_requests.c.user_id.in_(bindparam("them", expanding=True)),
            ),
            and_(
                contact_requests.c.user_id == bindparam("me"),
                contact_requests.c.request_uid.in_(bindparam("them", expanding=True)),
            ),
        ),
        contact_requests.c.status == int(RequestStatus.PENDING),
        contact_requests.c.expired_at > bindparam("now"),
    )
    .order_by(contact_requests.c.id)
)


class Users:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def create(self, username: str, password_hash: str, nickname: str, avatar: str) -> int:
        """The new user's id. Raises ApiError USERNAME_TAKEN."""
        return await self._database.write(_create, username, password_hash, nickname, avatar, self._clock.now())

    async def by_ids(self, user_ids: Collection[int]) -> dict[int, User]:
        """Those that exist."""
        if not user_ids:
            return {}
        found = await self._database.fetch(_BY_IDS, {"user_ids": list(set(user_ids))})
        return {row.user_id: rows.user(row) for row in found}

    async def credentials(self, username: str) -> Credentials | None:
        """Of the user of that name, spelt exactly so if an old database has several whose names are equal."""
        found = await self._database.fetch(_CREDENTIALS, {"key": username_key(username)})
        exact = [row for row in found if row.username == username]
        for row in exact or found:
            return Credentials(row.user_id, row.password_hash)
        return None

    async def set_password_hash(self, user_id: int, old: str, new: str) -> bool:
        """Replace the hash, unless it is no longer `old`; says whether it did."""
        return await self._database.write(_set_password_hash, user_id, old, new, self._clock.now())

    async def update_profile(self, user_id: int, nickname: str, avatar: str) -> None:
        """Raises ApiError USER_NOT_FOUND."""
        await self._database.write(_update_profile, user_id, nickname, avatar, self._clock.now())

    async def search(
        self, keyword: str, me: int, limit: int, offset: int
    ) -> list[tuple[User, bool, ContactRequest | None]]:
        """Users whose name starts with `keyword` (compared as names are), without `me`, by id: each with whether it
        is `me`'s contact, and the pending request between the two. Two statements."""
        first = username_key(keyword)
        found = await self._database.fetch(
            _SEARCH, {"first": first, "last": first + _HIGHEST, "me": me, "at_most": limit, "skip": offset}
        )
        if not found:
            return []
        them = [row.user_id for row in found]
        pending = await self._database.fetch(_PENDING_WITH, {"me": me, "them": them, "now": self._clock.now()})
        requests = {}
        for row in pending:
            request = rows.request(row)
            requests[request.user_id if request.request_uid == me else request.request_uid] = request
        return [(rows.user(row), bool(row.is_friend), requests.get(row.user_id)) for row in found]


def _create(
    connection: Connection, username: str, password_hash: str, nickname: str, avatar: str, now: datetime
) -> int:
    row = {"username": username, "username_key": username_key(username), "twin": 0, "password_hash": password_hash}
    row |= {"nickname": nickname, "avatar": avatar, "enabled": True, "created_at": now, "updated_at": now}
    try:
        user_id = inserted_id(connection, users, row)
    except IntegrityError as error:
        raise ApiError(ErrorCode.USERNAME_TAKEN) from error
    connection.execute(insert(delivery_counters), {"user_id": user_id, "last_id": 0})
    change_references(connection, now, stored=[avatar], dropped=[])
    return user_id


def _set_password_hash(connection: Connection, user_id: int, old: str, new: str, now: datetime) -> bool:
    values = {"id": user_id, "old": old, "new": new, "now": now}
    return connection.execute(_SET_PASSWORD_HASH, values).rowcount == 1


def _update_profile(connection: Connection, user_id: int, nickname: str, avatar: str, now: datetime) -> None:
    before = connection.execute(_LOCK_AVATAR, {"id": user_id}).scalar()
    if before is None:
        raise ApiError(ErrorCode.USER_NOT_FOUND)
    values = {"id": user_id, "new_nickname": nickname, "new_avatar": avatar, "now": now}
    connection.execute(_UPDATE_PROFILE, values)
    change_references(connection, now, stored=[avatar], dropped=[before])
