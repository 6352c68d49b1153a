"""What a job did take is charged once: to the fair order, to its member's limits, to the books."""

from typing import Any

import pytest
from redis.asyncio import Redis

from familyai.catalogue import Costs, Task
from familyai.job import Job
from familyai.quota import TOKENS_PER_DAY, TOKENS_PER_MINUTE, Windows
from familyai.usage import Usage, UsageStore, today
from tests.support import a_job
from tests.workers.delivering import MODEL, accounts_of
from workers.meter import Meter


def metered(prompt: int, generated: int = 0) -> Meter:
    meter = Meter()
    meter.saw_prompt(prompt)
    meter.saw_tokens(0, list(range(generated)))
    return meter


async def booked(redis: Redis, job: Job) -> dict[str, Any]:
    (usage,) = await UsageStore(redis, usage_days=2).between(today(), today())
    assert (usage.member, usage.model) == (job.member, job.model)
    return {name: getattr(usage, name) for name in Usage.__struct_fields__[3:] if getattr(usage, name)}


def test_service_goes_by_the_model_s_costs(redis: Redis) -> None:
    model = MODEL.model_copy(update={"costs": Costs(input=0.5, output=3)})
    assert accounts_of(redis, model).service(metered(10, 4)) == 0.5 * 10 + 3 * 4
    assert accounts_of(redis).service(Meter()) == 0


async def test_tokens_count_against_the_limits_and_in_the_books(redis: Redis) -> None:
    job = a_job(width=2)
    await accounts_of(redis).settle(job, metered(10, 4))
    for window in (TOKENS_PER_MINUTE, TOKENS_PER_DAY):
        assert (await Windows(redis).level(window, job.member)).fits_in_s(1, 14) > 0
        assert (await Windows(redis).level(window, job.member)).fits_in_s(1, 15) == 0
    assert await booked(redis, job) == {"requests": 2, "input_tokens": 10, "output_tokens": 4}


@pytest.mark.parametrize(("task", "unit"), [(Task.TRANSCRIBE, "audio_seconds"), (Task.SPEAK, "characters")])
async def test_sound_is_booked_in_its_own_unit_and_is_no_token(redis: Redis, task: Task, unit: str) -> None:
    job = a_job()
    await accounts_of(redis, MODEL.model_copy(update={"tasks": (task,)})).settle(job, metered(30))
    assert (await Windows(redis).level(TOKENS_PER_DAY, job.member)).fits_in_s(1, 1) == 0
    assert await booked(redis, job) == {"requests": 1, unit: 30}


async def test_it_is_charged_once_the_broker_is_back(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    accounts, tries = accounts_of(redis), 0
    charge = accounts._windows.charge

    async def sometimes(member: str, tokens: int) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConnectionError("gone")
        await charge(member, tokens)

    monkeypatch.setattr(accounts._windows, "charge", sometimes)
    monkeypatch.setattr("workers.accounts.RETRY_S", 0.01)
    job = a_job()
    await accounts.settle(job, metered(1, 1))
    assert await booked(redis, job) == {"requests": 1, "input_tokens": 1, "output_tokens": 1}
