"""The rules of a mesh between two links, without a server: what one says reaches the other as the test likes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from tests.participant.impressions import Impression
from tests.participant.link import Link
from tests.participant.media import Media
from tests.participant.signals import SignalKind
from tests.support.notification import PATIENCE

LOW, HIGH = 1, 2
QUICK = 0.3
"""Seconds for an answer: far longer than it takes, far shorter than a test waits."""


class Pair:
    """Links of users 1 and 2. `log` is what was said, as (who, kind); `pass_on` decides which of it arrives."""

    def __init__(self) -> None:
        self.links: dict[int, Link] = {}
        self.impressions: dict[int, Impression] = {}
        self.connections: dict[int, list[RTCPeerConnection]] = {LOW: [], HIGH: []}
        self.sensed: list[int] = []
        self.log: list[tuple[int, SignalKind]] = []
        self.pass_on: Callable[[int, dict[str, Any]], list[dict[str, Any]]] = lambda _, message: [message]

    @asynccontextmanager
    async def page(self, me: int, unanswered: float = QUICK) -> AsyncIterator[Link]:
        """A page of one of the two that has just been loaded."""
        other = LOW + HIGH - me
        self.impressions[me] = Impression(other)
        media = Media(me)

        def connect() -> RTCPeerConnection:
            connection = media.connection(RTCConfiguration(iceServers=[]))
            self.connections[me].append(connection)
            return connection

        async def sensed() -> None:
            self.sensed.append(me)

        link = self.links[me] = Link(
            me,
            other,
            connect=connect,
            say=partial(self._say, me, other),
            impression=self.impressions[me],
            sensed=sensed,
            unanswered=unanswered,
        )
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(link.run())
            yield link
            running.cancel()

    async def _say(self, me: int, other: int, message: str) -> None:
        body = json.loads(message)
        self.log.append((me, SignalKind(body["type"])))
        for passed in self.pass_on(me, body):
            if other in self.links:
                self.links[other].hear(json.dumps(passed))

    async def media(self, *who: int) -> None:
        """Returns once more of the other has been heard and seen by each."""
        for me in who or (LOW, HIGH):
            await until(self.impressions[me].ahead(3, 3))

    def was_answered(self, me: int, times: int) -> bool:
        return self.links[me].answered == times

    def said(self, me: int, kind: SignalKind) -> int:
        return self.log.count((me, kind))


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not done():
            await asyncio.sleep(0.01)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Two pages; nobody has seen the other yet."""
    async with AsyncExitStack() as stack:
        pair = Pair()
        for me in (LOW, HIGH):
            await stack.enter_async_context(pair.page(me))
        yield pair


def meet(pair: Pair) -> None:
    for link in pair.links.values():
        link.appeared()


async def test_the_lower_id_offers_and_both_hear_and_see(pair: Pair) -> None:
    meet(pair)
    await pair.media()
    assert pair.log[0] == (LOW, SignalKind.OFFER)
    assert set(pair.log) == {(LOW, SignalKind.OFFER), (HIGH, SignalKind.ANSWER)}
    assert pair.links[LOW].answered == 1
    assert sorted(pair.sensed) == [LOW, HIGH]


async def test_an_offer_is_made_again_until_it_is_answered(pair: Pair) -> None:
    def lose_two_offers(me: int, message: dict[str, Any]) -> list[dict[str, Any]]:
        return [] if me == LOW and pair.said(LOW, SignalKind.OFFER) <= 2 else [message]

    pair.pass_on = lose_two_offers
    meet(pair)
    await pair.media()
    assert pair.said(LOW, SignalKind.OFFER) >= 3
    assert len(pair.connections[LOW]) == 1


async def test_an_answer_may_be_lost_or_come_twice(pair: Pair) -> None:
    def lose_the_first(me: int, message: dict[str, Any]) -> list[dict[str, Any]]:
        if me == LOW:
            return [message]
        return [] if pair.said(HIGH, SignalKind.ANSWER) == 1 else [message, message]

    pair.pass_on = lose_the_first
    meet(pair)
    await pair.media()
    assert pair.links[LOW].answered == 1


