import time

import pytest

import api.replies
from api.replies import JUST_NOW_S, Reply, ReplyHub
from familyai.errors import Cancelled, EngineFailed, RequestError, Unavailable
from familyai.frame import NO_SEQ, Body, End, Failed, Frame, Start, encode_frames
from familyai.job_log import Logged
from tests.support import a_job


def start(seq: int = 0, attempt: int = 1) -> Start:
    return Start("job-1", attempt, seq, 200, (), "worker-1", 0)


def body(seq: int, attempt: int = 1) -> Body:
    return Body("job-1", attempt, seq, b"x")


def filled(*frames: Frame) -> Reply:
    reply = Reply("job-1", "chat")
    for frame in frames:
        reply.put(frame)
    return reply


async def test_frames_come_as_they_were_put_and_wait_for_each_other() -> None:
    reply = filled(start(), body(1))

    assert await reply.frames() == [start(), body(1)]
    reply.put(body(2))
    reply.put(End("job-1", 1, 3))
    assert await reply.frames() == [body(2), End("job-1", 1, 3)]
    assert reply.ended


@pytest.mark.parametrize("came", [(), (start(),), (start(), body(1))])
@pytest.mark.parametrize("attempt", [0, 1])
async def test_a_person_may_take_it_back_at_any_point(came: tuple[Frame, ...], attempt: int) -> None:
    reply = filled(*came, Failed("job-1", attempt, NO_SEQ, "cancelled", "taken back"), body(2))

    if came:
        assert await reply.frames() == [*came]
    with pytest.raises(Cancelled, match="taken back"):
        await reply.frames()


async def test_news_is_a_frame_or_a_failure() -> None:
    reply = filled()
    assert not await reply.news(within_s=0)
    reply.put(start())
    assert await reply.news(within_s=0)
    await reply.frames()
    assert not await reply.news(within_s=0)
    reply.fail(Unavailable("gone"))
    assert await reply.news(within_s=0)


@pytest.mark.parametrize(
    "frames",
    [
        (body(0),),
        (start(1),),
        (start(), body(2)),
        (start(), start(1)),
        (End("job-1", 1, 0),),
    ],
)
async def test_a_gap_is_the_end(frames: tuple[Frame, ...]) -> None:
    reply = filled(*frames, body(9))

    if isinstance(frames[0], Start) and frames[0].seq == 0:
        assert await reply.frames() == list(frames[:-1])
    with pytest.raises(Unavailable) as caught:
        await reply.frames()

    assert caught.value.code == "reply_lost"
    assert not reply.ended


async def test_what_is_said_twice_is_heard_once() -> None:
    reply = filled(start(), body(1), start(), body(1), body(2), body(1), body(2))

    assert await reply.frames() == [start(), body(1), body(2)]
    reply.put(End("job-1", 1, 3))
    assert await reply.frames() == [End("job-1", 1, 3)]


async def test_a_later_attempt_says_everything_again_and_is_heard_from_where_it_says_more() -> None:
    reply = filled(start(), body(1), start(attempt=2), body(2), body(1, attempt=2), body(2, attempt=2))

    assert await reply.frames() == [start(), body(1), body(2, attempt=2)]
    assert reply.position == (2, 3)


async def test_where_there_is_a_log_a_gap_is_told_by_it() -> None:
    missed: list[Reply] = []
    reply = Reply("job-1", "chat", on_missed=missed.append)
    for frame in (start(), body(2), End("job-1", 1, 3)):
        reply.put(frame)
    reply.hear(Logged((start(), body(1), body(2))))
    reply.put(End("job-1", 1, 3))

    assert set(missed) == {reply}
    assert await reply.frames() == [start(), body(1), body(2), End("job-1", 1, 3)]


