#!/usr/bin/env python3
"""Trains the router's network on the labelled requests that are not held out; writes `routing/data/weights.json` and
`wording.json.gz`.

A wide and deep network (PyTorch; `routing_train/wide_and_deep.py`), and a logistic regression for side tasks. An
example that may be of several kinds counts for each of them, for its best most. `--try` prints the accuracy of
five-fold cross-validation over the training part instead, and writes nothing.
"""

import argparse
import gzip
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from routing_train.wide_and_deep import Numbers, Task, fit
from scipy.sparse import csr_matrix
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from familyai.kinds import CHAT, CODE, Kind
from routing.classify import LONGEST_CODE_TOKENS, seen_last
from routing.conversation import read
from routing.estimate import text_tokens
from routing.examples import MINED, MORE, Example, fingerprint, read_examples
from routing.features import Features, Seen, see
from routing.network import network_of
from routing.side_tasks import Signs, signs
from routing.wished import NOTHING, wished

TARGET = Path(__file__).resolve().parent.parent / "routing" / "data"
KINDS = (*CODE, *CHAT)
SOUGHT = (MINED, MORE)
SOUGHT_COUNTS = 0.35
"""Of an example that was looked for because it is hard: it shows where kinds meet, not how often they are asked for."""
BEST_SHARE = 0.7
"""Of an example that is of several kinds, what counts for its best."""
ROUNDS = 2
FEWEST_EXAMPLES = {"named": 20, "wording": 10}
"""What stands in so many counts."""
LEAST_WEIGHT = 8
"""In hundredths, of a piece of the wording for some kind."""
SIDE_TASK_PENALTY_C = 3.0
SIDE_TASK_COUNTS = 8.0


def training_part() -> list[Example]:
    """What a rule decides is nothing to learn from."""
    return [example for example in read_examples() if not example.held_out and _is_learned(example)]


def _is_learned(example: Example) -> bool:
    return example.kinds[0] in KINDS and not example.prefer and wished(example.body, None) == NOTHING


def kinds_of(example: Example) -> list[Kind]:
    """Of code that is too long for one kind, only that it is code is to be learnt."""
    if example.kinds[0] in CODE and text_tokens(example.body) > LONGEST_CODE_TOKENS:
        return list(CODE)
    return [kind for kind in example.kinds if kind in KINDS]


def targets(examples: list[Example]) -> tuple[Numbers, Numbers]:
    """Which share of each is of which kind, and how much each counts."""
    shares = np.zeros((len(examples), len(KINDS)), np.float32)
    for row, example in zip(shares, examples, strict=True):
        first, *others = (KINDS.index(kind) for kind in kinds_of(example))
        row[first] = BEST_SHARE if others else 1.0
        row[others] = (1 - BEST_SHARE) / max(1, len(others))
    counts = [SOUGHT_COUNTS if example.source.startswith(SOUGHT) else 1.0 for example in examples]
    return shares, np.array(counts, np.float32)


def trained(examples: list[Example]) -> dict[str, Any]:
    """Over and over: what a conversation was before its last turn is judged by the network that was trained last."""
    conversations = [read(example.body) for example in examples]
    found = [see(conversation.as_it_stood(1)[-1]) for conversation in conversations]
    for _ in range(ROUNDS):
        network = network_of(document(examples, found))
        for at, conversation in enumerate(conversations):
            if len(conversation.asked) > 1:
                found[at] = seen_last(conversation, network)
    return document(examples, found)


def document(examples: list[Example], found: list[Seen]) -> dict[str, Any]:
    """Trained on what was found in each. In hundredths, without what hardly counts, so that the file stays small."""
    names, named = matrix([seen.named for seen in found], FEWEST_EXAMPLES["named"])
    pieces, wording = matrix([_pieces(seen) for seen in found], FEWEST_EXAMPLES["wording"])
    weights = fit(Task(named.toarray(), wording, *targets(examples)))
    hundredths = {name: np.round(100 * weight).astype(int).tolist() for name, weight in weights.items()}
    telling = {
        piece: values
        for piece, values in zip(pieces, hundredths.pop("pieces"), strict=True)
        if max(map(abs, values)) >= LEAST_WEIGHT
    }
    signals = dict(zip(names, hundredths.pop("signals"), strict=True))
    return {"kinds": KINDS, **hundredths, "signals": signals, "wording": telling}


def matrix(found: list[Features], fewest: int) -> tuple[list[str], csr_matrix]:
    """Of what stands in so many examples: its names, in order, and its values in each."""
    counts = Counter(name for one in found for name in one)
    vectorizer = DictVectorizer(dtype=np.float32)
    values = vectorizer.fit_transform(
        [{name: value for name, value in one.items() if counts[name] >= fewest} for one in found]
    )
    return vectorizer.feature_names_, values.tocsr()


def _pieces(seen: Seen) -> Features:
    return {piece: value for value, pieces in seen.wording for piece in pieces}


def cross_validated(examples: list[Example]) -> float:
    """Over five folds of what was not looked for; the rest is always trained on."""
    usual = [example for example in examples if not example.source.startswith(SOUGHT)]
    sought = [example for example in examples if example.source.startswith(SOUGHT)]
    right = 0
    for train, test in KFold(5, shuffle=True, random_state=0).split(usual):
        network = network_of(trained([usual[at] for at in train] + sought))
        for example in (usual[at] for at in test):
            scores = network.judge(seen_last(read(example.body), network)).scores
            right += max(scores, key=scores.__getitem__) in kinds_of(example)
    return right / len(usual)


def side_task_document() -> dict[str, object]:
    """Of what chat UIs ask on their own, against everything else; those are few, and count for more. Files that hold
    none would drown them."""
    known = [example for example in read_examples() if not example.held_out and Kind.VISION not in example.kinds]
    examples = [example for example in known if not example.source.startswith(MORE)]
    is_side = [Kind.SIDE_TASK in example.kinds for example in examples]
    vectorizer = DictVectorizer()
    found = vectorizer.fit_transform([_signs(example) for example in examples])
    counts = [SIDE_TASK_COUNTS if side else 1.0 for side in is_side]
    model = LogisticRegression(C=SIDE_TASK_PENALTY_C, max_iter=3000).fit(found, is_side, sample_weight=counts)
    hundredths = np.round(100 * model.coef_[0]).astype(int).tolist()
    weights = dict(sorted(zip(vectorizer.feature_names_, hundredths, strict=True)))
    return {"bias": round(100 * float(model.intercept_[0])), "weights": weights}


def _signs(example: Example) -> Signs:
    conversation = read(example.body)
    turn = conversation.turns[-1]
    return signs(example.body, conversation, turn.text if turn.role == "user" else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--try", dest="only_try", action="store_true", help="cross-validate, write nothing")
    only_try = parser.parse_args().only_try
    examples = training_part()
    if only_try:
        print(f"{cross_validated(examples):.2%} right, by five-fold cross-validation over {len(examples)} requests")
        return
    weights = trained(examples) | {"side_task": side_task_document(), "made_from": fingerprint()}
    wording = gzip.compress(orjson.dumps(weights.pop("wording")), mtime=0)
    (TARGET / "wording.json.gz").write_bytes(wording)
    (TARGET / "weights.json").write_bytes(orjson.dumps(weights).replace(b'],"', b'],\n"') + b"\n")
    print(f"trained on {len(examples)} requests; wording: {len(wording) // 1000} kB")


if __name__ == "__main__":
    main()