async def test_an_offer_isnt_made_again_to_one_who_is_away(pair: Pair) -> None:
    pair.pass_on = lambda *_: []
    pair.links[LOW].appeared()
    await until(lambda: pair.said(LOW, SignalKind.OFFER) >= 2)
    pair.links[LOW].lost_sight()
    made = pair.said(LOW, SignalKind.OFFER)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(3 * QUICK):
            await until(lambda: pair.said(LOW, SignalKind.OFFER) > made)
    pair.links[LOW].appeared()
    await until(lambda: pair.said(LOW, SignalKind.OFFER) > made)


async def test_either_may_offer_later_and_the_media_goes_on(pair: Pair) -> None:
    meet(pair)
    await pair.media()
    for me in (HIGH, LOW):
        before = pair.links[me].answered
        pair.links[me].offer()
        await until(partial(pair.was_answered, me, before + 1))
    await pair.media()
    assert {me: len(made) for me, made in pair.connections.items()} == {LOW: 1, HIGH: 1}


async def test_of_two_offers_at_once_the_lower_ids_wins(pair: Pair) -> None:
    meet(pair)
    await pair.media()
    held: list[Callable[[], None]] = []

    def cross(me: int, message: dict[str, Any]) -> list[dict[str, Any]]:
        if message["type"] == SignalKind.ANSWER:
            return [message]
        held.append(lambda: pair.links[LOW + HIGH - me].hear(json.dumps(message)))
        return []

    pair.pass_on = cross
    pair.links[LOW].offer()
    pair.links[HIGH].offer()
    await until(lambda: len(held) == 2)
    for deliver in held:
        deliver()
    await until(lambda: pair.links[LOW].answered == 2)
    await pair.media()
    assert pair.links[HIGH].answered == 0
    assert pair.said(LOW, SignalKind.ANSWER) == 0
    assert {me: len(made) for me, made in pair.connections.items()} == {LOW: 1, HIGH: 1}


async def test_of_two_first_offers_at_once_the_lower_ids_wins(pair: Pair) -> None:
    pair.links[HIGH].offer()
    meet(pair)
    await pair.media()
    assert pair.said(LOW, SignalKind.ANSWER) == 0
    assert pair.links[LOW].answered


async def test_candidates_that_come_before_a_description_are_kept(pair: Pair) -> None:
    """The lower one is told no candidates, the higher one by signals of their own, ahead of the offer."""

    def candidates_first(me: int, message: dict[str, Any]) -> list[dict[str, Any]]:
        lines = message["payload"]["sdp"].splitlines(keepends=True)
        candidates = [line.strip().removeprefix("a=") for line in lines if line.startswith("a=candidate:")]
        bare = "".join(line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates")))
        passed = [{"type": message["type"], "payload": message["payload"] | {"sdp": bare}}]
        if message["type"] == SignalKind.OFFER:
            assert candidates
            told = [{"candidate": each, "sdpMid": "0", "sdpMLineIndex": 0} for each in dict.fromkeys(candidates)]
            passed[:0] = [{"type": int(SignalKind.CANDIDATE), "payload": each} for each in [*told, {"candidate": ""}]]
        return passed

    pair.pass_on = candidates_first
    meet(pair)
    await pair.media()


@pytest.mark.parametrize("reloaded", [LOW, HIGH])
async def test_a_page_that_is_loaded_anew_begins_a_new_connection(reloaded: int) -> None:
    pair, stayed = Pair(), LOW + HIGH - reloaded
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(pair.page(stayed))
        async with pair.page(reloaded):
            meet(pair)
            await pair.media()
            pair.links[stayed].lost_sight()
            # what is still on its way from the old page comes to nobody
        await stack.enter_async_context(pair.page(reloaded))
        meet(pair)
        await pair.media()
        await pair.media()
        assert pair.connections[stayed][-1].connectionState == "connected"


async def test_a_connection_that_ends_is_made_anew(pair: Pair) -> None:
    meet(pair)
    await pair.media()
    await pair.connections[HIGH][0].close()
    await until(lambda: len(pair.connections[LOW]) == 2)
    await pair.media()


async def test_who_left_is_hung_up_on_and_may_come_back(pair: Pair) -> None:
    meet(pair)
    await pair.media()
    for link in pair.links.values():
        link.left()
    await until(lambda: all(each[0].connectionState == "closed" for each in pair.connections.values()))
    meet(pair)
    await pair.media()
