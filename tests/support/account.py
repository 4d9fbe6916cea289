"""Registered users of a server under test."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import aiohttp

from tests.support.api import Api, JsonObject
from tests.support.frontend import FrontendClient

PASSWORD = "correct horse"


@dataclass(frozen=True, slots=True)
class Account:
    """A user and one login of theirs, at the server that `api` talks to."""

    api: Api
    user_id: int
    username: str

    @classmethod
    async def register(cls, http: aiohttp.ClientSession, base: str, username: str = "", **fields: Any) -> "Account":
        """A new user; the name is random where none is given."""
        username = username or f"u{uuid4().hex[:16]}"
        api = Api(http, base)
        login = await api.register(username, PASSWORD, fields.pop("nickname", username), **fields)
        return cls(api.with_token(login.token), login.user_id, username)

    async def log_in(self, base: str = "") -> "Account":
        """Another login of the same user, as from another device."""
        login = await self.api.at(base or self.api.base).login(self.username, PASSWORD)
        return Account(self.api.at(base or self.api.base).with_token(login.token), self.user_id, self.username)

    def at(self, base: str) -> "Account":
        """The same login at another server."""
        return Account(self.api.at(base), self.user_id, self.username)

    def frontend(self, **options: Any) -> FrontendClient:
        """A device of this login; see FrontendClient for the options."""
        return FrontendClient(self.api, **options)

    async def befriend(self, other: "Account") -> int:
        """Ask, and let the other accept: my contact's id."""
        request = await self.api.ask(other.user_id)
        await other.api.accept(request["id"])
        return await self.contact_id(other)

    async def contact(self, other: "Account") -> JsonObject:
        """My Contact of the other user."""
        (contact,) = (line for line in await self.api.contacts() if line["userId"] == other.user_id)
        return contact

    async def contact_id(self, other: "Account") -> int:
        return int((await self.contact(other))["contactId"])

    async def group_contact(self, name: str) -> JsonObject:
        """My Contact of the group with this name."""
        contacts = {line["groupId"]: line for line in await self.api.contacts() if line["groupId"]}
        groups = await self.api.groups(list(contacts))
        (group,) = (group for group in groups if group and group["name"] == name)
        return contacts[group["groupId"]]
