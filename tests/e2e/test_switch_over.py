"""An existing deployment switches over: the new server is given its configuration file, database and uploads."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import bcrypt
import pytest

from server.config.settings import Mysql
from tests.e2e.shapes import CONTACT, MESSAGE, USER, assert_shape, moment, refused
from tests.store import v0
from tests.store.databases import run_script
from tests.support.account import Account
from tests.support.api import Api, png
from tests.support.mariadb import MariaDb
from tests.support.redis import RedisServer
from tests.support.server import ServerProcess

PASSWORD = "an old secret"
CONFIG = """\
dev: false
jwt:
  secret: the secret of an old deployment, long enough
  issuer: chat.example
mysql:
  host: {mysql.host}
  port: {mysql.port}
  user: {mysql.user}
  password: "{password}"
  dbname: {mysql.dbname}
redis:
  host: {redis.host}
  port: {redis.port}
  password: ""
api-prefix: /api
upload-dir: {uploads}
log-level: info
"""


@pytest.fixture
def old_database(mariadb: MariaDb) -> Iterator[Mysql]:
    database = mariadb.create_database()
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(6, prefix=b"2a")).decode()
    rows = f"UPDATE users SET password = '{hashed}' WHERE user_id IN (1, 2);"  # noqa: S608  our own hash
    run_script(database, v0.SCHEMA + v0.ROWS + rows)
    yield database
    mariadb.drop_database(database.dbname)


@pytest.fixture
def server(old_database: Mysql, redis_server: RedisServer, tmp_path: Path) -> Iterator[ServerProcess]:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for name in ("ann.png", "picture.png", "2025-12-01 09:00:00.jpg"):
        (uploads / name).write_bytes(png())
    config = tmp_path / "config.yml"
    password = old_database.password.get_secret_value()
    config.write_text(CONFIG.format(mysql=old_database, password=password, redis=redis_server, uploads=uploads))
    server = ServerProcess(tmp_path, {"ICHAT_CONFIG": str(config), "ICHAT_REDIS_PREFIX": "switch"})
    yield server
    server.stop()
    server.check_log()


async def test_people_find_what_they_had(server: ServerProcess, http: aiohttp.ClientSession) -> None:
    assert "5 twins merged" in server.run("migrate")
    await server.start()
    logins = [await Api(http, server.base).login(name, PASSWORD) for name in ("ann", "Bob")]
    api = Api(http, server.base)
    ann, bob = [Account(api.with_token(login.token), login.user_id, "") for login in logins]
    assert (ann.user_id, bob.user_id) == (1, 2)
    with refused(1004):
        await api.login("ann", "wrong password")
    assert (await api.login("ANN", PASSWORD)).user_id == 1, "with the hash that was renewed"

    (user,) = await bob.api.user_infos([1])
    assert user is not None
    assert_shape(USER, user)
    status, headers, body = await ann.api.download(user["avatar"])
    assert (status, headers["Content-Type"], body) == (200, "image/png", png())
    status, headers, _ = await ann.api.download("file/2025-12-01%2009:00:00.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/png"), "by what it holds"

    contact = await ann.contact(bob)
    assert_shape(CONTACT, contact)
    history = await ann.api.whole_history(contact["contactId"])
    assert_shape(MESSAGE, *history)
    assert [message["messageId"] for message in history] == [1, 2, 3, 4, 6, 7, 8]
    assert moment(history[2]["createdAt"]) == datetime(2025, 12, 1, 8, tzinfo=UTC)
    calls = [message["call"] for message in history if message["type"] == 3]
    assert [(call["status"], call["endReason"]) for call in calls] == [(4, 6), (4, 1)]
    assert [message["deliveryId"] for message in await ann.api.sync(0)] == [30, 20, 14, 13, 11]

    async with bob.frontend(last=21) as device:
        sent = await ann.api.send(contact["contactId"], "still there?", local_id="1")
        assert (await device.wait_for_message(sent["messageId"]))["deliveryId"] == 22
    assert (await ann.contact(bob))["lastMessageContent"] == "still there?"
