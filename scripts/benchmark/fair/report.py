"""One table for a person, JSON for a program, and how it was measured."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..machine import Machine
from .crowd import LONG_TOKENS, SHORT_TOKENS, TOKENS_PER_S
from .figures import Forecast, relative, within_factor
from .forecasts import LENGTHS, LOAD, Forecasts
from .scenarios import LONGER, Figures
from .variants import COMPARED, FIFO, FIFO_WITHOUT_RESERVE, OURS, PLACES, Variant

FACTOR = 2.0

METHOD = f"""\
Stacks of front, Celery worker and echo engine on databases of one broker, started together, asked one at a time in
this one run; who begins changes from round to round. Each has {PLACES} places: FIFO is one lane, round robin is lanes
and kombu's own round_robin_cycle, least service is lanes with slots {OURS.slots} and a reserve of {OURS.reserve_slots}.
Floods are open connections that each ask again as soon as they were answered: answers of about {LONG_TOKENS} words at
{TOKENS_PER_S:g} words/s, so that the engine is what is scarce, not the CPU; short questions get {SHORT_TOKENS} words.
Every answer is compared word for word with the one that was due. First word: from the request to the first word's
event, comments on the wait left out. Residual: what a running job of the flood still takes, seen at any moment, on
average. Jain's index is over words that came while all members waited (with prompts of unequal length over what words
and prompts cost). Figures are medians of the rounds; ratios are made within a round first. The load generator shares
the cores with all servers. ETA: bursts at {LOAD:.0%} of what the model can do, answers of {min(LENGTHS)} to
{max(LENGTHS)} words, every other of them without saying how long; of waits of a second or more, forecast when the job
was enqueued, and when its client was first told."""


REAL_METHOD = f"""\
Stacks of broker, front and Celery worker with vLLM and the embedded model on the CPU, one after the other, with
{PLACES} places each: FIFO is one lane, round robin is lanes and kombu's own round_robin_cycle, least service is lanes
with slots {OURS.slots} and a reserve of {OURS.reserve_slots}. First word, residual time and Jain's index as with the
echo engine; what the words are is not checked. Beside a flood the quiet member is answered far more often in some than
in others, and every answer begins with a prompt to read: tokens/s compare only between the two floods."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `to`: shown as a ratio to what this variant had, in the same round."""

    words: str
    key: str
    form: str = "{:.1f}"
    to: Variant | None = None
    goal: str = ""


