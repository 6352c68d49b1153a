"""What weighs the signals: a wide and deep network (Cheng et al. 2016, arXiv 1606.07792), served from plain numbers.
Pure, but for two files read at import, which `scripts/train_routing.py` writes.

Wide: each named signal and each piece of wording speaks for every kind by a weight of its own. Deep: a layer of
rectified units over the named signals, for what they mean together. In one request some units are at work and some are
not, and given those the whole is a sum of weights times values: so it can be said how much each signal did.
"""

import gzip
import math
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from familyai.kinds import Kind
from routing.features import Seen

Scores = dict[Kind, float]
Numbers = NDArray[np.float32]

DATA = files("routing").joinpath("data")
WORDING = "its wording"


@dataclass(frozen=True)
class Judged:
    """`scores`: log-odds up to a constant. `names`, `values` and `weights` (rows of `Network.signals`): of the signals
    that the network knows; `at_work`: which units are."""

    scores: Scores
    network: "Network"
    names: list[str]
    values: Numbers
    weights: Numbers
    at_work: NDArray[np.bool_]

    def contributions(self, kind: Kind, against: Kind) -> dict[str, float]:
        """How much each signal, and the wording, spoke for one kind against another, in log-odds."""
        net, one, other = self.network, self.network.kinds.index(kind), self.network.kinds.index(against)
        through = np.zeros_like(net.bias)
        through[one], through[other] = 1, -1
        through[len(net.kinds) :] = (net.outer[:, one] - net.outer[:, other]) * self.at_work
        each = self.values * (self.weights @ through)
        prior = float(net.bias @ through)
        of_wording = self.scores[kind] - self.scores[against] - prior - float(each.sum())
        return dict(zip(self.names, each.tolist(), strict=True)) | {WORDING: of_wording}


@dataclass(frozen=True)
class Network:
    """`named` and `wording`: which row is a signal's or a piece's. Shapes, of `k` kinds and `u` units: `signals` rows ×
    (k + u), for the kinds and for the units, and so `bias`; `outer` u × k, `pieces` rows × k, of which the first is no
    piece's."""

    kinds: tuple[Kind, ...]
    bias: Numbers
    named: dict[str, int]
    signals: Numbers
    outer: Numbers
    wording: dict[str, int]
    pieces: Numbers

    def judge(self, seen: Seen) -> "Judged":
        """What training never saw says nothing."""
        known = {name: value for name, value in seen.named.items() if name in self.named}
        weights = self.signals.take([*map(self.named.__getitem__, known)], 0)
        values = np.array([*known.values()], np.float32)
        both = values @ weights + self.bias
        wide, units = both[: len(self.kinds)], both[len(self.kinds) :]
        sums = wide + np.maximum(units, 0) @ self.outer + self._of_wording(seen)
        return Judged(dict(zip(self.kinds, sums.tolist(), strict=True)), self, [*known], values, weights, units > 0)

    def _of_wording(self, seen: Seen) -> Numbers:
        known = [list(filter(None, map(self.wording.get, pieces))) for _, pieces in seen.wording]
        values = np.repeat([value for value, _ in seen.wording], [len(rows) for rows in known])
        return values.astype(np.float32) @ self.pieces.take([*chain.from_iterable(known)], 0)


def shares(scores: Scores) -> Scores:
    """Probabilities of scores: softmax."""
    top = max(scores.values())
    powers = {kind: math.exp(score - top) for kind, score in scores.items()}
    total = sum(powers.values())
    return {kind: power / total for kind, power in powers.items()}


def network_of(document: dict[str, Any]) -> Network:
    """Of what the training wrote, in hundredths."""
    kinds = tuple(Kind(kind) for kind in document["kinds"])
    named, signals = _rows(document["signals"])
    wording, pieces = _rows({"": [0] * len(kinds)} | document["wording"])
    return Network(kinds, _numbers(document["bias"]), named, signals, _numbers(document["outer"]), wording, pieces)


def _rows(table: dict[str, list[int]]) -> tuple[dict[str, int], Numbers]:
    return {name: row for row, name in enumerate(table)}, _numbers(list(table.values()))


def _numbers(hundredths: list[Any]) -> Numbers:
    return np.array(hundredths, np.float32) / np.float32(100)


def load() -> Network:
    """The network that comes with the package."""
    weights = orjson.loads(DATA.joinpath("weights.json").read_bytes())
    wording = orjson.loads(gzip.decompress(DATA.joinpath("wording.json.gz").read_bytes()))
    return network_of({**weights, "wording": wording})
