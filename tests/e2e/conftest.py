"""Servers whose time limits are short, so that tests needn't wait for what a person would."""

from collections.abc import Iterator

import aiohttp
import pytest

from tests.support.cluster import BACKENDS, Cluster, open_cluster
from tests.support.register import Register, register_with

HASTY = {
    "ICHAT_CHAT_REQUEST_LIFETIME": "4",
    "ICHAT_CHAT_REVOKE_WINDOW": "0.001",
    "ICHAT_SESSIONS_LIFETIME": "0.5",
    "ICHAT_SESSIONS_FIRST_FRAME_TIMEOUT": "2",
    "ICHAT_LIMITS_ENABLED": "true",
    "ICHAT_LIMITS_LOGIN_ACCOUNT_COUNT": "3",
    "ICHAT_LIMITS_LOGIN_ACCOUNT_SECONDS": "10000",
    "ICHAT_LIMITS_UPLOAD_ADDRESS_COUNT": "2",
    "ICHAT_LIMITS_UPLOAD_ADDRESS_SECONDS": "10000",
}


@pytest.fixture(scope="session", params=BACKENDS)
def hasty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Requests expire after four seconds, messages can't be revoked after a millisecond, sessions end half a second
    after their connection, first frames have two; three logins of a user and two uploads of a visitor, no more."""
    mariadb = request.getfixturevalue("mariadb") if request.param == "shared" else None
    directory = tmp_path_factory.mktemp(f"hasty-{request.param}")
    with open_cluster(request.param, directory, mariadb=mariadb, settings=HASTY) as cluster:
        yield cluster


@pytest.fixture
def register_hasty(hasty: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(hasty, http)
