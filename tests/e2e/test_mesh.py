"""People who call each other really hear and see each other, through the server as it runs."""

import pytest

from tests.participant.gathering import acquaint, company, hear_and_see_each_other, meet, pick_up
from tests.support.call import Reason, State, Status
from tests.support.register import Register


@pytest.mark.timeout(300)  # twenty streams are a lot for a busy machine
@pytest.mark.parametrize("count", [2, 3, 5])
async def test_everybody_hears_and_sees_everybody(register: Register, count: int) -> None:
    async with company(register, range(count)) as people:
        pages = await meet(*people)
        await hear_and_see_each_other(pages)
        for page in pages:
            assert page.started
            assert set(page.states.values()) == {State.ONLINE}
            for user_id, impression in page.impressions.items():
                assert impression.trouble() == "", (page.user_id, user_id)

        *leaving, last = people
        for number, person in enumerate(leaving, start=1):
            await person.hang_up()
            assert await person.page.wait_over() is Reason.NORMAL
            staying = pages[number:]
            if len(staying) > 1:
                for page in staying:
                    await page.wait_for_state(person.user_id, State.DEAD)
                await hear_and_see_each_other(staying, sounds=3, pictures=2)
        assert await last.page.wait_over() is Reason.NORMAL

        call = await last.calls.get(pages[0].call_id)
        assert (call["status"], call["endReason"]) == (Status.END, Reason.NORMAL)
        timeline = await last.calls.timeline(pages[0].call_id)
        members = {person.user_id for person in people}
        seen = {event["userId"]: int(event["detail"]) for event in timeline if event["event"] == "media"}
        assert seen.keys() == members
        assert all(sender in members - {user_id} for user_id, sender in seen.items())


async def test_who_rejects_gets_no_media_and_the_others_talk(register: Register) -> None:
    async with company(register, range(3)) as (ann, ben, cleo):
        contact_id = await acquaint(ann, ben, cleo)
        anns = await ann.call(contact_id, [ben.user_id, cleo.user_id])
        await cleo.reject(await cleo.rung())
        bens = await pick_up(ben)
        await hear_and_see_each_other([anns, bens])
        for page in (anns, bens):
            await page.wait_for_state(cleo.user_id, State.REJECTED)
            silence = page.impressions[cleo.user_id]
            assert (silence.ear.record.good, silence.eye.record.good) == (0, 0)
        assert not cleo.talks
        await ben.hang_up()
        assert await anns.wait_over() is Reason.NORMAL
