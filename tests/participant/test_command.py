"""The command with which a person tries a server."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process

import pytest
from aiohttp import web

from tests.participant import mesh
from tests.participant.__main__ import main
from tests.participant.media import Media
from tests.participant.trial import Trial, TrialFailed
from tests.support.cluster import Cluster
from tests.support.notification import PATIENCE
from tests.support.server import free_port

ONE_PROCESS = pytest.mark.parametrize("cluster", ["embedded"], indirect=True)


async def start(*arguments: str) -> Process:
    # what is started in the background of a shell ignores SIGINT, and hands that down
    command = ("env", "--default-signal=INT", sys.executable, "-W", "error", "-m", "tests.participant", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)


async def finish(process: Process) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    out, err = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@ONE_PROCESS
async def test_three_people_talk_and_the_table_says_so(cluster: Cluster) -> None:
    process = await start("call", "--people", "3", "--seconds", "3", cluster.bases[0])
    code, out, err = await finish(process)
    assert (code, err) == (0, ""), out
    registered, _, heard, headings, *rows = out.splitlines()
    names = registered.removeprefix("registered: ").split(", ")
    assert len(set(names)) == 3
    assert heard.startswith("everybody hears and sees everybody after ")
    assert headings.startswith("who ")
    told = {
        (who, whom) for row in rows for who in names for whom in names if row.startswith(who) and f" {whom} " in row
    }
    assert told == {(who, whom) for who in names for whom in names if who != whom}
    assert len(rows) == 6


class WrongVoice(Media):
    """The one with number 1 speaks with the voice, and shows the picture, of number 7."""

    def __init__(self, number: int) -> None:
        super().__init__(7 if number == 1 else number)


@ONE_PROCESS
async def test_it_fails_if_somebody_isnt_heard(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mesh, "Media", WrongVoice)
    monkeypatch.setattr("tests.participant.trial.FIRST_MEDIA", 1.0)
    assert not await Trial(cluster.bases[0], people=2, seconds=1).run()
    *_, first, second = capsys.readouterr().out.splitlines()
    assert [("NO" in row, "somebody else's" in row) for row in (first, second)] == [(True, True), (False, False)]


@ONE_PROCESS
async def test_ctrl_c_hangs_up_and_ends(cluster: Cluster) -> None:
    process = await start("call", "--people", "2", "--seconds", "600", cluster.bases[0])
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while b"everybody hears" not in await process.stdout.readline():
            pass
    process.send_signal(signal.SIGINT)
    code, out, err = await finish(process)
    assert (code, out, err) == (130, "", "interrupted: everybody has hung up\n")


async def test_a_server_that_isnt_there_is_told() -> None:
    base = f"http://127.0.0.1:{free_port()}"
    code, out, err = await finish(await start("call", base))
    assert (code, out) == (2, "")
    assert err.startswith(f"no server answers at {base}: ")
    assert len(err.splitlines()) == 1


async def test_another_kind_of_server_is_told() -> None:
    app = web.Application()
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        with pytest.raises(TrialFailed, match=r"doesn't keep to the contract"):
            await Trial(base, people=2, seconds=1).run()
    finally:
        await runner.cleanup()


@ONE_PROCESS
async def test_a_relay_needs_a_turn_server(cluster: Cluster) -> None:
    with pytest.raises(TrialFailed, match="no TURN server"):
        await Trial(cluster.bases[0], people=2, seconds=1, relay_only=True).run()


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("call",),
        ("call", "127.0.0.1:8080"),
        ("call", "ftp://127.0.0.1"),
        ("call", "--people", "1", "http://127.0.0.1"),
        ("call", "--people", "21", "http://127.0.0.1"),
        ("call", "--people", "many", "http://127.0.0.1"),
        ("call", "--seconds", "0", "http://127.0.0.1"),
        ("call", "--seconds", "inf", "http://127.0.0.1"),
        ("call", "--seconds", "nan", "http://127.0.0.1"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tests.participant", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "usage: " in capsys.readouterr().err
