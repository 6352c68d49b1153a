"""What is killed, and when: fixed by the seed before anything starts, so that a failure can be run again. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    WORKER = "worker"
    FRONT = "front"
    BROKER = "broker"


SHARES = {Kind.WORKER: 0.5, Kind.FRONT: 0.3, Kind.BROKER: 0.2}


@dataclass(frozen=True)
class Kill:
    """`pause_s` after the one before, or after the load began, the first of these that is healthy is killed."""

    pause_s: float
    kind: Kind
    targets: tuple[str, ...]


def kills(seed: int, count: int, gap_s: float, targets: Mapping[Kind, Sequence[str]]) -> list[Kill]:
    """As many of each kind as its share says, in any order, `gap_s` apart on average."""
    dice = random.Random(f"{seed} kills")  # noqa: S311 (chance that can be repeated)
    kinds = [kind for kind in Kind for _ in range(round(SHARES[kind] * count))]
    kinds = (kinds + [Kind.WORKER] * count)[:count]
    dice.shuffle(kinds)
    return [Kill(dice.uniform(0.2, 1.8) * gap_s, kind, _shuffled(dice, targets[kind])) for kind in kinds]


def _shuffled(dice: random.Random, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dice.sample(names, len(names)))
