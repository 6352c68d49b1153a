"""A subscription hears what is published, knows when it is deaf, and recovers by itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from familyai import subscription
from familyai.broker import connect
from familyai.subscription import Subscription
from tests.support import Broker

LIMIT_S = 20.0


class Listener:
    """A subscription, with what it told its owner."""

    def __init__(self, url: str) -> None:
        self.heard: list[bytes] = []
        self.lost = 0
        self.subscription = Subscription(url, "channel", self.heard.append, self._count_loss)

    @property
    def connected(self) -> bool:
        return self.subscription.connected.is_set()

    def _count_loss(self) -> None:
        self.lost += 1


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[Listener]:
    listener = Listener(url)
    run = asyncio.create_task(listener.subscription.run())
    try:
        await until(lambda: listener.connected, "it subscribes")
        yield listener
    finally:
        run.cancel()
        with suppress(asyncio.CancelledError):
            await run


async def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition, not for a time."""
    deadline_s = asyncio.get_running_loop().time() + LIMIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline_s, f"never happened: {what}"
        await asyncio.sleep(0.01)


async def publish(url: str, *messages: bytes) -> list[int]:
    """How many heard each message."""
    client = connect(url)
    try:
        return [await client.publish("channel", message) for message in messages]
    finally:
        await client.aclose()


async def test_it_hears_messages_whole_and_in_order(broker_url: str) -> None:
    messages = [b"first", b"\x00\xff", b"", b"x" * 1_000_000]
    async with listening(broker_url) as listener:
        await publish(broker_url, *messages)
        await until(lambda: len(listener.heard) == len(messages), "all are heard")
    assert listener.heard == messages
    assert listener.lost == 0


async def test_it_is_connected_only_once_the_broker_delivers(broker_url: str) -> None:
    async with listening(broker_url) as listener:
        assert listener.connected
        assert await publish(broker_url, b"message") == [1]


async def test_it_hears_its_own_channel_alone(broker_url: str) -> None:
    async with listening(broker_url) as listener:
        client = connect(broker_url)
        await client.publish("another", b"not for us")
        await client.aclose()
        await publish(broker_url, b"for us")
        await until(lambda: bool(listener.heard), "a message is heard")
    assert listener.heard == [b"for us"]


async def test_a_cancelled_subscription_leaves_the_channel(broker_url: str) -> None:
    async with listening(broker_url) as listener:
        pass
    client = connect(broker_url)
    try:
        async with asyncio.timeout(LIMIT_S):
            while await client.pubsub_numsub("channel") != [(b"channel", 0)]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        await client.aclose()
    assert listener.lost == 0


async def test_it_comes_back_after_a_restart_of_the_broker(own_broker: Broker) -> None:
    async with listening(own_broker.url) as listener:
        own_broker.kill()
        await until(lambda: not listener.connected, "the loss is noticed")
        await asyncio.to_thread(own_broker.start)
        await until(lambda: listener.connected, "it subscribes again")
        await publish(own_broker.url, b"after")
        await until(lambda: listener.heard == [b"after"], "it hears again")
    assert listener.lost == 1


async def test_it_waits_for_a_broker_that_is_not_there_yet(own_broker: Broker) -> None:
    own_broker.kill()
    listener = Listener(own_broker.url)
    run = asyncio.create_task(listener.subscription.run())
    await asyncio.to_thread(own_broker.start)
    await until(lambda: listener.connected, "it subscribes")
    run.cancel()
    assert listener.lost == 0


async def test_a_connection_that_the_broker_closes_counts_as_lost(broker_url: str) -> None:
    async with listening(broker_url) as listener:
        client = connect(broker_url)
        await client.client_kill_filter(_type="pubsub")
        await client.aclose()
        await until(lambda: listener.lost == 1, "the loss is told")
        await until(lambda: listener.connected, "it subscribes again")


async def test_silence_is_no_loss_while_the_broker_answers(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "QUIET_S", 0.5)
    async with listening(broker_url) as listener:
        client = connect(broker_url)
        await client.config_resetstat()
        async with asyncio.timeout(LIMIT_S):
            while await pings(client) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await client.aclose()
        assert listener.lost == 0


async def test_a_broker_that_hangs_is_noticed(own_broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscription, "QUIET_S", 0.2)
    async with listening(own_broker.url) as listener:
        os.kill(own_broker.pid, signal.SIGSTOP)
        try:
            await until(lambda: listener.lost == 1, "the loss is told")
        finally:
            os.kill(own_broker.pid, signal.SIGCONT)
        await until(lambda: listener.connected, "it subscribes again")


async def pings(client: Redis) -> int:
    stats = await client.info("commandstats")
    return int(stats.get("cmdstat_ping", {}).get("calls", 0))
