"""Members over HTTP: what an admin sets, what is refused, and who may not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.admin import MemberPatch, NewMember
from familyai import keys
from familyai.allowance import Allowance, Role
from familyai.catalogue import Profile
from familyai.members import Change
from familyai.settings import Settings
from tests.api.support import LIMIT_S, Served, serving

MEMBERS = "/v1/admin/members"
LEO = {"name": "Leo", "role": "child"}


@pytest.fixture
async def admin(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    _, key = await served.front.members.add("mum", Role.ADMIN)
    async with client(served.url, key) as made:
        yield made


def client(url: str, key: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT_S, trust_env=False)


def problem(response: httpx.Response) -> tuple[int, str | None, str | None]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return response.status_code, error["param"], error["code"]


async def test_a_members_life(served: Served, admin: httpx.AsyncClient, profile: Profile) -> None:
    made = await admin.post(MEMBERS, json=LEO | {"tokens_per_day": 200_000, "models": ["chat"], "running": None})
    assert made.status_code == 201
    leo = made.json()
    key = leo.pop("api_key")
    child = profile.roles.child
    assert leo == {
        "object": "member",
        "name": "Leo",
        "role": "child",
        "limits": child.model_dump(mode="json") | {"tokens_per_day": 200_000, "models": ["chat"], "running": None},
        "own": ["models", "running", "tokens_per_day"],
        "lane": 2,
        "trusted": False,
        "user": None,
        "key": key[:17],
        "created_at": leo["created_at"],
    }
    assert (await admin.get(f"{MEMBERS}/leo")).json() == leo
    assert [one["name"] for one in (await admin.get(MEMBERS)).json()["data"]] == ["ada", "mum", "Leo"]

    async with client(served.url, key) as theirs:
        assert (await theirs.get("/v1/models")).status_code == 200
        rotated = await admin.post(f"{MEMBERS}/LEO/rotate")
        assert rotated.status_code == 200
        assert (await theirs.get("/v1/models")).status_code == 401
    async with client(served.url, rotated.json()["api_key"]) as theirs:
        assert (await theirs.get("/v1/models")).status_code == 200
        assert (await admin.delete(f"{MEMBERS}/lEo")).json() == {"name": "Leo", "object": "member", "deleted": True}
        assert (await theirs.get("/v1/models")).status_code == 401
    assert problem(await admin.get(f"{MEMBERS}/Leo")) == (404, "name", "member_not_found")


async def test_a_patch_changes_what_it_names(admin: httpx.AsyncClient, profile: Profile) -> None:
    await admin.post(MEMBERS, json=LEO | {"tokens_per_day": 5, "running": 1, "user": "u-1"})

    patch = {"role": "adult", "waiting": 7, "hours": None, "reset": ["tokens_per_day"], "weight": 2}
    leo = (await admin.patch(f"{MEMBERS}/leo", json=patch)).json()
    assert leo["own"] == ["hours", "running", "waiting", "weight"]
    adult = profile.roles.adult.model_dump(mode="json")
    assert leo["limits"] == adult | {"waiting": 7, "running": 1, "weight": 2}
    assert (leo["role"], leo["user"], leo["trusted"]) == ("adult", "u-1", False)

    leo = (await admin.patch(f"{MEMBERS}/leo", json={"user": None, "trusted": True})).json()
    assert (leo["role"], leo["user"], leo["trusted"]) == ("adult", None, True)
    assert (await admin.patch(f"{MEMBERS}/leo", json={})).json() == leo


@pytest.mark.parametrize("name", ["Ada Lovelace", "Jürgen", "李", "a.b-c_d@home", "Leo (2)"])
async def test_names_in_a_path(admin: httpx.AsyncClient, name: str) -> None:
    assert (await admin.post(MEMBERS, json={"name": name, "role": "adult"})).json()["name"] == name
    assert (await admin.get(str(httpx.URL(MEMBERS + "/" + name)))).json()["name"] == name


BAD = [
    ({"running": 0}, "running"),
    ({"running": -1}, "running"),
    ({"running": True}, "running"),
    ({"running": "2"}, "running"),
    ({"running": 1.5}, "running"),
    ({"running": 10**18}, "running"),
    ({"waiting": None}, "waiting"),
    ({"weight": 0}, "weight"),
    ({"weight": "2"}, "weight"),
    ({"models": []}, "models"),
    ({"models": "chat"}, "models"),
    ({"models": ["gpt-9"]}, "models"),
    ({"hours": "whenever"}, "hours"),
    ({"hours": ["07:00-08:00"]}, "hours"),
    ({"role": "king"}, "role"),
    ({"role": "ADMIN"}, "role"),
    ({"trusted": "yes"}, "trusted"),
    ({"trusted": True, "role": "admin"}, "trusted"),
    ({"user": ""}, "user"),
    ({"user": 7}, "user"),
    ({"user": "x" * 256}, "user"),
    ({"key_id": "0" * 12}, "key_id"),
    ({"lane": 0}, "lane"),
    ({"own": {}}, "own"),
]


@pytest.mark.parametrize(("asked", "param"), BAD, ids=lambda value: str(value)[:30])
async def test_what_cannot_be_set(admin: httpx.AsyncClient, asked: dict[str, Any], param: str) -> None:
    await admin.post(MEMBERS, json=LEO)
    before = (await admin.get(MEMBERS)).json()

    for refused in (
        await admin.post(MEMBERS, json={"name": "Mia", "role": "child"} | asked),
        await admin.patch(f"{MEMBERS}/leo", json=asked),
    ):
        assert problem(refused)[:2] == (400, param)
    assert (await admin.get(MEMBERS)).json() == before


@pytest.mark.parametrize("asked", [{"reset": ["speed"]}, {"reset": ["running"], "running": 1}, {"reset": "running"}])
async def test_what_cannot_be_reset(admin: httpx.AsyncClient, asked: dict[str, Any]) -> None:
    await admin.post(MEMBERS, json=LEO)

    assert problem(await admin.patch(f"{MEMBERS}/leo", json=asked)) == (400, "reset", "invalid_value")


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'"Leo"', b"\xff"])
async def test_a_body_that_is_no_object(admin: httpx.AsyncClient, content: bytes) -> None:
    assert problem(await admin.post(MEMBERS, content=content))[::2] == (400, "invalid_json")
    assert problem(await admin.patch(f"{MEMBERS}/mum", content=content))[::2] == (400, "invalid_json")


@pytest.mark.parametrize(("missing", "left"), [("name", {"role": "child"}), ("role", {"name": "Leo"})])
async def test_a_member_needs_a_name_and_a_role(admin: httpx.AsyncClient, missing: str, left: dict[str, str]) -> None:
    assert problem(await admin.post(MEMBERS, json=left))[:2] == (400, missing)


@pytest.mark.parametrize("name", ["leo", "LEO", "ＬＥＯ"])
async def test_a_name_is_given_once_whatever_its_case(admin: httpx.AsyncClient, name: str) -> None:
    await admin.post(MEMBERS, json=LEO)

    assert problem(await admin.post(MEMBERS, json=LEO | {"name": name})) == (400, "name", "name_taken")


async def test_the_last_admin_stays(admin: httpx.AsyncClient) -> None:
    assert problem(await admin.delete(f"{MEMBERS}/mum"))[::2] == (400, "last_admin")
    assert problem(await admin.patch(f"{MEMBERS}/mum", json={"role": "adult"}))[::2] == (400, "last_admin")
    assert (await admin.patch(f"{MEMBERS}/ada", json={"role": "admin"})).status_code == 200
    assert (await admin.delete(f"{MEMBERS}/mum")).status_code == 200


@pytest.mark.parametrize("role", [Role.ADULT, Role.CHILD])
async def test_only_admins_may(served: Served, admin: httpx.AsyncClient, role: Role) -> None:
    await served.front.members.change("ada", Change(role=role))
    for method, path in [
        ("GET", MEMBERS),
        ("POST", MEMBERS),
        ("GET", f"{MEMBERS}/ada"),
        ("GET", f"{MEMBERS}/nobody"),
        ("PATCH", f"{MEMBERS}/ada"),
        ("DELETE", f"{MEMBERS}/mum"),
        ("POST", f"{MEMBERS}/ada/rotate"),
    ]:
        refused = await served.client.request(method, path, content=b'{"role": "admin"}')
        assert problem(refused) == (403, None, "admins_only")
        assert refused.json()["error"]["type"] == "permission_error"
    assert (await served.front.members.get("ada")).role is role


async def test_nothing_shown_contains_a_hash(admin: httpx.AsyncClient, redis: Redis) -> None:
    key = (await admin.post(MEMBERS, json=LEO)).json()["api_key"]
    stored = b" ".join((await redis.hgetall(keys.API_KEYS)).values()).decode()
    hashes = [part for part in stored.split('"') if len(part) == 64]
    assert len(hashes) == 3
    shown = (await admin.get(MEMBERS)).text + (await admin.get(f"{MEMBERS}/leo")).text
    assert not any(secret in shown for secret in (*hashes, key[17:]))


async def test_patches_through_two_fronts_at_once_all_count(
    served: Served, admin: httpx.AsyncClient, settings: Settings, profile: Profile
) -> None:
    await admin.post(MEMBERS, json=LEO)
    limits = {"running": 3, "waiting": 4, "tokens_per_day": 5, "requests_per_minute": 6, "tokens_per_minute": 7}
    async with serving(settings, profile) as (_, url), client(url, "") as other:
        other.headers = admin.headers
        fronts = (admin, other)
        patching = [fronts[i % 2].patch(f"{MEMBERS}/leo", json={one: limits[one]}) for i, one in enumerate(limits)]
        assert {response.status_code for response in await asyncio.gather(*patching)} == {200}

    leo = (await admin.get(f"{MEMBERS}/leo")).json()
    assert {name: leo["limits"][name] for name in limits} == limits


async def test_one_name_through_two_fronts_at_once_is_one_member(
    served: Served, admin: httpx.AsyncClient, settings: Settings, profile: Profile
) -> None:
    async with serving(settings, profile) as (_, url), client(url, "") as other:
        other.headers = admin.headers
        adding = [front.post(MEMBERS, json=LEO | {"name": name}) for front in (admin, other) for name in ("Leo", "LEO")]
        statuses = sorted(response.status_code for response in await asyncio.gather(*adding))

    assert statuses == [201, 400, 400, 400]


@pytest.mark.parametrize("kind", [NewMember, MemberPatch])
def test_every_limit_can_be_set(kind: type[NewMember] | type[MemberPatch]) -> None:
    assert set(Allowance.model_fields) <= set(kind.model_fields)
