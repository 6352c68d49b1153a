"""The real stack under load, while its workers, fronts and broker are killed at random: is anything lost, or cut off?

It starts everything itself and ends it again. The seed that it prints fixes who asks what and what is killed when, so
that a failure can be run again: `scripts/chaos.py --seed N`.
"""

import asyncio
import logging
import secrets
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated

import orjson
import typer
from benchmark.machine import this_machine
from chaos.report import as_json, show
from chaos.run import Options, Outcome, run
from rich.console import Console

from familyai.cli.supervisor import adopt_orphans
from familyai.errors import FamilyAIError

WIDTH_IN_FILES = 110
progress = Console(stderr=True, highlight=False, style="dim")


def main(
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is left to chance; 0: a new one.")] = 0,
    kills: Annotated[int, typer.Option(min=0, help="How many processes are killed.")] = 100,
    streams: Annotated[int, typer.Option(min=1, help="Clients at once.")] = 64,
    gap_s: Annotated[float, typer.Option(min=0, help="Seconds from one kill to the next, on average.")] = 6.0,
    real: Annotated[bool, typer.Option(help="Also vLLM, Whisper and Piper.")] = True,
    detach: Annotated[bool, typer.Option(help="Half of the streams outlive their connections.")] = True,
    report: Annotated[Path | None, typer.Option(help="Write all figures to this file too, as JSON.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Run in this new folder, and leave it there: logs, broker.")] = None,
) -> None:
    """Kills processes under load. Exits 1 when anything was lost, doubled, cut off unsaid, or left behind."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what it runs in the background
    signal.signal(signal.SIGTERM, _interrupt)
    machine = this_machine()
    options = Options(seed or secrets.randbelow(10**6) + 1, kills, streams, gap_s, real, detach, keep=keep)
    progress.print(f"seed {options.seed}")
    try:
        outcome = _run(options)
    except FamilyAIError as error:
        progress.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    show(outcome, machine.words, Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_FILES))
    if report:
        report.write_bytes(orjson.dumps(as_json(outcome, asdict(machine)), option=orjson.OPT_INDENT_2) + b"\n")
    sys.exit(0 if outcome.is_good else 1)


def _run(options: Options) -> Outcome:
    adopt_orphans()
    logging.getLogger("familyai").setLevel(logging.ERROR)  # deaths are no news here
    return asyncio.run(run(options, lambda words: progress.print(words, markup=False, soft_wrap=True)))


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends it as Ctrl-C does: with everything it started."""
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    typer.run(main)
