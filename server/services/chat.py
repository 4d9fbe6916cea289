"""Messages: sending, history, sync, revoking."""

from collections.abc import Sequence

from server.clock import Clock
from server.config.settings import Chat as ChatSettings
from server.errors import ApiError, ErrorCode
from server.model.entities import Delivery, Message
from server.model.enums import MessageType
from server.services.contacts import Contacts
from server.services.notifier import Notifier
from server.store import Store
from server.store.messages import Change
from server.store.sending import SendRequest


class Chat:
    def __init__(
        self, store: Store, contacts: Contacts, notifier: Notifier, clock: Clock, settings: ChatSettings
    ) -> None:
        self._store = store
        self._contacts = contacts
        self._notifier = notifier
        self._clock = clock
        self._settings = settings

    async def send(
        self, user_id: int, contact_id: int, local_id: str, *, text: str, image: str, thumbnail: str
    ) -> Message:
        """Returns once the message is committed; sent again to the same contact with the same `local_id`, it is the
        first message.

        Raises:
            ApiError: MESSAGE_EMPTY, MESSAGE_TYPE (text and picture in one), FIELD_INVALID, CONTACT_NOT_FOUND, FORBIDDEN
        """
        picture = bool(image or thumbnail)
        if text and picture:
            raise ApiError(ErrorCode.MESSAGE_TYPE)
        if not text and not picture:
            raise ApiError(ErrorCode.MESSAGE_EMPTY)
        if len(text) > (most := self._settings.text_limit):
            rule = (f"最多 {most} 个字符", f"at most {most} characters")
            raise ApiError(ErrorCode.FIELD_INVALID, field="text", rule=rule)
        kind = MessageType.IMAGE if picture else MessageType.TEXT
        request = SendRequest(user_id, contact_id, local_id, kind, text, image, thumbnail)
        result = await self._store.messages.send(request)
        await self._notifier.deliver(result.deliveries)
        return result.message

    async def history(self, user_id: int, contact_id: int, before: int | None, limit: int) -> Sequence[Message]:
        """Oldest first. Raises ApiError (CONTACT_NOT_FOUND, FORBIDDEN)."""
        contact = await self._contacts.own(user_id, contact_id)
        return await self._store.messages.history(contact.room_id, before, limit, user_id)

    async def sync(self, user_id: int, synced: int, last: int | None, limit: int) -> Sequence[Delivery]:
        """Newest first."""
        return await self._store.deliveries.sync(user_id, synced, last, limit)

    async def fill_image(self, user_id: int, message_id: int, image: str) -> None:
        """Raises ApiError (FORBIDDEN)."""
        await self._tell(await self._store.messages.fill_image(message_id, user_id, image, self._clock.now()))

    async def revoke(self, user_id: int, message_id: int) -> None:
        """Raises ApiError (FORBIDDEN, REVOKE_TOO_LATE)."""
        await self._tell(await self._store.messages.revoke(message_id, user_id, self._clock.now()))

    async def _tell(self, change: Change) -> None:
        await self._notifier.deliver(change.deliveries)
