"""What is tried with each variant. A scenario returns figures by the name of their row."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from familyai.lanes import Priority

from ..figures import percentile
from .crowd import LONG_TOKENS, SETTLE_S, SHORT_TOKENS, TOKENS_PER_S, Asker, Crowd, cpu_s, crowd, in_turn, watched
from .figures import ANSWER_COST, PROMPT_COST, Answer, Window, jain, residual_s
from .variants import COMPARED, FIFO, FIFO_WITHOUT_RESERVE, HEAVY, NO_LIMIT, OURS, Stack, Variant

Figures = dict[str, float]
LONGER, SHORT_PROMPT = 50, 4
"""So many times as long as the others' is the prompt of one member, and so many words are theirs."""


@dataclass(frozen=True)
class Size:
    """How much of it. The quiet member asks fewer where each answer takes seconds."""

    rounds: int = 3
    flood: int = 200
    alone: int = 100
    questions: int = 200
    questions_limit_s: float = 15.0
    window_s: float = 8.0
    tokens: int = LONG_TOKENS


FULL = Size()
QUICK = Size(rounds=1, flood=100, alone=40, questions=60, questions_limit_s=5.0, window_s=3.0)
REAL = Size(rounds=1, flood=40, alone=20, questions=60, questions_limit_s=30.0, window_s=30.0, tokens=24)


@dataclass(frozen=True)
class Scenario:
    """`each_round`: else it is tried once, and not when time is short."""

    words: str
    run: Callable[[Stack, Size], Awaitable[Figures]]
    each_round: bool = False
    variants: tuple[Variant, ...] = COMPARED


async def alone_in_turns(stacks: Sequence[Stack], size: Size) -> dict[str, Figures]:
    """One member asks short questions and nobody else does: of each variant in turn, question by question."""
    asked: dict[str, list[Answer]] = {stack.variant.name: [] for stack in stacks}
    await asyncio.sleep(SETTLE_S)
    for _ in range(size.alone):
        for stack in stacks:
            asked[stack.variant.name] += await in_turn(stack, "quiet", 1, size.questions_limit_s)
    return {name: _percentiles("alone", answers) for name, answers in asked.items()}


async def quiet_beside_a_flood(stack: Stack, size: Size) -> Figures:
    """The same member asks one short question after the other, beside one who has `flood` long ones waiting."""
    async with crowd(stack, Asker("ada", size.flood, size.tokens)) as flood:
        asked = await in_turn(stack, "quiet", size.questions, size.questions_limit_s)
    heard = flood.answers()["ada"]
    return {
        **_percentiles("quiet", asked),
        "quiet_questions": len(asked),
        "residual_ms": residual_s(answer.lasted_s for answer in heard) * 1000,
        "flood_and_quiet_tokens_per_s": _per_s(Window(asked[0].sent_s, asked[-1].word_times_s[-1]), [*heard, *asked]),
    }


def compared_with_alone(figures: Figures) -> Figures:
    """What the quiet member's wait is to what it would be alone, and to what it may be."""
    limit_ms = 1.5 * figures["alone_p99_ms"] + figures["residual_ms"]
    return {
        "quiet_p50_to_alone": figures["quiet_p50_ms"] / figures["alone_p50_ms"],
        "quiet_p99_to_alone": figures["quiet_p99_ms"] / figures["alone_p99_ms"],
        "quiet_p99_to_limit": figures["quiet_p99_ms"] / limit_ms,
    }


async def two_floods(stack: Stack, size: Size) -> Figures:
    """Two members who both wait all the time, one with four times as many questions as the other."""
    async with crowd(stack, *_two(size)) as both:
        used_s = cpu_s(stack)
        window = await watched(size.window_s)
        used_s = cpu_s(stack) - used_s
    tokens = _tokens(window, both)
    return {
        "jain": jain(tokens.values()),
        "tokens_per_s": sum(tokens.values()) / window.seconds,
        "cores_used": used_s / window.seconds,
    }


async def one_flood(stack: Stack, size: Size) -> Figures:
    """Nobody else is there: the reserve stands empty."""
    async with crowd(stack, Asker("ada", size.flood, size.tokens)) as flood:
        window = await watched(2 * size.window_s)
    return {"one_flood_tokens_per_s": sum(_tokens(window, flood).values()) / window.seconds}


