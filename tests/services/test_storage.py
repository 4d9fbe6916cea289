"""The local directory behind the storage interface."""

import os
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from server.services.storage import LocalStorage, TooLarge


async def _stream(chunks: Iterable[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(tmp_path / "a" / "b")
    storage.prepare()
    return storage


def _all(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "a" / "b").iterdir())


async def test_what_came_in_can_be_read_before_and_after_it_has_its_name(storage: LocalStorage, tmp_path: Path) -> None:
    incoming = await storage.receive(_stream([b"one ", b"", b"two"]), 7)
    assert (incoming.size, incoming.path.read_bytes()) == (7, b"one two")
    assert storage.local_path(incoming.path.name) is not None, "a hidden name, which the files service never asks for"
    await storage.keep(incoming, "name.txt")
    path = storage.local_path("name.txt")
    assert path is not None
    assert path.read_bytes() == b"one two"
    assert path.stat().st_mode & 0o777 == 0o644
    assert _all(tmp_path) == ["name.txt"]


async def test_more_than_is_allowed_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    taken: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 10

    with pytest.raises(TooLarge):
        await storage.receive(endless(), 95)
    assert len(taken) == 10, "no more was taken in"
    assert _all(tmp_path) == []


async def test_a_stream_that_breaks_leaves_nothing(storage: LocalStorage, tmp_path: Path) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await storage.receive(breaking(), 100)
    assert _all(tmp_path) == []


async def test_what_is_not_wanted_is_discarded(storage: LocalStorage, tmp_path: Path) -> None:
    incoming = await storage.receive(_stream([b"x"]), 10)
    await storage.discard(incoming)
    await storage.discard(incoming)
    assert _all(tmp_path) == []


async def test_removing_takes_what_is_gone_already(storage: LocalStorage, tmp_path: Path) -> None:
    for name in ("one", "two"):
        await storage.keep(await storage.receive(_stream([b"x"]), 10), name)
    await storage.remove(["one", "never there"])
    assert _all(tmp_path) == ["two"]


async def test_what_a_killed_process_left_unfinished_is_cleared_away(storage: LocalStorage, tmp_path: Path) -> None:
    await storage.keep(await storage.receive(_stream([b"x"]), 10), "kept")
    left, under_way = [await storage.receive(_stream([b"x"]), 10) for _ in range(2)]
    long_ago = time.time() - 3601
    os.utime(left.path, (long_ago, long_ago))
    os.utime(tmp_path / "a" / "b" / "kept", (long_ago, long_ago))
    LocalStorage(tmp_path / "a" / "b").prepare()  # of a process that starts while this one receives
    await storage.keep(under_way, "finished")
    assert _all(tmp_path) == ["finished", "kept"]


def test_only_files_are_found(storage: LocalStorage, tmp_path: Path) -> None:
    directory = tmp_path / "a" / "b"
    (directory / "sub").mkdir()
    (tmp_path / "secret").write_text("secret")
    (directory / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(directory / "pipe")
    for name in ("sub", "link", "pipe", "nothing", "x" * 300, "字" * 100, "nul\0", "\ud800"):
        assert storage.local_path(name) is None, name


async def test_a_full_disk_is_an_error_and_leaves_nothing(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        await storage.receive(_stream([b"x"]), 10)
    assert _all(tmp_path) == []
