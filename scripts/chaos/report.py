"""A table for a person, JSON for a program, and how it came about."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .plan import Kind
from .run import Killed, Outcome
from .tally import Gap
from .verdicts import Fault

METHOD = """\
The product's own processes under its own supervisor: a broker with an append-only file, two fronts, three workers with
the echo engine{real}. {streams} clients ask one thing after the other: streams of known words at 8 to 30 words/s, whole
answers, and batches of 50 lines{detached}. Meanwhile processes are killed with SIGKILL, {gap_s:g} s apart on average,
in an order that the seed fixes, each a healthy one; the supervisor restarts them after a pause.
Every word, id, line and end is compared with what was due. An answer may end with an error; it may not end without one
and not be whole. Afterwards each job that a client heard of must have ended, and nothing of any may be left in the
broker. The longest gap is between two events of one stream, comments left out, whoever served it."""
_REAL = ", and one each with vLLM, Whisper and Piper on the CPU"
_DETACHED = """. About half of the streams are detached: their clients come back for the rest at the other front"""


def show(outcome: Outcome, machine: str, console: Console) -> None:
    table = Table(title=f"Chaos, seed {outcome.options.seed}", title_justify="left", title_style="bold")
    table.add_column("")
    table.add_column("", justify="right")
    for name, value, is_good in _rows(outcome):
        table.add_row(name, Text(value, style="" if is_good else "bold red"))
    console.print(table)
    for line in _details(outcome):
        console.print(line, style="red", markup=False)
    console.print(Text("Method. ", style="bold").append(_method(outcome), style="not bold"))
    console.print(Text("Machine. ", style="bold").append(machine + ".", style="not bold"))


def as_json(outcome: Outcome, machine: Any) -> dict[str, Any]:
    options, tally = asdict(outcome.options), outcome.tally
    return {
        "machine": machine,
        "options": {name: str(value) if name == "keep" else value for name, value in options.items()},
        "good": outcome.is_good,
        "seconds": outcome.seconds,
        "kills": [_kill_json(outcome, one) for one in outcome.killed],
        "requests": {str(sort): count for sort, count in tally.requests.items()},
        "good_answers": {str(sort): count for sort, count in tally.good.items()},
        "errors": dict(tally.errors),
        "faults": {fault.value: tally.faults[fault] for fault in Fault},
        "told": tally.told,
        "resumed": tally.resumed,
        "events": tally.events,
        "longest_gaps_s": {str(sort): gap.seconds for sort, gap in _gaps(outcome)},
        "longest_gaps": {str(sort): _gap_words(outcome, gap) for sort, gap in _gaps(outcome)},
        "left_in_broker": outcome.leaks,
        "not_ended": outcome.unended,
        "listed": outcome.listed,
        "reservations": outcome.reservations,
        "broker_memory_bytes": dict(zip(("at_end", "most"), _memory_bytes(outcome), strict=True)),
        "broken": outcome.broken,
    }


def _rows(outcome: Outcome) -> list[tuple[str, str, bool]]:
    """Name, value, whether it may be so."""
    tally = outcome.tally
    by_kind = Counter(one.kind for one in outcome.killed)
    kinds = ", ".join(f"{by_kind[kind]} {kind}" for kind in Kind)
    errors = sum(tally.errors.values())
    memory = [f"{size / 1e6:.1f}" for size in _memory_bytes(outcome)]
    rows = [("requests", f"{tally.requests.total():,}", True)]
    rows += [(f"  {sort}", f"{count:,} ({tally.good[sort]:,} whole)", True) for sort, count in tally.requests.items()]
    rows += [("events", f"{tally.events:,}", True), ("kills", f"{len(outcome.killed)} ({kinds})", True)]
    rows += [(fault.value, str(tally.faults[fault]), not tally.faults[fault]) for fault in Fault]
    rows += [("ended with an error that says so", f"{errors:,}", True)]
    rows += [(f"  {code}", f"{count:,}", True) for code, count in tally.errors.most_common()]
    rows += [("streams that went on over another connection", f"{tally.resumed:,}", True)]
    rows += [(f"longest gap in a {sort}", _gap_words(outcome, gap), True) for sort, gap in _gaps(outcome)]
    rows += [("jobs that never ended", str(len(outcome.unended)), not outcome.unended)]
    rows += [("jobs still listed", str(len(outcome.listed)), not outcome.listed)]
    rows += [("keys left in the broker", str(len(outcome.leaks)), not outcome.leaks)]
    rows += [("reservations that are yet to be dropped", str(len(outcome.reservations)), True)]
    rows += [("broker's memory at the end, at most, MB", ", ".join(memory), True)]
    return [*rows, ("duration", f"{outcome.seconds:.0f} s", True)]


def _details(outcome: Outcome) -> list[str]:
    lines = [outcome.broken] if outcome.broken else []
    lines += outcome.tally.told
    lines += [f"left in the broker: {key}: {words}" for key, words in outcome.leaks.items()]
    lines += [f"never ended: {job} is {state}" for job, state in list(outcome.unended.items())[:20]]
    return lines + [f"still listed: {job}" for job in outcome.listed[:20]]


def _memory_bytes(outcome: Outcome) -> tuple[int, int]:
    """At the end, and at most."""
    seen = outcome.memory_bytes or [0]
    return seen[-1], max(seen)


def _gaps(outcome: Outcome) -> list[tuple[str, Gap]]:
    return sorted(outcome.tally.longest_gaps.items())


def _gap_words(outcome: Outcome, gap: Gap) -> str:
    begun_s = outcome.tally.begun_s
    killed = outcome.kill_near(gap.from_s, gap.to_s)
    during = f"{killed.name} at {killed.at_s - begun_s:.1f} s" if killed else "no kill"
    return f"{gap.seconds:.1f} s ({during}, {gap.job_id})"


def _kill_json(outcome: Outcome, one: Killed) -> dict[str, Any]:
    return {"at_s": one.at_s - outcome.tally.begun_s, "target": one.name, "pid": one.pid}


def _method(outcome: Outcome) -> str:
    options = outcome.options
    real, detached = _REAL if options.real else "", _DETACHED if options.detach else ""
    filled = METHOD.format(real=real, detached=detached, streams=options.streams, gap_s=options.gap_s)
    return " ".join(filled.split())
