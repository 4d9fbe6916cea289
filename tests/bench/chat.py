"""What a message costs and how long it takes: `.venv/bin/python -m tests.bench.chat`."""

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field

from tests.bench.rig import BACKENDS, Person, Rig, main, open_rig
from tests.bench.table import Table, millis, percentile
from tests.bench.wire import HttpConnection, SocketConnection, post, together

PATIENCE = 120.0
MARK = b'"#'
FILLER = " " + "x" * 90


class Watch:
    """When each message, known by its number, was posted, answered, and came to each receiver."""

    def __init__(self) -> None:
        self.posted: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.came: dict[int, list[float]] = {}
        self.count = 0
        self._expected = 0
        self._all = asyncio.Event()

    def on_text(self, frame: bytes) -> None:
        """A receiver's frame: every message counts, by the number that its text begins with."""
        now = time.perf_counter()
        start = frame.find(MARK)
        if start < 0:
            return
        number = int(frame[start + len(MARK) : frame.index(b" ", start)])
        self.came.setdefault(number, []).append(now)
        self.count += 1
        if self.count == self._expected:
            self._all.set()

    async def wait_for(self, count: int) -> float:
        """When `count` notifications had come: the time of the last."""
        if self.count < count:
            self._expected = count
            self._all.clear()
            async with asyncio.timeout(PATIENCE):
                await self._all.wait()
        return max(times[-1] for times in self.came.values())

    def forget(self) -> None:
        """Count from here on."""
        self.posted, self.answered, self.came = {}, {}, {}
        self.count = 0

    def latencies(self) -> list[float]:
        """From the POST to each receiver."""
        return [moment - self.posted[number] for number, moments in self.came.items() for moment in moments]

    def answer_times(self) -> list[float]:
        return [moment - self.posted[number] for number, moment in self.answered.items()]


@dataclass
class Sender:
    """Posts numbered messages to one contact over one connection."""

    person: Person
    contact_id: int
    http: HttpConnection
    watch: Watch
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, number: int) -> None:
        body = json.dumps({"contactId": self.contact_id, "localId": f"n{number}", "text": f"#{number}{FILLER}"})
        request = post("/api/chat/send", self.person.token, body.encode())
        due = time.perf_counter() if self._turn.locked() else 0.0
        async with self._turn:
            self.watch.posted[number] = due or time.perf_counter()
            await self.http.request(request)
            self.watch.answered[number] = time.perf_counter()


@dataclass
class Talk:
    """Senders, each with a contact that is connected, as they are themselves."""

    watch: Watch
    senders: list[Sender] = field(default_factory=list)
    sockets: list[SocketConnection] = field(default_factory=list)

    async def connect(self, rig: Rig, person: Person, *, watched: bool) -> None:
        on_text = self.watch.on_text if watched else _ignore
        self.sockets.append(await SocketConnection.open(rig.port, person.token, on_text))

    async def add_sender(self, rig: Rig, person: Person, contact_id: int) -> None:
        self.senders.append(Sender(person, contact_id, await HttpConnection.open(rig.port), self.watch))

    def close(self) -> None:
        for sender in self.senders:
            sender.http.close()
        for socket in self.sockets:
            socket.close()


def _ignore(_frame: bytes) -> None:
    pass


async def pairs(rig: Rig, count: int) -> Talk:
    people = await rig.people(2 * count)
    talk = Talk(Watch())

    async def pair(index: int) -> None:
        sender, receiver = people[2 * index : 2 * index + 2]
        contact_id, _ = await rig.befriend(sender, receiver)
        await talk.connect(rig, sender, watched=False)
        await talk.connect(rig, receiver, watched=True)
        await talk.add_sender(rig, sender, contact_id)

    await together(count, 10, pair)
    return talk


async def steady(rig: Rig, table: Table, rate: int = 50, seconds: float = 15) -> None:
    """`rate` messages a second, one at a time, among ten pairs."""
    talk = await pairs(rig, 10)
    total = int(rate * seconds)
    numbers = itertools.count()
    for number in itertools.islice(numbers, rate):
        await talk.senders[number % 10].send(number)
    await talk.watch.wait_for(rate)
    talk.watch.forget()
    before = rig.cpu_seconds()
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for index, number in enumerate(itertools.islice(numbers, total)):
            await asyncio.sleep(start + index / rate - time.perf_counter())
            group.create_task(talk.senders[index % 10].send(number))
    await talk.watch.wait_for(total)
    cpu = rig.cpu_seconds() - before
    came, answered = talk.watch.latencies(), talk.watch.answer_times()
    table.add(
        rig.backend,
        total,
        *(millis(percentile(came, share)) for share in (0.5, 0.99, 1)),
        *(millis(percentile(answered, share)) for share in (0.5, 0.99)),
        millis(cpu / total),
    )
    talk.close()


