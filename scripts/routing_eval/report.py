"""The examination as tables for a person and as JSON for a program, with how each figure was taken."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from familyai.kinds import CHAT, CODE, Kind
from routing.examples import BLIND, Example

from . import exam
from .exam import EXAMINED, HELD_OUT, HOUSEHOLD, TRAINING, Graded, Share
from .speed import Growth, Timing

PARTS = (TRAINING, HELD_OUT, BLIND, HOUSEHOLD)
OURS, KEYWORDS = "ours", "keywords"
ERROR_CHARACTERS = 100
BOTH = " + ".join(EXAMINED)


@dataclass
class Results:
    """`others`: what each other router chooses for every request, and on the chat ladder where that differs.

    `parts`: those that the closer tables look at. `notes`: what is to be said of the others.
    """

    graded: list[Graded]
    parts: tuple[str, ...]
    others: dict[str, tuple[list[str], list[str]]]
    notes: list[str] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)
    growth: Growth | None = None

    @property
    def examined(self) -> list[Graded]:
        return [one for one in self.graded if one.part in self.parts]

    @property
    def labelled(self) -> list[Graded]:
        return [one for one in self.graded if one.part != HOUSEHOLD]

    @property
    def wrong(self) -> list[Graded]:
        return [one for one in self.examined if not one.is_right]

    @property
    def targets(self) -> list[exam.Target]:
        return exam.targets(self.examined, self.labelled)


def show(results: Results, console: Console) -> None:
    for table, method in _tables(results):
        console.print(table)
        console.print(" ".join(method.split()), style="dim", markup=False, soft_wrap=False)
        console.print()


def show_errors(results: Results, console: Console) -> None:
    made = _table("Wrong decisions", "id", "label", "chosen", "sure", "asked last")
    for column in made.columns:
        column.justify = "left"
    for one in results.wrong:
        label = " | ".join(one.example.kinds)
        asked = Text(one.text[:ERROR_CHARACTERS])
        made.add_row(one.example.id, label, one.chosen, f"{one.confidence:.2f}", asked)
    console.print(made)


def show_targets(results: Results, console: Console) -> bool:
    """Whether none is missed."""
    missed = [target for target in results.targets if target.is_missed]
    for target in missed:
        console.print(
            f"missed: {target.words}: {percent(target.share)} of {target.share.count}, {target.least:.0%} is due"
        )
    if not missed:
        console.print(f"all {len(results.targets)} targets of accuracy are reached")
    return not missed


def _tables(results: Results) -> Iterator[tuple[Table, str]]:
    of = " + ".join(results.parts)
    examined = results.examined
    yield _numbers(results.graded), NUMBERS
    yield _accuracy(results), " ".join([ACCURACY, *results.notes])
    for what, found in (("kind", exam.by_kind), ("language", exam.by_language), ("trap", exam.by_trap)):
        yield _each(f"Ours by {what}", what, found(examined)), f"Of {of}. {EACH[what]}"
    yield _confusion(examined), f"Of {of}. {CONFUSION}"
    yield _classes(results), CLASSES
    yield _calibration(examined), f"Of {of}. {CALIBRATION}"
    if results.timings:
        yield _timings(results.timings), TIMINGS
    if results.growth is not None:
        yield _growth(results.growth), GROWTH


NUMBERS = """Counted by the best label of each. Held out by a hash of its id, or, as `blind`, whole: whoever wrote that
file had only the page that says what belongs to which kind. Nothing held out was ever trained on."""
ACCURACY = """A decision is right if its kind is among those the example accepts. `chat ladder`: the same, of all that
is held out and is chat by its best label; a chat taken for code is wrong."""
EACH = {
    "kind": "By the best label.",
    "language": "What the person speaks.",
    "trap": "One request may have several.",
}
CONFUSION = "Rows: best label; columns: what was chosen; in brackets: how many of these no label accepts."
CLASSES = """Images and side tasks by their label; code by its label and by the estimated tokens of all that was said.
To be 100 % everywhere, in the training part too."""
CALIBRATION = """Of what the model weighs: without images and side tasks, which are certain. The confidence is the one
that the decision says, the accuracy that of the same decisions."""
TIMINGS = """decide() whole: parsed body and catalogue in, decision out, one thread. Ordinary: all that is held out with
less than 4,000 characters of text, five times each, every single decision counted. CPU: the thread's own time, which is
what the target is held against; wall: with whatever else the machine did meanwhile."""
GROWTH = """Over the held-out requests again and again, after 2,000 to warm up: the process's resident memory, and then
what Python's tracemalloc still holds of decisions that are over; both after a garbage collection."""


