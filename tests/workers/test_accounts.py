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
from workers.accounts import Accounts, Bill


def metered(accounts: Accounts, prompt: int = 0, generated: int = 0) -> Bill:
    bill = accounts.open()
    if prompt:
        bill.meter.saw_prompt(prompt)
    if generated:
        bill.meter.saw_tokens(0, list(range(generated)))
    return bill


async def booked(redis: Redis, job: Job) -> dict[str, Any]:
    (usage,) = await UsageStore(redis, usage_days=2).between(today(), today())
    assert (usage.member, usage.model) == (job.member, job.model)
    return {name: getattr(usage, name) for name in Usage.__struct_fields__[3:] if getattr(usage, name)}


def test_service_goes_by_the_model_s_costs(redis: Redis) -> None:
    model = MODEL.model_copy(update={"costs": Costs(input=0.5, output=3)})
    assert metered(accounts_of(redis, model), 10, 4).service == 0.5 * 10 + 3 * 4
    assert accounts_of(redis).open().service == 0


def test_who_left_before_anything_was_counted_is_charged_what_was_expected(redis: Redis) -> None:
    job = a_job(cost=40.0, tokens=30)
    left, stopped = accounts_of(redis).open(), metered(accounts_of(redis), 3, 1)
    for bill in (left, stopped):
        bill.assume(job)
    assert (left.service, left.tokens_assumed) == (40.0, 30)
    assert (stopped.service, stopped.tokens_assumed) == (5.0, 0)


async def test_tokens_count_against_the_limits_and_in_the_books(redis: Redis) -> None:
    job = a_job(width=2)
    accounts = accounts_of(redis)
    await accounts.settle(job, metered(accounts, 10, 4))
    for window in (TOKENS_PER_MINUTE, TOKENS_PER_DAY):
        assert (await Windows(redis).level(window, job.member)).fits_in_s(1, 14) > 0
        assert (await Windows(redis).level(window, job.member)).fits_in_s(1, 15) == 0
    assert await booked(redis, job) == {"requests": 2, "input_tokens": 10, "output_tokens": 4}


@pytest.mark.parametrize(("task", "unit"), [(Task.TRANSCRIBE, "audio_seconds"), (Task.SPEAK, "characters")])
async def test_sound_is_booked_in_its_own_unit_and_is_no_token(redis: Redis, task: Task, unit: str) -> None:
    job = a_job()
    accounts = accounts_of(redis, MODEL.model_copy(update={"tasks": (task,)}))
    await accounts.settle(job, metered(accounts, 30))
    assert (await Windows(redis).level(TOKENS_PER_DAY, job.member)).fits_in_s(1, 1) == 0
    assert await booked(redis, job) == {"requests": 1, unit: 30}


@pytest.mark.parametrize("part", ["_windows.charge", "_usage.add"])
async def test_each_part_is_charged_once_though_one_of_them_fails_at_first(
    redis: Redis, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    accounts, tries = accounts_of(redis), 0
    store, name = part.split(".")
    charge = getattr(getattr(accounts, store), name)

    async def sometimes(*arguments: Any) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionError("gone")
        await charge(*arguments)

    monkeypatch.setattr(getattr(accounts, store), name, sometimes)
    monkeypatch.setattr("workers.accounts.RETRY_S", 0.01)
    job = a_job()
    await accounts.settle(job, metered(accounts, 1, 1))
    assert await booked(redis, job) == {"requests": 1, "input_tokens": 1, "output_tokens": 1}
    assert (await Windows(redis).level(TOKENS_PER_DAY, job.member)).fits_in_s(1, 2) > 0
    assert (await Windows(redis).level(TOKENS_PER_DAY, job.member)).fits_in_s(1, 3) == 0
