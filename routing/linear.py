"""A linear model over named signals, served from plain numbers: softmax of sums of weights times values. Pure, but for
one file read at import, which `scripts/train_routing.py` writes."""

import math
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import orjson

from familyai.kinds import Kind
from routing.features import Features

Scores = dict[Kind, float]


@dataclass(frozen=True)
class LinearModel:
    """`weights`: of each signal for each of the kinds, in their order; like `bias`, in hundredths."""

    kinds: tuple[Kind, ...]
    bias: tuple[int, ...]
    weights: dict[str, tuple[int, ...]]

    def scores(self, features: Features) -> Scores:
        """Log-odds up to a constant. Signals that training never saw say nothing."""
        sums = [float(hundredths) for hundredths in self.bias]
        for name, value in features.items():
            if (weights := self.weights.get(name)) is not None:
                for at, weight in enumerate(weights):
                    sums[at] += weight * value
        return {kind: hundredths / 100 for kind, hundredths in zip(self.kinds, sums, strict=True)}

    def contributions(self, features: Features, kind: Kind, against: Kind) -> dict[str, float]:
        """How much each signal spoke for one kind against another, in log-odds."""
        one, other = self.kinds.index(kind), self.kinds.index(against)
        known = {name: weights for name in features if (weights := self.weights.get(name)) is not None}
        return {name: features[name] * (weights[one] - weights[other]) / 100 for name, weights in known.items()}


def shares(scores: Scores) -> Scores:
    """Probabilities of scores: softmax."""
    top = max(scores.values())
    powers = {kind: math.exp(score - top) for kind, score in scores.items()}
    total = sum(powers.values())
    return {kind: power / total for kind, power in powers.items()}


def model_of(document: dict[str, Any]) -> LinearModel:
    """Of what the training wrote."""
    weights = {name: tuple(values) for name, values in document["weights"].items()}
    return LinearModel(tuple(Kind(kind) for kind in document["kinds"]), tuple(document["bias"]), weights)


def load() -> LinearModel:
    """The model that comes with the package."""
    return model_of(orjson.loads(files("routing").joinpath("data/weights.json").read_bytes()))
