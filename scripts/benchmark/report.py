"""The figures as tables for a person and as JSON for a program, with how they were taken."""

from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .enqueue import AT_ONCE, Cost
from .figures import KEEPS_PACE_S, Run, Timing, percentile
from .load import GENERATOR, RAMP_S, SHORT_ANSWER_TOKENS
from .machine import Machine

PERCENTILES = (50, 90, 99)
ENOUGH_TOKENS = 1000
"""For CPU figures: the system counts CPU time in ticks of 10 ms."""
DIRECT, THROUGH = "direct", "through"

Pair = dict[str, Run]
"""One load's figures by the name of the way."""
Timings = dict[str, list[Timing]]
"""The same, of one client's short answers."""

METHOD = f"""\
Direct: the echo engine served by uvicorn (uvloop, httptools, no access log). Through: front, broker, Celery worker and
the same echo engine in it, with a slot per stream. Both in this one run on this one machine, taking turns, asked by the
same client with the same bytes over keep-alive connections opened beforehand; each answer is compared word for word
with the one that was due, and one wrong or lost word fails the run. One word is one token and one event.
One client: answers of {SHORT_ANSWER_TOKENS} words, one at a time; from the request to the answer's first and last byte
or, of streams, to the first word's event and the end. As fast as possible: all streams
start together, the engine takes one turn of its loop per word, so the first words of many streams also wait for each
other and for their admission; tokens/s is all words over the time from the first request to the last word. Paced: the
streams start spread over {RAMP_S:g} s; one keeps pace while no word is more than {KEEPS_PACE_S * 1000:g} ms later than
its first word and the pace promised. CPU: user and system seconds of each process over such a run. The load generator
and all servers share the cores: with all cores busy, tokens/s says how much CPU a token costs, not where a larger
machine would end. Absolute figures change with the machine; what to compare is the ratios within one run."""

ENQUEUE_METHOD = f"""\
One process, one event loop (uvloop), a broker with the product's configuration. Calls alone: the two take turns call by
call. Bursts: {AT_ONCE} calls at once. CPU is this process's own, threads included; the broker's is not in it.
`send_task` pushes the message only; the script writes the job's record and its place among the waiting as well."""


@dataclass(frozen=True)
class Results:
    machine: Machine
    short: Timings
    short_stream: Timings
    fast: list[Pair]
    paced: list[Pair]


def show(results: Results, console: Console) -> None:
    console.print(_one_client("One client, one short answer at a time", "first byte", results.short))
    console.print(_one_client("One client, one short stream at a time", "first word", results.short_stream))
    console.print(_fast(results.fast))
    console.print(_paced(results.paced))
    console.print(_cpu([*results.fast, *results.paced]))
    _explain(console, METHOD, results.machine)


def show_enqueue(costs: dict[str, Cost], machine: Machine, console: Console) -> None:
    made = _table("Putting a job on its queue", "", "p50 ms", "p99 ms", "CPU ms", f"{AT_ONCE} at once, calls/s")
    for name, cost in costs.items():
        p50, p99 = (_ms(percentile(cost.call_s, percent)) for percent in (50, 99))
        cpu = _ms(cost.cpu_s / len(cost.call_s))
        made.add_row(name, p50, p99, cpu, f"{max(cost.burst_calls_per_s):,.0f}")
    console.print(made)
    _explain(console, ENQUEUE_METHOD, machine)


def as_json(results: Results) -> dict[str, Any]:
    return {
        "machine": asdict(results.machine),
        "one_client": {way: _timing_json(timings) for way, timings in results.short.items()},
        "one_client_stream": {way: _timing_json(timings) for way, timings in results.short_stream.items()},
        "as_fast_as_possible": [_pair_json(pair) for pair in results.fast],
        "paced": [_pair_json(pair) for pair in results.paced],
        "method": " ".join(METHOD.split()),
    }


def enqueue_json(costs: dict[str, Cost], machine: Machine) -> dict[str, Any]:
    figures = {
        name: {
            "call_ms": _percentiles_ms(cost.call_s),
            "cpu_ms_per_call": cost.cpu_s / len(cost.call_s) * 1000,
            "burst_calls_per_s": max(cost.burst_calls_per_s),
        }
        for name, cost in costs.items()
    }
    return {"machine": asdict(machine), "enqueue": figures, "method": " ".join(ENQUEUE_METHOD.split())}


def _one_client(title: str, first: str, timings: Timings) -> Table:
    made = _table(title, "", "", "direct\nms", "through\nms", "added\nms", "ratio")
    for what, field in ((first, "first_s"), ("the whole", "end_s")):
        for percent in PERCENTILES:
            direct, through = (
                percentile((getattr(timing, field) for timing in timings[way]), percent) for way in (DIRECT, THROUGH)
            )
            made.add_row(what, f"p{percent}", _ms(direct), _ms(through), _ms(through - direct), _ratio(through, direct))
    return made


