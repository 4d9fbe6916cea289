"""Contacts, requests and groups: who may talk with whom, and who is told of it."""

from collections.abc import Sequence

from server.errors import ApiError, ErrorCode
from server.model.entities import Contact, ContactRequest, Group, User
from server.services.notifier import Notifier
from server.store import Store


class Contacts:
    def __init__(self, store: Store, notifier: Notifier) -> None:
        self._store = store
        self._notifier = notifier

    async def own(self, user_id: int, contact_id: int) -> Contact:
        """A contact of that user. Raises ApiError (CONTACT_NOT_FOUND, FORBIDDEN)."""
        contact = await self._store.contacts.get(contact_id)
        if contact is None:
            raise ApiError(ErrorCode.CONTACT_NOT_FOUND)
        if contact.owner_id != user_id:
            raise ApiError(ErrorCode.FORBIDDEN)
        return contact

    async def all_of(self, user_id: int) -> Sequence[Contact]:
        """Last changed first."""
        return await self._store.contacts.of_owner(user_id)

    async def members(self, user_id: int, contact_id: int) -> Sequence[User]:
        """Raises ApiError (CONTACT_NOT_FOUND, FORBIDDEN)."""
        return await self._store.contacts.members(await self.own(user_id, contact_id))

    async def request(self, user_id: int, other: int) -> ContactRequest:
        """Raises ApiError (FIELD_INVALID, USER_NOT_FOUND, CONTACT_EXISTS, REQUEST_PENDING)."""
        request = await self._store.contacts.request(user_id, other)
        await self._notifier.contact_request(request)
        return request

    async def pending(self, user_id: int) -> Sequence[ContactRequest]:
        """Addressed to the user, newest first."""
        return await self._store.contacts.pending_for(user_id)

    async def accept(self, user_id: int, request_id: int) -> None:
        """Raises ApiError (REQUEST_NOT_FOUND, REQUEST_HANDLED, REQUEST_EXPIRED)."""
        await self._notifier.contacts(await self._store.contacts.accept(request_id, user_id))

    async def reject(self, user_id: int, request_id: int) -> None:
        """Raises ApiError (REQUEST_NOT_FOUND, REQUEST_HANDLED, REQUEST_EXPIRED)."""
        await self._store.contacts.reject(request_id, user_id)

    async def create_group(self, user_id: int, name: str, avatar: str, contact_ids: Sequence[int]) -> None:
        """Raises ApiError (CONTACT_NOT_FOUND, FORBIDDEN, FIELD_INVALID)."""
        await self._notifier.contacts(await self._store.groups.create(user_id, name, avatar, contact_ids))

    async def groups(self, user_id: int, group_ids: Sequence[int]) -> list[Group | None]:
        """In the order asked, None for one that is unknown or not the user's."""
        found = await self._store.groups.by_ids(group_ids, user_id)
        return [found.get(group_id) for group_id in group_ids]
