"""Who asks: by which key, on whose behalf, and how often without one."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from pydantic import SecretStr

from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.members import Change, user_key
from familyai.settings import Settings
from tests.api.support import PROFILE, Served, serving

SECRET = "a secret of thirty-two bytes or more"
MODELS, FILES, MEMBERS = "/v1/models", "/v1/files", "/v1/admin/members"
STRANGERS = 3
USERS = 2


@pytest.fixture
def secret() -> str:
    """Tests with one give another."""
    return ""


@pytest.fixture
def proxies() -> str:
    return ""


@pytest.fixture
def profile() -> Profile:
    limits = {"strangers_per_minute": STRANGERS, "chat_users": USERS}
    return Profile.model_validate(PROFILE | {"limits": limits})


@pytest.fixture
def settings(broker_url: str, tmp_path: Path, secret: str, proxies: str) -> Settings:
    return Settings(
        home=tmp_path,
        broker_url=SecretStr(broker_url),
        blob_url=(tmp_path / "blobs").as_uri(),
        openwebui_jwt_secret=SecretStr(secret),
        trusted_proxies=proxies,
    )


@pytest.fixture
async def webui(served: Served) -> str:
    """A trusted key."""
    return (await served.front.members.add("webui", Role.ADULT, Change(trusted=True)))[1]


def signed(user_id: str = "u-1", **other: Any) -> dict[str, str]:
    claims = {"sub": user_id, "name": "Leo", "role": "admin", "iss": "open-webui", "exp": int(time.time()) + 300}
    return {"x-openwebui-user-jwt": jwt.encode({**claims, **other}, SECRET, algorithm="HS256")}


def plain(user_id: str = "u-1", name: str = "Leo") -> dict[str, str]:
    return {"X-OpenWebUI-User-Id": user_id, "x-openwebui-user-name": name, "x-openwebui-user-role": "admin"}


async def ask(
    served: Served, path: str, key: str = "", *more: tuple[str, str | bytes], method: str = "GET", **options: Any
) -> httpx.Response:
    headers = [("Authorization", f"Bearer {key}")] if key else []
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
        return await client.request(method, path, headers=[*headers, *more], **options)


async def upload(served: Served, key: str, headers: dict[str, str]) -> str:
    """By its answer one sees whose it became."""
    sent = {"files": {"file": b"x"}, "data": {"purpose": "user_data"}}
    response = await ask(served, FILES, key, *headers.items(), method="POST", **sent)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def names(served: Served) -> dict[str, Role]:
    return {member.name: member.role for member in await served.front.members.all()}


@pytest.mark.parametrize(("secret", "headers"), [(SECRET, signed), ("", plain)])
async def test_a_trusted_key_speaks_for_whoever_it_names(served: Served, webui: str, headers: Any) -> None:
    file_id = await upload(served, webui, headers())

    assert (await served.front.files.get(file_id, "Leo")).filename
    assert await names(served) == {"ada": Role.ADULT, "webui": Role.ADULT, "Leo": Role.CHILD}


async def test_another_key_that_names_somebody_speaks_for_itself(served: Served) -> None:
    await served.front.members.add("Leo", Role.CHILD, Change(user=user_key("u-1")))
    file_id = await upload(served, served.key, {**plain(), **signed()})

    assert await served.front.files.get(file_id, "ada")


async def test_headers_that_mean_nothing_may_come_twice(served: Served) -> None:
    assert (await ask(served, MODELS, served.key, *plain().items(), *plain().items())).status_code == 200


@pytest.mark.parametrize("secret", [SECRET])
@pytest.mark.parametrize("headers", [{}, plain()])
async def test_with_a_secret_only_tokens_count(served: Served, webui: str, headers: dict[str, str]) -> None:
    file_id = await upload(served, webui, headers)

    assert await served.front.files.get(file_id, "webui")
    assert "Leo" not in await names(served)


@pytest.mark.parametrize("secret", [SECRET])
@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"exp": 1}, "expired_user_token"),
        ({"iss": "me"}, "invalid_user_token"),
        ({"sub": ""}, "invalid_user_token"),
    ],
)
async def test_a_token_that_is_not_right_is_refused(
    served: Served, webui: str, claims: dict[str, Any], told: str
) -> None:
    for _ in range(STRANGERS + 1):  # the key is valid: nobody counts it
        assert code(await ask(served, MODELS, webui, *signed(**claims).items())) == (401, told)
    assert len(await names(served)) == 2


async def test_headers_that_count_come_once(served: Served, webui: str) -> None:
    twice = (*plain().items(), *plain("u-2").items())

    assert code(await ask(served, MODELS, webui, *twice)) == (400, "ambiguous_user")


@pytest.mark.parametrize("user_id", ["", "x" * 256, "\u00a0"])
async def test_a_user_needs_an_id(served: Served, webui: str, user_id: str) -> None:
    assert (await ask(served, MODELS, webui, ("x-openwebui-user-id", user_id.encode("latin-1")))).status_code == 400


async def test_a_user_who_comes_to_two_fronts_at_once_is_one_member(
    served: Served, settings: Settings, profile: Profile, webui: str
) -> None:
    async with serving(settings, profile) as (app, url):
        second = Served(app, url, served.key, served.client)
        asking = [ask(front, MODELS, webui, *plain().items()) for front in (served, second) for _ in range(5)]
        responses = await asyncio.gather(*asking)

    assert {response.status_code for response in responses} == {200}
    assert await names(served) == {"ada": Role.ADULT, "webui": Role.ADULT, "Leo": Role.CHILD}


async def test_one_new_user_too_many_is_refused_in_every_front(
    served: Served, settings: Settings, profile: Profile, webui: str
) -> None:
    async with serving(settings, profile) as (app, url):
        fronts = (served, Served(app, url, served.key, served.client))
        asking = [ask(fronts[n % 2], MODELS, webui, *plain(f"u-{n}", "Leo").items()) for n in range(USERS + 3)]
        responses = await asyncio.gather(*asking)

    assert sorted(response.status_code for response in responses) == [200] * USERS + [403] * 3
    refused = next(response for response in responses if response.status_code == 403)
    assert (code(refused), refused.json()["error"]["type"]) == ((403, "too_many_users"), "permission_error")
    assert await names(served) == {"ada": Role.ADULT, "webui": Role.ADULT, "Leo": Role.CHILD, "Leo (2)": Role.CHILD}
    assert (await ask(served, MODELS, webui)).status_code == 200
    assert (await ask(served, "/v1/audio/voices", webui, *plain("u-9").items())).status_code == 200


@pytest.mark.parametrize("secret", ["", SECRET])
async def test_a_trusted_key_manages_nobody_whoever_it_speaks_for(served: Served, webui: str, secret: str) -> None:
    _, own = await served.front.members.add("Mum", Role.ADMIN, Change(user=user_key("u-1")))
    headers = signed() if secret else plain()

    assert (await ask(served, MODELS, webui, *headers.items())).status_code == 200
    for method, path in [
        ("GET", MEMBERS),
        ("POST", MEMBERS),
        ("PATCH", f"{MEMBERS}/ada"),
        ("DELETE", f"{MEMBERS}/ada"),
    ]:
        refused = await ask(served, path, webui, *headers.items(), method=method)
        assert code(refused) == (403, "admins_only")
    assert (await ask(served, MEMBERS, own, *headers.items())).status_code == 200


async def test_a_role_that_changes_counts_for_the_next_request(served: Served) -> None:
    assert (await served.client.get(MEMBERS)).status_code == 403
    await served.front.members.change("ada", Change(role=Role.ADMIN))
    assert (await served.client.get(MEMBERS)).status_code == 200
    await served.front.members.add("mum", Role.ADMIN)
    await served.front.members.change("ada", Change(role=Role.CHILD, trusted=True))
    assert (await served.client.get(MEMBERS)).status_code == 403


@pytest.mark.parametrize("name", ["Authorization", "x-api-key"])
async def test_two_keys_in_one_header_are_nobodys(served: Served, name: str) -> None:
    value = f"Bearer {served.key}" if name == "Authorization" else served.key
    response = await ask(served, MODELS, "", (name, value), (name.upper(), value))

    assert code(response) == (400, "ambiguous_api_key")


@pytest.mark.parametrize(("bearer", "status"), [("{key}", 200), ("fai-wrong", 401)])
async def test_beside_a_bearer_key_another_does_not_count(served: Served, bearer: str, status: int) -> None:
    other = "fai-other" if status == 200 else served.key
    response = await ask(served, MODELS, bearer.format(key=served.key), ("X-Api-Key", other))

    assert response.status_code == status


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer fai-x"}, {"x-api-key": "x"}])
async def test_strangers_are_refused_so_often_a_minute(served: Served, headers: dict[str, str]) -> None:
    answers = [await ask(served, MODELS, "", *headers.items()) for _ in range(STRANGERS + 1)]

    assert [answer.status_code for answer in answers] == [401] * STRANGERS + [429]
    assert code(answers[-1]) == (429, "too_many_strangers")
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 120


async def test_whatever_a_stranger_tries_counts(served: Served) -> None:
    doubled = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
    await ask(served, MODELS, "", *doubled)
    await ask(served, "/v1/messages", "", ("x-api-key", "wrong"), method="POST")
    await ask(served, MEMBERS, "fai-wrong")

    assert (await ask(served, "/v1/chat/completions", "", method="POST")).status_code == 429


async def test_a_valid_key_is_never_refused_for_its_address(served: Served) -> None:
    for _ in range(STRANGERS + 1):
        last = await ask(served, MODELS)
    assert last.status_code == 429

    assert [(await served.client.get(MODELS)).status_code for _ in range(STRANGERS + 1)] == [200] * (STRANGERS + 1)
    assert (await served.client.get("/v1/audio/voices")).status_code == 200


async def test_what_needs_no_key_counts_where_it_makes_work(served: Served) -> None:
    answers = [await ask(served, "/v1/audio/voices") for _ in range(STRANGERS + 1)]

    assert [answer.status_code for answer in answers] == [200] * STRANGERS + [429]
    for path in ("/health", "/v1/audio/models", "/openapi.json"):
        assert (await ask(served, path)).status_code == 200


async def tried(served: Served, forwarded: str) -> int:
    return (await ask(served, MODELS, "", ("X-Forwarded-For", forwarded))).status_code


@pytest.mark.parametrize("proxies", ["", "192.0.2.0/24"])
async def test_an_address_that_anybody_claims_does_not_count(served: Served, proxies: str) -> None:
    assert [await tried(served, f"198.51.100.{i}") for i in range(STRANGERS + 1)] == [401] * STRANGERS + [429]


@pytest.mark.parametrize("proxies", ["127.0.0.1", "192.0.2.1, 127.0.0.0/8"])
async def test_a_listed_proxy_says_where_a_request_comes_from(served: Served, proxies: str) -> None:
    assert [await tried(served, "198.51.100.1") for _ in range(STRANGERS + 1)] == [401] * STRANGERS + [429]
    assert await tried(served, "198.51.100.2") == 401
    assert await tried(served, "198.51.100.2, 198.51.100.1") == 429  # what its client claimed stands before
    assert await tried(served, "198.51.100.9, 198.51.100.1, 127.0.0.1") == 429
    assert await tried(served, "::ffff:198.51.100.1") == 429
