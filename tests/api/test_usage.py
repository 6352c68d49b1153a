"""Who sees whose usage, and of which days."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.auth import Caller
from api.usage import DAYS, whose_usage
from familyai.allowance import Role
from familyai.errors import Forbidden
from familyai.members import Member, MemberStore
from familyai.usage import UsageStore, today
from tests.api.support import Served


@pytest.fixture
async def books(redis: Redis) -> UsageStore:
    store = UsageStore(redis, 400)
    for name in ("ada", "leo"):
        for ago in (0, 1, DAYS):
            day = today() - timedelta(days=ago)
            await store.add(name, "org/chat", {"requests": 1, "input_tokens": 10, "output_tokens": 5}, day=day)
    return store


@pytest.fixture
async def admin(served: Served) -> dict[str, str]:
    _, key = await served.front.members.add("root", Role.ADMIN)
    return {"Authorization": f"Bearer {key}"}


def rows(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["object"] == "list"
    data: list[dict[str, Any]] = body["data"]
    return data


async def test_a_member_sees_their_own(served: Served, books: UsageStore) -> None:
    found = rows(await served.client.get("/v1/usage"))
    assert {row["member"] for row in found} == {"ada"}
    assert found[-1] == {
        "day": today().isoformat(),
        "member": "ada",
        "model": "org/chat",
        "requests": 1,
        "input_tokens": 10,
        "output_tokens": 5,
        "audio_seconds": 0,
        "characters": 0,
    }


@pytest.mark.parametrize(("name", "status"), [("ada", 200), ("ADA", 200), ("leo", 403), ("root", 403), ("", 403)])
async def test_a_member_asks_for_nobody_elses(served: Served, books: UsageStore, name: str, status: int) -> None:
    assert (await served.client.get("/v1/usage", params={"member": name})).status_code == status


async def test_an_admin_sees_everybodys_and_anybodys(served: Served, books: UsageStore, admin: dict[str, str]) -> None:
    found = rows(await served.client.get("/v1/usage", headers=admin))
    assert [row["member"] for row in found] == ["ada", "leo", "ada", "leo"]
    found = rows(await served.client.get("/v1/usage", headers=admin, params={"member": "LEO"}))
    assert [row["member"] for row in found] == ["leo", "leo"]


async def test_days_from_and_to(served: Served, books: UsageStore) -> None:
    first, yesterday = today() - timedelta(days=DAYS), today() - timedelta(days=1)
    asked: dict[str, str]
    for asked, days in (
        ({}, [yesterday, today()]),
        ({"from": first.isoformat()}, [first, yesterday, today()]),
        ({"to": yesterday.isoformat()}, [first, yesterday]),
        ({"from": today().isoformat()}, [today()]),
        ({"from": "0001-01-01", "to": "9999-12-31"}, [first, yesterday, today()]),
        ({"to": "0001-01-02"}, []),
    ):
        found = rows(await served.client.get("/v1/usage", params=asked))
        assert [row["day"] for row in found] == [day.isoformat() for day in days], asked


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
    ],
)
async def test_days_that_are_none(served: Served, asked: dict[str, str], param: str) -> None:
    response = await served.client.get("/v1/usage", params=asked)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_stranger_sees_nothing(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as stranger:
        assert (await stranger.get("/v1/usage")).status_code == 401


async def test_what_a_removed_member_used_stays(served: Served, books: UsageStore, admin: dict[str, str]) -> None:
    members: MemberStore = served.front.members
    await members.remove("ada")
    found = rows(await served.client.get("/v1/usage", headers=admin, params={"member": "ada"}))
    assert len(found) == 2


def test_whoever_a_trusted_key_speaks_for_sees_their_own_only() -> None:
    admin = Member(name="root", role=Role.ADMIN, key_id="k", created_at_s=0.0)
    assert whose_usage(Caller(admin, by_trusted_key=False), None) is None
    assert whose_usage(Caller(admin, by_trusted_key=True), None) == "root"
    with pytest.raises(Forbidden):
        whose_usage(Caller(admin, by_trusted_key=True), "leo")
