"""Whether waits last as long as they were forecast: a busy evening of bursts and answers of all lengths.

Two forecasts of each wait are held against the truth: the first that can be made, as soon as the job waits; and the
first that its client is told, in the stream it waits on.
"""

import asyncio
import random
import re
import time
from dataclasses import dataclass, field
from itertools import count
from time import perf_counter

from familyai import keys
from familyai.line import forecast
from familyai.registry import WorkerRegistry
from familyai.service import ServiceStore

from ..client import Connection, Recording, connections
from ..questions import Question, http_request
from ..setup import QUEUE
from .crowd import LIMIT_S, idle, read
from .figures import Forecast
from .variants import MEMBERS, Stack

LENGTHS = (5, 10, 20, 40, 100, 200)
TOKENS_PER_S = 100.0
MOST_AT_ONCE = 12
LOAD = 0.95
"""Of what the model can do, on average: a busy evening, in bursts."""
LOOK_S = 0.05
LONG_ENOUGH_S = 1.0
_TOLD = re.compile(rb": queued position=\d+ eta_s=(\d+)")


@dataclass
class Forecasts:
    """Of jobs that waited for a second or more from then on."""

    made: list[Forecast] = field(default_factory=list)
    told: list[Forecast] = field(default_factory=list)
    asked: int = 0


async def evenings(stack: Stack, count: int, seconds: float) -> Forecasts:
    """Several, each of its own; the same in every run. Raises WrongAnswer."""
    all_of_them = Forecasts()
    for seed in range(count):
        one = await _evening(stack, random.Random(seed), seconds)  # noqa: S311 (not a secret)
        all_of_them.made += one.made
        all_of_them.told += one.told
        all_of_them.asked += one.asked
    return all_of_them


async def _evening(stack: Stack, dice: random.Random, seconds: float) -> Forecasts:
    """Members come at random with a few questions at once."""
    made: dict[str, tuple[float, float]] = {}
    looking = asyncio.create_task(_look(stack, made))
    try:
        heard = await _ask(stack, dice, seconds)
    finally:
        looking.cancel()
    await idle(stack)
    told = [pair for recording, first_s in heard if (pair := _told(recording, first_s))]
    return Forecasts(await _come_true(stack, made), [pair for pair in told if pair[1] >= LONG_ENOUGH_S], len(heard))


async def _look(stack: Stack, made: dict[str, tuple[float, float]]) -> None:
    """Of each job the first forecast, and when it was made."""
    service, registry = ServiceStore(stack.redis), WorkerRegistry(stack.redis)
    model, fairness = stack.profile.model(QUEUE), stack.profile.fairness
    while True:
        workers = len((await registry.alive([QUEUE]))[QUEUE])
        line, now_s = await service.line(QUEUE, model, fairness, workers), time.time()
        if any(ticket.job_id not in made for ticket in line.waiting):
            for job_id, place in forecast(line, now_s).items():
                if place.eta_s is not None:
                    made.setdefault(job_id, (now_s, place.eta_s))
        await asyncio.sleep(LOOK_S)


async def _come_true(stack: Stack, made: dict[str, tuple[float, float]]) -> list[Forecast]:
    pairs = []
    for job_id, (at_s, eta_s) in made.items():
        began_s = await stack.redis.hget(keys.job(job_id), "claimed_at_s")
        if began_s and float(began_s) - at_s >= LONG_ENOUGH_S:
            pairs.append((eta_s, float(began_s) - at_s))
    return pairs


async def _ask(stack: Stack, dice: random.Random, seconds: float) -> list[tuple[Recording, float]]:
    jobs_per_s = LOAD * stack.variant.places * TOKENS_PER_S / (sum(LENGTHS) / len(LENGTHS))
    gap_s = (1 + MOST_AT_ONCE) / 2 / jobs_per_s
    begun_s, at_s, asking = perf_counter(), 0.0, []
    for burst in count():
        at_s += dice.expovariate(1 / gap_s)
        if at_s > seconds:
            break
        questions = [_question(dice, f"b{burst}q{number}") for number in range(dice.randint(1, MOST_AT_ONCE))]
        member = dice.choice(MEMBERS)
        await asyncio.sleep(max(0.0, begun_s + at_s - perf_counter()))
        asking.append(asyncio.create_task(_burst(stack, member, questions)))
    async with asyncio.timeout(LIMIT_S):
        return [one for burst_of in await asyncio.gather(*asking) for one in burst_of]


def _question(dice: random.Random, name: str) -> Question:
    """Half of them do not say how long an answer they want, as most chat programs do not."""
    return Question(name, dice.choice(LENGTHS), True, TOKENS_PER_S, says_length=dice.random() < 0.5)


async def _burst(stack: Stack, member: str, questions: list[Question]) -> list[tuple[Recording, float]]:
    async with connections(stack.port, len(questions)) as opened:
        return await asyncio.gather(*(_one(stack, member, *asked) for asked in zip(questions, opened, strict=True)))


async def _one(stack: Stack, member: str, question: Question, connection: Connection) -> tuple[Recording, float]:
    recording = await connection.ask(http_request(question, stack.port, stack.api_keys[member]))
    return recording, read(member, question, recording).word_times_s[0]


def _told(recording: Recording, first_s: float) -> Forecast | None:
    """The first comment with a forecast, and when the words came."""
    for at_s, data in recording.chunks:
        if said := _TOLD.search(data):
            return float(said[1]), first_s - at_s
    return None
