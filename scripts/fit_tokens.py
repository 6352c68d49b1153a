#!/usr/bin/env python3
"""Fits the weights of `routing/tokens.py` to the real tokenizer, and prints them with their error.

Method: FOLDER holds a folder of UTF-8 texts for each class (`en/`, `code/`, `zh/`, …). Every fifth text is held out, by
the hash of its name. Texts are cut into stretches of 40 to 4,000 characters. Each class counts the same, and each
stretch by its relative error; no weight is below 0 (non-negative least squares), so more text is never estimated as
less. Three rounds, in which what is far off counts less and less, keep oddities from bending the rest.

VOCABULARY is Qwen's `qwen.tiktoken`. To try another pattern, add it in `routing/tokens.py` with any weight. Needs
numpy, scipy and tiktoken.
"""

import argparse
import base64
import random
import zlib
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tiktoken
from scipy.optimize import nnls

from routing import tokens

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TABLES = ("ASCII_SHAPES", "ASCII_LETTERS", "OTHER_SHAPES", "OTHER_LETTERS")
LENGTHS = (60, 120, 250, 500, 800, 1_500, 3_000)


class Stretch(NamedTuple):
    kind: str
    held_out: bool
    text: str
    truth: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocabulary", type=Path, metavar="VOCABULARY")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    args = parser.parse_args()
    stretches = list(cut(args.folder, tokenizer(args.vocabulary)))
    counts = np.array([counted(stretch.text) for stretch in stretches])
    weights = fit(stretches, counts)
    print_tables(weights)
    print_errors(stretches, counts[:, 0] + counts[:, 1:] @ weights)


def tokenizer(vocabulary: Path) -> tiktoken.Encoding:
    pairs = (line.split() for line in vocabulary.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in pairs}
    return tiktoken.Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={})


def cut(folder: Path, encoding: tiktoken.Encoding) -> Any:
    """Yields stretches; which ones depends on the names of the files only."""
    for path in sorted(folder.glob("*/*")):
        text, seed = path.read_bytes().decode(), zlib.crc32(path.name.encode())
        chance, at = random.Random(seed), 0  # noqa: S311
        while at < len(text):
            part = text[at : at + int(chance.choice(LENGTHS) * chance.uniform(0.7, 1.3))]
            at += len(part)
            if len(part.strip()) >= 40:
                truth = len(encoding.encode_ordinary(part))
                yield Stretch(path.parent.name, seed % 5 == 0, part, truth)


def counted(text: str) -> list[int]:
    data = text.encode(errors="surrogatepass")
    shape = tokens.shape_of(data)
    views = (shape, data, shape, data)
    return [tokens.pieces_of(shape)] + [
        view.count(p) for view, name in zip(views, TABLES, strict=True) for p in getattr(tokens, name)
    ]


def fit(stretches: list[Stretch], counts: Any) -> Any:
    learnt = np.array([not stretch.held_out for stretch in stretches])
    truth = np.array([stretch.truth for stretch in stretches], float)
    kinds, place, sizes = np.unique([s.kind for s in stretches], return_inverse=True, return_counts=True)
    importance = np.sqrt(len(kinds) / sizes[place]) / np.maximum(truth, 40)
    trust = np.ones(len(truth))
    for _ in range(3):
        scale = (importance * trust)[learnt]
        weights, _ = nnls(counts[learnt, 1:] * scale[:, None], (truth - counts[:, 0])[learnt] * scale, maxiter=10_000)
        off = abs(counts[:, 0] + counts[:, 1:] @ weights - truth) / np.maximum(truth, 30)
        trust = 1 / np.sqrt(np.maximum(1, off / 0.1))
    return np.round(weights, 2)


def print_tables(weights: Any) -> None:
    left = list(weights)
    for name in TABLES:
        pairs = [(pattern, float(left.pop(0))) for pattern in getattr(tokens, name)]
        print(f"{name} = {{\n" + "".join(f"    {p!r}: {weight},\n" for p, weight in sorted(pairs) if weight) + "}")


def print_errors(stretches: list[Stretch], estimates: Any) -> None:
    """Of what was held out: of each class in sum, and of its texts of over 200 characters one by one."""
    kinds = defaultdict(list)
    for stretch, estimate in zip(stretches, estimates, strict=True):
        if stretch.held_out and len(stretch.text) > 200:
            kinds[stretch.kind].append((estimate, stretch.truth))
    for kind, pairs in kinds.items():
        found, truth = np.array(pairs).T
        off = 100 * abs(found / truth - 1)
        middle, most = np.quantile(off, (0.5, 0.95))
        print(f"{kind:14}{len(pairs):5} texts, in sum {100 * (found.sum() / truth.sum() - 1):+6.1f} %", end="")
        print(
            f", each: median {middle:4.1f} %, 95 % within {most:4.1f} %, within 15 %: {100 * (off <= 15).mean():3.0f} %"
        )


if __name__ == "__main__":
    main()
