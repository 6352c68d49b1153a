"""A front on a real socket, over the real broker, and a worker that does what a test tells it to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from api.follow import Followers
from api.gate import Gate
from familyai.allowance import Role
from familyai.broker import connect
from familyai.catalogue import Profile
from familyai.job_log import JobLog
from familyai.settings import Settings
from tests.api.asr import QUEUE, Asr
from tests.api.support import LIMIT_S, PROFILE, ScriptedWorker, Served, serving


@pytest.fixture
def profile() -> Profile:
    """Tests that need another one override this."""
    return Profile.model_validate(PROFILE)


@pytest.fixture
def settings(broker_url: str, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, broker_url=broker_url, blob_url=(tmp_path / "blobs").as_uri())


@pytest.fixture
async def served(settings: Settings, profile: Profile, redis: Redis) -> AsyncIterator[Served]:
    async with serving(settings, profile) as (app, url):
        _, key = await app.state.front.members.add("ada", Role.ADULT)
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=LIMIT_S, trust_env=False) as client:
            yield Served(app, url, key, client)


@pytest.fixture
async def worker(redis: Redis) -> AsyncIterator[ScriptedWorker]:
    """Alive until the test cancels its `life`."""
    scripted = ScriptedWorker(redis)
    await scripted.beat()
    scripted.life = asyncio.create_task(scripted.live())
    yield scripted
    scripted.life.cancel()


@pytest.fixture
async def asr(redis: Redis, served: Served) -> AsyncIterator[Asr]:
    """Hears at once; a test that clears `open` makes it wait."""
    made = Asr(ScriptedWorker(redis, QUEUE), served.front.blobs)
    made.open.set()
    made.start()
    yield made
    await made.stop()


@pytest.fixture
def logs(redis: Redis) -> JobLog:
    return JobLog(redis, kept_s=60)


@pytest.fixture
def followers(logs: JobLog) -> Followers:
    return Followers(logs)


@pytest.fixture
def gate(redis: Redis) -> Gate:
    return Gate(redis, Profile.model_validate(PROFILE))


@pytest.fixture
async def other_gate(broker_url: str) -> AsyncIterator[Gate]:
    """Another front's."""
    client = connect(broker_url)
    yield Gate(client, Profile.model_validate(PROFILE))
    await client.aclose()