def _fast(pairs: list[Pair]) -> Table:
    made = _table("Streams as fast as possible", "streams", "words\neach", *_twice("tokens/s"), "ratio", *_FIRST_WORD)
    for pair in pairs:
        direct, through = pair[DIRECT], pair[THROUGH]
        made.add_row(
            str(direct.load.streams),
            f"{direct.load.tokens:,}",
            f"{direct.tokens_per_s:,.0f}",
            f"{through.tokens_per_s:,.0f}",
            _ratio(through.tokens_per_s, direct.tokens_per_s),
            *_first_words(pair),
        )
    return made


def _paced(pairs: list[Pair]) -> Table:
    title = f"Streams at {pairs[0][DIRECT].load.tokens_per_s:g} tokens/s each"
    made = _table(title, "streams", *_twice("keep pace"), *_twice("late p99 ms"), *_FIRST_WORD)
    for pair in pairs:
        direct, through = pair[DIRECT], pair[THROUGH]
        made.add_row(
            str(direct.load.streams),
            f"{direct.keeping_pace:.0%}",
            f"{through.keeping_pace:.0%}",
            _ms(percentile(direct.late_s, 99)),
            _ms(percentile(through.late_s, 99)),
            *_first_words(pair),
        )
    return made


def _twice(what: str) -> tuple[str, str]:
    return f"{what}\ndirect", f"{what}\nthrough"


_FIRST_WORD = (*_twice("first word p50 ms"), "added\np50 ms", "added\np99 ms")


def _first_words(pair: Pair) -> tuple[str, str, str, str]:
    direct, through = pair[DIRECT].first_word_s, pair[THROUGH].first_word_s
    p50, p50_through = percentile(direct, 50), percentile(through, 50)
    added_p99 = percentile(through, 99) - percentile(direct, 99)
    return _ms(p50), _ms(p50_through), _ms(p50_through - p50), _ms(added_p99)


def _cpu(pairs: list[Pair]) -> Table:
    servers = ("engine\nalone", "front", "worker", "broker", "path", "path -\nengine")
    made = _table("CPU milliseconds per 1,000 tokens", "streams", "pace", *servers, "load\ngenerator")
    for pair in pairs:
        if pair[DIRECT].tokens < ENOUGH_TOKENS:
            continue
        alone, path = pair[DIRECT].cpu_s_per_1000_tokens(), pair[THROUGH].cpu_s_per_1000_tokens()
        generator, load = path.pop(GENERATOR), pair[DIRECT].load
        pace = f"{load.tokens_per_s:g}/s" if load.tokens_per_s else "fast"
        figures = [alone["engine"], *path.values(), sum(path.values()), sum(path.values()) - alone["engine"], generator]
        made.add_row(str(load.streams), pace, *(f"{seconds * 1000:.0f}" for seconds in figures))
    return made


def _explain(console: Console, method: str, machine: Machine) -> None:
    console.print(Text("Method. ", style="bold").append(" ".join(method.split()), style="not bold"))
    console.print(Text("Machine. ", style="bold").append(machine.words + ".", style="not bold"))


def _pair_json(pair: Pair) -> dict[str, Any]:
    load = pair[DIRECT].load
    ratio = pair[THROUGH].tokens_per_s / pair[DIRECT].tokens_per_s
    return {**asdict(load), "tokens_per_s_ratio": ratio, **{way: _run_json(run) for way, run in pair.items()}}


def _run_json(run: Run) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "total_tokens_per_s": run.tokens_per_s,
        "first_word_ms": _percentiles_ms(run.first_word_s),
        "cpu_s_per_1000_tokens": run.cpu_s_per_1000_tokens(),
    }
    if run.late_s:
        figures |= {"share_keeping_pace": run.keeping_pace, "latest_word_ms": _percentiles_ms(run.late_s)}
    return figures


def _timing_json(timings: list[Timing]) -> dict[str, Any]:
    return {
        "answers": len(timings),
        "first_ms": _percentiles_ms([timing.first_s for timing in timings]),
        "whole_answer_ms": _percentiles_ms([timing.end_s for timing in timings]),
    }


def _percentiles_ms(values_s: list[float]) -> dict[str, float]:
    return {f"p{percent}": percentile(values_s, percent) * 1000 for percent in PERCENTILES}


def _table(title: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        made.add_column(column, justify="right")
    return made


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def _ratio(value: float, base: float) -> str:
    return f"{value / base:.2f}"
