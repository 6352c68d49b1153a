"""The examination: what the router makes of every labelled request, and how much of that is right. Pure.

A decision is right if its kind is among those that the example accepts. Examples count for the best of theirs.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from familyai.allowance import Allowance
from familyai.catalogue import Prefer, Profile
from familyai.errors import RequestError
from familyai.kinds import CHAT, CODE, Kind
from routing.classify import LONGEST_CODE_TOKENS
from routing.conversation import read
from routing.decide import decide
from routing.estimate import text_tokens
from routing.examples import BLIND, Example
from routing.side_tasks import is_side_task

TRAINING, HELD_OUT, HOUSEHOLD = "training", "held-out", "household"
EXAMINED = (HELD_OUT, BLIND)
REFUSED = "refused"
"""Chosen where no queue could serve it."""
ANYTHING = Allowance()

LEAST_OF_ALL, LEAST_OF_EACH, ENOUGH = 0.95, 0.9, 10
"""What is to be reached: of all that is held out, and of each kind and language that has enough requests."""
EDGES = (0.0, 0.5, 0.7, 0.9, 1.0)
"""Of the bins of confidence."""


@dataclass(frozen=True)
class Graded:
    """An example and what was chosen for it. `tokens`: of what was said in it."""

    example: Example
    part: str
    chosen: str
    confidence: float
    tokens: int

    @property
    def best(self) -> Kind:
        return self.example.kinds[0]

    @property
    def is_right(self) -> bool:
        return self.chosen in self.example.kinds

    @property
    def text(self) -> str:
        """What was asked last."""
        return " ".join((read(self.example.body).asked or [""])[-1].split())


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    right: int
    count: int

    @property
    def value(self) -> float:
        """Not a number, where there is none."""
        return self.right / self.count if self.count else float("nan")


@dataclass(frozen=True)
class Bin:
    """Decisions about as sure."""

    low: float
    high: float
    confidence: float
    share: Share


@dataclass(frozen=True)
class Target:
    """What is to be reached, and what was."""

    words: str
    share: Share
    least: float

    @property
    def is_missed(self) -> bool:
        """Nothing that could be counted reaches nothing."""
        return not self.share.value >= self.least


CLASSES: dict[str, Callable[[Graded], bool]] = {
    "images": lambda one: one.best is Kind.VISION,
    "side tasks": lambda one: one.best is Kind.SIDE_TASK,
    f"code over {LONGEST_CODE_TOKENS:,} tokens": lambda one: one.best in CODE and one.tokens > LONGEST_CODE_TOKENS,
}
"""Where a single miss is too many."""


def part_of(example: Example) -> str:
    if example.source == BLIND:
        return BLIND
    return HELD_OUT if example.held_out else TRAINING


def grade(example: Example, part: str, profile: Profile) -> Graded:
    """What the router decides for it, whoever asks and whenever."""
    tokens = text_tokens(example.body)
    try:
        decision = decide(asked(example), profile, ANYTHING, prefer=preferred(example))
    except RequestError:
        return Graded(example, part, REFUSED, 1.0, tokens)
    return Graded(example, part, decision.kind, decision.confidence, tokens)


def asked(example: Example) -> dict[str, Any]:
    return example.body | {"model": "auto"}


def preferred(example: Example) -> Prefer | None:
    return Prefer(example.prefer) if example.prefer else None


def sure_kind(body: dict[str, Any]) -> Kind | None:
    """What our rules tell without weighing: every other router gets it as a gift."""
    conversation = read(body)
    if conversation.has_image:
        return Kind.VISION
    return Kind.SIDE_TASK if is_side_task(body, conversation) else None


def share(graded: Iterable[Graded]) -> Share:
    return share_of((one.example, one.chosen) for one in graded)


def share_of(choices: Iterable[tuple[Example, str]]) -> Share:
    marks = [chosen in example.kinds for example, chosen in choices]
    return Share(sum(marks), len(marks))


def shares_by(graded: Sequence[Graded], names: Callable[[Graded], Iterable[str]]) -> dict[str, Share]:
    """Of each name that any of them has, most requests first."""
    counts = Counter(name for one in graded for name in names(one))
    return {name: share([one for one in graded if name in names(one)]) for name, _ in counts.most_common()}


def by_kind(graded: Sequence[Graded]) -> dict[str, Share]:
    found = shares_by(graded, lambda one: [one.best])
    return {kind: found[kind] for kind in (*CODE, *CHAT, Kind.VISION, Kind.SIDE_TASK) if kind in found}


def by_language(graded: Sequence[Graded]) -> dict[str, Share]:
    return shares_by(graded, lambda one: [one.example.language])


def by_trap(graded: Sequence[Graded]) -> dict[str, Share]:
    return shares_by(graded, lambda one: one.example.traps)


def by_class(graded: Sequence[Graded]) -> dict[str, Share]:
    return {name: share(filter(belongs, graded)) for name, belongs in CLASSES.items()}


def confusion(graded: Iterable[Graded]) -> Counter[tuple[str, str]]:
    """How often what was chosen for which best label."""
    return Counter((one.best.value, str(one.chosen)) for one in graded)


def calibration(graded: Iterable[Graded]) -> list[Bin]:
    """Of what is weighed: images and side tasks are certain."""
    weighed = [one for one in graded if one.chosen in (*CODE, *CHAT)]
    return list(_bins(weighed))


def _bins(weighed: list[Graded]) -> Iterator[Bin]:
    for low, high in itertools.pairwise(EDGES):
        inside = [one for one in weighed if low <= one.confidence < high or one.confidence == high == EDGES[-1]]
        mean = sum(one.confidence for one in inside) / len(inside) if inside else float("nan")
        yield Bin(low, high, mean, share(inside))


def targets(examined: Sequence[Graded], labelled: Sequence[Graded]) -> list[Target]:
    """`labelled`: all there are; what must never be missed is counted in all of them."""
    each = {**by_kind(examined), **by_language(examined)}
    return [
        Target("all that was examined", share(examined), LEAST_OF_ALL),
        *(Target(name, found, LEAST_OF_EACH) for name, found in each.items() if found.count >= ENOUGH),
        *(Target(f"{name}, all there are", found, 1.0) for name, found in by_class(labelled).items()),
    ]
