"""Registering, logging in and what users tell of themselves, row by row of the contract."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import jwt
import pytest

from tests.e2e.shapes import CONTACT_REQUEST, FOUND_USER, USER, assert_shape, lies_between, refused
from tests.support.account import PASSWORD
from tests.support.api import Api
from tests.support.cluster import Cluster
from tests.support.register import Register


def fields(**changed: Any) -> dict[str, Any]:
    return {"username": "somebody", "password": PASSWORD, "nickname": "Some Body", "avatar": ""} | changed


async def test_a_new_user_is_shown_as_registered(register: Register) -> None:
    before = datetime.now(UTC)
    ann = await register(nickname="安娜 🙂")
    (user,) = await ann.api.user_infos([ann.user_id])
    assert user is not None
    assert_shape(USER, user)
    assert (user["userId"], user["username"], user["nickname"]) == (ann.user_id, ann.username, "安娜 🙂")
    assert user["enabled"] is True
    assert lies_between(user["createdAt"], before, datetime.now(UTC))


async def test_a_token_is_a_jwt_of_24_hours_with_the_login_id(register: Register) -> None:
    ann = await register()
    header = jwt.get_unverified_header(ann.api.token)
    claims = jwt.decode(ann.api.token, options={"verify_signature": False})
    assert header["alg"] == "HS256"
    assert isinstance(claims["iss"], str)
    assert str(claims["pl"]).isdigit()
    lifetime = datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=58) < lifetime <= timedelta(hours=24, seconds=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"username": "x"},
        {"username": "x" * 21},
        {"password": "12345"},
        {"password": "x" * 21},
        {"nickname": ""},
        {"nickname": "x" * 21},
        {"avatar": "javascript:alert(1)"},
        {"avatar": "/etc/passwd"},
    ],
    ids=str,
)
async def test_a_field_that_breaks_its_rule_is_named(
    cluster: Cluster, http: aiohttp.ClientSession, wrong: dict[str, str]
) -> None:
    answer = await Api(http, cluster.bases[0]).answer("POST", "/register", json=fields(**wrong))
    assert answer.code == 1003
    assert next(iter(wrong)) in answer.message


@pytest.mark.parametrize(
    ("length", "character", "password"),
    [(2, "名", "123456"), (20, "名", "x" * 20), (20, "😀", "😀" * 20), (2, "é", "密码密码密码")],
)
async def test_names_and_passwords_are_measured_in_characters(
    cluster: Cluster, http: aiohttp.ClientSession, length: int, character: str, password: str
) -> None:
    nobody = Api(http, cluster.bases[0])
    unique = datetime.now(UTC).strftime("%f%S%M%H")[: max(0, length - 2)]
    username = unique + character * (length - len(unique))
    answer = await nobody.answer(
        "POST", "/register", json={"username": username, "password": password, "nickname": character * min(length, 20)}
    )
    assert answer.code in (200, 1002)  # the shortest names are soon taken in a long-lived database
    login = await Api(http, cluster.bases[-1]).login(username, password)
    (user,) = await nobody.with_token(login.token).user_infos([login.user_id])
    assert user is not None
    assert (user["username"], user["nickname"], user["avatar"]) == (username, character * length, "")


async def test_a_name_logs_in_in_every_spelling(register: Register, http: aiohttp.ClientSession) -> None:
    ann = await register("Ｎame" + datetime.now(UTC).strftime("%H%M%S%f"))
    for spelling in (ann.username, ann.username.replace("Ｎ", "N"), ann.username.upper(), f" {ann.username} "):
        assert (await Api(http, ann.api.base).login(spelling, PASSWORD)).user_id == ann.user_id


@pytest.mark.parametrize("token", ["rubbish", "null", "Bearer undefined", "Bearer "])
async def test_what_is_open_does_not_look_at_a_token(cluster: Cluster, http: aiohttp.ClientSession, token: str) -> None:
    old = {"Authorization": token}
    username = "open" + datetime.now(UTC).strftime("%H%M%S%f")[-12:]
    nobody = Api(http, cluster.bases[0])
    for path in ("/register", "/login"):
        answer = await nobody.answer("POST", path, json=fields(username=username), headers=old)
        assert answer.data.keys() == {"userId", "token"}


@pytest.mark.parametrize("nothing", [{}, {"avatar": None}, {"avatar": ""}], ids=str)
async def test_no_avatar(cluster: Cluster, http: aiohttp.ClientSession, nothing: dict[str, Any]) -> None:
    username = "none" + datetime.now(UTC).strftime("%H%M%S%f")[-12:]
    body = {"username": username, "password": PASSWORD, "nickname": "Nobody", "theme": "dark"} | nothing
    answer = await Api(http, cluster.bases[0]).answer("POST", "/register", json=body)
    ann = Api(http, cluster.bases[0], answer.data["token"])
    await ann.call("POST", "/user/info", json={"nickname": "Somebody"} | nothing)
    (user,) = await ann.user_infos([answer.data["userId"]])
    assert user is not None
    assert (user["nickname"], user["avatar"]) == ("Somebody", "")


async def test_a_taken_name_is_refused_in_every_spelling(register: Register, http: aiohttp.ClientSession) -> None:
    ann = await register("Ｆullwidth" + datetime.now(UTC).strftime("%f"))
    for taken in (ann.username, ann.username.replace("Ｆ", "F"), ann.username.upper()):
        with refused(1002):
            await Api(http, ann.api.base).register(taken, PASSWORD, "Other")


async def test_unknown_user_and_wrong_password_are_answered_alike(
    register: Register, http: aiohttp.ClientSession
) -> None:
    ann = await register()
    nobody = Api(http, ann.api.base)
    answers = [
        await nobody.answer("POST", "/login", json={"username": name, "password": "wrong password"})
        for name in (ann.username, "nobody" + ann.username[:10])
    ]
    assert [(answer.http_status, answer.code, answer.message) for answer in answers] == [
        (answers[0].http_status, 1004, answers[0].message)
    ] * 2


@pytest.mark.parametrize("how", ["plain", "bearer", "query"])
async def test_a_login_is_shown_in_three_ways(register: Register, http: aiohttp.ClientSession, how: str) -> None:
    ann = await register()
    api = Api(http, ann.api.base)
    match how:
        case "plain":
            answer = await api.answer("GET", "/contact", headers={"Authorization": ann.api.token})
        case "bearer":
            answer = await api.answer("GET", "/contact", headers={"Authorization": f"Bearer {ann.api.token}"})
        case _:
            answer = await api.answer("GET", "/contact", params={"token": ann.api.token})
    assert answer.data == []


async def test_what_is_no_login_is_refused(register: Register, http: aiohttp.ClientSession) -> None:
    ann = await register()
    claims = jwt.decode(ann.api.token, options={"verify_signature": False})
    forged = jwt.encode(claims, "some other secret of enough bytes", algorithm="HS256")
    unsigned = jwt.encode(claims, "", algorithm="none")
    for token in ("", "rubbish", "Bearer ", ann.api.token[:-2], forged, unsigned):
        with refused(401, 1005):
            await ann.api.with_token(token).contacts()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/user/infos"),
        ("POST", "/user/info"),
        ("GET", "/user/search"),
        ("GET", "/user/settings"),
        ("POST", "/user/settings"),
        ("POST", "/contact/user"),
        ("GET", "/contact/pending"),
        ("POST", "/contact/accept"),
        ("POST", "/contact/reject"),
        ("GET", "/contact"),
        ("GET", "/contact/members"),
        ("POST", "/contact/group"),
        ("POST", "/contact/groups"),
        ("POST", "/chat/send"),
        ("GET", "/chat/messages"),
        ("POST", "/chat/delayUpload"),
        ("POST", "/chat/revoke"),
        ("GET", "/chat/sync"),
        ("POST", "/call"),
        ("POST", "/call/join"),
        ("POST", "/call/hangup"),
        ("GET", "/call"),
    ],
)
async def test_every_endpoint_wants_a_login(
    cluster: Cluster, http: aiohttp.ClientSession, method: str, path: str
) -> None:
    answer = await Api(http, cluster.bases[-1]).answer(method, path)
    assert (answer.code, answer.http_status) == (401, 401)


async def test_users_come_in_the_order_asked(register: Register) -> None:
    ann, ben = await register(), await register(server=1)
    users = await ann.api.user_infos([ben.user_id, 2**62, ann.user_id, ben.user_id])
    assert [user and user["userId"] for user in users] == [ben.user_id, None, ann.user_id, ben.user_id]
    assert await ann.api.user_infos([]) == []


async def test_a_changed_nickname_and_avatar_are_shown_everywhere(register: Register, cluster: Cluster) -> None:
    ann = await register()
    await ann.api.update_info("New Name", "https://example.org/a.png")
    (user,) = await ann.api.at(cluster.bases[-1]).user_infos([ann.user_id])
    assert user is not None
    assert (user["nickname"], user["avatar"]) == ("New Name", "https://example.org/a.png")
    await ann.api.update_info("New Name", "")
    for nickname, avatar in (("", ""), ("x" * 21, ""), ("fine", "ftp://example.org/a.png")):
        with refused(1003):
            await ann.api.update_info(nickname, avatar)


async def test_a_search_takes_the_start_of_a_name_literally(register: Register) -> None:
    stem = "s%_" + datetime.now(UTC).strftime("%H%M%S%f")
    me = await register(stem + "-me")
    others = [await register(f"{stem}-{number}", server=number) for number in range(3)]
    await register("sxy" + stem[3:])
    found = await me.api.search(stem)
    assert_shape(FOUND_USER, *found)
    assert [user["userId"] for user in found] == [other.user_id for other in others]
    pages = [await me.api.search(stem, page=page, size=2) for page in (1, 2, 3)]
    assert [[user["userId"] for user in page] for page in pages] == [
        [others[0].user_id, others[1].user_id],
        [others[2].user_id],
        [],
    ]


async def test_what_can_not_be_searched_for(register: Register) -> None:
    ann = await register()
    for wrong in ({"page": 0}, {"page": -1}, {"size": 0}, {"size": 101}):
        answer = await ann.api.answer("GET", "/user/search", params={"keyword": "x", **wrong})
        assert (answer.code, next(iter(wrong)) in answer.message) == (1003, True)
    answer = await ann.api.answer("GET", "/user/search", params={"keyword": ann.username, "page": "", "size": ""})
    assert answer.data == [], "without me"


async def test_a_search_tells_of_contacts_and_requests_in_both_directions(register: Register) -> None:
    stem = "q" + datetime.now(UTC).strftime("%H%M%S%f")
    me = await register(stem + "-me")
    friend, asked, asking = [await register(f"{stem}-{number}") for number in range(3)]
    await me.befriend(friend)
    to_asked = await me.api.ask(asked.user_id)
    from_asking = await asking.api.ask(me.user_id)
    found = await me.api.search(stem)
    assert_shape(FOUND_USER, *found)
    assert_shape(CONTACT_REQUEST, to_asked, from_asking)
    assert [(user["isFriend"], user["pendingRequest"] and user["pendingRequest"]["id"]) for user in found] == [
        (True, None),
        (False, to_asked["id"]),
        (False, from_asking["id"]),
    ]


async def test_settings_are_null_until_they_are_set(register: Register, cluster: Cluster) -> None:
    ann = await register()
    assert await ann.api.settings() is None
    url = "http://example.org/w.png"
    await ann.api.set_wallpaper(url)
    assert await ann.api.at(cluster.bases[-1]).settings() == {"wallpaper": url}
    await ann.api.set_wallpaper("")
    assert await ann.api.settings() == {"wallpaper": ""}
    with refused(1003):
        await ann.api.set_wallpaper("data:image/png;base64,AAAA")
