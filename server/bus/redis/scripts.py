"""The Lua scripts. Each is sent once to a server, then called by its digest."""

import hashlib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    text: str
    digest: str


def _load(name: str) -> Script:
    text = files("server.bus.redis").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324  Redis' own naming of scripts


POST = _load("post")
OPEN = _load("open")
ACK = _load("ack")
CLOSE = _load("close")
RENEW_BOXES = _load("renew_boxes")
BOXES = _load("boxes")
READ = _load("read")
ACQUIRE = _load("acquire")
INDEX_LEASE = _load("index_lease")
UNINDEX_LEASE = _load("unindex_lease")
RENEW_LEASES = _load("renew_leases")
LEASE_PUT = _load("lease_put")
DELETE_IF = _load("delete_if")
CLAIM = _load("claim")
INCREMENT = _load("increment")
ADD_MEMBER = _load("add_member")
BEAT = _load("beat")
SET_TIMER = _load("set_timer")
FINISH_TIMER = _load("finish_timer")
