"""Every error code of the wire, once: its number, its HTTP status, its text in two languages.

`contract.md` names the codes; a client branches on the number and shows the text to the person.
"""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class _Row:
    code: int
    status: int
    zh: str
    en: str


class ErrorCode(Enum):
    """Each value is (code, HTTP status, Chinese text, English text); texts may hold `{placeholders}`."""

    BAD_REQUEST = _Row(300, 400, "请求无效：{detail}", "Invalid request: {detail}")
    UNAUTHORIZED = _Row(401, 401, "请先登录", "Please log in")
    FORBIDDEN = _Row(403, 403, "没有权限", "Not allowed")
    NOT_FOUND = _Row(404, 404, "请求的内容不存在", "Not found")
    METHOD_NOT_ALLOWED = _Row(405, 405, "不支持该请求方法", "Method not allowed")
    TOO_LARGE = _Row(413, 413, "内容过大，最多 {limit} 字节", "Too large: at most {limit} bytes")
    TOO_MANY = _Row(429, 429, "操作过于频繁，请 {seconds} 秒后再试", "Too many requests: try again in {seconds} s")
    INTERNAL = _Row(500, 500, "服务器内部错误（{request_id}）", "Internal server error ({request_id})")
    UNAVAILABLE = _Row(
        500, 503, "服务暂时不可用，请稍后再试", "The service is unavailable for a moment, please try again"
    )
    USER_NOT_FOUND = _Row(1001, 404, "用户不存在", "User not found")
    USERNAME_TAKEN = _Row(1002, 409, "用户名已被使用", "This user name is taken")
    FIELD_INVALID = _Row(1003, 400, "{field}：{rule}", "{field}: {rule}")
    WRONG_PASSWORD = _Row(1004, 401, "用户名或密码错误", "Wrong user name or password")
    LOGIN_EXPIRED = _Row(1005, 401, "登录已失效，请重新登录", "Your login has ended, please log in again")
    CONTACT_EXISTS = _Row(2001, 409, "对方已是你的联系人", "This user is your contact already")
    REQUEST_PENDING = _Row(2002, 409, "已有待处理的联系人请求", "A contact request is pending already")
    REQUEST_NOT_FOUND = _Row(2003, 404, "联系人请求不存在", "Contact request not found")
    REQUEST_HANDLED = _Row(2004, 409, "联系人请求已被处理", "This contact request is no longer pending")
    CONTACT_NOT_FOUND = _Row(2005, 404, "联系人不存在", "Contact not found")
    REQUEST_EXPIRED = _Row(2006, 410, "联系人请求已过期", "This contact request has expired")
    REVOKE_TOO_LATE = _Row(2007, 409, "消息发送已超过两分钟，不能撤回", "A message can be revoked for two minutes only")
    MESSAGE_EMPTY = _Row(2008, 400, "消息不能为空", "The message is empty")
    MESSAGE_TYPE = _Row(2009, 400, "不支持的消息类型", "This type of message is not supported")
    CALL_ENDED = _Row(3001, 410, "通话已结束", "The call has ended")
    CALL_NEEDS_OTHERS = _Row(3002, 400, "通话至少需要一位其他成员", "A call needs at least one other user")
    CALL_MANAGER_GONE = _Row(3005, 503, "通话服务暂时不可用", "The call's manager can't be reached")
    CALL_NOT_FOUND = _Row(3006, 404, "通话不存在", "Call not found")
    CALLEE_BUSY = _Row(3007, 409, "对方正忙", "The other side is in a call")
    CALLER_BUSY = _Row(3008, 409, "你正在通话中", "You are in a call")
    CALL_NOT_READY = _Row(3009, 409, "通话尚未就绪", "The call is not ready yet")
    FILE_NOT_STORED = _Row(4001, 500, "文件保存失败", "The file could not be stored")

    @property
    def number(self) -> int:
        return self.value.code

    @property
    def status(self) -> int:
        return self.value.status


class Language(Enum):
    CHINESE = "zh"
    ENGLISH = "en"


class ApiError(Exception):
    """A failure that the client is told. `details` fill the placeholders of the code's text.

    A detail may be a pair (Chinese, English) where it is itself a text for the person.
    """

    def __init__(self, code: ErrorCode, **details: object) -> None:
        super().__init__(code.name, details)
        self.code = code
        self.details = details

    def text(self, language: Language) -> str:
        """The message for the person."""
        english = language is Language.ENGLISH
        details = {name: value[english] if isinstance(value, tuple) else value for name, value in self.details.items()}
        return (self.code.value.en if english else self.code.value.zh).format(**details)
