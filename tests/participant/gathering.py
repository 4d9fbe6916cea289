"""Several people who get to know each other and meet in a call."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

from tests.participant.mesh import MeshPage
from tests.participant.person import Person
from tests.support.notification import PATIENCE
from tests.support.register import Register


@asynccontextmanager
async def company(
    register: Register, servers: Iterable[int], *, relay_only: bool = False
) -> AsyncIterator[list[Person]]:
    """New people, each at the server with that number."""
    async with AsyncExitStack() as stack:
        people = [Person(await register(server=number), relay_only=relay_only) for number in servers]
        for person in people:
            await stack.enter_async_context(person)
        yield people


async def acquaint(host: Person, *others: Person) -> int:
    """Make them contacts of the host, and members of a group where they are more than two: the host's contact in which
    they can be called."""
    contact_ids = [await host.account.befriend(other.account) for other in others]
    if len(contact_ids) == 1:
        return contact_ids[0]
    name = f"group {uuid4().hex[:8]}"
    await host.account.api.make_group(name, contact_ids)
    return int((await host.account.group_contact(name))["contactId"])


async def meet(host: Person, *others: Person) -> list[MeshPage]:
    """The host calls the others, each answers as soon as it rings: their pages, the host's first."""
    contact_id = await acquaint(host, *others)
    user_ids = [other.user_id for other in others]
    coming = [asyncio.ensure_future(each) for each in (host.call(contact_id, user_ids), *map(pick_up, others))]
    try:
        return list(await asyncio.gather(*coming))
    finally:
        for each in coming:
            each.cancel()  # nobody waits for a call that didn't come about


async def pick_up(person: Person) -> MeshPage:
    return await person.answer(await person.rung())


async def hear_and_see_each_other(
    pages: Sequence[MeshPage], *, sounds: int = 15, pictures: int = 10, timeout: float = PATIENCE
) -> None:
    """Returns once so much more (by default what a second brings) has come to each of each of the others. Raises
    a group of AssertionError for who waits too long."""
    async with asyncio.TaskGroup() as waiting:
        for page in pages:
            others = [other.user_id for other in pages if other is not page]
            waiting.create_task(page.wait_for_media(sounds, pictures, of=others, timeout=timeout))
