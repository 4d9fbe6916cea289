"""A dozen people who call each other, and what they may expect."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from server.clock import epoch_millis
from server.model.enums import EndReason
from tests.calls.simulation.person import Page, Person
from tests.calls.simulation.world import World

PEOPLE = 12
CATCH_UP = 30.0
CALM = 12.0
"""Seconds after which the last trouble is over for everybody."""
AWAY_TOO_LONG = 19.0
"""Seconds without a socket after which it is no wonder that the server gives somebody up: its last heartbeat was up to
ten seconds before."""


class Crowd:
    def __init__(self, world: World) -> None:
        self.world = world
        self.people = {user_id: Person(self, user_id) for user_id in range(1, PEOPLE + 1)}
        world.people.update(self.people)
        self._tasks: dict[asyncio.Task[None], None] = {}

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.failures.append(error)

    async def make_calls(self, until: float) -> None:
        """Call each other at random."""
        random = self.world.random
        while self.world.loop.time() < until:
            await asyncio.sleep(8 * random.random())
            members = random.sample(sorted(self.people), random.choice([2, 2, 3, 4]))
            caller = self.people[members[0]]
            if caller.page is None:
                self.start(self._call(caller, members))

    async def _call(self, caller: Person, members: list[int]) -> None:
        refusal = await caller.request(lambda server: server.create(members))
        if refusal is not None:
            self.world.note(f"{members} can't call: {refusal.name}")

    async def catch_up(self) -> None:
        """The notification sockets' heartbeats."""
        while True:
            await asyncio.sleep(CATCH_UP)
            for person in self.people.values():
                person.catch_up()

    def any_page(self) -> Page | None:
        """The page of somebody who is in a call."""
        pages = [person.page for person in self.people.values() if person.page is not None]
        return self.world.random.choice(pages) if pages else None

    # what nobody may see

    def page_of(self, call_id: int, user_id: int) -> Page | None:
        """The last page that the person opened in the call."""
        pages = (page for page in reversed(self.people[user_id].pages) if page.call_id == call_id)
        return next(pages, None)

    def is_gone(self, call_id: int, user_id: int) -> bool:
        """Whether this person has left, or was away so long that the server may say so."""
        page = self.page_of(call_id, user_id)
        if page is None or call_id in self.people[user_id].left:
            return True
        return max(page.away(), page.longest_away) > AWAY_TOO_LONG

    def check_lost(self, call_id: int) -> None:
        """Whoever the server has given up must have been away."""
        for member in self.world.database.rows[call_id].record.call.members:
            if member.left is EndReason.LOST:
                assert self.is_gone(call_id, member.user_id), f"{member.user_id} is given up without being gone"

    def check_dead(self, call_id: int, user_id: int) -> None:
        """Nobody is shown as dead who is there."""
        page = self.page_of(call_id, user_id)
        assert self.is_gone(call_id, user_id) or (page and page.over), f"{user_id} is shown as dead in call {call_id}"

    def check_told_of_end(self) -> None:
        """Whoever has had a socket for a while, in peace, knows whether the call is over."""
        now = self.world.loop.time()
        if self.world.troubles and now - self.world.troubles[-1][0] < CALM:
            return
        for person in self.people.values():
            page = person.page
            if page is None or page.up_since is None or page.up_since > now - CALM:
                continue
            call = self.world.database.rows[page.call_id].record.call
            ended_for = epoch_millis(self.world.clock.now()) - call.ended
            assert call.open or ended_for < CALM * 1000, (
                f"{person.user_id} doesn't know that call {page.call_id} is over"
            )

    def check_calls_began(self) -> None:
        """Two who were there together for half a minute have been told that the call is active."""
        pages = [page for person in self.people.values() for page in person.pages]
        for page in pages:
            for other in pages:
                if other is not page and other.call_id == page.call_id and not page.started:
                    together = max(
                        (min(a.end, b.end) - max(a.begin, b.begin) for a in page.ups for b in other.ups), default=0.0
                    )
                    assert together < 30.0, f"{page.person.user_id} never saw call {page.call_id} begin"

    def check_signaling(self) -> None:
        """What was said between two undisturbed sockets of living processes has arrived."""
        for person in self.people.values():
            for page in person.pages:
                for when, to, number in page.sent:
                    other = self.page_of(page.call_id, to)
                    if other is None or number in other.heard.get(person.user_id, set()):
                        continue
                    assert not self._undisturbed(page, other, when), (
                        f"{to} never heard {number}, said by {person.user_id} at {when:.3f} in call {page.call_id}"
                    )

    def _undisturbed(self, page: Page, other: Page, when: float) -> bool:
        spans = [
            next((up for up in each.ups if up.begin <= when - 0.5 and up.end >= when + 12), None)
            for each in (page, other)
        ]
        if spans[0] is None or spans[1] is None:
            return False
        names = {spans[0].server.name, spans[1].server.name}
        around = [what for at, what in self.world.troubles if when - 10 <= at <= when + 12]
        if "flush" in around and "database away" in around:
            return False  # a mailbox may lie unread until its reader knows the call again, and be forgotten once more
        return not any(
            when - 3 <= at <= when + 12 and what.partition(" ")[2] in names for at, what in self.world.troubles
        )
