"""Users, contacts and sends for tests, in few words."""

from collections.abc import Sequence
from itertools import count
from uuid import uuid4

from server.model.entities import Contact, Delivery
from server.model.enums import MessageType
from server.store import SendRequest, SendResult, Store

_numbers = count(1)


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
    """A new group; its members' contacts, the owner's first."""
    owner = await register(store)
    contacts = [await befriend(store, owner, await register(store)) for _ in range(members - 1)]
    return await store.groups.create(owner, "a group", "", [contact.contact_id for contact in contacts])


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
