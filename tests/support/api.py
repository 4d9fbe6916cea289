"""The HTTP interface as a client sees it, strictly by the wire contract. Knows nothing of the server's code."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp
from PIL import Image

from tests.support.notification import NotificationSocket

JsonObject = dict[str, Any]

SUCCESS_KEYS = {"status", "code", "data"}
FAILURE_KEYS = {"status", "code", "message"}


class Refused(Exception):
    """The server answered with a failure: `code` of the envelope, `http_status`, the text for the person."""

    def __init__(self, code: int, http_status: int, message: str) -> None:
        super().__init__(code, http_status, message)
        self.code = code
        self.http_status = http_status
        self.message = message


@dataclass(frozen=True, slots=True)
class Login:
    user_id: int
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose envelope was checked. `data` is that of a success, None of a failure."""

    http_status: int
    headers: "aiohttp.typedefs.LooseHeaders"
    code: int
    data: Any
    message: str

    @property
    def ok(self) -> bool:
        return self.code == 200


def read_envelope(http_status: int, content_type: str, body: Any) -> Answer:
    """Checks a body against the contract's envelope. Raises AssertionError where it isn't one."""
    assert content_type == "application/json", f"{http_status} came as {content_type}"
    assert isinstance(body, dict), body
    if body.get("status") == "ok":
        assert body.keys() == SUCCESS_KEYS, body
        assert (http_status, body["code"]) == (200, 200), (http_status, body)
        return Answer(http_status, {}, 200, body["data"], "")
    assert body.get("status") == "error", body
    assert body.keys() >= FAILURE_KEYS, body
    assert 400 <= http_status < 600, (http_status, body)
    assert type(body["code"]) is int, body
    assert isinstance(body["message"], str), body
    assert body["message"], body
    assert "Traceback" not in body["message"], body
    return Answer(http_status, {}, body["code"], None, body["message"])


