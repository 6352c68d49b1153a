"""What the router may learn from: kept for a day, for longer where it was marked, and gone with its member."""

import asyncio
import time
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from familyai import feedback, keys
from familyai.allowance import Role
from familyai.errors import DecodeError
from familyai.feedback import KEPT_S, FeedbackStore, Marked, Routed
from familyai.kinds import Kind
from familyai.members import MemberStore
from tests.familyai.people import PROFILE

REQUEST: dict[str, Any] = {"messages": [{"role": "user", "content": "Grüß Gott"}]}


@pytest.fixture
async def members(any_redis: Redis) -> MemberStore:
    store = MemberStore(any_redis, PROFILE)
    for name in ("mum", "leo"):
        await store.add(name, Role.ADMIN if name == "mum" else Role.CHILD)
    return store


@pytest.fixture
def store(any_redis: Redis, members: MemberStore) -> FeedbackStore:
    return FeedbackStore(any_redis)


def routed(job_id: str = "job-1", member: str = "leo", **more: Any) -> Routed:
    about = {"path": "/v1/chat/completions", "chosen": "chat-fast", "queue": "chat", "request": REQUEST}
    return Routed(job_id=job_id, member=member, **(about | more))


def marked(job_id: str = "job-1", member: str = "leo", at_s: float = 1.5, **more: Any) -> Marked:
    return Marked(**(msgspec.structs.asdict(routed(job_id, member)) | {"at_s": at_s} | more))


async def test_what_was_routed_is_its_member_s_for_a_day(store: FeedbackStore, any_redis: Redis) -> None:
    await store.remember(routed(prefer="speed"))
    assert await store.routed("job-1", "leo") == routed(prefer="speed")
    assert await store.routed("job-1", "mum") is None
    assert await store.routed("job-2", "leo") is None
    assert await any_redis.ttl(keys.routed("job-1")) == pytest.approx(KEPT_S, abs=60)
    assert await any_redis.ttl(keys.routed_jobs("leo")) == pytest.approx(KEPT_S, abs=60)


async def test_a_mark_stays_until_it_is_taken_back(store: FeedbackStore, any_redis: Redis) -> None:
    mark = marked(kind=Kind.CHAT_REASONING)
    await store.mark(mark)
    assert await store.marked("job-1", "leo") == mark
    assert await store.marked("job-1", "mum") is None
    assert await store.marked("job-1", None) == mark
    assert await any_redis.ttl(keys.route_feedback("job-1")) == -1
    assert await any_redis.ttl(keys.marked_jobs("leo")) == -1
    for _ in range(2):
        await store.take_back(mark)
    assert await store.marked("job-1", None) is None
    assert await store.jobs(["leo"]) == []


async def test_the_last_mark_counts(store: FeedbackStore) -> None:
    await asyncio.gather(*(store.mark(marked()) for _ in range(5)))
    await store.mark(marked(at_s=9, kind=Kind.CODE_AGENTIC))
    assert await store.all(await store.jobs(["leo"])) == [marked(at_s=9, kind=Kind.CODE_AGENTIC)]


async def test_marks_are_listed_newest_first(store: FeedbackStore, any_redis: Redis) -> None:
    for at_s, member in ((3, "leo"), (1, "mum"), (2, "leo")):
        await store.mark(marked(f"job-{at_s}", member, at_s))
    assert await store.jobs(["leo", "mum"]) == ["job-3", "job-2", "job-1"]
    assert await store.jobs(["leo"]) == ["job-3", "job-2"]
    assert await store.jobs([]) == []
    await any_redis.delete(keys.route_feedback("job-2"))
    assert [mark.job_id for mark in await store.all(["job-1", "job-2", "job-3"])] == ["job-1", "job-3"]


async def test_of_each_member_the_newest_are_kept(
    store: FeedbackStore, any_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback, "MOST_ROUTED", 2)
    monkeypatch.setattr(feedback, "MOST_MARKED", 3)
    await store.remember(routed("job-mums", "mum"))
    await store.mark(marked("job-mums", "mum"))
    for number in range(5):
        await store.remember(routed(f"job-{number}"))
        await store.mark(marked(f"job-{number}", at_s=10 + number))
    assert [await store.routed(f"job-{n}", "leo") is not None for n in range(5)] == [False] * 3 + [True] * 2
    assert await store.jobs(["leo"]) == ["job-4", "job-3", "job-2"]
    assert await any_redis.exists(keys.route_feedback("job-1")) == 0
    assert await store.routed("job-mums", "mum") is not None
    assert await store.marked("job-mums", "mum") is not None


async def test_the_list_forgets_what_is_over_a_day_old(store: FeedbackStore, any_redis: Redis) -> None:
    await any_redis.zadd(keys.routed_jobs("leo"), {"job-old": time.time() - KEPT_S - 1, "job-new": time.time() - 60})
    await store.remember(routed())
    assert await any_redis.zrange(keys.routed_jobs("leo"), 0, -1) == [b"job-new", b"job-1"]


async def test_a_removed_member_s_are_gone_and_none_come_after(
    store: FeedbackStore, members: MemberStore, any_redis: Redis
) -> None:
    await store.remember(routed())
    await store.mark(marked())
    await members.remove("leo")
    await store.remember(routed("job-2"))  # its answer was on its way
    await store.mark(marked("job-2"))
    assert [key for key in await any_redis.keys("*") if b"route" in key or b"marked" in key] == []


async def test_what_this_version_cannot_read(store: FeedbackStore, any_redis: Redis) -> None:
    await any_redis.set(keys.routed("job-1"), b'{"member": 7}')
    with pytest.raises(DecodeError):
        await store.routed("job-1", "leo")
