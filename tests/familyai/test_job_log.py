"""Over a real broker: that it refuses what comes too late is the point."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from familyai import keys
from familyai.frame import Body, End, Frame, Start
from familyai.job_log import AT_ONCE, Entry, JobLog, Logged, entry

START = Start("job-1", 1, 0, 200, (), "w", 0.0)


def body(seq: int, attempt: int = 1) -> Body:
    return Body("job-1", attempt, seq, b"x")


@pytest.fixture
def logs(redis: Redis) -> JobLog:
    return JobLog(redis, kept_s=60)


async def told(logs: JobLog, after: str = "0-0") -> tuple[Frame, ...]:
    return (await logs.read({"job-1": after})).get("job-1", Logged()).frames


async def test_it_tells_what_was_said_from_where_a_reader_is(logs: JobLog, redis: Redis) -> None:
    await logs.append([entry((START, body(1))), entry((body(2), End("job-1", 1, 3)))])

    assert await told(logs) == (START, body(1), body(2), End("job-1", 1, 3))
    assert await told(logs, "1-2") == (body(2), End("job-1", 1, 3))
    assert await told(logs, "1-1") == (START, body(1), body(2), End("job-1", 1, 3)), "whole entries, from before"
    assert await told(logs, "1-4") == ()
    assert await logs.ends(["job-1", "job-2"]) == [(1, 4), (0, 0)]
    assert 0 < await redis.ttl(keys.log("job-1")) <= 60


async def test_what_it_has_already_is_left_out(logs: JobLog) -> None:
    first, second = entry((START,)), entry((body(1),))
    await logs.append([first])
    await logs.append([first, second])

    assert await told(logs) == (START, body(1))


async def test_who_has_been_followed_by_another_attempt_is_refused(logs: JobLog) -> None:
    await logs.append([entry((START, body(1)))])
    await logs.append([entry((body(1, attempt=2),))])
    await logs.append([entry((body(2),))])

    assert await told(logs) == (START, body(1), body(1, attempt=2))


async def test_a_long_log_is_told_in_pieces(logs: JobLog) -> None:
    await logs.append([entry((START,)), *(entry((body(seq),)) for seq in range(1, AT_ONCE + 5))])
    some = (await logs.read({"job-1": "0-0"}))["job-1"]
    rest = (await logs.read({"job-1": f"1-{len(some.frames)}"}))["job-1"]

    assert (some.is_all, rest.is_all) == (False, True)
    assert len(some.frames + rest.frames) == AT_ONCE + 5


async def test_what_is_given_up_leaves_nothing_but_that(logs: JobLog, redis: Redis) -> None:
    await logs.append([entry((START, body(1)))])
    await logs.give_up(Entry("job-1", 1, 9))

    assert (await logs.read({"job-1": "1-2"}))["job-1"] == Logged(is_cut=True)
    assert await redis.xlen(keys.log("job-1")) == 1


async def test_what_nobody_can_read_counts_as_not_kept(logs: JobLog, redis: Redis) -> None:
    await redis.xadd(keys.log("job-1"), {"frames": b"\xff"}, id="1-1")

    assert (await logs.read({"job-1": "0-0"}))["job-1"] == Logged(is_cut=True)


async def test_all_of_them_can_be_forgotten(logs: JobLog, redis: Redis) -> None:
    await logs.append([entry((START, body(1)))])
    await logs.forget_gone()
    assert await redis.zcard(keys.LOGS) == 1, "it is not over"
    await logs.forget_all()

    assert await redis.exists(keys.LOGS, keys.log("job-1")) == 0


async def test_what_is_over_is_listed_no_more(logs: JobLog, redis: Redis) -> None:
    await JobLog(redis, kept_s=0.001).append([entry((START,))])
    await logs.append([entry((Start("job-2", 1, 0, 200, (), "w", 0.0),))])
    while await redis.exists(keys.log("job-1")):
        await redis.time()
    await logs.forget_gone()

    assert await redis.zrange(keys.LOGS, 0, -1) == [b"job-2"]


async def test_a_full_broker_is_an_error(logs: JobLog, redis: Redis) -> None:
    await redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            await logs.append([entry((START,))])
    finally:
        await redis.config_set("maxmemory", 0)
