"""Structured logs: text on a terminal, JSON else, with the ids of what they belong to."""

import logging
import re
import sys
from contextvars import ContextVar
from typing import Literal

from pythonjsonlogger.json import JsonFormatter

request_id_var: ContextVar[str] = ContextVar("request_id", default="")
user_id_var: ContextVar[int] = ContextVar("user_id", default=0)
session_id_var: ContextVar[str] = ContextVar("session_id", default="")
call_id_var: ContextVar[int] = ContextVar("call_id", default=0)

_SECRET = re.compile(r"(?i)(token=|bearer\s+)[^\s&\"']+|eyJ[\w-]+\.[\w-]+\.[\w-]+")
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s%(ids)s"
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def configure(level: str, style: Literal["auto", "text", "json"]) -> None:
    """Send every log of this process to standard error.

    `level` is one of debug, info, warn, error.
    """
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_ids)
    if as_text:
        handler.setFormatter(_Redacted(_TEXT))
    else:
        handler.setFormatter(
            _RedactedJson(
                "%(levelname)s %(name)s %(message)s",
                rename_fields={"levelname": "level", "name": "logger"},
                timestamp="time",
                json_ensure_ascii=False,
            )
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    for noisy in ("asyncio", "aiosqlite", "aiohttp.access", "alembic"):
        logging.getLogger(noisy).setLevel(max(root.level, logging.WARNING))


def redact(text: str) -> str:
    """Without tokens."""
    return _SECRET.sub("[secret]", text)


def _add_ids(record: logging.LogRecord) -> bool:
    ids: dict[str, object] = {
        "request_id": request_id_var.get(),
        "user_id": user_id_var.get(),
        "session_id": session_id_var.get(),
        "call_id": call_id_var.get(),
    }
    known = {name: value for name, value in ids.items() if value}
    record.__dict__.update(known)
    record.ids = "".join(f" {name}={value}" for name, value in known.items())
    return True


class _Redacted(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


class _RedactedJson(JsonFormatter):
    def format(self, record: logging.LogRecord) -> str:
        record.__dict__.pop("ids", None)
        return redact(super().format(record))