ROWS = (
    Row("short question alone, first word p50, ms", "alone_p50_ms"),
    Row("  p99, ms", "alone_p99_ms"),
    Row("beside a flood, p50, ms", "quiet_p50_ms", "{:,.1f}"),
    Row("  p99, ms", "quiet_p99_ms", "{:,.1f}"),
    Row("  p50 / alone", "quiet_p50_to_alone", "{:,.2f}"),
    Row("  p99 / alone", "quiet_p99_to_alone", "{:,.2f}"),
    Row("  questions asked in the time", "quiet_questions", "{:,.0f}"),
    Row("one job's residual time, ms", "residual_ms"),
    Row("p99 / (1.5 x alone + residual)", "quiet_p99_to_limit", "{:,.2f}", goal="<= 1"),
    Row("flood and quiet member, tokens/s", "flood_and_quiet_tokens_per_s", "{:,.0f}"),
    Row(
        "  to FIFO with as many slots",
        "flood_and_quiet_tokens_per_s",
        "{:.3f}",
        to=FIFO_WITHOUT_RESERVE,
        goal=">= 0.97",
    ),
    Row("  to FIFO with as many places", "flood_and_quiet_tokens_per_s", "{:.3f}", to=FIFO),
    Row("two floods, one of four times as many: Jain's index", "jain", "{:.4f}", goal=">= 0.98"),
    Row("  tokens/s", "tokens_per_s", "{:,.0f}"),
    Row("  tokens/s, to FIFO", "tokens_per_s", "{:.3f}", to=FIFO, goal=">= 0.97"),
    Row("  cores in use", "cores_used", "{:.2f}"),
    Row("one flood alone, tokens/s", "one_flood_tokens_per_s", "{:,.0f}"),
    Row("  to FIFO with as many slots", "one_flood_tokens_per_s", "{:.3f}", to=FIFO_WITHOUT_RESERVE, goal=">= 0.97"),
    Row("weights 2:1, served", "heavy_to_light", "{:.2f}", goal="2"),
    Row(f"prompts {LONGER} x as long: Jain's index", "jain_long_prompts", "{:.4f}", goal=">= 0.98"),
    Row("  prompts that take no time", "jain_long_prompts_at_no_time", "{:.4f}"),
    Row("two workers: Jain's index", "jain_two_workers", "{:.4f}", goal=">= 0.98"),
    Row("  tokens/s, to FIFO", "two_workers_tokens_per_s", "{:.3f}", to=FIFO, goal=">= 0.97"),
    Row("  quiet member, p50, ms", "quiet_two_workers_p50_ms", "{:,.1f}"),
    Row("  p99, ms", "quiet_two_workers_p99_ms", "{:,.1f}"),
    Row("all priorities flooded: quiet member, p50, ms", "quiet_priorities_p50_ms", "{:,.1f}"),
    Row("  p99, ms", "quiet_priorities_p99_ms", "{:,.1f}"),
    Row("  share of background", "background_share", "{:.1%}", goal="~10 %"),
    Row("  share of batch", "batch_share", "{:.1%}", goal="~5 %"),
    Row("latecomer's share from when it came", "latecomer_share", "{:.1%}", goal="~50 %"),
    Row("one asks for 4 answers at once: Jain's index", "jain_wide", "{:.4f}", goal=">= 0.98"),
    Row("tiny answers as fast as possible, jobs/s", "tiny_jobs_per_s", "{:,.0f}"),
    Row("  to FIFO", "tiny_jobs_per_s", "{:.3f}", to=FIFO),
)


@dataclass
class Results:
    """Figures of all rounds, by row and variant."""

    machine: Machine
    method: str = METHOD
    values: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    forecasts: Forecasts | None = None

    def add(self, variant: str, figures: Figures) -> None:
        for key, value in figures.items():
            self.values[key][variant].append(value)

    def last(self, variant: str) -> Figures:
        """Of each row the latest round's."""
        return {key: rounds[variant][-1] for key, rounds in self.values.items() if rounds[variant]}


def show(results: Results, console: Console) -> None:
    made = Table(title="Fairness", title_justify="left", title_style="bold")
    made.add_column("")
    for column in (*(variant.name for variant in COMPARED), "to beat"):
        made.add_column(column, justify="right")
    for row in ROWS:
        cells = _cells(row, results.values.get(row.key, {}))
        if any(cells):
            made.add_row(row.words, *cells, row.goal)
    if results.forecasts:
        for words, share in _honest(results.forecasts):
            made.add_row(words, "", "", share, ">= 80 %")
    console.print(made)
    for name, text in (("Method", " ".join(results.method.split())), ("Machine", f"{results.machine.words}.")):
        console.print(Text(f"{name}. ", style="bold").append(text, style="not bold"))


def as_json(results: Results) -> dict[str, Any]:
    forecasts = asdict(results.forecasts) if results.forecasts else None
    return {
        "machine": asdict(results.machine),
        "rounds": results.values,
        "forecasts": forecasts,
        "method": " ".join(results.method.split()),
    }


def _cells(row: Row, values: Mapping[str, list[float]]) -> list[str]:
    return [_cell(row, values, variant.name) for variant in COMPARED]


def _cell(row: Row, values: Mapping[str, list[float]], variant: str) -> str:
    base = values.get(row.to.name) if row.to else None
    if not values.get(variant) or (row.to and not base):
        return ""
    figure = relative(values[variant], base) if base else median(values[variant])
    return row.form.format(figure)


def _honest(forecasts: Forecasts) -> list[tuple[str, str]]:
    rows = (("ETA within a factor of two", forecasts.made), ("  as its client was told", forecasts.told))
    return [(f"{words} (of {len(pairs)} waits)", _share(pairs)) for words, pairs in rows if pairs]


def _share(pairs: list[Forecast]) -> str:
    return f"{within_factor(pairs, FACTOR):.0%}"
