#!/usr/bin/env python3
"""Examines the router on the labelled requests of routing/data, beside a keyword baseline and LiteLLM's own router.

All of it is one run on one machine. Nothing is sent anywhere; LiteLLM is installed once, into a folder of its own.
"""

import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer
from benchmark.machine import this_machine
from rich.console import Console
from routing_eval import exam, litellm_router, report, speed
from routing_eval.keywords import keyword_kind
from routing_eval.litellm_router import CLASSIFIERS, CannotRun, best_mapping

from familyai.catalogue import Profile, load_profile
from familyai.kinds import CHAT, CODE
from routing.examples import BLIND, Example, read_examples, read_file

ROOT = Path(__file__).resolve().parent.parent
LITELLM = ROOT / ".familyai" / "litellm"
PROFILE = "thor"
WIDTH_IN_FILES = 120

progress = Console(stderr=True, highlight=False, style="dim")


class Part(StrEnum):
    HELD_OUT = exam.HELD_OUT
    BLIND = BLIND
    TRAIN = "train"
    HOUSEHOLD = exam.HOUSEHOLD


def main(
    errors: Annotated[bool, typer.Option("--errors", help="List the wrong decisions too.")] = False,
    part: Annotated[
        Part | None,
        typer.Option(help="Look closer at this part only, not at all that is held out.", show_default=False),
    ] = None,
    household: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Your own corrections, one more part: JSON lines as in routing/data/README.md.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Accuracy only: no LiteLLM, latency, memory.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON, wrong decisions with them.")] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Exit with 1 if it is right in less than 95 % of what is examined, in less than 90 % of a kind or a "
            "language, or ever wrong about images, side tasks and long code.",
        ),
    ] = False,
) -> None:
    """How often the router is right, beside two simpler routers; how sure it is, how fast, and where it errs.

    The closer tables, --errors and --check look at all that is held out; --part chooses another.
    """
    if part is Part.HOUSEHOLD and household is None:
        raise typer.BadParameter("give --household FILE too", param_hint="--part")
    results = examine(_graded(household, load_profile(ROOT / "queues.yaml", PROFILE)), _parts(part), quick=quick)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_IN_FILES)
    if json:
        figures = report.as_json(results) | {"profile": PROFILE, "machine": asdict(this_machine())}
        print(orjson.dumps(figures, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(results, console, errors=errors)
    is_passed = report.show_targets(results, progress if json else console)
    if check and not is_passed:
        sys.exit(1)


def examine(graded: list[exam.Graded], parts: tuple[str, ...], *, quick: bool) -> report.Results:
    results = report.Results(graded, parts, others={report.KEYWORDS: _keywords(graded)})
    if quick:
        return results
    _add_litellm(results)
    profile = load_profile(ROOT / "queues.yaml", PROFILE)
    held_out = [one.example for one in graded if one.part in exam.EXAMINED]
    ordinary = speed.requests(filter(speed.is_ordinary, held_out))
    progress.print("latency")
    at_most, at_most_long = speed.LIMITS_MS
    results.timings = [
        speed.timing("ordinary", ordinary, at_most, speed.ROUNDS, profile),
        speed.timing("200 KB of code", speed.long_requests(), at_most_long, 1, profile),
    ]
    progress.print("memory")
    results.growth = speed.growth(speed.requests(held_out), profile)
    return results


def _graded(household: Path | None, profile: Profile) -> list[exam.Graded]:
    examples = [(example, exam.part_of(example)) for example in read_examples()]
    if household is not None:
        examples += [(example, exam.HOUSEHOLD) for example in read_file(household)]
    return [exam.grade(example, part, profile) for example, part in examples]


def _parts(part: Part | None) -> tuple[str, ...]:
    if part is None:
        return exam.EXAMINED
    return (exam.TRAINING if part is Part.TRAIN else part.value,)


def _keywords(graded: list[exam.Graded]) -> tuple[list[str], list[str]]:
    chosen: list[str] = [keyword_kind(one.example.body, exam.preferred(one.example)) for one in graded]
    return chosen, chosen


def _add_litellm(results: report.Results) -> None:
    """Or a word on why not."""
    examples = [one.example for one in results.graded]
    try:
        python, version = litellm_router.install(LITELLM, progress.print)
        for name, classifier in CLASSIFIERS.items():
            progress.print(f"{name} {version}")
            tiers = litellm_router.tiers(python, examples, classifier)
            results.others[name], mapping = _as_kinds(results.graded, tiers)
            results.notes.append(f"{name}: {version}, classifier `{classifier}`, {mapping}.")
        results.notes.append(litellm_router.METHOD)
    except CannotRun as error:
        results.notes.append(f"LiteLLM is not among them: {error}.")


def _as_kinds(graded: list[exam.Graded], tiers: list[str]) -> tuple[tuple[list[str], list[str]], str]:
    """What its tiers come to among all kinds, and on the chat ladder; and how that was mapped, in words."""
    sure = [exam.sure_kind(one.example.body) for one in graded]
    learnt: list[tuple[str, Example]] = [
        (tier, one.example)
        for one, tier, known in zip(graded, tiers, sure, strict=True)
        if one.part == exam.TRAINING and known is None
    ]
    among_all = best_mapping(learnt, (*CODE, *CHAT))
    on_ladder = best_mapping([(tier, example) for tier, example in learnt if example.kinds[0] in CHAT], CHAT)
    chosen = tuple(
        [str(known or mapping.get(tier, CHAT[1])) for tier, known in zip(tiers, sure, strict=True)]
        for mapping in (among_all, on_ladder)
    )
    said = (", ".join(f"{tier} is {kind}" for tier, kind in mapping.items()) for mapping in (among_all, on_ladder))
    return (chosen[0], chosen[1]), "; on the ladder ".join(said)


def _show(results: report.Results, console: Console, *, errors: bool) -> None:
    report.show(results, console)
    if errors:
        report.show_errors(results, console)
    machine = this_machine()
    console.print(
        f"{len(results.graded):,} requests, profile {PROFILE}; {machine.cores} cores ({machine.cpu}), "
        f"Python {machine.python}, load average {machine.load_average:.1f}.",
        style="dim",
    )


if __name__ == "__main__":
    typer.run(main)