def _numbers(graded: list[Graded]) -> Table:
    made = _table(
        "Requests", "", *(present := [part for part in PARTS if any(one.part == part for one in graded)]), "all"
    )
    for name, belongs in _groups(graded):
        counts = Counter(one.part for one in graded if belongs(one))
        made.add_row(name, *(f"{counts[part]:,}" for part in present), f"{counts.total():,}")
    return made


def _groups(graded: list[Graded]) -> Iterator[tuple[str, Callable[[Graded], bool]]]:
    yield "all", lambda _: True
    for kind in exam.by_kind(graded):
        yield kind, partial(_is_of_kind, kind)
    for language in exam.by_language(graded):
        yield language, partial(_is_in, language)


def _is_of_kind(kind: str, one: Graded) -> bool:
    return one.best == kind


def _is_in(language: str, one: Graded) -> bool:
    return one.example.language == language


def _is_of_part(part: str, one: Graded) -> bool:
    return one.part == part


def _accuracy(results: Results) -> Table:
    columns = list(_columns(results.graded))
    made = _table("Accuracy", "", *(name for name, _, _ in columns))
    for name, (chosen, on_ladder) in _contestants(results).items():
        shares = [
            _share_where(results.graded, on_ladder if is_ladder else chosen, belongs)
            for _, is_ladder, belongs in columns
        ]
        made.add_row(name, *map(percent, shares))
    return made


def _columns(graded: list[Graded]) -> Iterator[tuple[str, bool, Callable[[Graded], bool]]]:
    """What each is called, whether it is the chat ladder, and what belongs to it."""
    for part in PARTS[1:]:
        if any(one.part == part for one in graded):
            yield part, False, partial(_is_of_part, part)
    yield BOTH, False, lambda one: one.part in EXAMINED
    yield "chat ladder", True, lambda one: one.part in EXAMINED and one.best in CHAT


def _contestants(results: Results) -> dict[str, tuple[list[str], list[str]]]:
    ours = [one.chosen for one in results.graded]
    return {OURS: (ours, ours), **results.others}


def _share_where(graded: list[Graded], chosen: Sequence[str], belongs: Callable[[Graded], bool]) -> Share:
    pairs: Iterator[tuple[Graded, str]] = zip(graded, chosen, strict=True)
    choices: list[tuple[Example, str]] = [(one.example, kind) for one, kind in pairs if belongs(one)]
    return exam.share_of(choices)


def _each(title: str, what: str, shares: dict[str, Share]) -> Table:
    made = _table(title, what, "requests", "right", "accuracy")
    for name, found in shares.items():
        made.add_row(name, f"{found.count:,}", f"{found.right:,}", percent(found))
    return made


def _confusion(graded: list[Graded]) -> Table:
    counts, wrong = exam.confusion(graded), exam.confusion(one for one in graded if not one.is_right)
    kinds = [*CODE, *CHAT, Kind.VISION, Kind.SIDE_TASK]
    chosen = [*kinds, *([exam.REFUSED] if any(one.chosen == exam.REFUSED for one in graded) else [])]
    made = _table("Confusion", "", *(name.replace("-", "-\n", 1) for name in chosen))
    for label in kinds:
        cells = ((counts[label, name], wrong[label, name]) for name in chosen)
        made.add_row(label, *(f"{count} ({bad})" if bad else str(count or "·") for count, bad in cells))
    return made


