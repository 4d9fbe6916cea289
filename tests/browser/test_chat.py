"""Two people chat, each in a tab of a real browser."""

import asyncio
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, Tab
from tests.browser.conftest import SITE
from tests.browser.people import Person, register
from tests.support.certificate import Certificate
from tests.support.proxy import Proxy
from tests.support.server import ServerProcess


async def _clean(*people: Person) -> None:
    """Their consoles show no error, and what came to them came in order."""
    for person in people:
        assert person.tab.problems == []
        came = await person.tab.evaluate("notifications.came")
        assert came == sorted(came)


async def _lost(tab: Tab, times: int = 1) -> int:
    """The close code of a connection, once so many were lost."""
    closed = await tab.wait_for("notifications.closed", lambda closed: len(closed) >= times)
    return int(closed[times - 1])


async def test_register_become_contacts_send_receive_revoke(site: ServerProcess, browser: Browser) -> None:
    ann, ben = await register(browser, site.base, 2)
    second = await ben.in_another_tab(browser, site.base)
    contact = await ann.befriend(ben)
    back = await ben.contact_id(ann)
    await ann.send(contact, "hello 👋")
    await ben.shows(["hello 👋"])
    message = await ben.send(back, "hello yourself")
    for person in (ann, ben, second):
        await person.shows(["hello 👋", "hello yourself"])
    await ben.call("POST", "/chat/revoke", query={"messageId": message["messageId"]})
    for person in (ann, ben, second):
        await person.tab.wait_for(f"notifications.messages.get({message['messageId']}).revoked")
        await person.shows(["hello 👋", ""])
    await _clean(ann, ben, second)


async def test_a_connection_that_breaks_is_resumed_and_nothing_is_missed(site: ServerProcess, browser: Browser) -> None:
    ann = await Person.register(browser, site.base)
    async with Proxy(site.port) as network:
        ben = await Person.register(browser, network.base)
        contact = await ann.befriend(ben)
        texts = []
        for times in range(1, 4):
            texts.append(f"before {times}")
            await ann.send(contact, texts[-1])
            network.reset()
            texts.append(f"in between {times}")
            await ann.send(contact, texts[-1])
            await _lost(ben.tab, times)
            texts.append(f"after {times}")
            await ann.send(contact, texts[-1])
            await ben.shows(texts)
        assert await ben.tab.evaluate("notifications.opened") == ["new", "resumed", "resumed", "resumed"]
        assert set(await ben.tab.evaluate("notifications.closed")) == {1006}
        came = await ben.tab.evaluate("[...new Set(notifications.came)]")
        assert came == list(range(came[0], came[0] + len(texts)))
        ben.tab.problems.clear()  # the browser itself tells of broken connections
        await _clean(ann)


@pytest.mark.parametrize("how", ["stopped", "killed"])
async def test_the_server_restarts_and_nothing_is_missed(site: ServerProcess, browser: Browser, how: str) -> None:
    ann, ben = await register(browser, site.base, 2)
    contact = await ann.befriend(ben)
    await ann.send(contact, "before")
    await ben.shows(["before"])
    if how == "stopped":
        assert await site.terminate() == 0
    else:
        site.kill()
    assert await _lost(ben.tab) == (1012 if how == "stopped" else 1006)
    await site.start()
    await ann.send(contact, "after")
    await ben.shows(["before", "after"])
    assert (await ben.tab.evaluate("notifications.opened"))[-1] == "new"


async def test_over_tls(tmp_path: Path, browser: Browser) -> None:
    server = ServerProcess(tmp_path, {"ICHAT_WEB_ROOT": str(SITE)}, certificate=Certificate(tmp_path))
    try:
        await server.start()
        ann, ben = await register(browser, server.base, 2)
        assert (await ann.tab.evaluate("notifications.socket.url")).startswith("wss://")
        await ann.send(await ann.befriend(ben), "in secret")
        await ben.shows(["in secret"])
        await _clean(ann, ben)
    finally:
        await asyncio.to_thread(server.stop)
    server.check_log()
