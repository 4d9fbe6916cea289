"""What clients may send: every field's rule at both of its edges, and everything that means "none"."""

import json
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from server.errors import Language
from server.wire import bodies
from server.wire.envelope import refusal

INT64 = 2**63 - 1
URL = "https://example.org/a.png"
REGISTER = {"username": "ann", "password": "secret", "nickname": "Ann"}
NO_IDS: tuple[Any, ...] = ("1", "", 1.0, 1.5, True, [], {}, [1])
NO_TEXTS: tuple[Any, ...] = (1, True, [], {})
NO_NUMBERS = ("abc", "1.5", "1 or 1=1", "\0", "9" * 5000)


def parse(model: type[BaseModel], given: dict[str, Any]) -> BaseModel:
    """As the interface parses it: a query's values are texts, a body is JSON."""
    if issubclass(model, bodies.Query):
        return model.model_validate({name: str(value) for name, value in given.items()})
    return model.model_validate_json(json.dumps(given))


def refused(model: type[BaseModel], given: dict[str, Any]) -> tuple[int, str]:
    """The code, and the text for a person who reads English."""
    with pytest.raises(ValidationError) as caught:
        parse(model, given)
    error = refusal(caught.value)
    return error.code.number, error.text(Language.ENGLISH)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (bodies.Register, REGISTER | {"username": "an"}),
        (bodies.Register, REGISTER | {"username": "x" * 20}),
        (bodies.Register, REGISTER | {"username": "名字" * 10}),
        (bodies.Register, REGISTER | {"username": "👩‍👩‍👧"}),
        (bodies.Register, REGISTER | {"password": "123456"}),
        (bodies.Register, REGISTER | {"password": "密" * 20}),
        (bodies.Register, REGISTER | {"password": "😀" * 20}),
        (bodies.Register, REGISTER | {"password": " \t\n \x00!"}),
        (bodies.Register, REGISTER | {"nickname": "x"}),
        (bodies.Register, REGISTER | {"nickname": "😀" * 20}),
        (bodies.Register, REGISTER | {"avatar": "file/a"}),
        (bodies.Register, REGISTER | {"avatar": "http://a"}),
        (bodies.Register, REGISTER | {"avatar": URL}),
        (bodies.LogIn, {"username": "x" * 256, "password": "x" * 256}),
        (bodies.Profile, {"nickname": "x", "avatar": ""}),
        (bodies.Search, {"keyword": "%_\\'", "page": 1, "size": 1}),
        (bodies.Search, {"keyword": "", "page": 1_000_000, "size": 100}),
        (bodies.NewGroup, {"name": "x", "contactIds": [1]}),
        (bodies.NewGroup, {"name": "x" * 50, "contactIds": list(range(1, 101)), "avatar": URL}),
        (bodies.Send, {"contactId": INT64, "localId": "x" * 255, "text": "x"}),
        (bodies.Send, {"contactId": -INT64 - 1, "localId": 1234567890123, "thumbnail": URL, "image": "file/x"}),
        (bodies.History, {"contactId": 1, "lastMessageId": INT64, "limit": 1}),
        (bodies.History, {"contactId": 1, "limit": 100}),
        (bodies.Sync, {"synced": 0, "limit": 5, "last": INT64}),
        (bodies.Sync, {"synced": INT64, "limit": 50}),
        (bodies.DelayedImage, {"messageId": 1, "image": "file/x"}),
        (bodies.UserIds, {"userIds": list(range(1000))}),
    ],
    ids=repr,
)
def test_what_keeps_the_rules_is_taken_as_it_is(model: type[BaseModel], given: dict[str, Any]) -> None:
    taken = parse(model, given).model_dump(by_alias=True)
    expected = {name: str(value) if name == "localId" else value for name, value in given.items()}
    assert {name: taken[name] for name in given} == expected