def _classes(results: Results) -> Table:
    held_out = [one for one in results.labelled if one.part in EXAMINED]
    made = _table("Never to be missed", "", "requests\nheld out", "accuracy", "requests\nof all", "accuracy")
    everywhere = exam.by_class(results.labelled)
    for name, found in exam.by_class(held_out).items():
        every = everywhere[name]
        made.add_row(name, str(found.count), percent(found), str(every.count), percent(every))
    return made


def _calibration(graded: list[Graded]) -> Table:
    made = _table("Calibration", "confidence", "requests", "mean confidence", "accuracy")
    for found in exam.calibration(graded):
        mean = f"{found.confidence:.1%}" if found.share.count else "-"
        made.add_row(f"{found.low:.1f} to {found.high:.1f}", str(found.share.count), mean, percent(found.share))
    return made


def _timings(timings: list[Timing]) -> Table:
    made = _table("Latency in ms", "", "decisions", *("CPU p50", "p99", "max"), *("wall p50", "p99"), "p99 due", "")
    for timed in timings:
        figures = (timed.cpu_p50, timed.cpu_p99, timed.cpu_max, timed.wall_p50, timed.wall_p99)
        reached = "reached" if timed.cpu_p99 < timed.limit else "missed"
        made.add_row(timed.what, f"{timed.decisions:,}", *(f"{ms:.2f}" for ms in figures), f"{timed.limit:g}", reached)
    return made


def _growth(growth: Growth) -> Table:
    made = _table("Memory", "", "decisions", "growth in kB")
    made.add_row("resident", f"{growth.decisions:,}", f"{growth.rss_kb:,.0f}")
    made.add_row("held by Python", f"{growth.traced_decisions:,}", f"{growth.traced_kb:,.1f}")
    return made


def as_json(results: Results) -> dict[str, Any]:
    examined = results.examined
    return {
        "parts": list(results.parts),
        "requests": dict(Counter(one.part for one in results.graded)),
        "accuracy": {name: _accuracy_json(results, *chosen) for name, chosen in _contestants(results).items()},
        "notes": results.notes,
        "kinds": _shares_json(exam.by_kind(examined)),
        "languages": _shares_json(exam.by_language(examined)),
        "traps": _shares_json(exam.by_trap(examined)),
        "confusion": [[*pair, count] for pair, count in exam.confusion(examined).items()],
        "never_to_be_missed": _shares_json(exam.by_class(results.labelled)),
        "calibration": [
            {"from": one.low, "to": one.high, "confidence": one.confidence, **_share_json(one.share)}
            for one in exam.calibration(examined)
        ],
        "latency_ms": [asdict(timed) for timed in results.timings],
        "memory": asdict(results.growth) if results.growth else None,
        "wrong": [_error_json(one) for one in results.wrong],
        "missed_targets": [target.words for target in results.targets if target.is_missed],
    }


def _accuracy_json(results: Results, chosen: list[str], on_ladder: list[str]) -> dict[str, Any]:
    return {
        name: _share_json(_share_where(results.graded, on_ladder if is_ladder else chosen, belongs))
        for name, is_ladder, belongs in _columns(results.graded)
    }


def _shares_json(shares: dict[str, Share]) -> dict[str, Any]:
    return {str(name): _share_json(found) for name, found in shares.items()}


def _share_json(found: Share) -> dict[str, Any]:
    return {"requests": found.count, "right": found.right, "accuracy": found.value}


def _error_json(one: Graded) -> dict[str, Any]:
    said = {"label": list(one.example.kinds), "chosen": one.chosen, "confidence": one.confidence}
    return {"id": one.example.id, **said, "asked_last": one.text[:ERROR_CHARACTERS]}


def percent(found: Share) -> str:
    return f"{found.value:.1%}" if found.count else "-"


def _table(title: str, first: str, *columns: str) -> Table:
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    made.add_column(first)
    for column in columns:
        made.add_column(column, justify="right")
    return made
