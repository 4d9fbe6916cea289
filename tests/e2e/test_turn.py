"""Credentials that the server hands out are good for a TURN server that shares its secret, and only those."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aioice import stun
from aioice.turn import create_turn_endpoint
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnection
from pydantic import SecretStr

from server.config.settings import Ice as IceSettings
from server.services.ice import Ice
from tests.participant.gathering import company, hear_and_see_each_other, meet
from tests.participant.person import Person
from tests.support.call import Reason
from tests.support.cluster import Cluster, open_cluster
from tests.support.coturn import TurnServer
from tests.support.notification import PATIENCE
from tests.support.register import Register, register_with


@pytest.fixture(scope="module")
def turn() -> Iterator[TurnServer]:
    with TurnServer() as turn:
        yield turn


@pytest.fixture(scope="module")
def relaying(turn: TurnServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A server that tells of the TURN server."""
    settings = {"ICHAT_ICE_TURN": turn.url, "ICHAT_ICE_TURN_SECRET": turn.secret}
    with open_cluster("embedded", tmp_path_factory.mktemp("relaying"), settings=settings) as cluster:
        yield cluster


@pytest.fixture
def register(relaying: Cluster, http: aiohttp.ClientSession) -> Register:
    return register_with(relaying, http)


class Moment:
    """A clock that stands still."""

    def __init__(self, moment: datetime) -> None:
        self._moment = moment

    def now(self) -> datetime:
        return self._moment


def credentials(secret: str, *, age: timedelta = timedelta(), user_id: int = 7) -> tuple[str, str]:
    """A user name, good for an hour since it was made, and its password."""
    settings = IceSettings(turn=("turn:unused",), turn_secret=SecretStr(secret), turn_lifetime=3600)
    (server,) = Ice(settings, Moment(datetime.now(UTC) - age)).servers(user_id)
    return server.username, server.credential


async def allocate(turn: TurnServer, username: str, password: str) -> str:
    """Ask for a relay address: the address it is on. Raises aioice.stun.TransactionFailed with the refusal."""
    gone = asyncio.Event()

    class Receiver(asyncio.DatagramProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            gone.set()

    transport, _ = await create_turn_endpoint(Receiver, turn.address, username, password)
    host, _ = transport.get_extra_info("sockname")
    transport.close()
    await asyncio.wait_for(gone.wait(), PATIENCE)
    return str(host)


@asynccontextmanager
async def relay_only(server: RTCIceServer) -> AsyncIterator[RTCPeerConnection]:
    configuration = RTCConfiguration(iceServers=[server], iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    connection = RTCPeerConnection(configuration)
    try:
        yield connection
    finally:
        await connection.close()


def candidate_types(connection: RTCPeerConnection) -> set[str]:
    """RFC 8839, section 5.1."""
    lines = connection.localDescription.sdp.splitlines()
    return {line.split(" typ ")[1].split()[0] for line in lines if line.startswith("a=candidate:")}


async def test_a_pair_talks_by_relay_alone_with_credentials_of_the_server(register: Register) -> None:
    ann, ben = [Person(await register(), use_ice=True) for _ in range(2)]
    (anns,), (bens,) = await ann.ice_servers(), await ben.ice_servers()
    assert anns.username != bens.username
    async with relay_only(anns) as caller, relay_only(bens) as callee:
        answered: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        channel = caller.createDataChannel("talk")
        channel.on("open", lambda: channel.send("how are you?"))
        channel.on("message", answered.set_result)

        def opened(other: RTCDataChannel) -> None:
            other.on("message", lambda question: other.send(f"you asked {question}"))

        callee.on("datachannel", opened)
        await caller.setLocalDescription(await caller.createOffer())
        await callee.setRemoteDescription(caller.localDescription)
        await callee.setLocalDescription(await callee.createAnswer())
        await caller.setRemoteDescription(callee.localDescription)
        assert candidate_types(caller) == candidate_types(callee) == {"relay"}
        assert await asyncio.wait_for(answered, PATIENCE) == "you asked how are you?"


async def test_a_call_talks_through_the_relay(register: Register, turn: TurnServer) -> None:
    async with company(register, [0, 0], relay_only=True) as people:
        pages = await meet(*people)
        await hear_and_see_each_other(pages, sounds=15, pictures=10)
        for page in pages:
            assert [impression.trouble() for impression in page.impressions.values()] == [""]
        await people[0].hang_up()
        for page in pages:
            assert await page.wait_over() is Reason.NORMAL
    frames = 15 + 10  # at least a packet each, of either one, which both relay
    async with asyncio.timeout(PATIENCE):
        for person in people:
            while _relayed_for(turn, person.user_id) < 2 * frames:
                await asyncio.sleep(0.05)


def _relayed_for(turn: TurnServer, user_id: int) -> int:
    return sum(count for username, count in turn.relayed().items() if username.endswith(f":{user_id}"))


async def test_good_credentials_are_taken(turn: TurnServer) -> None:
    assert await allocate(turn, *credentials(turn.secret)) == "127.0.0.1"
    assert await allocate(turn, *credentials(turn.secret, age=timedelta(minutes=59))) == "127.0.0.1"


@pytest.mark.parametrize("wrong", ["expired", "another secret", "another's user name", "a later end", "no user name"])
async def test_other_credentials_are_refused(turn: TurnServer, wrong: str) -> None:
    username, password = credentials(turn.secret)
    match wrong:
        case "expired":
            username, password = credentials(turn.secret, age=timedelta(minutes=61))
        case "another secret":
            username, password = credentials("another secret")
        case "another's user name":
            username, _ = credentials(turn.secret, user_id=8)
        case "a later end":
            expiry, _, user = username.partition(":")
            username = f"{int(expiry) + 3600}:{user}"
        case "no user name":
            username = ""
    with pytest.raises(stun.TransactionFailed) as refused:
        await allocate(turn, username, password)
    assert refused.value.response.error_code == 401