@pytest.mark.parametrize(
    ("logged", "code"),
    [
        (Logged((body(2),)), "reply_lost"),
        (Logged(is_cut=True), "answer_not_kept"),
        (Logged((Failed("job-1", 1, NO_SEQ, "set_aside", "no"),)), "set_aside"),
        (Logged((Failed("job-1", 1, NO_SEQ, "cancelled", "no"),)), "cancelled"),
    ],
)
async def test_what_the_log_cannot_tell_is_an_error(logged: Logged, code: str) -> None:
    reply = Reply("job-1", "chat", on_missed=lambda reply: None)
    reply.put(start())
    reply.hear(logged)

    assert await reply.frames() == [start()]
    with pytest.raises(RequestError) as caught:
        await reply.frames()
    assert caught.value.code == code


async def test_a_later_attempt_may_begin_an_answer() -> None:
    assert await filled(start(attempt=3), body(1, attempt=3)).frames() == [start(attempt=3), body(1, attempt=3)]


async def test_an_engines_failure_comes_after_what_it_said() -> None:
    reply = filled(start(), body(1), Failed("job-1", 1, 2, "engine_failed", "boom"))

    assert await reply.frames() == [start(), body(1)]
    with pytest.raises(EngineFailed, match="boom"):
        await reply.frames()
    assert reply.ended


async def test_an_engine_may_fail_before_it_says_anything() -> None:
    with pytest.raises(EngineFailed) as caught:
        await filled(Failed("job-1", 1, 0, "out_of_memory", "boom")).frames()
    assert caught.value.code == "out_of_memory"


async def test_the_first_failure_counts() -> None:
    reply = filled()
    reply.fail(Unavailable("first"))
    reply.fail(Unavailable("second"))

    with pytest.raises(RequestError, match="first"):
        await reply.frames()


async def test_what_has_gathered_is_handed_out_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.replies, "AT_ONCE_BYTES", 2)
    reply = filled(start(), body(1), body(2), body(3), End("job-1", 1, 4))

    assert reply.unread_bytes == 3
    assert await reply.frames() == [start(), body(1), body(2)]
    assert reply.unread_bytes == 1
    assert await reply.frames() == [body(3), End("job-1", 1, 4)]


async def test_who_is_furthest_behind_is_dropped_when_all_together_are_too_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.replies, "MOST_UNREAD_BYTES", 9)
    monkeypatch.setattr(api.replies, "CHECK_EVERY_BYTES", 1)
    dropped: list[str] = []
    hub = ReplyHub("redis://127.0.0.1:1/0", "front-1", on_stray=dropped.append, on_missed=lambda reply: None)
    hub.subscription.connected.set()
    quick, slow = hub.open(a_job(id="quick")), hub.open(a_job(id="slow"))
    hub.hear(encode_frames((Start("quick", 1, 0, 200, (), "w", 0), Body("quick", 1, 1, b"12"))))
    hub.hear(encode_frames((Start("slow", 1, 0, 200, (), "w", 0), Body("slow", 1, 1, b"1234567"))))
    assert dropped == []
    hub.hear(encode_frames((Body("quick", 1, 2, b"3"),)))

    assert dropped == ["slow"]
    assert slow.unread_bytes == 0
    with pytest.raises(Unavailable, match="not read"):
        await slow.frames()
    assert b"".join(frame.data for frame in await quick.frames() if isinstance(frame, Body)) == b"123"


async def test_a_connection_that_broke_just_now_is_no_reason_to_refuse() -> None:
    missed: list[Reply] = []
    hub = ReplyHub("redis://127.0.0.1:1/0", "front-1", on_stray=lambda job_id: None, on_missed=missed.append)
    hub.subscription.lost_at_s = time.monotonic()

    assert missed == [hub.open(a_job(logged=True))], "its log tells what is not heard"


async def test_one_that_stays_away_is() -> None:
    hub = ReplyHub("redis://127.0.0.1:1/0", "front-1", on_stray=lambda job_id: None, on_missed=lambda reply: None)
    hub.subscription.lost_at_s = time.monotonic() - JUST_NOW_S - 0.1

    with pytest.raises(Unavailable, match="broker is down"):
        hub.open(a_job())