@pytest.mark.parametrize(
    ("model", "given", "text"),
    [
        (bodies.Register, REGISTER | {"username": "a"}, "username: at least 2 characters"),
        (bodies.Register, REGISTER | {"username": "x" * 21}, "username: at most 20 characters"),
        (bodies.Register, REGISTER | {"username": " \u3000 "}, "username: must not be blank"),
        (bodies.Register, REGISTER | {"username": "a\nb"}, "username: must not hold control characters"),
        (bodies.Register, REGISTER | {"password": "12345"}, "password: at least 6 characters"),
        (bodies.Register, REGISTER | {"password": "😀" * 21}, "password: at most 20 characters"),
        (bodies.Register, REGISTER | {"nickname": ""}, "nickname: at least 1 characters"),
        (bodies.Register, REGISTER | {"nickname": "x" * 21}, "nickname: at most 20 characters"),
        (bodies.Register, REGISTER | {"nickname": "a\x00"}, "nickname: must not hold control characters"),
        *[
            (bodies.Register, REGISTER | {"avatar": url}, "avatar: must begin with http://, https:// or file/")
            for url in (
                "a.png",
                "/file/a",
                "file:///etc/passwd",
                "ftp://a/b",
                "javascript:alert(1)",
                "data:image/png;base64,AAAA",
                "//host/a",
                " https://a",
                "HTTP://a",
                "http:/a",
                "http://",
                "https://",
                "file/",
            )
        ],
        (bodies.Register, REGISTER | {"avatar": "https://a/\r\nb"}, "avatar: must not hold control characters"),
        (bodies.Register, REGISTER | {"avatar": "file/" + "x" * 2048}, "avatar: at most 2048 characters"),
        (bodies.Register, {}, "username: at least 2 characters"),
        (bodies.Profile, {}, "nickname: at least 1 characters"),
        (bodies.Profile, {"nickname": "x", "avatar": "x"}, "avatar: must begin with http://, https:// or file/"),
        (bodies.Wallpaper, {"wallpaper": "x"}, "wallpaper: must begin with http://, https:// or file/"),
        (bodies.Search, {"page": 0}, "page: at least 1"),
        (bodies.Search, {"size": 0}, "size: at least 1"),
        (bodies.Search, {"size": 101}, "size: at most 100"),
        (bodies.NewGroup, {"name": "", "contactIds": [1]}, "name: at least 1 characters"),
        (bodies.NewGroup, {"name": "x" * 51, "contactIds": [1]}, "name: at most 50 characters"),
        (bodies.NewGroup, {"name": "x"}, "contactIds: at least 1 items"),
        (bodies.NewGroup, {"name": "x", "contactIds": []}, "contactIds: at least 1 items"),
        (bodies.NewGroup, {"name": "x", "contactIds": list(range(101))}, "contactIds: at most 100 items"),
        (bodies.NewGroup, {"name": "x", "contactIds": [1], "avatar": "x"}, "avatar: must begin with "),
        (bodies.Send, {"thumbnail": "x"}, "thumbnail: must begin with http://, https:// or file/"),
        (bodies.Send, {"image": "x"}, "image: must begin with http://, https:// or file/"),
        (bodies.Send, {"localId": "x" * 256}, "localId: at most 255 characters"),
        (bodies.Send, {"contactId": INT64 + 1}, f"contactId: at most {INT64}"),
        (bodies.History, {"limit": 0}, "limit: at least 1"),
        (bodies.History, {"limit": 101}, "limit: at most 100"),
        (bodies.Sync, {"limit": 4}, "limit: at least 5"),
        (bodies.Sync, {"limit": 51}, "limit: at most 50"),
        (bodies.DelayedImage, {"messageId": 1}, "image: at least 1 characters"),
        (bodies.DelayedImage, {"messageId": 1, "image": ""}, "image: at least 1 characters"),
        (bodies.UserIds, {"userIds": list(range(1001))}, "userIds: at most 1000 items"),
        (bodies.GroupIds, {"groupIds": list(range(1001))}, "groupIds: at most 1000 items"),
    ],
    ids=repr,
)
def test_a_broken_rule_names_its_field(model: type[BaseModel], given: dict[str, Any], text: str) -> None:
    code, said = refused(model, given)
    assert code == 1003
    assert said.startswith(text)


@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        *[(bodies.Send, {"contactId": value}, "contactId") for value in NO_IDS],
        *[(bodies.Send, {"text": value}, "text") for value in NO_TEXTS],
        *[(bodies.Send, {"localId": value}, "localId") for value in (*NO_TEXTS[1:], 1.5)],
        (bodies.UserIds, {"userIds": 1}, "userIds"),
        (bodies.UserIds, {"userIds": {"0": 1}}, "userIds"),
        (bodies.UserIds, {"userIds": [1, "2"]}, "userIds.1"),
        (bodies.UserIds, {"userIds": [None]}, "userIds.0"),
        (bodies.Register, REGISTER | {"username": 12345}, "username"),
        *[(bodies.ContactId, {"contactId": value}, "contactId") for value in NO_NUMBERS],
        (bodies.Search, {"page": "one"}, "page"),
        (bodies.Sync, {"limit": "10,5"}, "limit"),
    ],
    ids=repr,
)
def test_what_is_of_another_type_can_not_be_parsed(model: type[BaseModel], given: dict[str, Any], field: str) -> None:
    assert refused(model, given) == (300, f"Invalid request: {field} is of the wrong type")


