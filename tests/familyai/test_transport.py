"""Frames through a broker's channel: whole, in order, to everyone who listens and to nobody else."""

import asyncio

from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from familyai import keys
from familyai.frame import Body, End, Failed, Frame, Start, Tokens, decode_frames, encode_frames

ANSWER: tuple[Frame, ...] = (
    Start("job-1", 1, 0, 200, ((b"content-type", b"text/event-stream"),), "w", 0.25),
    Body("job-1", 1, 1, bytes(range(256)), Tokens(3, ((1, 2), (3,)))),
    Body("job-1", 1, 2, "東京 🎉".encode()),
    End("job-1", 1, 3, Tokens(0, ((4,),))),
    Failed("job-2", 1, 0, "engine_failed", "why"),
)


async def subscribed(redis: Redis, channel: str) -> PubSub:
    pubsub = redis.pubsub()
    await pubsub.subscribe(channel)
    assert (await _next(pubsub))["type"] == "subscribe"
    return pubsub


async def _next(pubsub: PubSub) -> dict[str, object]:
    async with asyncio.timeout(10):
        while (message := await pubsub.get_message(timeout=1)) is None:
            pass
    return message


async def heard(pubsub: PubSub) -> tuple[Frame, ...]:
    data = (await _next(pubsub))["data"]
    assert isinstance(data, bytes)
    return decode_frames(data)


async def test_frames_arrive_whole_and_in_order(any_redis: Redis) -> None:
    pubsub = await subscribed(any_redis, keys.reply("front"))
    pipe = any_redis.pipeline(transaction=False)
    pipe.publish(keys.reply("front"), encode_frames(ANSWER[:2]))
    pipe.publish(keys.reply("front"), encode_frames(ANSWER[2:]))
    assert await pipe.execute() == [1, 1]
    assert await heard(pubsub) + await heard(pubsub) == ANSWER


async def test_frames_for_another_front_are_not_heard(any_redis: Redis) -> None:
    pubsub = await subscribed(any_redis, keys.reply("mine"))
    assert await any_redis.publish(keys.reply("another"), encode_frames(ANSWER)) == 0
    await any_redis.publish(keys.reply("mine"), encode_frames(ANSWER[:1]))
    assert await heard(pubsub) == ANSWER[:1]


async def test_the_publisher_learns_that_nobody_listens(any_redis: Redis) -> None:
    pubsub = await subscribed(any_redis, keys.reply("front"))
    await pubsub.unsubscribe()
    assert (await _next(pubsub))["type"] == "unsubscribe"
    assert await any_redis.publish(keys.reply("front"), encode_frames(ANSWER)) == 0
