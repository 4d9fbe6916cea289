"""The data directory: its secret and its lock."""

import multiprocessing
import stat
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from server.config.settings import Jwt, Settings
from server.runtime.data import SECRET_FILE, DataDirectoryInUse, locked, with_secret


def _secret_of(directory: Path) -> str:
    settings, _ = with_secret(Settings(data_dir=directory))
    return settings.jwt.secret.get_secret_value()


def test_a_secret_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    settings, file = with_secret(Settings(data_dir=directory))
    secret = settings.jwt.secret.get_secret_value()
    assert file == directory / SECRET_FILE
    assert len(secret) >= 43, "256 bits"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert _secret_of(directory) == secret
    assert _secret_of(tmp_path / "other") != secret
    assert [entry.name for entry in directory.iterdir()] == [SECRET_FILE]


def test_one_that_is_configured_is_used_and_none_made(tmp_path: Path) -> None:
    configured = Settings(data_dir=tmp_path, jwt=Jwt(secret=SecretStr("configured")))
    settings, file = with_secret(configured)
    assert (settings.jwt.secret.get_secret_value(), file) == ("configured", None)
    assert list(tmp_path.iterdir()) == []


def test_several_that_start_at_once_agree(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("forkserver")) as pool:
        secrets = set(pool.map(_secret_of, [tmp_path / str(number // 8) for number in range(32)], chunksize=1))
    assert len(secrets) == 4


def test_a_directory_is_locked_for_as_long_as_it_is_used(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with locked(directory), pytest.raises(DataDirectoryInUse, match=str(directory)), locked(directory):
        pass
    with locked(directory):
        pass
