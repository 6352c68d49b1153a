"""Guessing keys: from one address, from many, and with a part of the key known."""

import secrets
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from familyai.catalogue import Profile
from familyai.settings import Settings
from tests.api.support import PROFILE, Served

GUESSES, ADDRESSES = 5, 20


@pytest.fixture
def profile() -> Profile:
    return Profile.model_validate(PROFILE | {"limits": {"strangers_per_minute": GUESSES}})


@pytest.fixture
def settings(broker_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, broker_url=SecretStr(broker_url), trusted_proxies="127.0.0.1")


def a_key() -> str:
    return f"fai-{secrets.token_hex(6)}-{secrets.token_urlsafe(32)}"


async def guess(served: Served, key: str, address: str = "192.0.2.1") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": address}
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
        return await client.get("/v1/models", headers=headers)


async def test_one_address_has_so_many_guesses(served: Served) -> None:
    told = [(await guess(served, a_key())).status_code for _ in range(GUESSES + 3)]

    assert told == [401] * GUESSES + [429] * 3


async def test_many_addresses_have_no_more_each_and_take_nothing_from_members(served: Served, redis: Redis) -> None:
    for number in range(ADDRESSES):
        told = [(await guess(served, a_key(), f"198.51.100.{number}")).status_code for _ in range(GUESSES + 1)]
        assert told == [401] * GUESSES + [429]

    assert (await guess(served, served.key, "198.51.100.1")).status_code == 200
    counters = [key async for key in redis.scan_iter("*198.51.100*")]
    assert len(counters) >= ADDRESSES
    assert all([0 < await redis.ttl(key) <= 120 for key in counters])


async def test_a_network_is_one_guesser_however_many_addresses_it_has(served: Served) -> None:
    told = [(await guess(served, a_key(), f"2001:db8:1:2::{number:x}")).status_code for number in range(GUESSES + 1)]

    assert told == [401] * GUESSES + [429]


async def test_whether_half_a_key_is_right_is_not_told(served: Served) -> None:
    _, key_id, secret = served.key.split("-", 2)
    wrong = ["", "x", a_key(), f"fai-{key_id}-{secrets.token_urlsafe(32)}", f"fai-{secrets.token_hex(6)}-{secret}"]
    answers = [await guess(served, key, f"198.51.100.{number}") for number, key in enumerate(wrong) if key]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
