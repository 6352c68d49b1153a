"""A linear model over named signals, served from plain numbers: softmax of sums of weights times values. Pure, but for
one file read at import, which `scripts/train_routing.py` writes."""

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from familyai.kinds import Kind
from routing.features import Seen

Scores = dict[Kind, float]

WORDING = "its wording"


Weights = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class LinearModel:
    """`named`: of each signal for each of the kinds, in their order; `wording`: the same of pieces of wording. Like
    `bias`, in hundredths."""

    kinds: tuple[Kind, ...]
    bias: tuple[int, ...]
    named: Weights
    wording: Weights

    def scores(self, seen: Seen) -> Scores:
        """Log-odds up to a constant. What training never saw says nothing."""
        sums = [bias + of_wording for bias, of_wording in zip(self.bias, self._of_wording(seen), strict=True)]
        for name, value in seen.named.items():
            for at, weight in enumerate(self.named.get(name, ())):
                sums[at] += weight * value
        return {kind: hundredths / 100 for kind, hundredths in zip(self.kinds, sums, strict=True)}

    def contributions(self, seen: Seen, scores: Scores, kind: Kind, against: Kind) -> dict[str, float]:
        """How much each signal, and the wording, spoke for one kind against another, in log-odds. `scores`: of the
        same."""
        one, other = self.kinds.index(kind), self.kinds.index(against)
        known = {name: weights for name in seen.named if (weights := self.named.get(name)) is not None}
        found = {name: seen.named[name] * (weights[one] - weights[other]) / 100 for name, weights in known.items()}
        prior = (self.bias[one] - self.bias[other]) / 100
        return found | {WORDING: scores[kind] - scores[against] - prior - sum(found.values())}

    def _of_wording(self, seen: Seen) -> list[float]:
        """The many pieces share a value, so they are added first."""
        sums = [0.0] * len(self.kinds)
        for value, pieces in seen.wording:
            known = [self.wording[piece] for piece in pieces if piece in self.wording]
            for at, total in enumerate(map(sum, zip(*known, strict=True))):
                sums[at] += value * total
        return sums


def shares(scores: Scores) -> Scores:
    """Probabilities of scores: softmax."""
    top = max(scores.values())
    powers = {kind: math.exp(score - top) for kind, score in scores.items()}
    total = sum(powers.values())
    return {kind: power / total for kind, power in powers.items()}


def model_of(document: dict[str, Any]) -> LinearModel:
    """Of what the training wrote."""
    named, wording = ({name: tuple(values) for name, values in document[sort].items()} for sort in ("named", "wording"))
    return LinearModel(tuple(Kind(kind) for kind in document["kinds"]), tuple(document["bias"]), named, wording)


def load() -> LinearModel:
    """The model that comes with the package."""
    return model_of(orjson.loads(files("routing").joinpath("data/weights.json").read_bytes()))
