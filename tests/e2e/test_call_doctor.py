"""The command `doctor`, as operators run it."""

import asyncio
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from contextlib import closing
from pathlib import Path

from tests.support.call import CallsApi
from tests.support.calling import assert_healthy, pages, pair
from tests.support.cluster import SECRET, Cluster
from tests.support.register import Register
from tests.support.server import ServerProcess


async def doctor(server: ServerProcess) -> tuple[int, list[str]]:
    """The exit code and what was printed, on either stream."""
    command = [sys.executable, "-m", "server", "doctor"]
    process = await asyncio.create_subprocess_exec(*command, env=server.environ, stdout=PIPE, stderr=STDOUT)
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode().splitlines()


def spoil(cluster: Cluster, sql: str, *values: int) -> None:
    """Run a statement beside the servers."""
    server = cluster.servers[0]
    if cluster.backend == "embedded":
        file = Path(server.environ["ICHAT_DATA_DIR"]) / "ichat.db"
        with closing(sqlite3.connect(file)) as database, database:
            database.execute(sql.replace("%s", "?"), values)
    else:
        cluster.mariadb.execute(sql.replace("call_", f"{server.environ['ICHAT_MYSQL_DBNAME']}.call_", 1), *values)


async def test_agrees_with_a_healthy_server_and_finds_what_is_wrong(cluster: Cluster, register: Register) -> None:
    room = await pair(register)
    ann, ben = room.people
    ended = await room.ready_call(ann, ben)
    await CallsApi(ann.api).hang_up(ended)
    call_id = await room.ready_call(ann, ben)
    server, embedded = cluster.servers[0], cluster.backend == "embedded"
    async with pages(call_id, ann, ben) as (anns, _):
        assert await doctor(server) == (
            0,
            [
                "database: 1 open calls, 2 users in calls",
                "bus: in the memory of the server, not looked at" if embedded else "bus: 1 calls",
                "everything agrees",
            ],
        )
        await anns.hang_up()
    spoil(cluster, "INSERT INTO call_reservations (user_id, call_id) VALUES (%s, %s)", ann.user_id, ended)
    wrong = [f"call {ended} reserves user {ann.user_id}, but it has ended"]
    if not embedded:
        cluster.redis.execute("SET", f"{server.environ['ICHAT_REDIS_PREFIX']}:{{call:{ended}}}:key:state", "x")
        wrong.insert(0, f"call {ended} has a key on the bus, state, but it has ended")
    code, lines = await doctor(server)
    assert (code, lines[2:]) == (1, [*wrong, f"{len(wrong)} findings"])
    spoil(cluster, "DELETE FROM call_reservations WHERE user_id = %s", ann.user_id)
    if not embedded:
        cluster.redis.execute("DEL", f"{server.environ['ICHAT_REDIS_PREFIX']}:{{call:{ended}}}:key:state")
    await assert_healthy(cluster)


async def test_says_when_there_is_nothing_to_look_at(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {})
    code, lines = await doctor(server)
    assert code == 2
    assert "there is no database in" in lines[-1]
    assert list((tmp_path / "data").glob("*.db")) == []
    unreachable = {"ICHAT_MYSQL_HOST": "127.0.0.1", "ICHAT_MYSQL_PORT": "1", "ICHAT_JWT_SECRET": SECRET}
    code, lines = await doctor(ServerProcess(tmp_path, unreachable))
    assert code == 2
    assert lines[-1].startswith("The database can't be looked at: ")


async def test_does_not_migrate(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {})
    server.run("migrate")
    file = tmp_path / "data" / "ichat.db"
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    code, lines = await doctor(server)
    assert code == 2
    assert "run `migrate`" in lines[-1]
    with closing(sqlite3.connect(file)) as database:
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]
