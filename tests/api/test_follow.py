import asyncio

import pytest

import api.follow
from api.follow import Followers
from api.replies import Reply
from familyai import cancel
from familyai.frame import Body, End, Frame, Start
from familyai.job_log import JobLog, entry

LIMIT_S = 20
ANSWER: list[Frame] = [
    Start("job-1", 1, 0, 200, (), "w", 0.0),
    Body("job-1", 1, 1, b"a"),
    Body("job-1", 1, 2, b"b"),
    End("job-1", 1, 3),
]


async def all_of(reply: Reply) -> list[Frame]:
    frames: list[Frame] = []
    async with asyncio.timeout(LIMIT_S):
        while not (frames and isinstance(frames[-1], End)):
            frames += await reply.frames()
    return frames


async def test_an_answer_is_read_as_it_is_written(followers: Followers, logs: JobLog) -> None:
    running, reply = asyncio.create_task(followers.run()), Reply("job-1", "q")
    followers.add(reply)
    reading = asyncio.create_task(all_of(reply))
    for frame in ANSWER:
        await logs.append([entry((frame,))])

    assert await reading == ANSWER
    await cancel.end([running])


async def test_several_may_follow_one_job_from_where_each_is(followers: Followers, logs: JobLog) -> None:
    await logs.append([entry(tuple(ANSWER))])
    first, second = Reply("job-1", "q"), Reply("job-1", "q")
    for frame in ANSWER[:2]:
        second.put(frame)
    for reply in (first, second):
        followers.add(reply)
    await followers.look()

    assert await all_of(first) == await all_of(second) == ANSWER


async def test_who_does_not_read_is_not_fed(
    followers: Followers, logs: JobLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api.follow, "AT_ONCE_BYTES", 1)
    reply = Reply("job-1", "q")
    followers.add(reply)
    await logs.append([entry(tuple(ANSWER[:2]))])
    await followers.look()
    await logs.append([entry(tuple(ANSWER[2:]))])
    await followers.look()
    assert not reply.ended

    await reply.frames()
    await followers.look()
    assert reply.ended


async def test_nobody_who_has_it_all_or_left_is_asked_for(followers: Followers, logs: JobLog) -> None:
    ended, dropped = Reply("job-1", "q"), Reply("job-1", "q")
    for reply in (ended, dropped):
        followers.add(reply)
    for frame in ANSWER:
        ended.put(frame)
    followers.drop(dropped)
    await logs.append([entry(tuple(ANSWER))])

    assert await followers.look()
    assert dropped.position == (0, 0)


async def test_to_catch_up_is_to_have_what_is_there(followers: Followers, logs: JobLog) -> None:
    await logs.append([entry(tuple(ANSWER[:1])), entry(tuple(ANSWER[1:3]))])
    reply, unknown = Reply("job-1", "q"), Reply("job-2", "q")
    for one in (reply, unknown):
        await followers.catch_up(one)

    assert (reply.position, unknown.position) == ((1, 3), (0, 0))
