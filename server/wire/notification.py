"""The notification socket's frames, and how a frame waits in a session's mailbox."""

from enum import IntEnum
from typing import NamedTuple

from server.model import entities
from server.wire import objects


class NotificationType(IntEnum):
    MESSAGE = 1
    CONTACT = 2
    CONTACT_REQUEST = 3
    CALL_HANDLED = 4


HEARTBEAT = "1"


def message_frame(delivery: entities.Delivery) -> str:
    return _frame(NotificationType.MESSAGE, objects.NotifiedMessage.of(delivery).model_dump_json())


def message_frame_parts(message: entities.Message, *, is_new: bool) -> tuple[str, str, str]:
    """What stands before the local id in a message's frames, the local id in JSON (its sender's; everybody else's is
    `""`), and what stands after the delivery id, which follows it."""
    frame = message_frame(entities.Delivery(message.sender_id, 0, is_new, message))
    before, key, rest = frame.rpartition('"localId":')  # quotes within texts are escaped, so it is the key
    local_id, _, after = rest.rpartition(',"deliveryId":0')
    return before + key, local_id, after


def contact_frame(contact: entities.Contact) -> str:
    return _frame(NotificationType.CONTACT, objects.Contact.model_validate(contact).model_dump_json())


def contact_request_frame(request: entities.ContactRequest) -> str:
    return _frame(NotificationType.CONTACT_REQUEST, objects.ContactRequest.model_validate(request).model_dump_json())


def call_handled_frame(call_id: int) -> str:
    return _frame(NotificationType.CALL_HANDLED, str(call_id))


def _frame(kind: NotificationType, payload: str) -> str:
    return f'{{"type":{kind},"payload":{payload}}}'


def session_resumed(session_id: str) -> str:
    return f"session:{session_id}"


def session_opened(session_id: str, last_delivery_id: int) -> str:
    return f"session:{session_id}\n{last_delivery_id}"


class Queued(NamedTuple):
    """A frame as it waits in a session's mailbox.

    `delivery_id` (0: the frame is no delivery) lets the session find gaps without decoding the frame;
    `committed_at` (milliseconds since 1970) lets it measure how long the notification took.
    """

    delivery_id: int
    committed_at: int
    frame: str

    def encode(self) -> bytes:
        return f"{self.delivery_id} {self.committed_at} {self.frame}".encode()

    @classmethod
    def decode(cls, data: bytes) -> "Queued":
        delivery_id, committed_at, frame = data.split(b" ", 2)
        return cls(int(delivery_id), int(committed_at), frame.decode())


def session_group(user_id: int) -> str:
    """The bus group that holds the session mailboxes of a user, each named by its session id."""
    return f"user:{user_id}"