async def tiny_answers(stack: Stack, size: Size) -> Figures:
    """Answers of a few words, as fast as they come: the machinery is all that costs time."""
    askers = (Asker(member, size.flood // 2, SHORT_TOKENS, None) for member in ("ada", "ben"))
    async with crowd(stack, *askers) as both:
        window = await watched(size.window_s / 2)
    return {"tiny_jobs_per_s": sum(map(window.ended, both.answers().values())) / window.seconds}


async def long_prompts(stack: Stack, size: Size) -> Figures:
    """One member's prompts are 50 times as long as the other's. Few of them are answered, so it takes a while.

    A job takes as long as its cost says, then no time for its prompt: a lane then holds its cap of short jobs, and the
    last place goes to the long ones whatever they had.
    """
    reads_per_s = TOKENS_PER_S * ANSWER_COST / PROMPT_COST
    figures = {"jain_long_prompts": reads_per_s, "jain_long_prompts_at_no_time": None}
    return {name: await _jain_of_prompts(stack, size, reads) for name, reads in figures.items()}


async def _jain_of_prompts(stack: Stack, size: Size, reads_per_s: float | None) -> float:
    ada, ben = (replace(asker, reads_per_s=reads_per_s) for asker in _two(size))
    askers = replace(ada, prompt_words=LONGER * SHORT_PROMPT), replace(ben, prompt_words=SHORT_PROMPT)
    async with crowd(stack, *askers) as both:
        window = await watched(3 * size.window_s)
    return jain(window.service(answers) for answers in both.answers().values())


async def weights(stack: Stack, size: Size) -> Figures:
    """One member has twice the weight, and a quarter of the questions."""
    askers = Asker(HEAVY, size.flood // 4, size.tokens), Asker("ben", size.flood, size.tokens)
    async with crowd(stack, *askers) as both:
        window = await watched(size.window_s)
    tokens = _tokens(window, both)
    return {"heavy_to_light": tokens[HEAVY] / max(1, tokens["ben"])}


async def two_workers(stack: Stack, size: Size) -> Figures:
    """Two floods again, and twice the places in two processes."""
    async with stack.another_worker(), crowd(stack, *_two(size)) as both:
        window, asked = await _watched_by_quiet(stack, size)
    tokens = _tokens(window, both)
    return {
        "jain_two_workers": jain(tokens.values()),
        "two_workers_tokens_per_s": (sum(tokens.values()) + window.tokens(asked)) / window.seconds,
        **_percentiles("quiet_two_workers", asked),
    }


async def priorities(stack: Stack, size: Size) -> Figures:
    """More questions than there are places for at each priority, and one member who asks in turn."""
    floods = [Asker(member, size.flood // 4, size.tokens) for member in ("ada", "ben", "cem", "dora")]
    of_priority = dict(zip(("cem", "dora"), (Priority.BACKGROUND, Priority.BATCH), strict=True))
    askers = [replace(asker, priority=of_priority.get(asker.member, asker.priority)) for asker in floods]
    async with crowd(stack, *askers) as everybody:
        window, asked = await _watched_by_quiet(stack, size)
    tokens = _tokens(window, everybody)
    everything = sum(tokens.values()) + window.tokens(asked)
    return {
        **_percentiles("quiet_priorities", asked),
        "background_share": tokens["cem"] / everything,
        "batch_share": tokens["dora"] / everything,
    }


async def latecomer(stack: Stack, size: Size) -> Figures:
    """One member waits from the start, another comes later: neither the wait before nor the idling is a credit."""
    late_s = size.window_s / 2
    ada, ben = _two(size)
    async with crowd(stack, ada, Asker(ben.member, ben.at_once, ben.tokens, after_s=late_s)) as both:
        await watched(late_s)
        window = await watched(late_s)
    tokens = _tokens(window, both)
    return {"latecomer_share": tokens[ben.member] / sum(tokens.values())}


async def wide_requests(stack: Stack, size: Size) -> Figures:
    """One member asks for four answers at once."""
    ada, ben = _two(size)
    async with crowd(stack, Asker(ada.member, ada.at_once // 4, ada.tokens, n=4), ben) as both:
        window = await watched(size.window_s)
    return {"jain_wide": jain(_tokens(window, both).values())}


QUIET = Scenario("a quiet member beside a flood", quiet_beside_a_flood, True, (*COMPARED, FIFO_WITHOUT_RESERVE))
TWO_FLOODS = Scenario("two floods", two_floods, each_round=True)
SCENARIOS = (
    QUIET,
    TWO_FLOODS,
    Scenario("one flood alone", one_flood, each_round=True, variants=(FIFO_WITHOUT_RESERVE, OURS)),
    Scenario("weights 2:1", weights),
    Scenario("prompts of unequal length", long_prompts),
    Scenario("two workers", two_workers),
    Scenario("priorities mixed", priorities),
    Scenario("a latecomer", latecomer),
    Scenario("wide requests", wide_requests, variants=(FIFO, OURS)),
    Scenario("tiny answers", tiny_answers),
)


def _two(size: Size) -> tuple[Asker, Asker]:
    return Asker("ada", size.flood, size.tokens), Asker("ben", size.flood // 4, size.tokens)


def _tokens(window: Window, crowd: Crowd) -> dict[str, int]:
    return {member: window.tokens(answers) for member, answers in crowd.answers().items()}


def _per_s(window: Window, answers: list[Answer]) -> float:
    return window.tokens(answers) / window.seconds


async def _watched_by_quiet(stack: Stack, size: Size) -> tuple[Window, list[Answer]]:
    """The others, while the quiet member asks in turn."""
    asking = asyncio.create_task(in_turn(stack, "quiet", NO_LIMIT, size.window_s))
    window = await watched(size.window_s)
    return window, await asking


def _percentiles(name: str, answers: list[Answer]) -> Figures:
    first_ms = [answer.first_s * 1000 for answer in answers]
    return {f"{name}_p{percent}_ms": percentile(first_ms, percent) for percent in (50, 99)}
