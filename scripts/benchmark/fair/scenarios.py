"""What is tried with each variant. A scenario returns figures by the name of their row."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from familyai.lanes import Priority

from ..figures import percentile
from .crowd import LONG_TOKENS, SHORT_TOKENS, Asker, Crowd, cpu_s, crowd, in_turn, watched
from .figures import Answer, Window, jain, residual_s
from .variants import COMPARED, FIFO, FIFO_WITHOUT_RESERVE, HEAVY, OURS, Stack, Variant

Figures = dict[str, float]
LONGER = 50
"""So many times as long as the others' is the prompt of one member."""


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
REAL = Size(rounds=1, flood=40, alone=12, questions=16, questions_limit_s=40.0, window_s=30.0, tokens=24)


@dataclass(frozen=True)
class Scenario:
    """`each_round`: else it is tried once, and not when time is short."""

    words: str
    run: Callable[[Stack, Size], Awaitable[Figures]]
    each_round: bool = False
    variants: tuple[Variant, ...] = COMPARED


async def quiet_beside_a_flood(stack: Stack, size: Size) -> Figures:
    """One member asks one short question after the other: alone, then beside one who has `flood` long ones waiting."""
    alone = _first_ms(await in_turn(stack, "quiet", size.alone, size.questions_limit_s))
    async with crowd(stack, Asker("ada", size.flood, size.tokens)) as flood:
        asked = await in_turn(stack, "quiet", size.questions, size.questions_limit_s)
    heard = flood.answers()["ada"]
    beside = _first_ms(asked)
    residual_ms = residual_s(answer.lasted_s for answer in heard) * 1000
    p99_alone, p99 = percentile(alone, 99), percentile(beside, 99)
    return {
        "alone_p50_ms": percentile(alone, 50),
        "alone_p99_ms": p99_alone,
        "quiet_p50_ms": percentile(beside, 50),
        "quiet_p99_ms": p99,
        "quiet_p50_to_alone": percentile(beside, 50) / percentile(alone, 50),
        "quiet_p99_to_alone": p99 / p99_alone,
        "quiet_questions": len(asked),
        "residual_ms": residual_ms,
        "quiet_p99_to_limit": p99 / (1.5 * p99_alone + residual_ms),
        "flood_and_quiet_tokens_per_s": _per_s(Window(asked[0].sent_s, asked[-1].word_times_s[-1]), [*heard, *asked]),
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
        window = await watched(size.window_s)
    return {"one_flood_tokens_per_s": sum(_tokens(window, flood).values()) / window.seconds}


async def tiny_answers(stack: Stack, size: Size) -> Figures:
    """Answers of a few words, as fast as they come: the machinery is all that costs time."""
    askers = (Asker(member, size.flood // 2, SHORT_TOKENS, None) for member in ("ada", "ben"))
    async with crowd(stack, *askers) as both:
        window = await watched(size.window_s / 2)
    return {"tiny_jobs_per_s": sum(map(window.ended, both.answers().values())) / window.seconds}


async def long_prompts(stack: Stack, size: Size) -> Figures:
    """One member's prompts are 50 times as long as the other's."""
    ada, ben = _two(size)
    askers = Asker(ada.member, ada.at_once, ada.tokens, prompt_words=LONGER * ada.prompt_words), ben
    async with crowd(stack, *askers) as both:
        window = await watched(size.window_s)
    service = {member: window.service(answers) for member, answers in both.answers().items()}
    return {"jain_long_prompts": jain(service.values())}


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
        window = await watched(size.window_s)
        quiet = await in_turn(stack, "quiet", size.questions, size.questions_limit_s / 3)
    tokens = _tokens(window, both)
    return {
        "jain_two_workers": jain(tokens.values()),
        "two_workers_tokens_per_s": sum(tokens.values()) / window.seconds,
        "quiet_two_workers_p99_ms": percentile(_first_ms(quiet), 99),
    }


async def priorities(stack: Stack, size: Size) -> Figures:
    """Three floods of different priorities, and one member who asks in turn."""
    askers = {
        priority: Asker(member, size.flood // 4, size.tokens, priority=priority)
        for member, priority in zip(("ada", "ben", "cem"), Priority, strict=True)
    }
    async with crowd(stack, *askers.values()) as all_three:
        asked = await in_turn(stack, "quiet", size.questions, size.window_s)
    window = Window(asked[0].sent_s, asked[-1].word_times_s[-1])
    tokens = _tokens(window, all_three)
    everything = sum(tokens.values()) + window.tokens(asked)
    return {
        "quiet_priorities_p50_ms": percentile(_first_ms(asked), 50),
        "quiet_priorities_p99_ms": percentile(_first_ms(asked), 99),
        "background_share": tokens[askers[Priority.BACKGROUND].member] / everything,
        "batch_share": tokens[askers[Priority.BATCH].member] / everything,
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


SCENARIOS = (
    Scenario("a quiet member beside a flood", quiet_beside_a_flood, True, (*COMPARED, FIFO_WITHOUT_RESERVE)),
    Scenario("two floods", two_floods, each_round=True),
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


def _first_ms(answers: list[Answer]) -> list[float]:
    return [answer.first_s * 1000 for answer in answers]
