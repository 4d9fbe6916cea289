"""The envelope of every answer, and the words for a request that breaks a rule."""

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from server.errors import ApiError, ErrorCode, Language

_MISFIT = ErrorCode.BAD_REQUEST

# What pydantic calls it -> (Chinese, English); placeholders are the error's own context.
_RULES = {
    "string_too_short": ("至少 {min_length} 个字符", "at least {min_length} characters"),
    "string_too_long": ("最多 {max_length} 个字符", "at most {max_length} characters"),
    "too_short": ("至少 {min_length} 项", "at least {min_length} items"),
    "too_long": ("最多 {max_length} 项", "at most {max_length} items"),
    "greater_than_equal": ("不能小于 {ge}", "at least {ge}"),
    "less_than_equal": ("不能大于 {le}", "at most {le}"),
    "url": ("必须以 http://、https:// 或 file/ 开头", "must begin with http://, https:// or file/"),
    "blank": ("不能为空白", "must not be blank"),
    "control_characters": ("不能包含控制字符", "must not hold control characters"),
}


def success(adapter: TypeAdapter[Any], data: object) -> bytes:
    """The body of an answer; `adapter` is that of the data's type."""
    return b'{"status":"ok","code":200,"data":' + adapter.dump_json(data, by_alias=True) + b"}"


def failure(error: ApiError, language: Language, data: object = None) -> bytes:
    """The body of a failure; `data` is JSON that tells a program more, where there is any."""
    envelope = {"status": "error", "code": error.code.number, "message": error.text(language)}
    if data is not None:
        envelope["data"] = data
    return json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()


def refusal(error: ValidationError) -> ApiError:
    """What to tell of a body or query that doesn't fit.

    A value of the right type that breaks a rule of its field is FIELD_INVALID; anything that isn't what the
    description says (not JSON, another type) is BAD_REQUEST.
    """
    details = error.errors(include_url=False)
    broken = next((detail for detail in details if detail["type"] in _RULES), None)
    if broken is not None and len(details) == sum(detail["type"] in _RULES for detail in details):
        chinese, english = _RULES[broken["type"]]
        context = broken.get("ctx", {})
        rule = (chinese.format(**context), english.format(**context))
        return ApiError(ErrorCode.FIELD_INVALID, field=_field(broken), rule=rule)
    first = next(detail for detail in details if detail["type"] not in _RULES)
    if first["type"] == "json_invalid":
        return ApiError(_MISFIT, detail=("不是有效的 JSON", "not valid JSON"))
    field = _field(first)
    if not field:
        return ApiError(_MISFIT, detail=("请求体应为 JSON 对象", "the body must be a JSON object"))
    return ApiError(_MISFIT, detail=(f"{field} 的类型不正确", f"{field} is of the wrong type"))


def _field(detail: ErrorDetails) -> str:
    """As the client calls it; of a field that didn't come, only our own name is told."""
    return ".".join(to_camel(str(part)) for part in detail["loc"])
