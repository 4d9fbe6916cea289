"""Accounts, profiles, names and searching for them."""

import pytest

from server.errors import ApiError, ErrorCode
from server.store import Store
from tests.store.conftest import TestClock
from tests.store.people import befriend, register


async def test_a_new_user_is_found_by_id(store: Store, clock: TestClock) -> None:
    user_id = await store.users.create("Ann", "hash", "Ännchen 😀", "https://example.org/a.png")
    user = (await store.users.by_ids([user_id, 999_999]))[user_id]
    assert (user.username, user.nickname, user.avatar) == ("Ann", "Ännchen 😀", "https://example.org/a.png")
    assert user.created_at == user.updated_at == clock.now()


@pytest.mark.parametrize("other", ["Ann", "ANN", "ａｎｎ", "ann ", "ａｎｎ　"])
async def test_names_that_are_equal_are_taken(store: Store, other: str) -> None:
    await store.users.create("ann", "hash", "nick", "")
    with pytest.raises(ApiError) as raised:
        await store.users.create(other, "hash", "nick", "")
    assert raised.value.code is ErrorCode.USERNAME_TAKEN


@pytest.mark.parametrize(("one", "other"), [("Jose", "José"), ("ann", "ann_"), ("用户", "用戶"), ("a😀", "a😁")])
async def test_names_that_differ_are_free(store: Store, one: str, other: str) -> None:
    assert await store.users.create(one, "hash", "nick", "") != await store.users.create(other, "hash", "nick", "")


async def test_the_longest_possible_key_fits(store: Store) -> None:
    name = "ﷺ" * 20  # eighteen characters each once it is normalised
    user_id = await store.users.create(name, "hash", "nick", "")
    credentials = await store.users.credentials(name)
    assert credentials is not None
    assert credentials.user_id == user_id


async def test_credentials_are_found_by_any_spelling(store: Store) -> None:
    user_id = await store.users.create("Straße", "the hash", "nick", "")
    for spelling in ("Straße", "STRASSE", "straße"):
        credentials = await store.users.credentials(spelling)
        assert credentials is not None
        assert (credentials.user_id, credentials.password_hash) == (user_id, "the hash")
    assert await store.users.credentials("stra") is None


async def test_a_password_hash_is_replaced_unless_somebody_else_did(store: Store) -> None:
    user_id = await store.users.create("ann", "old", "nick", "")
    assert await store.users.set_password_hash(user_id, "old", "new")
    assert not await store.users.set_password_hash(user_id, "old", "newer")
    credentials = await store.users.credentials("ann")
    assert credentials is not None
    assert credentials.password_hash == "new"


async def test_a_profile_is_updated(store: Store, clock: TestClock) -> None:
    user_id = await register(store)
    clock.advance(1.5)
    await store.users.update_profile(user_id, "new", "file/a.png")
    user = (await store.users.by_ids([user_id]))[user_id]
    assert (user.nickname, user.avatar, user.updated_at) == ("new", "file/a.png", clock.now())
    with pytest.raises(ApiError) as raised:
        await store.users.update_profile(user_id + 1, "new", "")
    assert raised.value.code is ErrorCode.USER_NOT_FOUND


async def test_a_search_says_who_is_a_friend_and_who_asked(store: Store, clock: TestClock) -> None:
    me, friend, asked, asking, stranger = [
        await register(store, name) for name in ("find me", "find friend", "find asked", "find asking", "Find stranger")
    ]
    await befriend(store, me, friend)
    outgoing = await store.contacts.request(me, asked)
    incoming = await store.contacts.request(asking, me)
    await store.contacts.request(asked, asking)
    found = await store.users.search("ＦＩＮＤ ", me, 10, 0)
    assert [(user.user_id, is_friend, request) for user, is_friend, request in found] == [
        (friend, True, None),
        (asked, False, outgoing),
        (asking, False, incoming),
        (stranger, False, None),
    ]
    clock.advance(24 * 3600)
    assert [request for _, _, request in await store.users.search("find", me, 10, 0)] == [None] * 4


async def test_a_search_pages_by_id(store: Store) -> None:
    me = await register(store, "me")
    others = [await register(store, f"page{number}") for number in range(5)]
    pages = [[user.user_id for user, _, _ in await store.users.search("page", me, 2, skip)] for skip in (0, 2, 4, 6)]
    assert pages == [others[0:2], others[2:4], others[4:5], []]


@pytest.mark.parametrize("keyword", ["50%", "a_b", "back\\slash", "it's", "😀"])
async def test_a_keyword_is_taken_literally(store: Store, keyword: str) -> None:
    me = await register(store, "me")
    wanted = await register(store, f"{keyword} found")
    for name in ("500 other", "axb other", "backslash", "its other", "b other"):
        await register(store, name)
    assert [user.user_id for user, _, _ in await store.users.search(keyword, me, 10, 0)] == [wanted]
