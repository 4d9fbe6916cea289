"""Uploaded files: who may upload what, their names, and the end of those that nothing refers to."""

import asyncio
import logging
import re
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from server.bus.interface import Bus, BusUnavailable
from server.clock import Clock
from server.config.settings import Files as FileSettings
from server.config.settings import Limits
from server.errors import ApiError, ErrorCode
from server.services.accounts import LoginSession, Visitor
from server.services.filetypes import IMAGE_TYPES, UnfitImage, examine, shown_type
from server.services.ratelimit import RateLimiter
from server.services.storage import Incoming, Storage, TooLarge
from server.store import Store
from server.store.errors import StoreUnavailable
from server.tasks import OwnedTasks

T = TypeVar("T")

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*")
"""Wider than the names that are made here: those of an old deployment's files are times, written in whatever way."""
_SWEEP_GROUP = "sweep:files"
_SWEEP_CHUNK = 200


@dataclass(frozen=True, slots=True)
class FoundFile:
    path: Path
    type: str

    @property
    def is_image(self) -> bool:
        return self.type in IMAGE_TYPES


class Files:
    """`start` before use, `close` after."""

    def __init__(
        self,
        store: Store,
        storage: Storage,
        bus: Bus,
        clock: Clock,
        limiter: RateLimiter,
        settings: FileSettings,
        limits: Limits,
    ) -> None:
        self._store = store
        self._storage = storage
        self._bus = bus
        self._clock = clock
        self._limiter = limiter
        self._settings = settings
        self._limits = limits
        self._types: dict[str, str] = {}
        # of its own: a decoded image takes up to 4 bytes a pixel, so not many at once
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="examine")
        self._tasks = OwnedTasks("files")

    def start(self) -> None:
        self._tasks.start(self._sweep_regularly(), "sweep")

    async def close(self) -> None:
        await self._tasks.close()
        await asyncio.to_thread(self._threads.shutdown)

    def upload_limit(self, login: LoginSession | None) -> int:
        """Bytes."""
        return self._settings.anonymous_limit if login is None else self._settings.upload_limit

    async def admit(self, login: LoginSession | None, visitor: Visitor) -> None:
        """Whether an upload may begin. Raises ApiError (TOO_MANY)."""
        if login is None:
            await self._limiter.hit_address(self._limits.upload_address, "upload-address", visitor.address)
        else:
            await self._limiter.hit(self._limits.upload_account, "upload-account", str(login.user_id))

    async def upload(self, login: LoginSession | None, chunks: AsyncIterator[bytes]) -> str:
        """Keep a file; gives its url.

        Raises:
            ApiError: TOO_LARGE, FILE_NOT_STORED, FIELD_INVALID (empty, a broken image, or no image without a login)
        """
        limit = self.upload_limit(login)
        try:
            incoming = await self._storage.receive(chunks, limit)
        except TooLarge as error:
            raise ApiError(ErrorCode.TOO_LARGE, limit=limit) from error
        except OSError as error:
            _log.exception("an upload could not be written")
            raise ApiError(ErrorCode.FILE_NOT_STORED) from error
        try:
            return await self._name(login, incoming)
        except BaseException:
            await self._storage.discard(incoming)
            raise

    async def _name(self, login: LoginSession | None, incoming: Incoming) -> str:
        if incoming.size == 0:
            raise _refused("不能为空", "must not be empty")
        try:
            found = await self._run(partial(examine, pixels=self._settings.pixels), incoming.path)
        except UnfitImage as unfit:
            raise _refused(*unfit.texts) from unfit
        if login is None and not found.is_image:
            raise _refused("未登录时只能上传图片", "without a login it must be an image")
        name = f"{secrets.token_urlsafe(24)}.{found.ending}"
        name = name if name[0] != "-" else f"0{name}"
        await self._store.files.add(name, incoming.size, found.type, login.user_id if login else 0)
        try:
            await self._storage.keep(incoming, name)
        except OSError as error:
            _log.exception("an upload could not be kept")
            raise ApiError(ErrorCode.FILE_NOT_STORED) from error
        return f"file/{name}"

    async def _run(self, work: Callable[[Path], T], path: Path) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, path)

    async def find(self, name: str) -> FoundFile:
        """Raises ApiError (NOT_FOUND)."""
        path = self._storage.local_path(name) if _NAME.fullmatch(name) else None
        if path is None:
            raise ApiError(ErrorCode.NOT_FOUND)
        kind = self._types.get(name)
        if kind is None:
            stored = await self._store.files.get(name)
            kind = stored.type if stored else await self._run(shown_type, path)
            if len(self._types) < 10_000:
                self._types[name] = kind
        return FoundFile(path, kind)

    # orphans

    async def _sweep_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.sweep_interval)
            try:
                lease = await self._bus.acquire(_SWEEP_GROUP, 30.0)
                if lease is not None:
                    try:
                        await self.sweep()
                    finally:
                        await lease.release()
            except (BusUnavailable, StoreUnavailable, OSError) as error:
                _log.warning("orphaned files stay until the next sweep: %s", error)

    async def sweep(self) -> int:
        """Remove files that nothing has referred to for their time; gives how many."""
        before = self._clock.now() - timedelta(seconds=self._settings.orphan_lifetime)
        removed = 0
        while names := await self._store.files.unreferenced(before, _SWEEP_CHUNK):
            gone = await self._store.files.remove(names)
            await self._storage.remove(gone)
            removed += len(gone)
            for name in gone:
                self._types.pop(name, None)
            if len(names) < _SWEEP_CHUNK:
                break
        return removed


def _refused(chinese: str, english: str) -> ApiError:
    return ApiError(ErrorCode.FIELD_INVALID, field="file", rule=(chinese, english))