async def burst(rig: Rig, table: Table, count: int = 200) -> None:
    """`count` sends at once to one receiver, from 40 contacts of theirs with five connections each."""
    receiver, *senders = await rig.people(41)
    talk = Talk(Watch())
    await talk.connect(rig, receiver, watched=True)
    for sender in senders:
        contact_id, _ = await rig.befriend(sender, receiver)
        for _ in range(count // len(senders)):
            await talk.add_sender(rig, sender, contact_id)
    for round_number in range(3):
        talk.watch.forget()
        first = round_number * count
        start = time.perf_counter()
        await asyncio.gather(*(sender.send(first + index) for index, sender in enumerate(talk.senders)))
        answered = time.perf_counter() - start
        last = await talk.watch.wait_for(count) - start
        if round_number:  # the first one only warms up
            table.add(rig.backend, count, millis(answered), millis(last))
    talk.close()


async def group(rig: Rig, table: Table, size: int = 100, rounds: int = 30) -> None:
    """Messages, one after the other, to a group whose members are all connected."""
    owner, *members = await rig.people(size)
    contact_ids = [(await rig.befriend(owner, member))[0] for member in members]
    await rig.api(owner).make_group("everybody", contact_ids)
    (contact,) = (line for line in await rig.api(owner).contacts() if line["groupId"])
    talk = Talk(Watch())
    await together(len(members), 10, lambda index: talk.connect(rig, members[index], watched=True))
    await talk.add_sender(rig, owner, contact["contactId"])
    (sender,) = talk.senders
    await sender.send(0)
    await talk.watch.wait_for(size - 1)
    talk.watch.forget()
    before = rig.cpu_seconds()
    for number in range(1, rounds + 1):
        await sender.send(number)
        await talk.watch.wait_for(number * (size - 1))
    cpu = rig.cpu_seconds() - before
    lasts = [max(moments) - talk.watch.posted[number] for number, moments in talk.watch.came.items()]
    firsts = [min(moments) - talk.watch.posted[number] for number, moments in talk.watch.came.items()]
    table.add(
        rig.backend,
        size,
        millis(percentile(firsts, 0.5)),
        *(millis(percentile(lasts, share)) for share in (0.5, 1)),
        millis(cpu / rounds),
    )
    talk.close()


async def closed_loop(rig: Rig, table: Table, count: int = 40, seconds: float = 8) -> None:
    """`count` pairs whose senders post the next message as soon as the last was answered."""
    talk = await pairs(rig, count)
    numbers = itertools.count()

    async def send_until(sender: Sender, end: float) -> None:
        while time.perf_counter() < end:
            await sender.send(next(numbers))

    async def everybody(duration: float) -> None:
        end = time.perf_counter() + duration
        await asyncio.gather(*(send_until(sender, end) for sender in talk.senders))

    await everybody(1)
    await talk.watch.wait_for(len(talk.watch.answered))
    talk.watch.forget()
    before, own_before, start = rig.cpu_seconds(), time.process_time(), time.perf_counter()
    await everybody(seconds)
    took = time.perf_counter() - start
    cpu, own = rig.cpu_seconds() - before, time.process_time() - own_before
    sent = len(talk.watch.answered)
    missing = sent - talk.watch.count
    last = await talk.watch.wait_for(sent)
    table.add(
        rig.backend,
        count,
        f"{sent / took:,.0f}",
        millis(percentile(talk.watch.answer_times(), 0.5)),
        millis(cpu / sent),
        f"{cpu / took:.0%}",
        f"{own / took:.0%}",
        f"{missing} ({millis(max(0.0, last - start - took))} ms)",
    )
    talk.close()


async def run() -> list[Table]:
    latency = Table(
        "POST to the receiver's socket at 50 messages a second (ms)",
        ("backend", "messages", "p50", "p99", "max", "answer p50", "answer p99", "server CPU a send"),
    )
    bursts = Table(
        "Sends at once to one receiver (ms)", ("backend", "sends", "last answered after", "last delivered after")
    )
    groups = Table(
        "A message to a group of connected members (ms)",
        ("backend", "members", "first p50", "last p50", "last max", "server CPU a message"),
    )
    loop = Table(
        "Closed loop, one process",
        (
            "backend",
            "pairs",
            "sends/s",
            "answer p50 ms",
            "server CPU a send, ms",
            "server core",
            "generator core",
            "not delivered at the last answer (all after)",
        ),
    )
    for backend in BACKENDS:
        async with open_rig(backend) as rig:
            await steady(rig, latency)
            await burst(rig, bursts)
            await group(rig, groups)
            await closed_loop(rig, loop)
    return [latency, bursts, groups, loop]


if __name__ == "__main__":
    main(run)
