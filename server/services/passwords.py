"""Password hashes: bcrypt, in threads of its own, so that the event loop never waits for one."""

import asyncio
import base64
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

import bcrypt

from server.config.settings import Password
from server.errors import ApiError, ErrorCode

T = TypeVar("T")
Rest = TypeVarTuple("Rest")

_BCRYPT_BYTES = 72
"""What bcrypt looks at."""


class Passwords:
    """`close` ends the threads."""

    def __init__(self, settings: Password) -> None:
        self._cost = settings.bcrypt_cost
        self._most = settings.queue
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="bcrypt")
        self._waiting = 0
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(self._cost)).decode()

    async def close(self) -> None:
        await asyncio.to_thread(self._threads.shutdown)

    async def hash(self, password: str) -> str:
        """Raises ApiError (UNAVAILABLE) where too many wait."""
        return await self._run(self._hash, password)

    async def check(self, password: str, known: str | None) -> bool:
        """Whether `known` is the hash of `password`; None: there is no such user, which takes as long to say.

        Raises:
            ApiError: UNAVAILABLE
        """
        return await self._run(self._check, password, known)

    def is_current(self, known: str) -> bool:
        """Whether the hash is of the configured cost and kind."""
        return known.startswith(f"$2b${self._cost:02d}$")

    async def _run(self, work: Callable[[str, *Rest], T], password: str, *rest: *Rest) -> T:
        if self._waiting >= self._most:
            raise ApiError(ErrorCode.UNAVAILABLE)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, password, *rest)
        finally:
            self._waiting -= 1

    def _hash(self, password: str) -> str:
        return bcrypt.hashpw(_material(password), bcrypt.gensalt(self._cost)).decode()

    def _check(self, password: str, known: str | None) -> bool:
        right = None if known is None else _matches(password, known)
        if right is None or not (right or self.is_current(str(known))):
            # As slow as a current hash, so that the time doesn't tell whether the user exists.
            bcrypt.checkpw(_material(password), self._nobody.encode())
        return right is True


def _material(password: str) -> bytes:
    """What is hashed. A longer password than bcrypt takes is digested first, instead of being cut."""
    raw = password.encode()
    return raw if len(raw) <= _BCRYPT_BYTES else base64.b64encode(hashlib.sha256(raw).digest())


def _matches(password: str, known: str) -> bool | None:
    """Whether `known`, of whatever cost, is the password's hash; None if it is none. The old server, which made `$2a$`,
    cut long passwords."""
    raw = password.encode()
    cut = known.startswith("$2a$") and len(raw) > _BCRYPT_BYTES
    try:
        return bcrypt.checkpw(_material(password), known.encode()) or (
            cut and bcrypt.checkpw(raw[:_BCRYPT_BYTES], known.encode())
        )
    except ValueError:
        return None
