import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from familyai import keys
from familyai.frame import Body, Frame, decode_frames
from workers.outbox import Outbox, batches


class Wire:
    """Stands where the connection stands: records what is published, and can be made to block or break."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[Frame, ...]]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.broken = False

    async def publish(self, channel: str, data: bytes) -> None:
        await self.open.wait()
        if self.broken:
            raise RedisConnectionError("gone")
        self.sent.append((channel, decode_frames(data)))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
async def outbox(wire: Any) -> AsyncIterator[Outbox]:
    box = Outbox(wire)
    task = asyncio.create_task(box.run())
    yield box
    task.cancel()


def frame(job: str, seq: int) -> Frame:
    return Body(job, 1, seq, b"x")


async def test_frames_ready_together_share_one_message_per_front(outbox: Outbox, wire: Wire) -> None:
    outbox.put("f1", frame("a", 0))
    outbox.put("f1", frame("b", 0))
    outbox.put("f2", frame("c", 0))
    await outbox.flushed()
    assert wire.sent == [
        (keys.reply("f1"), (frame("a", 0), frame("b", 0))),
        (keys.reply("f2"), (frame("c", 0),)),
    ]


async def test_frames_gather_while_a_publish_is_under_way(outbox: Outbox, wire: Wire) -> None:
    wire.open.clear()
    outbox.put("f", frame("a", 0))
    for _ in range(5):
        await asyncio.sleep(0)
    for seq in range(1, 4):
        outbox.put("f", frame("a", seq))
        await asyncio.sleep(0)
    wire.open.set()
    await outbox.flushed()
    assert [[found.seq for found in frames] for _, frames in wire.sent] == [[0], [1, 2, 3]]


async def test_a_dead_broker_costs_frames_not_the_outbox(outbox: Outbox, wire: Wire) -> None:
    wire.broken = True
    outbox.put("f", frame("a", 0))
    await outbox.flushed()
    wire.broken = False
    outbox.put("f", frame("a", 1))
    await outbox.flushed()
    assert wire.sent == [(keys.reply("f"), (frame("a", 1),))]


def test_a_message_stays_small_enough_for_any_broker() -> None:
    large = [Body("a", 1, seq, b"x" * 400_000) for seq in range(7)]
    sent = list(batches(large))
    assert [frame for batch in sent for frame in batch] == large
    assert [len(batch) for batch in sent] == [3, 3, 1]
