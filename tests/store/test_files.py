"""Uploads and the counting of what refers to them; a user's settings."""

import pytest

from server.store import Store, StoredFile
from tests.store.conftest import TestClock
from tests.store.people import befriend, pair, picture, register


async def _idle(store: Store, clock: TestClock) -> list[str]:
    clock.advance(1)
    return await store.files.unreferenced(clock.now(), 100)


async def test_a_file_is_found_by_its_name(store: Store, clock: TestClock) -> None:
    await store.files.add("a.png", 123, "image/png")
    assert await store.files.get("a.png") == StoredFile("a.png", 123, "image/png", 0, clock.now())
    assert await store.files.get("A.png") is None


async def test_what_nothing_refers_to_is_removed_the_longest_idle_first(store: Store, clock: TestClock) -> None:
    for name in ("b", "a", "c"):
        await store.files.add(name, 1, "image/png")
        clock.advance(1)
    assert await store.files.unreferenced(clock.now(), 2) == ["b", "a"]
    await store.users.create("ann", "hash", "nick", "file/a")
    assert await store.files.remove(["a", "b", "unknown"]) == ["b"], "not what is referred to by now"
    assert await store.files.get("b") is None
    assert await store.files.remove([]) == []
    assert await _idle(store, clock) == ["c"]


async def test_every_place_that_holds_a_url_counts(store: Store, clock: TestClock) -> None:
    async def add(name: str) -> str:
        await store.files.add(name, 1, "image/png")
        return f"file/{name}"

    user_id = await store.users.create("ann", "hash", "nick", await add("avatar 1"))
    assert await _idle(store, clock) == []
    await store.users.update_profile(user_id, "nick", await add("avatar 2"))
    assert await _idle(store, clock) == ["avatar 1"]
    await store.users.update_profile(user_id, "other", "file/avatar 2")
    await store.settings.set_wallpaper(user_id, await add("wall 1"))
    assert await _idle(store, clock) == ["avatar 1"]
    await store.settings.set_wallpaper(user_id, "")
    assert await _idle(store, clock) == ["avatar 1", "wall 1"]

    contact = await befriend(store, user_id, await register(store))
    await store.groups.create(user_id, "group", await add("group"), [contact.contact_id])
    sent = await store.messages.send(picture(contact, thumbnail=await add("small")))
    await store.messages.fill_image(sent.message.message_id, user_id, await add("large"), clock.now())
    both = await store.messages.send(picture(contact, "file/large", "file/small"))
    assert await _idle(store, clock) == ["avatar 1", "wall 1"]
    await store.messages.revoke(sent.message.message_id, user_id, clock.now())
    assert await _idle(store, clock) == ["avatar 1", "wall 1"], "the other message has them too"
    await store.messages.revoke(both.message.message_id, user_id, clock.now())
    assert sorted(await _idle(store, clock)) == ["avatar 1", "large", "small", "wall 1"]


async def test_one_file_in_both_places_of_a_message_counts_twice(store: Store, clock: TestClock) -> None:
    mine, _ = await pair(store)
    await store.files.add("same", 1, "image/png")
    sends = [picture(mine, "file/same", "file/same") for _ in range(2)]
    first, second = [(await store.messages.send(send)).message for send in sends]
    await store.messages.revoke(first.message_id, mine.owner_id, clock.now())
    assert await _idle(store, clock) == []
    await store.messages.revoke(second.message_id, mine.owner_id, clock.now())
    assert await _idle(store, clock) == ["same"]


@pytest.mark.parametrize(
    "url", ["file/a.png", "https://chat.example/api/file/a.png", "http://host:8080/api/file/a.png?token=x#y"]
)
async def test_a_file_is_referred_to_by_whatever_url_a_client_makes_of_its_name(
    store: Store, clock: TestClock, url: str
) -> None:
    await store.files.add("a.png", 1, "image/png")
    user_id = await store.users.create("ann", "hash", "nick", url)
    assert await _idle(store, clock) == []
    await store.users.update_profile(user_id, "nick", "file/a.png")
    assert await _idle(store, clock) == []
    await store.users.update_profile(user_id, "nick", "")
    assert await _idle(store, clock) == ["a.png"]


@pytest.mark.parametrize(
    "url",
    ["file/from-before.png", "https://example.org/x.png", "https://example.org/profile/a", "file/", "file/b/a", ""],
)
async def test_urls_of_no_counted_file_change_nothing(store: Store, clock: TestClock, url: str) -> None:
    await store.files.add("a", 1, "image/png")
    await store.users.create("ann", "hash", "nick", url)
    assert await _idle(store, clock) == ["a"]


async def test_a_wallpaper_is_none_until_it_is_set(store: Store) -> None:
    user_id = await register(store)
    assert await store.settings.wallpaper(user_id) is None
    await store.settings.set_wallpaper(user_id, "https://example.org/w.png")
    assert await store.settings.wallpaper(user_id) == "https://example.org/w.png"
    await store.settings.set_wallpaper(user_id, "")
    assert await store.settings.wallpaper(user_id) == ""
