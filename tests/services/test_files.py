"""Uploads: who may upload what, how they are found, and when they go."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from server.bus.memory import MemoryBus
from server.config.settings import Files as FileSettings
from server.config.settings import Limits, RateLimit
from server.errors import ApiError, ErrorCode, Language
from server.services.accounts import LoginSession, Visitor
from server.services.files import Files
from server.services.ratelimit import RateLimiter
from server.services.storage import LocalStorage
from server.store import Store
from tests.services.pictures import PICTURES, picture
from tests.store.conftest import TestClock

SETTINGS = FileSettings(pixels=10_000, upload_limit=100_000, anonymous_limit=20_000)
HTML = b"<!doctype html><html><script>alert(1)</script></html>"
PNG = PICTURES["PNG"]


async def _stream(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        yield content[start : start + 1000]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
async def files(store: Store, bus: MemoryBus, clock: TestClock, directory: Path) -> AsyncIterator[Files]:
    storage = LocalStorage(directory)
    storage.prepare()
    two = RateLimit(count=2, seconds=60)
    limits = Limits(upload_address=two, upload_account=two)
    files = Files(store, storage, bus, clock, RateLimiter(bus, clock, limits), SETTINGS, limits)
    files.start()
    yield files
    await files.close()


@pytest.fixture
async def ann(store: Store, clock: TestClock) -> LoginSession:
    user_id = await store.users.create("ann", "hash", "Ann", "")
    return LoginSession(user_id, 1, clock.now() + timedelta(days=1))


async def _upload(files: Files, content: bytes, login: LoginSession | None = None) -> str:
    """The name that it got."""
    url = await files.upload(login, _stream(content))
    assert url.startswith("file/")
    return url.removeprefix("file/")


async def _refusal(files: Files, content: bytes, login: LoginSession | None = None) -> str:
    with pytest.raises(ApiError) as refused:
        await _upload(files, content, login)
    return f"{refused.value.code.name} {refused.value.text(Language.ENGLISH)}"


def _left(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


class TestNaming:
    async def test_the_name_has_the_ending_of_the_content_and_can_not_be_guessed(
        self, files: Files, ann: LoginSession
    ) -> None:
        names = [await _upload(files, PICTURES["WEBP"], ann) for _ in range(30)]
        assert len(set(names)) == 30
        assert {len(name) for name in names} <= {37, 38}, "24 random bytes"
        assert {name.rpartition(".")[2] for name in names} == {"webp"}
        found = await files.find(names[0])
        assert (found.type, found.is_image, found.path.read_bytes()) == ("image/webp", True, PICTURES["WEBP"])

    async def test_what_is_no_picture_is_found_as_what_it_is(self, files: Files, ann: LoginSession) -> None:
        for content, kind in ((b"%PDF-1.4\n", "application/pdf"), (HTML, "application/octet-stream")):
            found = await files.find(await _upload(files, content, ann))
            assert (found.type, found.is_image) == (kind, False)

    async def test_an_unfit_picture_leaves_nothing(self, files: Files, ann: LoginSession, directory: Path) -> None:
        assert await _refusal(files, picture("PNG", (101, 100)), ann) == "FIELD_INVALID file: has too many pixels"
        assert await _refusal(files, PNG[:50], ann) == "FIELD_INVALID file: is not a whole image"
        assert _left(directory) == []


class TestWhoMay:
    async def test_without_a_login_only_pictures(self, files: Files, directory: Path) -> None:
        for content in (HTML, b"%PDF-1.4", b"text"):
            assert await _refusal(files, content) == "FIELD_INVALID file: without a login it must be an image"
        assert _left(directory) == []

    async def test_nothing_is_no_file(self, files: Files, ann: LoginSession) -> None:
        assert await _refusal(files, b"", ann) == "FIELD_INVALID file: must not be empty"

    @pytest.mark.parametrize("size", [20_000, 100_000])
    async def test_as_many_bytes_as_are_allowed_and_one_more(
        self, files: Files, ann: LoginSession, directory: Path, size: int
    ) -> None:
        login = ann if size == 100_000 else None
        content = PNG + b"\0" * (size - len(PNG))
        assert await _upload(files, content, login)
        assert await _refusal(files, content + b"\0", login) == f"TOO_LARGE Too large: at most {size} bytes"
        assert len(_left(directory)) == 1

    async def test_each_address_and_each_user_has_a_limit(self, files: Files, ann: LoginSession) -> None:
        here, there = Visitor("203.0.113.7", ""), Visitor("203.0.113.8", "")
        for _ in range(2):
            await files.admit(None, here)
            await files.admit(ann, here)
        for login in (None, ann):
            with pytest.raises(ApiError) as refused:
                await files.admit(login, here)
            assert refused.value.code is ErrorCode.TOO_MANY
        await files.admit(None, there)
        with pytest.raises(ApiError):
            await files.admit(ann, there)

    async def test_a_disk_that_is_full_is_told(
        self, files: Files, ann: LoginSession, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        for step in ("os.fsync", "pathlib.Path.rename"):
            with monkeypatch.context() as patch:
                patch.setattr(step, full)
                assert await _refusal(files, b"text", ann) == "FILE_NOT_STORED The file could not be stored"
            assert _left(directory) == []


class TestFinding:
    @pytest.mark.parametrize(
        "name", ["", ".", "..", "a/b", "../x", ".hidden", "nothing.png", "a\0b", "字" * 100, "\x7f"]
    )
    async def test_what_is_not_there(self, files: Files, directory: Path, name: str) -> None:
        (directory / ".hidden").write_text("hidden")
        with pytest.raises(ApiError) as refused:
            await files.find(name)
        assert refused.value.code is ErrorCode.NOT_FOUND

    @pytest.mark.parametrize(
        "name",
        [
            "1700000000000000000.png",
            "20251201090000.JPG",
            "2025-12-01 09:00:00.123456 +0100 CET m=+0.01.jpeg",
            "2025-12-01T09:00:00+01:00.gif",
            "1700000000",
            "图片.png",
        ],
    )
    async def test_files_of_an_old_deployment_are_shown_by_what_they_hold(
        self, files: Files, directory: Path, name: str
    ) -> None:
        (directory / name).write_bytes(PICTURES["WEBP"])
        assert (await files.find(name)).type == "image/webp"
        page = f"x{name}"
        (directory / page).write_bytes(HTML)
        assert (await files.find(page)).type == "application/octet-stream"


class TestOrphans:
    async def _swept(self, files: Files, clock: TestClock, seconds: float) -> int:
        clock.advance(seconds)
        return await files.sweep()

    async def test_what_nothing_refers_to_goes_after_an_hour(
        self, files: Files, store: Store, clock: TestClock, directory: Path, ann: LoginSession
    ) -> None:
        orphan = await _upload(files, PNG)
        used = await _upload(files, PNG)
        await store.users.update_profile(ann.user_id, "Ann", f"file/{used}")
        (directory / "from before.png").write_bytes(PNG)
        assert await self._swept(files, clock, 3600) == 0
        assert (await files.find(orphan)).is_image
        assert await self._swept(files, clock, 0.001) == 1
        assert sorted(_left(directory)) == sorted([used, "from before.png"])
        with pytest.raises(ApiError):
            await files.find(orphan)
        await store.users.update_profile(ann.user_id, "Ann", "")
        assert await self._swept(files, clock, 3600) == 0
        assert await self._swept(files, clock, 0.001) == 1
        assert _left(directory) == ["from before.png"]

    async def test_many_go_at_once(self, files: Files, store: Store, clock: TestClock, directory: Path) -> None:
        for number in range(250):
            await store.files.add(f"{number}", 1, "image/png")
        assert await self._swept(files, clock, 3601) == 250

    async def test_they_go_by_themselves(self, store: Store, bus: MemoryBus, clock: TestClock, directory: Path) -> None:
        storage = LocalStorage(directory)
        storage.prepare()
        often = SETTINGS.model_copy(update={"sweep_interval": 0.01})
        files = Files(store, storage, bus, clock, RateLimiter(bus, clock, Limits()), often, Limits())
        files.start()
        await _upload(files, PNG)
        clock.advance(3601)
        await _until(lambda: not _left(directory))
        await files.close()


async def _until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)