class Api:
    """One server's HTTP interface, for one login (or none: `token` is "").

    `base` is like `http://127.0.0.1:8080`; every path is that of the contract, without the prefix.
    Methods give the `data` of the answer and raise `Refused` for a failure.
    """

    def __init__(self, http: aiohttp.ClientSession, base: str, token: str = "", prefix: str = "/api") -> None:
        self.http = http
        self.base = base
        self.token = token
        self.prefix = prefix

    def with_token(self, token: str) -> "Api":
        return Api(self.http, self.base, token, self.prefix)

    def at(self, base: str) -> "Api":
        """The same login at another server."""
        return Api(self.http, base, self.token, self.prefix)

    def url(self, path: str) -> str:
        return f"{self.base}{self.prefix}{path}"

    async def answer(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        params: dict[str, Any] | None = None,
        data: Any = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Any request; the envelope is checked, a failure isn't raised."""
        sent = dict(headers or {})
        if self.token:
            sent.setdefault("Authorization", self.token)
        query = {key: str(value) for key, value in params.items()} if params else None
        async with self.http.request(method, self.url(path), json=json, params=query, data=data, headers=sent) as got:
            checked = read_envelope(got.status, got.content_type, await got.json())
            return Answer(checked.http_status, dict(got.headers), checked.code, checked.data, checked.message)

    async def call(self, method: str, path: str, **how: Any) -> Any:
        """The `data` of a success. Raises Refused."""
        answer = await self.answer(method, path, **how)
        if not answer.ok:
            raise Refused(answer.code, answer.http_status, answer.message)
        return answer.data

    async def register(self, username: str, password: str, nickname: str, avatar: str = "") -> Login:
        body = {"username": username, "password": password, "nickname": nickname, "avatar": avatar}
        return _login(await self.call("POST", "/register", json=body))

    async def login(self, username: str, password: str) -> Login:
        return _login(await self.call("POST", "/login", json={"username": username, "password": password}))

    async def user_infos(self, user_ids: list[int]) -> list[JsonObject | None]:
        users: list[JsonObject | None] = await self.call("POST", "/user/infos", json={"userIds": user_ids})
        return users

    async def update_info(self, nickname: str, avatar: str) -> None:
        await self.call("POST", "/user/info", json={"nickname": nickname, "avatar": avatar})

    async def search(self, keyword: str, page: int = 1, size: int = 20) -> list[JsonObject]:
        params = {"keyword": keyword, "page": page, "size": size}
        found: list[JsonObject] = await self.call("GET", "/user/search", params=params)
        return found

    async def settings(self) -> JsonObject | None:
        settings: JsonObject | None = await self.call("GET", "/user/settings")
        return settings

    async def set_wallpaper(self, url: str) -> None:
        await self.call("POST", "/user/settings", json={"wallpaper": url})

    async def ask(self, user_id: int) -> JsonObject:
        """Ask a user to become contacts: the ContactRequest."""
        request: JsonObject = await self.call("POST", "/contact/user", json={"userId": user_id})
        return request

    async def pending(self) -> list[JsonObject]:
        requests: list[JsonObject] = await self.call("GET", "/contact/pending")
        return requests

    async def accept(self, request_id: int) -> None:
        await self.call("POST", "/contact/accept", params={"requestId": request_id})

    async def reject(self, request_id: int) -> None:
        await self.call("POST", "/contact/reject", params={"requestId": request_id})

    async def contacts(self) -> list[JsonObject]:
        contacts: list[JsonObject] = await self.call("GET", "/contact")
        return contacts

    async def members(self, contact_id: int) -> list[JsonObject]:
        users: list[JsonObject] = await self.call("GET", "/contact/members", params={"contactId": contact_id})
        return users

    async def make_group(self, name: str, contact_ids: list[int], avatar: str = "") -> None:
        body = {"name": name, "avatar": avatar, "contactIds": contact_ids}
        await self.call("POST", "/contact/group", json=body)

    async def groups(self, group_ids: list[int]) -> list[JsonObject | None]:
        groups: list[JsonObject | None] = await self.call("POST", "/contact/groups", json={"groupIds": group_ids})
        return groups

    async def send(
        self, contact_id: int, text: str = "", *, local_id: str = "", image: str = "", thumbnail: str = ""
    ) -> JsonObject:
        """Send a text, or an image by its thumbnail and/or url: the Message."""
        body: JsonObject = {"contactId": contact_id, "localId": local_id}
        body |= {key: value for key, value in (("text", text), ("image", image), ("thumbnail", thumbnail)) if value}
        message: JsonObject = await self.call("POST", "/chat/send", json=body)
        return message

    async def history(self, contact_id: int, before: int | None = None, limit: int | None = None) -> list[JsonObject]:
        params = {"contactId": contact_id}
        if before is not None:
            params["lastMessageId"] = before
        if limit is not None:
            params["limit"] = limit
        messages: list[JsonObject] = await self.call("GET", "/chat/messages", params=params)
        return messages

    async def whole_history(self, contact_id: int) -> list[JsonObject]:
        """Every message of a room, oldest first, page by page."""
        messages: list[JsonObject] = []
        while page := await self.history(contact_id, before=messages[0]["messageId"] if messages else None, limit=100):
            messages[:0] = page
        return messages

    async def fill_image(self, message_id: int, image: str) -> None:
        await self.call("POST", "/chat/delayUpload", json={"messageId": message_id, "image": image})

    async def revoke(self, message_id: int) -> None:
        await self.call("POST", "/chat/revoke", params={"messageId": message_id})

    async def sync(self, synced: int, last: int | None = None, limit: int = 50) -> list[JsonObject]:
        params = {"synced": synced, "limit": limit}
        if last is not None:
            params["last"] = last
        messages: list[JsonObject] = await self.call("GET", "/chat/sync", params=params)
        return messages

    async def upload(self, content: bytes, filename: str = "picture.png", content_type: str = "image/png") -> str:
        """Store a file: its url, `file/<name>`."""
        form = aiohttp.FormData()
        form.add_field("file", BytesIO(content), filename=filename, content_type=content_type)
        url: str = await self.call("POST", "/file/upload", data=form)
        return url

    async def download(self, url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and content of a `file/<name>`."""
        async with self.http.get(self.url(f"/{url}"), headers=headers) as got:
            return got.status, dict(got.headers), await got.read()

    async def connect(self, session_id: str = "") -> NotificationSocket:
        """A notification socket that has sent its two first frames; see NotificationSocket.opening."""
        socket = NotificationSocket(await self.http.ws_connect(self.url("/ws/notification"), max_msg_size=0))
        await socket.send(self.token)
        await socket.send(session_id)
        return socket


def _login(data: Any) -> Login:
    assert data.keys() == {"userId", "token"}, data
    assert type(data["userId"]) is int, data
    assert isinstance(data["token"], str), data
    return Login(data["userId"], data["token"])


def png(colour: tuple[int, int, int] = (200, 60, 20), size: tuple[int, int] = (8, 8)) -> bytes:
    """A small real picture."""
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()
