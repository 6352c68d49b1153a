"""Fits the network that `routing.network` serves, with PyTorch.

Cross-entropy against what share of an example is of which kind; Adam under a one-cycle rate (Smith and Topin 2017,
arXiv 1708.07120). Few passes over the examples keep it from learning them by heart.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor, nn

NETWORKS = 3
"""Each from another beginning; what they say together is one wider network, and depends less on chance."""
UNITS = 64
DROPPED = {"units": 0.5, "pieces": 0.2}
"""In each step, of the units and of the wording."""
PASSES = 8
AT_ONCE = 256
RATE = 0.01

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """Of each example: its named signals, its wording, which share of it is of which kind, and how much it counts."""

    named: Numbers
    wording: csr_matrix
    shares: Numbers
    counts: Numbers


class WideAndDeep(nn.Module):
    def __init__(self, signals: int, pieces: int, kinds: int) -> None:
        super().__init__()
        self.wording = nn.EmbeddingBag(pieces, kinds, mode="sum")
        nn.init.zeros_(self.wording.weight)
        self.wide = nn.Linear(signals, kinds)
        self.inner = nn.Linear(signals, UNITS)
        self.dropout = nn.Dropout(DROPPED["units"])
        self.outer = nn.Linear(UNITS, kinds, bias=False)

    def forward(self, named: Tensor, pieces: Tensor, begin: Tensor, values: Tensor) -> Tensor:
        units = self.dropout(torch.relu(self.inner(named)))
        sums: Tensor = self.wording(pieces, begin, per_sample_weights=values) + self.wide(named) + self.outer(units)
        return sums


def fit(task: Task) -> dict[str, Numbers]:
    """The weights by their names in `routing.network`."""
    each = [_weights(_fitted(task, seed)) for seed in range(NETWORKS)]
    kinds = task.shares.shape[1]
    wide, inner = zip(*(np.split(weights["signals"], [kinds], axis=1) for weights in each), strict=True)
    for_kinds, for_units = zip(*(np.split(weights["bias"], [kinds]) for weights in each), strict=True)
    return {
        "bias": np.concatenate([np.mean(for_kinds, axis=0), *for_units]),
        "signals": np.hstack([np.mean(wide, axis=0), *inner]),
        "outer": np.concatenate([weights["outer"] for weights in each]) / NETWORKS,
        "pieces": np.mean([weights["pieces"] for weights in each], axis=0),
    }


def _fitted(task: Task, seed: int) -> WideAndDeep:
    torch.manual_seed(seed)
    network = WideAndDeep(task.named.shape[1], task.wording.shape[1], task.shares.shape[1])
    steps = [rows for number in range(PASSES) for rows in _shuffled(len(task.named), seed * PASSES + number)]
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=len(steps))
    for rows in steps:
        loss = _loss(network, task, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network


def _shuffled(count: int, number: int) -> list[NDArray[np.int64]]:
    order = np.random.RandomState(number).permutation(count)
    return [order[begin : begin + AT_ONCE] for begin in range(0, count, AT_ONCE)]


def _loss(network: WideAndDeep, task: Task, rows: NDArray[np.int64]) -> Tensor:
    words = task.wording[rows]
    pieces, begin = (torch.from_numpy(part.astype(np.int64)) for part in (words.indices, words.indptr[:-1]))
    values = nn.functional.dropout(torch.from_numpy(words.data), DROPPED["pieces"])
    sums = network(torch.from_numpy(task.named[rows]), pieces, begin, values)
    each = -(torch.from_numpy(task.shares[rows]) * torch.log_softmax(sums, 1)).sum(1)
    counts = torch.from_numpy(task.counts[rows])
    return each @ counts / counts.sum()


def _weights(network: WideAndDeep) -> dict[str, Numbers]:
    found = {
        "bias": torch.cat((network.wide.bias, network.inner.bias)),
        "signals": torch.cat((network.wide.weight, network.inner.weight)).T,
        "outer": network.outer.weight.T,
        "pieces": network.wording.weight,
    }
    return {name: weight.detach().numpy() for name, weight in found.items()}
