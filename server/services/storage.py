"""Where the content of files is kept: the interface, and the local directory behind it."""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

_UNFINISHED = 3600.0
"""Seconds after the last byte; nobody waits so long for the next."""


class TooLarge(Exception):
    """More bytes came than are allowed."""


class Incoming(Protocol):
    """Content that came in and hasn't got a name yet."""

    @property
    def path(self) -> Path:
        """Where it can be read meanwhile."""
        ...

    @property
    def size(self) -> int: ...


class Storage(Protocol):
    """Content by name. Raises OSError where it can't be kept or read."""

    async def receive(self, chunks: AsyncIterator[bytes], limit: int) -> Incoming:
        """Take in a stream of at most `limit` bytes. Raises TooLarge."""
        ...

    async def keep(self, incoming: Incoming, name: str) -> None:
        """Give it its name; from then on it survives a crash."""
        ...

    async def discard(self, incoming: Incoming) -> None: ...

    async def remove(self, names: Sequence[str]) -> None: ...

    def local_path(self, name: str) -> Path | None:
        """The file on this machine, or None if there is none of that name."""
        ...


class _Temporary:
    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size


class LocalStorage:
    """A directory. What comes in is written beside the named files, under a hidden name."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def prepare(self) -> None:
        """Make the directory, and remove what a killed process left unfinished. Others may be receiving just now."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for leftover in self._directory.glob(".incoming-*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > _UNFINISHED:
                    leftover.unlink()

    async def receive(self, chunks: AsyncIterator[bytes], limit: int) -> Incoming:
        handle, name = await asyncio.to_thread(tempfile.mkstemp, prefix=".incoming-", dir=self._directory)
        path = Path(name)
        size = 0
        try:
            with os.fdopen(handle, "wb") as file:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(limit)
                    await asyncio.to_thread(file.write, chunk)
                await asyncio.to_thread(_flush, file)
        except BaseException:
            await asyncio.to_thread(path.unlink, missing_ok=True)
            raise
        return _Temporary(path, size)

    async def keep(self, incoming: Incoming, name: str) -> None:
        await asyncio.to_thread(self._keep, incoming.path, name)

    def _keep(self, path: Path, name: str) -> None:
        path.chmod(0o644)
        path.rename(self._directory / name)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    async def discard(self, incoming: Incoming) -> None:
        await asyncio.to_thread(incoming.path.unlink, missing_ok=True)

    async def remove(self, names: Sequence[str]) -> None:
        for name in names:
            await asyncio.to_thread((self._directory / name).unlink, missing_ok=True)

    def local_path(self, name: str) -> Path | None:
        path = self._directory / name
        try:
            return path if path.is_file() and not path.is_symlink() else None
        except (OSError, ValueError):  # no name that a file can have
            return None


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
