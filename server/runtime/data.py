"""The data directory: the secret that is made once, and the lock that keeps a second server out."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from server.config.settings import Settings

SECRET_FILE = "jwt-secret"  # noqa: S105  a file name
_LOCK_FILE = "server.lock"


class DataDirectoryInUse(Exception):
    """Another server is there, of which this one would know nothing."""


def with_secret(settings: Settings) -> tuple[Settings, Path | None]:
    """The settings with a JWT secret; where none is configured, the one kept in the data directory, made if needed.

    Gives also the file it lies in, if it does. Raises OSError.
    """
    if settings.jwt.secret.get_secret_value():
        return settings, None
    file = settings.data_dir / SECRET_FILE
    secret = SecretStr(_kept_secret(file))
    return settings.model_copy(update={"jwt": settings.jwt.model_copy(update={"secret": secret})}), file


def _kept_secret(file: Path) -> str:
    """Of two that start at once, one makes it: a finished file is linked to the name, which only one can do."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        made = file.with_name(f".{SECRET_FILE}-{secrets.token_hex(8)}")
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w") as new:
                new.write(secrets.token_urlsafe(48))
                new.flush()
                os.fsync(new.fileno())
            if not file.exists():
                file.hardlink_to(made)
        except FileExistsError:
            pass  # the other one was first
        finally:
            made.unlink()
    return file.read_text().strip()


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep a second server from the same data: their buses would be apart. Raises DataDirectoryInUse."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / _LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataDirectoryInUse(f"another server uses {directory} (without Redis there can be one)") from error
        yield
