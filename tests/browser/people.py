"""People in front of the frontend in small, each with a tab."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.browser.chromium import Browser, Tab


@dataclass(frozen=True, slots=True)
class Person:
    """A registered user whose page has its `api` and its `notifications`."""

    tab: Tab
    user_id: int

    @classmethod
    async def register(cls, browser: Browser, base: str) -> "Person":
        tab = await browser.open(base)
        user_id = await tab.evaluate(
            f"(async () => {{ window.api = await Api.register('u{uuid4().hex[:16]}');"
            " window.notifications = new Notifications(api); return api.userId; })()"
        )
        await tab.wait_for("notifications.opened.length")
        return cls(tab, user_id)

    async def in_another_tab(self, browser: Browser, base: str) -> "Person":
        token = json.dumps(await self.tab.evaluate("api.token"))
        tab = await browser.open(base)
        await tab.evaluate(f"window.api = new Api({token}); void (window.notifications = new Notifications(api))")
        await tab.wait_for("notifications.opened.length")
        return Person(tab, self.user_id)

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """The data of an answer to this person's page; `query` and `body` as the frontend takes them."""
        return await self.tab.evaluate(f"api.call({json.dumps(method)}, {json.dumps(path)}, {json.dumps(options)})")

    async def befriend(self, other: "Person") -> int:
        """Ask, and let the other accept what its page was told of: my contact's id."""
        await self.call("POST", "/contact/user", body={"userId": other.user_id})
        request = await other.tab.wait_for(f"notifications.requests.find((one) => one.requestUid === {self.user_id})")
        await other.call("POST", "/contact/accept", query={"requestId": request["id"]})
        contact = await self.tab.wait_for(f"notifications.contacts.find((one) => one.userId === {other.user_id})")
        return int(contact["contactId"])

    async def contact_id(self, other: "Person") -> int:
        return int((await self.tab.evaluate(f"api.contactOf({other.user_id})"))["contactId"])

    async def send(self, contact_id: int, text: str) -> Any:
        return await self.call("POST", "/chat/send", body={"contactId": contact_id, "localId": "", "text": text})

    async def shows(self, texts: list[str]) -> None:
        """Returns once the page has exactly these messages."""
        await self.tab.wait_for("notifications.texts()", lambda shown: shown == texts)


async def register(browser: Browser, base: str, count: int) -> list[Person]:
    return list(await asyncio.gather(*(Person.register(browser, base) for _ in range(count))))
