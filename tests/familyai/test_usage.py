"""The family's books: everything is counted once, on its day, and can be read by whoever may."""

import asyncio
from datetime import date, timedelta

import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.broker import BROKER_ERRORS, connect
from familyai.usage import Usage, UsageStore, today
from tests.support import free_port

KEPT_DAYS = 400
CHAT = {"requests": 2, "input_tokens": 30, "output_tokens": 5}


@pytest.fixture
def store(any_redis: Redis) -> UsageStore:
    return UsageStore(any_redis, KEPT_DAYS)


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


def used(member: str = "leo", model: str = "org/chat", ago: int = 0, **units: float) -> Usage:
    return Usage(day=days_ago(ago).isoformat(), member=member, model=model, **units)  # type: ignore[arg-type]


async def everything(store: UsageStore, member: str | None = None) -> list[Usage]:
    return await store.between(days_ago(KEPT_DAYS), today(), member)


async def test_units_add_up(store: UsageStore) -> None:
    await asyncio.gather(*(store.add("leo", "org/chat", CHAT) for _ in range(10)))
    assert await everything(store) == [used(requests=20, input_tokens=300, output_tokens=50)]


async def test_seconds_are_counted_in_parts(store: UsageStore) -> None:
    for _ in range(3):
        await store.add("leo", "org/ears", {"requests": 1, "audio_seconds": 0.1})
    assert await everything(store) == [used(model="org/ears", requests=3, audio_seconds=0.3)]


async def test_a_unit_that_is_none_is_not_counted(store: UsageStore, any_redis: Redis) -> None:
    await store.add("leo", "org/chat", {"requests": 1, "smiles": 3, "output_tokens": 0})
    assert await everything(store) == [used(requests=1)]
    assert await any_redis.hlen(keys.usage(today().isoformat())) == 1


async def test_days_members_and_models_are_told_apart_and_sorted(store: UsageStore) -> None:
    await store.add("mia", "org/chat", {"requests": 1})
    await store.add("leo", "org/tts", {"requests": 2, "characters": 9})
    await store.add("leo", "org/chat", {"requests": 3})
    await store.add("leo", "org/chat", {"requests": 4}, day=days_ago(1))
    assert await everything(store) == [
        used(ago=1, requests=4),
        used(requests=3),
        used(model="org/tts", requests=2, characters=9),
        used(member="mia", requests=1),
    ]


async def test_the_first_and_the_last_day_belong_to_it(store: UsageStore) -> None:
    for ago in range(5):
        await store.add("leo", "org/chat", {"requests": 1}, day=days_ago(ago))
    found = await store.between(days_ago(3), days_ago(1))
    assert [usage.day for usage in found] == [days_ago(ago).isoformat() for ago in (3, 2, 1)]


async def test_one_members_alone_whatever_the_case(store: UsageStore) -> None:
    await store.add("Leo", "org/chat", {"requests": 1})
    await store.add("mia", "org/chat", {"requests": 1})
    assert [usage.member for usage in await everything(store, "lEO")] == ["Leo"]
    assert await everything(store, "eve") == []


async def test_no_days_and_all_days_there_ever_were(store: UsageStore) -> None:
    await store.add("leo", "org/chat", {"requests": 1})
    assert await store.between(today(), days_ago(1)) == []
    assert len(await store.between(date.min, date.max)) == 1


@pytest.mark.parametrize("name", ["o'hara", 'a "b"', "Jürgen", "李", "a.b-c_d@home", "Leo (2)"])
async def test_any_name_and_model_come_back_as_they_were(store: UsageStore, name: str) -> None:
    await store.add(name, "org/model:v1,x", {"requests": 1})
    assert await everything(store) == [used(member=name, model="org/model:v1,x", requests=1)]


async def test_it_is_kept_for_so_many_days(store: UsageStore, any_redis: Redis) -> None:
    await store.add("leo", "org/chat", CHAT)
    ttl_s = await any_redis.ttl(keys.usage(today().isoformat()))
    assert ttl_s == pytest.approx(KEPT_DAYS * 24 * 3600, abs=60)


async def test_a_household_that_keeps_it_for_ever(any_redis: Redis) -> None:
    store = UsageStore(any_redis, usage_days=10**9)
    await store.add("leo", "org/chat", {"requests": 1})
    assert len(await store.between(date.min, date.max)) == 1


async def test_a_broker_that_is_gone_raises_what_it_always_raises() -> None:
    client = connect(f"redis://127.0.0.1:{free_port()}/0", timeout_s=1)
    with pytest.raises(BROKER_ERRORS):
        await UsageStore(client, KEPT_DAYS).add("leo", "org/chat", CHAT)
    await client.aclose()
