"""What the way through front, broker and Celery worker adds to an engine that answers at once.

A load generator, not a test: it starts everything itself, asks the echo engine directly and through the queue in turns,
and reports ratios and differences of one run. It fails only when an answer is lost, mixed up or changed.
"""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TypeVar

import orjson
import typer
import uvloop
from benchmark.enqueue import compare
from benchmark.figures import Load, Run, tokens_each, total
from benchmark.load import one_client, run_streams
from benchmark.machine import Machine, this_machine
from benchmark.questions import WrongAnswer
from benchmark.report import Pair, Results, as_json, enqueue_json, show, show_enqueue
from benchmark.setup import CannotStart, Way, both_ways
from rich.console import Console

PACE_TOKENS_PER_S = 20.0
PACED_S = 4.0
MOST_STREAMS = 512

WIDTH_IN_FILES = 110

T = TypeVar("T")
progress = Console(stderr=True, highlight=False, style="dim")


def parse_streams(text: str) -> tuple[int, ...]:
    """`1,16,64`. Raises BadParameter."""
    try:
        counts = tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise typer.BadParameter("numbers with commas between, like 1,16,64") from error
    if not all(1 <= count <= MOST_STREAMS for count in counts):
        raise typer.BadParameter(f"1 to {MOST_STREAMS} streams")
    return counts


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Fewer streams, words and rounds: under 40 s.")] = False,
    streams: Annotated[str, typer.Option(help="Streams at once, one load each.")] = "",
    rounds: Annotated[int, typer.Option(min=1, max=5, help="How often each load runs on each way.")] = 2,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file too.")] = None,
    enqueue: Annotated[bool, typer.Option("--enqueue", help="Compare two ways to put a job on its queue.")] = False,
) -> None:
    """Measures what the way through the queue adds. Exits 1 when an answer was wrong or something did not start."""
    signal.signal(signal.SIGTERM, _interrupt)
    machine = this_machine()
    try:
        if enqueue:
            figures = _run_enqueue(machine, 200 if quick else 1000)
        else:
            counts = parse_streams(streams or ("1,16,64" if quick else "1,16,64,256"))
            figures = _run_bench(machine, counts, 1 if quick else rounds, quick)
    except (WrongAnswer, CannotStart) as error:
        progress.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    if json:
        json.write_bytes(orjson.dumps(figures, option=orjson.OPT_INDENT_2) + b"\n")


def _run_bench(machine: Machine, counts: tuple[int, ...], rounds: int, quick: bool) -> dict[str, Any]:
    results = _run(_measure(machine, counts, rounds, quick))
    show(results, _console())
    return as_json(results)


def _run_enqueue(machine: Machine, count: int) -> dict[str, Any]:
    costs = _run(compare(count, rounds=5))
    show_enqueue(costs, machine, _console())
    return enqueue_json(costs, machine)


async def _measure(machine: Machine, counts: tuple[int, ...], rounds: int, quick: bool) -> Results:
    progress.print("starting broker, worker, front, and the engine alone")
    budget, paced_s = (10_000, PACED_S / 2) if quick else (40_000, PACED_S)
    async with both_ways(slots=max(counts)) as ways:
        await _warm_up(ways)
        progress.print("one client")
        count = 100 if quick else 200
        short, short_stream = await one_client(ways, count, False), await one_client(ways, count, True)
        fast = [await _load(ways, Load(count, tokens_each(count, budget)), rounds) for count in counts]
        words = int(paced_s * PACE_TOKENS_PER_S)
        paced = [await _load(ways, Load(count, words, PACE_TOKENS_PER_S), rounds) for count in counts]
    return Results(machine, short, short_stream, fast, paced)


async def _warm_up(ways: tuple[Way, Way]) -> None:
    """Connections, imports and caches on both ways; nothing of it is counted."""
    await one_client(ways, 20, stream=True)
    for way in ways:
        await run_streams(way, Load(32, 20), "warm")


async def _load(ways: tuple[Way, Way], load: Load, rounds: int) -> Pair:
    pace = f"{load.tokens_per_s:g} tokens/s each" if load.tokens_per_s else "as fast as possible"
    progress.print(f"{load.streams} streams of {load.tokens} words, {pace}")
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    for number in range(rounds):
        for way in ways:
            runs[way.name].append(await run_streams(way, load, f"r{number}"))
    return {name: total(measured) for name, measured in runs.items()}


def _console() -> Console:
    """As wide as the terminal; in a file or a pipe wide enough for the tables."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_FILES)


def _run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends it as Ctrl-C does: with everything it started."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    typer.run(main)
