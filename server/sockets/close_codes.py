"""Every close code, once, with what the client should do (RFC 6455, section 7.4; 4000–4999 are ours).

The browser frontend ignores codes: it opens a notification socket again after 3 seconds, and a call socket unless
it was told 1 or 7. Other clients may do better.
"""

from enum import Enum


class Close(Enum):
    """(code, reason, what the client should do)."""

    NORMAL = (1000, "bye", "Nothing: the client said goodbye.")
    GOING_AWAY = (1001, "server stops", "Come again: another process, or the next one, goes on.")
    UNSUPPORTED_DATA = (1003, "text frames only", "Don't come again before the client is mended.")
    POLICY = (1008, "too many frames", "Come again more slowly.")
    TOO_BIG = (1009, "frame too big", "Don't come again before the client is mended.")
    INTERNAL = (1011, "internal error", "Come again.")
    RESTART = (
        1012,
        "server restarts",
        "Come again, after up to a few seconds (this close was sent to each socket at its own moment).",
    )
    TRY_AGAIN = (1013, "try again later", "Come again after some seconds: the database or the bus is away.")
    NO_FIRST_FRAME = (4000, "no login in time", "Come again and say who you are.")
    UNAUTHORIZED = (4001, "no valid login", "Don't come again with this token; log in.")
    LOGIN_ENDED = (4002, "login ended", "Don't come again with this token; log in.")
    TAKEN_OVER = (4003, "a newer socket has this session", "Nothing: it is the other socket's now.")
    SLOW = (4004, "too slow", "Come again: the session goes on, or a new one syncs.")
    SILENT = (4005, "no heartbeat", "Come again.")
    CALL_OVER = (4007, "call ended", "Nothing: the call is over, or this user's part in it.")

    @property
    def code(self) -> int:
        return self.value[0]

    @property
    def reason(self) -> str:
        return self.value[1]

    @property
    def advice(self) -> str:
        return self.value[2]


def as_table_rows() -> str:
    """HTML rows for the page about the sockets."""
    return "\n".join(f"<tr><td>{close.code}</td><td>{close.reason}</td><td>{close.advice}</td></tr>" for close in Close)
