"""How fair the queue is: first come first served, round robin and least service side by side, in one run, in one table.

A load generator, not a test: it starts everything itself, over a real broker with the echo engine, lets the three take
turns, and reports medians and ratios of one run. It fails only when an answer is lost, mixed up or changed.
"""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import orjson
import typer
import uvloop
from benchmark.fair.crowd import in_turn
from benchmark.fair.forecasts import evenings
from benchmark.fair.report import REAL_METHOD, Results, as_json, show
from benchmark.fair.scenarios import (
    FULL,
    QUICK,
    QUIET,
    REAL,
    SCENARIOS,
    TWO_FLOODS,
    Scenario,
    Size,
    alone_in_turns,
    compared_with_alone,
    quiet_beside_a_flood,
)
from benchmark.fair.variants import COMPARED, FIFO_WITHOUT_RESERVE, OURS, Stack, embedded_model, stacks
from benchmark.machine import this_machine
from benchmark.questions import WrongAnswer
from benchmark.setup import CannotStart
from rich.console import Console

EVENINGS, EVENING_S, QUICK_EVENING_S = 3, 60.0, 30.0
WARM_UP = 20
WIDTH_IN_FILES = 110

T = TypeVar("T")
progress = Console(stderr=True, highlight=False, style="dim")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="One short round of the main scenarios: two minutes.")] = False,
    real: Annotated[bool, typer.Option("--real", help="The first two with vLLM and the embedded model.")] = False,
    only: Annotated[str, typer.Option(help="Only scenarios with this word in their name, or 'forecasts'.")] = "",
    rounds: Annotated[int, typer.Option(min=0, max=9, help="How often; 0: three times, with --quick once.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures of all rounds to this file too.")] = None,
) -> None:
    """Measures how fair the queue is. Exits 1 when an answer was wrong or something did not start."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        results = _run(_with_vllm() if real else _with_echo(QUICK if quick else FULL, rounds, quick, only))
    except (WrongAnswer, CannotStart) as error:
        progress.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    show(results, Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_FILES))
    if json:
        json.write_bytes(orjson.dumps(as_json(results), option=orjson.OPT_INDENT_2) + b"\n")


async def _with_echo(size: Size, rounds: int, quick: bool, only: str) -> Results:
    results = Results(this_machine())
    chosen = [one for one in SCENARIOS if only in one.words and (only or one.each_round or not quick)]
    progress.print("starting broker, fronts and workers")
    async with stacks((*COMPARED, FIFO_WITHOUT_RESERVE)) as started:
        for stack in started:
            await in_turn(stack, "quiet", WARM_UP, 10)
        for number in range(rounds or size.rounds):
            await _alone(started, size, results)
            for scenario in chosen:
                if scenario.each_round or number == 0:
                    await _try(scenario, number, started, size, results)
        if only in "forecasts":
            progress.print("forecasts")
            ours = next(stack for stack in started if stack.variant is OURS)
            results.forecasts = await evenings(ours, 1 if quick else EVENINGS, QUICK_EVENING_S if quick else EVENING_S)
    return results


async def _try(scenario: Scenario, number: int, started: Sequence[Stack], size: Size, results: Results) -> None:
    turns = [stack for stack in started if stack.variant in scenario.variants]
    first = number % len(turns)
    for stack in turns[first:] + turns[:first]:
        progress.print(f"{number + 1}: {scenario.words}, {stack.variant.name}")
        results.add(stack.variant.name, await scenario.run(stack, size))
        if scenario.run is quiet_beside_a_flood:
            results.add(stack.variant.name, compared_with_alone(results.last(stack.variant.name)))


async def _alone(started: Sequence[Stack], size: Size, results: Results) -> None:
    progress.print("a quiet member alone")
    for variant, figures in (await alone_in_turns(started, size)).items():
        results.add(variant, figures)


async def _with_vllm() -> Results:
    """One stack after the other: they would not leave each other any processor."""
    results = Results(this_machine(), REAL_METHOD)
    model, models = embedded_model()
    for variant in COMPARED:
        progress.print(f"starting vLLM for {variant.name}")
        async with stacks([variant], model, models) as (stack,):
            await in_turn(stack, "quiet", 3, 60)
            await _alone([stack], REAL, results)
            for scenario in (QUIET, TWO_FLOODS):
                await _try(scenario, 0, [stack], REAL, results)
    return results


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends it as Ctrl-C does: with everything it started."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    typer.run(main)
