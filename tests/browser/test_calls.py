"""Two and three people call each other, each in a tab of a real browser with a camera: their pictures arrive."""

import asyncio
from typing import Any

import pytest

from tests.browser.chromium import Browser
from tests.browser.people import Person, register
from tests.support.proxy import Proxy
from tests.support.server import ServerProcess

JOIN = "Call.join(api, {}).then((call) => {{ window.call = call; }})"


async def _ring(caller: Person, contact_id: int, *callees: Person) -> int:
    """The id of a new call, once the pages of all callees are told of it and it is ready."""
    body = {"contactId": contact_id, "userIds": [callee.user_id for callee in callees]}
    call_id = int(await caller.call("POST", "/call", body=body))
    ready = (
        f"[...notifications.messages.values()].some(({{ call }}) => call?.callId === {call_id} && call.status === 2)"
    )
    await asyncio.gather(*(person.tab.wait_for(ready) for person in (caller, *callees)))
    return call_id


def _all_arrive(before: Any, others: int) -> Any:
    """Whether from every one of the others a picture is shown, and both pictures and sound go on coming."""

    def done(now: Any) -> bool:
        return len(now) == others and all(
            min(arrived["size"]) > 0
            and arrived["pictures"] >= before.get(user, {"pictures": 0})["pictures"] + 5
            and arrived["sounds"] >= before.get(user, {"sounds": 0})["sounds"] + 5
            for user, arrived in now.items()
        )

    return done


async def _see_and_hear_each_other(*people: Person) -> None:
    async def see(person: Person) -> None:
        before = await person.tab.evaluate("call.arrivals()")
        await person.tab.wait_for("call.arrivals()", _all_arrive(before, len(people) - 1))

    await asyncio.gather(*map(see, people))


async def _ended(reason: int, *people: Person) -> None:
    for person in people:
        assert await person.tab.wait_for("call.endReason", lambda told: told is not None) == reason
        assert person.tab.problems == []


@pytest.mark.parametrize("first", ["caller", "callee"])
async def test_two_with_their_cameras_on_from_the_start(site: ServerProcess, browser: Browser, first: str) -> None:
    """Whoever is there first, and so whoever has the lower id: each sees the other."""
    ann, ben = await register(browser, site.base, 2)
    call_id = await _ring(ann, await ann.befriend(ben), ben)
    for person in (ann, ben) if first == "caller" else (ben, ann):
        await person.tab.evaluate(JOIN.format(call_id))
        await person.tab.wait_for("call.frames.length")
        assert await person.tab.evaluate("call.frames[0]") == 2
    await _see_and_hear_each_other(ann, ben)
    assert await ann.tab.evaluate("call.started")
    await ben.call("POST", "/call/hangup", query={"callId": call_id})
    await _ended(1, ann, ben)
    call = await ann.call("GET", "/call", query={"callId": call_id})
    assert (call["status"], call["endReason"]) == (4, 1)


async def test_three_in_a_mesh_of_whom_one_leaves(site: ServerProcess, browser: Browser) -> None:
    ann, ben, cyd = await register(browser, site.base, 3)
    contacts = [await ann.befriend(ben), await ann.befriend(cyd)]
    await ann.call("POST", "/contact/group", body={"name": "three", "avatar": "", "contactIds": contacts})
    group = await ann.tab.wait_for("notifications.contacts.find((contact) => contact.groupId)")
    call_id = await _ring(ann, group["contactId"], ben, cyd)
    await asyncio.gather(*(person.tab.evaluate(JOIN.format(call_id)) for person in (ann, ben, cyd)))
    await _see_and_hear_each_other(ann, ben, cyd)
    await cyd.call("POST", "/call/hangup", query={"callId": call_id})
    await _ended(1, cyd)
    await ann.tab.wait_for(f"call.states.get({cyd.user_id}) === 6")
    before = await ann.tab.evaluate("call.arrivals()")
    await ann.tab.wait_for(
        "call.arrivals()", lambda now: now[str(ben.user_id)]["pictures"] > before[str(ben.user_id)]["pictures"] + 5
    )
    await ben.call("POST", "/call/hangup", query={"callId": call_id})
    await _ended(1, ann, ben)


async def test_the_picture_goes_on_while_a_socket_is_lost_and_comes_back(site: ServerProcess, browser: Browser) -> None:
    ann = await Person.register(browser, site.base)
    async with Proxy(site.port) as network:
        ben = await Person.register(browser, network.base)
        call_id = await _ring(ann, await ann.befriend(ben), ben)
        for person in (ann, ben):
            await person.tab.evaluate(JOIN.format(call_id))
        await _see_and_hear_each_other(ann, ben)
        frames = await ben.tab.evaluate("call.frames.length")
        network.reset()
        await ben.tab.wait_for("call.frames.length", lambda now: now > frames)
        assert await ben.tab.evaluate(f"call.frames[{frames}]") == 2
        await ann.tab.wait_for(f"call.states.get({ben.user_id}) === 4")
        await _see_and_hear_each_other(ann, ben)
        assert await ann.tab.evaluate("call.peers.size") == 1
        await ann.call("POST", "/call/hangup", query={"callId": call_id})
        ben.tab.problems.clear()  # the browser itself tells of broken connections
        await _ended(1, ann, ben)
