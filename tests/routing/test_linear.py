"""The served model is the trained one: sums of weights times values."""

import math

import pytest

from familyai.kinds import CHAT, CODE, Kind
from routing.linear import load, model_of, shares

MODEL = model_of(
    {
        "kinds": ["chat-fast", "chat-reasoning"],
        "bias": [10, -10],
        "weights": {"asks": [100, 0], "asks for mathematics": [-100, 300]},
    }
)


def test_scores_are_sums_and_what_training_never_saw_says_nothing() -> None:
    scores = MODEL.scores({"asks": 0.5, "asks for mathematics": 1.0, "never seen": 9.0})
    assert scores == {Kind.CHAT_FAST: pytest.approx(-0.4), Kind.CHAT_REASONING: pytest.approx(2.9)}


def test_contributions_add_up_to_the_difference_of_the_scores() -> None:
    seen = {"asks": 0.5, "asks for mathematics": 1.0, "never seen": 9.0}
    parts = MODEL.contributions(seen, Kind.CHAT_REASONING, Kind.CHAT_FAST)
    scores = MODEL.scores(seen)

    assert parts == {"asks": pytest.approx(-0.5), "asks for mathematics": pytest.approx(4.0)}
    bias = MODEL.scores({})
    difference = scores[Kind.CHAT_REASONING] - scores[Kind.CHAT_FAST]
    assert sum(parts.values()) + bias[Kind.CHAT_REASONING] - bias[Kind.CHAT_FAST] == pytest.approx(difference)


def test_shares_are_probabilities() -> None:
    odds = shares({Kind.CHAT_FAST: 0.0, Kind.CHAT_REASONING: math.log(3)})
    assert odds == {Kind.CHAT_FAST: pytest.approx(0.25), Kind.CHAT_REASONING: pytest.approx(0.75)}
    assert shares({Kind.CHAT_FAST: 5000.0, Kind.VISION: -5000.0})[Kind.CHAT_FAST] == 1


def test_the_model_of_the_package_knows_every_kind() -> None:
    model = load()
    assert set(model.kinds) == {*CODE, *CHAT}
    assert len(model.bias) == len(model.kinds)
    assert all(len(weights) == len(model.kinds) for weights in model.weights.values())
