"""Messages."""

from server.api.routing import AnyRoute, Call, Route, Source
from server.errors import ErrorCode as E
from server.services.chat import Chat
from server.wire import bodies, objects

TAG = "Chat"


class ChatApi:
    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def send(self, call: Call[bodies.Send]) -> objects.Message:
        body = call.input
        message = await self._chat.send(
            call.me, body.contact_id, body.local_id, text=body.text, image=body.image, thumbnail=body.thumbnail
        )
        return objects.Message.seen_by(message, call.me)

    async def history(self, call: Call[bodies.History]) -> list[objects.Message]:
        query = call.input
        messages = await self._chat.history(call.me, query.contact_id, query.last_message_id or None, query.limit)
        return [objects.Message.seen_by(message, call.me) for message in messages]

    async def fill_image(self, call: Call[bodies.DelayedImage]) -> None:
        await self._chat.fill_image(call.me, call.input.message_id, call.input.image)

    async def revoke(self, call: Call[bodies.MessageId]) -> None:
        await self._chat.revoke(call.me, call.input.message_id)

    async def sync(self, call: Call[bodies.Sync]) -> list[objects.Message]:
        query = call.input
        deliveries = await self._chat.sync(call.me, query.synced, query.last or None, query.limit)
        return [objects.Message.seen_by(one.message, call.me, one.delivery_id) for one in deliveries]

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/chat/send", self.send, "Send a message; again with the same localId, it is the first one",
                bodies.Send, Source.BODY, objects.Message,
                (E.MESSAGE_EMPTY, E.MESSAGE_TYPE, E.CONTACT_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "GET", "/chat/messages", self.history, "The newest messages before lastMessageId, oldest first",
                bodies.History, Source.QUERY, list[objects.Message],
                (E.CONTACT_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "POST", "/chat/delayUpload", self.fill_image, "Fill in the image of one's own image message",
                bodies.DelayedImage, Source.BODY, None, (E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "POST", "/chat/revoke", self.revoke, "Revoke one's own message",
                bodies.MessageId, Source.QUERY, None, (E.FORBIDDEN, E.REVOKE_TOO_LATE, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "GET", "/chat/sync", self.sync, "My deliveries with synced < id < last, newest first",
                bodies.Sync, Source.QUERY, list[objects.Message], (E.FIELD_INVALID,), tag=TAG,
            ),
        ]  # fmt: skip