@pytest.mark.parametrize("nothing", [{}, None, ""], ids=["absent", "null", "empty"])
@pytest.mark.parametrize(
    ("model", "needed", "optional"),
    [
        (bodies.Register, REGISTER, {"avatar": ""}),
        (bodies.Profile, {"nickname": "x"}, {"avatar": ""}),
        (bodies.Wallpaper, {}, {"wallpaper": ""}),
        (bodies.NewGroup, {"name": "x", "contactIds": [1]}, {"avatar": ""}),
        (bodies.Send, {"contactId": 1}, {"localId": "", "text": "", "thumbnail": "", "image": ""}),
    ],
)
def test_nothing_in_a_body_is_an_empty_text(
    model: type[BaseModel], needed: dict[str, Any], optional: dict[str, Any], nothing: object
) -> None:
    given = {} if nothing == {} else dict.fromkeys(optional, nothing)
    taken = parse(model, needed | given).model_dump(by_alias=True)
    assert {name: taken[name] for name in optional} == optional


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (bodies.History, {"contactId": 0, "lastMessageId": 0, "limit": 10}),
        (bodies.Sync, {"synced": 0, "limit": 20, "last": 0}),
        (bodies.Search, {"keyword": "", "page": 1, "size": 20}),
        (bodies.MessageId, {"messageId": 0}),
        (bodies.RequestId, {"requestId": 0}),
    ],
)
def test_nothing_in_a_query_is_the_default(model: type[BaseModel], expected: dict[str, Any]) -> None:
    for given in ({}, dict.fromkeys(expected, "")):
        assert model.model_validate(given).model_dump(by_alias=True) == expected


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (bodies.UserIds, {"userIds": []}),
        (bodies.UserId, {"userId": 0}),
        (bodies.LogIn, {"username": "", "password": ""}),
    ],
)
def test_null_in_a_body_is_what_absence_is(model: type[BaseModel], expected: dict[str, Any]) -> None:
    for given in ({}, dict.fromkeys(expected)):
        assert parse(model, given).model_dump(by_alias=True) == expected


def test_fields_that_are_not_known_change_nothing() -> None:
    given = {"contactId": 1, "text": "x", "type": 1, "contact_id": 2, "TEXT": "y", "extra": {"deep": [1]}}
    assert parse(bodies.Send, given) == parse(bodies.Send, {"contactId": 1, "text": "x"})


@pytest.mark.parametrize("body", ["", "{", "{} x", "{'text': 1}", '{"text": "\\ud800"}', '{"contactId": 01}', "NaN"])
def test_what_is_no_json(body: str) -> None:
    with pytest.raises(ValidationError) as caught:
        bodies.Send.model_validate_json(body)
    error = refusal(caught.value)
    assert (error.code.number, error.text(Language.ENGLISH)) in [
        (300, "Invalid request: not valid JSON"),
        (300, "Invalid request: the body must be a JSON object"),
    ]


@pytest.mark.parametrize("body", ["[]", "null", "1", '"text"', "true"])
def test_what_is_no_object(body: str) -> None:
    with pytest.raises(ValidationError) as caught:
        bodies.Send.model_validate_json(body)
    error = refusal(caught.value)
    assert error.text(Language.ENGLISH) == "Invalid request: the body must be a JSON object"
    assert error.text(Language.CHINESE) == "请求无效：请求体应为 JSON 对象"


def test_the_description_says_what_may_be_absent_and_how() -> None:
    send = bodies.Send.model_json_schema(by_alias=True)["properties"]
    assert {"type": "null"} in send["text"]["anyOf"]
    assert "required" not in bodies.Send.model_json_schema()
    history = bodies.History.model_json_schema()["properties"]
    assert history["limit"]["anyOf"] == [{"type": "integer", "minimum": 1, "maximum": 100}, {"const": ""}]
    assert history["limit"]["default"] == 10
