"""Contacts, contact requests and groups."""

from server.api.routing import AnyRoute, Call, Route, Source
from server.errors import ErrorCode as E
from server.services.contacts import Contacts
from server.wire import bodies, objects

TAG = "Contacts"
_REQUEST_ERRORS = (E.REQUEST_NOT_FOUND, E.REQUEST_HANDLED, E.REQUEST_EXPIRED, E.FIELD_INVALID)


class ContactsApi:
    def __init__(self, contacts: Contacts) -> None:
        self._contacts = contacts

    async def request(self, call: Call[bodies.UserId]) -> objects.ContactRequest:
        return objects.ContactRequest.model_validate(await self._contacts.request(call.me, call.input.user_id))

    async def pending(self, call: Call[bodies.Nothing]) -> list[objects.ContactRequest]:
        return [objects.ContactRequest.model_validate(request) for request in await self._contacts.pending(call.me)]

    async def accept(self, call: Call[bodies.RequestId]) -> None:
        await self._contacts.accept(call.me, call.input.request_id)

    async def reject(self, call: Call[bodies.RequestId]) -> None:
        await self._contacts.reject(call.me, call.input.request_id)

    async def all(self, call: Call[bodies.Nothing]) -> list[objects.Contact]:
        return [objects.Contact.model_validate(contact) for contact in await self._contacts.all_of(call.me)]

    async def members(self, call: Call[bodies.ContactId]) -> list[objects.User]:
        members = await self._contacts.members(call.me, call.input.contact_id)
        return [objects.User.model_validate(user) for user in members]

    async def create_group(self, call: Call[bodies.NewGroup]) -> None:
        await self._contacts.create_group(call.me, call.input.name, call.input.avatar, call.input.contact_ids)

    async def groups(self, call: Call[bodies.GroupIds]) -> list[objects.Group | None]:
        groups = await self._contacts.groups(call.me, call.input.group_ids)
        return [objects.Group.model_validate(group) if group else None for group in groups]

    def routes(self) -> list[AnyRoute]:
        return [
            Route(
                "POST", "/contact/user", self.request, "Ask a user to become a contact",
                bodies.UserId, Source.BODY, objects.ContactRequest,
                (E.USER_NOT_FOUND, E.CONTACT_EXISTS, E.REQUEST_PENDING, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "GET", "/contact/pending", self.pending, "Pending requests addressed to me, newest first",
                bodies.Nothing, Source.QUERY, list[objects.ContactRequest], tag=TAG,
            ),
            Route(
                "POST", "/contact/accept", self.accept, "Accept a contact request",
                bodies.RequestId, Source.QUERY, None, _REQUEST_ERRORS, tag=TAG,
            ),
            Route(
                "POST", "/contact/reject", self.reject, "Reject a contact request",
                bodies.RequestId, Source.QUERY, None, _REQUEST_ERRORS, tag=TAG,
            ),
            Route(
                "GET", "/contact", self.all, "My contacts, last changed first",
                bodies.Nothing, Source.QUERY, list[objects.Contact], tag=TAG,
            ),
            Route(
                "GET", "/contact/members", self.members, "The two of a user contact, all of a group",
                bodies.ContactId, Source.QUERY, list[objects.User],
                (E.CONTACT_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "POST", "/contact/group", self.create_group, "Make a group of some of my contacts",
                bodies.NewGroup, Source.BODY, None, (E.CONTACT_NOT_FOUND, E.FORBIDDEN, E.FIELD_INVALID), tag=TAG,
            ),
            Route(
                "POST", "/contact/groups", self.groups, "Groups in the order asked, null for one that isn't mine",
                bodies.GroupIds, Source.BODY, list[objects.Group | None], (E.FIELD_INVALID,), tag=TAG,
            ),
        ]  # fmt: skip
