"""The short chaos: ten kills of workers, fronts and the broker under load, by the code of `scripts/chaos.py`."""

import sys
from pathlib import Path

import pytest
from rich.console import Console

from scripts.chaos.report import show
from scripts.chaos.run import Options, run
from scripts.chaos.verdicts import Fault

SEEDS = [2]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
async def test_ten_kills_lose_nothing_and_cut_nobody_off_unsaid(seed: int, tmp_path: Path) -> None:
    options = Options(seed, kills=10, streams=32, gap_s=3.5, settle_s=120.0, keep=tmp_path)
    outcome = await run(options, print)

    show(outcome, "the tests'", Console(file=sys.stdout, width=160, highlight=False))
    assert {fault.value: outcome.tally.faults[fault] for fault in Fault} == dict.fromkeys(Fault, 0)
    assert (outcome.broken, outcome.unended, outcome.listed, outcome.leaks) == ("", {}, [], {})
    assert len(outcome.killed) == 10
    assert outcome.tally.resumed > 0
