#!/usr/bin/env python3
"""Trains the router's linear model on the labelled requests that are not held out; writes routing/data/weights.json.

Multinomial logistic regression with an L2 penalty (scikit-learn). An example that may be of several kinds counts for
each of them, for its best most. `--try` prints the accuracy of five-fold cross-validation over the training part
instead, and writes nothing.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from familyai.kinds import CHAT, CODE, Kind
from routing.classify import LONGEST_CODE_TOKENS, seen_last
from routing.conversation import read
from routing.estimate import text_tokens
from routing.examples import MINED, Example, fingerprint, read_examples
from routing.features import Features, Seen, see
from routing.linear import model_of
from routing.side_tasks import Signs, signs
from routing.wished import NOTHING, wished

TARGET = Path(__file__).resolve().parent.parent / "routing" / "data" / "weights.json"
KINDS = (*CODE, *CHAT)
WORD = "word: "
"""Before a piece of the wording, among the names of signals."""
MINED_COUNTS = 0.15
"""Of an example that was looked for because it is hard: it shows where kinds meet, not how often they are asked for."""
BEST_SHARE = 0.7
"""Of an example that is of several kinds, what counts for its best."""
PENALTY_C = 3.0
ROUNDS = 2
FEWEST_EXAMPLES = 5
"""A piece of the wording counts that stands in so many."""
LEAST_WEIGHT = 8
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


def rows(examples: list[Example]) -> tuple[list[int], list[int], list[float]]:
    """Which example, which kind, and how much it counts."""
    at, labels, weights = [], [], []
    for index, example in enumerate(examples):
        first, *others = kinds_of(example)
        shares = [BEST_SHARE, *[(1 - BEST_SHARE) / len(others)] * len(others)] if others else [1.0]
        for kind, share in zip((first, *others), shares, strict=True):
            at.append(index)
            labels.append(KINDS.index(kind))
            weights.append(share * (MINED_COUNTS if example.source.startswith(MINED) else 1.0))
    return at, labels, weights


def flat(seen: Seen) -> Features:
    """Named signals, and each piece of the wording."""
    return seen.named | {WORD + piece: value for value, pieces in seen.wording for piece in pieces}


def trained(examples: list[Example]) -> dict[str, Any]:
    """Over and over: what a conversation was before its last turn is judged by the model that was trained last."""
    conversations = [read(example.body) for example in examples]
    found = [flat(see(conversation.as_it_stood(1)[-1])) for conversation in conversations]
    for _ in range(ROUNDS):
        made = document(*fit(examples, found, PENALTY_C))
        model = model_of(made)
        for at, conversation in enumerate(conversations):
            if len(conversation.asked) > 1:
                found[at] = flat(seen_last(conversation, model))
    return document(*fit(examples, found, PENALTY_C))


def without_rare_words(found: list[Features]) -> list[Features]:
    counts = Counter(name for one in found for name in one)
    return [
        {name: value for name, value in one.items() if not name.startswith(WORD) or counts[name] >= FEWEST_EXAMPLES}
        for one in found
    ]


def fit(examples: list[Example], found: list[Features], penalty_c: float) -> tuple[DictVectorizer, LogisticRegression]:
    at, labels, weights = rows(examples)
    vectorizer = DictVectorizer()
    matrix = vectorizer.fit_transform(without_rare_words(found))
    return vectorizer, LogisticRegression(C=penalty_c, max_iter=3000).fit(matrix[at], labels, sample_weight=weights)


def cross_validated(examples: list[Example]) -> float:
    """Over five folds of what was not looked for; the rest is always trained on."""
    usual = [example for example in examples if not example.source.startswith(MINED)]
    mined = [example for example in examples if example.source.startswith(MINED)]
    right = 0
    for train, test in KFold(5, shuffle=True, random_state=0).split(usual):
        model = model_of(trained([usual[at] for at in train] + mined))
        for example in (usual[at] for at in test):
            scores = model.scores(seen_last(read(example.body), model))
            right += max(scores, key=scores.__getitem__) in kinds_of(example)
    return right / len(usual)


def document(vectorizer: DictVectorizer, model: LogisticRegression) -> dict[str, Any]:
    """In hundredths, sorted, without what hardly counts, so that the file stays small and so do its changes."""
    hundredths = np.round(100 * model.coef_.T).astype(int).tolist()
    columns = sorted(zip(vectorizer.feature_names_, hundredths, strict=True))
    known = {name: values for name, values in columns if max(map(abs, values)) >= LEAST_WEIGHT}
    wording = {name.removeprefix(WORD): values for name, values in known.items() if name.startswith(WORD)}
    named = {name: values for name, values in known.items() if not name.startswith(WORD)}
    bias = [round(100 * value) for value in model.intercept_.tolist()]
    return {"kinds": [KINDS[label] for label in model.classes_], "bias": bias, "named": named, "wording": wording}


def side_task_document() -> dict[str, object]:
    """Of what chat UIs ask on their own, against everything else; those are few, and count for more."""
    examples = [example for example in read_examples() if not example.held_out and Kind.VISION not in example.kinds]
    is_side = [Kind.SIDE_TASK in example.kinds for example in examples]
    vectorizer = DictVectorizer()
    matrix = vectorizer.fit_transform([_signs(example) for example in examples])
    counts = [SIDE_TASK_COUNTS if side else 1.0 for side in is_side]
    model = LogisticRegression(C=SIDE_TASK_PENALTY_C, max_iter=3000).fit(matrix, is_side, sample_weight=counts)
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
    data = orjson.dumps(trained(examples) | {"side_task": side_task_document(), "made_from": fingerprint()})
    TARGET.write_bytes(data.replace(b'],"', b'],\n"') + b"\n")
    print(f"trained on {len(examples)} requests: {TARGET.name}, {len(data) // 1000} kB")


if __name__ == "__main__":
    main()
