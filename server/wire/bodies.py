"""What clients send over HTTP: bodies and queries, with the contract's rules.

An absent id is 0 and an absent text "": a field that is missing, null, or (in a query) empty is checked like one that
has its default. Fields that aren't known are ignored, since the contract grows by addition.
"""

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from server.model.usernames import username_key

URL_LENGTH = 2048
LOCAL_ID_LENGTH = 255
IDS_LENGTH = 1_000

INT64 = 2**63 - 1


class Rule:
    """Why a field was refused, where pydantic has no word for it: the error types that `explain` knows."""

    URL = "url"
    CONTROL = "control_characters"
    BLANK = "blank"


_URL_BEGINNINGS = ("http://", "https://", "file/")


def _check_url(url: str) -> str:
    if url and not (url.startswith(_URL_BEGINNINGS) and url not in _URL_BEGINNINGS):
        raise PydanticCustomError(Rule.URL, "must begin with http://, https:// or file/")
    return _check_printable(url)


def _check_printable(text: str) -> str:
    if not text.isprintable() and any(unicodedata.category(character) in {"Cc", "Cs"} for character in text):
        raise PydanticCustomError(Rule.CONTROL, "must not hold control characters")
    return text


def _check_username(name: str) -> str:
    if not username_key(name):
        raise PydanticCustomError(Rule.BLANK, "must not be blank")
    return _check_printable(name)


def _check_digits(value: object) -> object:
    """Python takes `5.0`, `1_0` and ` 5` for whole numbers, too."""
    if isinstance(value, str) and not re.fullmatch(r"-?[0-9]+", value):
        raise PydanticCustomError("int_parsing", "must be a whole number")
    return value


def _local_id(value: object) -> object:
    """The frontend may count its messages by numbers as well as name them."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Id = Annotated[int, Field(strict=True, ge=-INT64 - 1, le=INT64)]
WHOLE = BeforeValidator(_check_digits)
QueryId = Annotated[int, Field(ge=-INT64 - 1, le=INT64), WHOLE]
Url = Annotated[str, Field(max_length=URL_LENGTH), AfterValidator(_check_url)]
RequiredUrl = Annotated[str, Field(min_length=1, max_length=URL_LENGTH), AfterValidator(_check_url)]
Nickname = Annotated[str, Field(min_length=1, max_length=20), AfterValidator(_check_printable)]
LocalId = Annotated[
    str, Field(max_length=LOCAL_ID_LENGTH), BeforeValidator(_local_id), AfterValidator(_check_printable)
]


def _or_null(schema: dict[str, Any]) -> None:
    _or(schema, {"type": "null"})


def _or_empty(schema: dict[str, Any]) -> None:
    _or(schema, {"const": ""})


def _or(schema: dict[str, Any], absent: dict[str, Any]) -> None:
    """Describe that every field may also come as `absent`."""
    for name, field in schema.get("properties", {}).items():
        outer = {key: field.pop(key) for key in ("default", "title") if key in field}
        schema["properties"][name] = {"anyOf": [field, absent], **outer}


class _Input(BaseModel):
    """Comes in camelCase. Defaults are checked like values."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=False, extra="ignore", frozen=True, validate_default=True
    )


class Body(_Input):
    """A JSON object."""

    model_config = ConfigDict(json_schema_extra=_or_null)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        if isinstance(given, dict) and None in given.values():
            return {name: value for name, value in given.items() if value is not None}
        return given


class Query(_Input):
    """The parameters behind the question mark, all of them texts."""

    model_config = ConfigDict(json_schema_extra=_or_empty)

    @model_validator(mode="before")
    @classmethod
    def _without_empties(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value != ""}


class Nothing(Query):
    """A request that takes nothing."""


class Register(Body):
    username: Annotated[str, Field(min_length=2, max_length=20), AfterValidator(_check_username)] = ""
    password: Annotated[str, Field(min_length=6, max_length=20)] = ""
    nickname: Nickname = ""
    avatar: Url = ""


class LogIn(Body):
    """Without rules: what nobody can have is as wrong as any other name or password."""

    username: str = ""
    password: str = ""


class UserIds(Body):
    user_ids: Annotated[list[Id], Field(max_length=IDS_LENGTH)] = []


class Profile(Body):
    nickname: Nickname = ""
    avatar: Url = ""


class Search(Query):
    keyword: Annotated[str, Field(max_length=256)] = ""
    page: Annotated[int, Field(ge=1, le=1_000_000), WHOLE] = 1
    size: Annotated[int, Field(ge=1, le=100), WHOLE] = 20


class Wallpaper(Body):
    wallpaper: Url = ""


class UserId(Body):
    user_id: Id = 0


class RequestId(Query):
    request_id: QueryId = 0


class ContactId(Query):
    contact_id: QueryId = 0


class NewGroup(Body):
    name: Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_check_printable)] = ""
    avatar: Url = ""
    contact_ids: Annotated[list[Id], Field(min_length=1, max_length=100)] = []


class GroupIds(Body):
    group_ids: Annotated[list[Id], Field(max_length=IDS_LENGTH)] = []


class Send(Body):
    contact_id: Id = 0
    local_id: LocalId = ""
    text: str = ""
    thumbnail: Url = ""
    image: Url = ""


class History(Query):
    contact_id: QueryId = 0
    last_message_id: QueryId = 0
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 10


class Sync(Query):
    synced: QueryId = 0
    limit: Annotated[int, Field(ge=5, le=50), WHOLE] = 20
    last: QueryId = 0


class DelayedImage(Body):
    message_id: Id = 0
    image: RequiredUrl = ""


class MessageId(Query):
    message_id: QueryId = 0


class LoginId(Query):
    login_id: QueryId = 0


class NewCall(Body):
    contact_id: Id = 0
    user_ids: Annotated[list[Id], Field(max_length=IDS_LENGTH)] = []


class CallId(Query):
    call_id: QueryId = 0


class CallHistory(Query):
    last_call_id: QueryId = 0
    limit: Annotated[int, Field(ge=1, le=100), WHOLE] = 20


class UploadForm(Body):
    """Multipart; only for the API description, since the file is streamed."""

    file: Annotated[bytes, Field(description="The file, at most 10 MiB (2 MiB and an image without a login)")]
