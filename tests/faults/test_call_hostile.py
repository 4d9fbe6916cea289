"""Call sockets that stall, talk nonsense or too much. The others in the call must not notice, and the call goes on."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.faults.raw import RawSocket
from tests.faults.talk import Talk, talking
from tests.faults.test_hostile_clients import MEMORY_LIMIT, memory
from tests.support.account import Account
from tests.support.call import CallsApi, FrameKind, Reason, State
from tests.support.call_page import CallPage
from tests.support.calling import assert_healthy, group, pages, pair
from tests.support.cluster import Cluster
from tests.support.frames import Opcode, client_frame
from tests.support.notification import PATIENCE
from tests.support.register import Register

PATH = "/api/ws/call"


class Abused:
    """Two in a call talk, and a third, who has joined, is about to misbehave, at the server of the first."""

    def __init__(self, cluster: Cluster, call_id: int, nuisance: Account, others: list[CallPage], talk: Talk) -> None:
        self.cluster = cluster
        self.call_id = call_id
        self.nuisance = nuisance
        self.others = others
        self.talk = talk

    async def open(self, *, receive_buffer: int = 0) -> RawSocket:
        """A socket of the third that has been let in."""
        token = await CallsApi(self.nuisance.api).join(self.call_id)
        socket = await RawSocket.open(self.cluster.servers[0].port, PATH, receive_buffer=receive_buffer)
        await socket.send(client_frame(Opcode.TEXT, token.encode()))
        opcode, payload = await socket.read()
        assert opcode == Opcode.TEXT, payload
        assert json.loads(payload)["type"] == FrameKind.ALL_STATES
        return socket


@asynccontextmanager
async def abused(register: Register, cluster: Cluster) -> AsyncIterator[Abused]:
    """Afterwards the two have heard everything from each other in time, and the third can take part as ever."""
    room = await group(register, 3)
    ann, ben, nuisance = room.people
    nuisance = Account(nuisance.api.at(cluster.bases[0]), nuisance.user_id, nuisance.username)
    call_id = await room.ready_call(ann, ben, nuisance)
    async with pages(call_id, ann, ben) as others:
        async with talking(*others) as talk:
            yield Abused(cluster, call_id, nuisance, others, talk)
            await talk.progress()
        for one, other in (others, reversed(others)):
            await talk.assert_all_heard(one, other)
            assert one.closings == []
            assert one.errors == []
        async with CallPage(nuisance, call_id) as third:
            await third.wait_started()
            await others[0].wait_for_state(nuisance.user_id, State.ONLINE)
            await third.signal(others[0], "99999")
            await others[0].wait_until(lambda: others[0].heard_from(third)[-1:] == ["99999"], "the third")
            await third.hang_up()
        await others[0].hang_up()
        assert await others[1].wait_over() is Reason.NORMAL
    await assert_healthy(cluster)


@pytest.mark.settings(ICHAT_SESSIONS_SLOW_READER_TIMEOUT="1")
@pytest.mark.parametrize("own_cluster", ["embedded"], indirect=True)
async def test_a_client_that_stops_reading_is_disconnected(own_cluster: Cluster, register_own: Register) -> None:
    async with abused(register_own, own_cluster) as scene:
        server = own_cluster.servers[0]
        before = memory(server)
        stuck = await scene.open(receive_buffer=4096)
        first = scene.others[0]
        await first.wait_for_state(scene.nuisance.user_id, State.ONLINE)
        async with asyncio.timeout(60):
            while first.states[scene.nuisance.user_id] is State.ONLINE:
                await first.signal(scene.nuisance.user_id, "x" * 100_000)
                await asyncio.sleep(0.005)
        await stuck.read_to_end()
        assert memory(server) - before < 4 * MEMORY_LIMIT


GARBAGE = [
    pytest.param(bytes(range(256)) * 4, id="noise"),
    pytest.param(client_frame(Opcode.TEXT, b"\xff\xfe\xfd"), id="not UTF-8"),
    pytest.param(client_frame(Opcode.BINARY, b"binary"), id="binary"),
    pytest.param(client_frame(Opcode.CONTINUATION, b"x"), id="continues nothing"),
    pytest.param(client_frame(3, b"x"), id="unknown opcode"),
    pytest.param(client_frame(Opcode.TEXT, claimed=2**63 - 1), id="endless frame"),
    pytest.param(client_frame(Opcode.TEXT, b"x" * 300_000), id="oversized"),
    pytest.param(client_frame(Opcode.TEXT, b"x", claimed=100 * 1024 * 1024), id="100 MB"),
]


async def test_garbage_ends_its_own_connection_only(register: Register, cluster: Cluster) -> None:
    server = cluster.servers[0]
    before = memory(server)
    async with abused(register, cluster) as scene:
        for case in GARBAGE:
            (data,) = case.values
            for let_in in (False, True):
                socket = await (scene.open() if let_in else RawSocket.open(server.port, PATH))
                with suppress(ConnectionError):
                    await socket.send(data)  # type: ignore[arg-type]
                await socket.read_to_end()
    assert memory(server) - before < MEMORY_LIMIT


async def test_bad_frames_are_answered_and_harm_nobody(register: Register, cluster: Cluster) -> None:
    async with abused(register, cluster) as scene:
        socket = await scene.open()
        bad = client_frame(Opcode.TEXT, b'{"type":4,"payload":"{}"}')
        await socket.send(bad * 300)
        errors = 0
        while errors < 300:
            opcode, payload = await socket.read()
            assert opcode in (Opcode.TEXT, Opcode.PING), payload
            errors += opcode == Opcode.TEXT and json.loads(payload)["type"] == FrameKind.ERROR
        socket.close()


async def test_10_000_frames_a_second_end_the_connection(register: Register, cluster: Cluster) -> None:
    async with abused(register, cluster) as scene:
        flood = await scene.open()
        frame = json.dumps({"type": 4, "payload": json.dumps({"toUserId": scene.others[0].user_id, "message": "1000"})})
        start = time.monotonic()
        with suppress(ConnectionError):
            for tenth in range(300):
                await flood.send(client_frame(Opcode.TEXT, frame.encode()) * 1000)
                await asyncio.sleep(start + (tenth + 1) / 10 - time.monotonic())
            pytest.fail("it went on for 30 seconds")
        await flood.read_to_end()
        await scene.talk.progress()


@pytest.mark.settings(ICHAT_CALLS_HEARTBEAT_TIMEOUT="3")
async def test_hundreds_of_ice_candidates_at_once_hold_up_no_heartbeat(
    own_cluster: Cluster, register_own: Register
) -> None:
    """They arrive in order, and nobody is lost meanwhile though everybody may be silent for three seconds only."""
    room = await pair(register_own)
    call_id = await room.ready_call(*room.people)
    async with pages(call_id, *room.people, heartbeat=0.5) as (anns, bens):
        shown = [len(page.frames) for page in (anns, bens)]
        candidate = "candidate:1 1 udp 2122260223 192.0.2.1 54321 typ host generation 0 ufrag abcd network-id 1 "
        for burst in range(1, 8):
            for number in range(300):
                await anns.signal(bens, f"{candidate}{burst}.{number}")
                await bens.signal(anns, f"{candidate}{burst}.{number}")
            for page in (anns, bens):
                await page.wait_for_signals(300 * burst)
                heard = [signal.message.removeprefix(candidate) for signal in page.heard[-300:]]
                assert heard == [f"{burst}.{number}" for number in range(300)]
        for page, before in zip((anns, bens), shown, strict=True):
            assert {frame.kind for frame in page.frames[before:]} == {FrameKind.SIGNALING}
            assert page.closings == []
        await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL
    await assert_healthy(own_cluster)


async def test_sockets_replaced_again_and_again(register: Register, cluster: Cluster) -> None:
    """A page that opens many sockets at once keeps one of them, and isn't lost."""
    room = await pair(register)
    ann, ben = room.people
    call_id = await room.ready_call(ann, ben)
    async with CallPage(ben, call_id) as bens:
        for _ in range(4):
            token = await CallsApi(ann.api).join(call_id)
            sockets: list[RawSocket] = []
            for base in cluster.bases * 2:
                sockets.append(await RawSocket.open(int(base.rpartition(":")[2]), PATH))
                await sockets[-1].send(client_frame(Opcode.TEXT, token.encode()))
            async with asyncio.timeout(PATIENCE):
                ends = [asyncio.create_task(socket.read_to_end()) for socket in sockets]
                while sum(end.done() for end in ends) < len(ends) - 1:
                    await asyncio.sleep(0.01)
            await bens.wait_for_state(ann.user_id, State.ONLINE)
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        async with CallPage(ann, call_id) as anns:
            await anns.wait_started()
            await bens.signal(anns, "at last")
            await anns.wait_for_signals(1)
            assert State.DEAD not in bens.seen(ann.user_id)
            await anns.hang_up()
        assert await bens.wait_over() is Reason.NORMAL
    await assert_healthy(cluster)
