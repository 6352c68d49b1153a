"""The served model is the trained one: sums of weights times values."""

import math

import pytest

from familyai.kinds import CHAT, CODE, Kind
from routing.features import Seen
from routing.linear import load, model_of, shares

MODEL = model_of(
    {
        "kinds": ["chat-fast", "chat-reasoning"],
        "bias": [10, -10],
        "named": {"asks": [100, 0], "asks for mathematics": [-100, 300]},
        "wording": {"prove": [0, 50], "that": [20, 10]},
    }
)
SEEN = Seen(
    {"asks": 0.5, "asks for mathematics": 1.0, "never seen": 9.0},
    ((2.0, frozenset({"prove", "that", "unheard of"})),),
)


def test_scores_are_sums_and_what_training_never_saw_says_nothing() -> None:
    scores = MODEL.scores(SEEN)
    assert scores == {Kind.CHAT_FAST: pytest.approx(0.0), Kind.CHAT_REASONING: pytest.approx(4.1)}


def test_contributions_add_up_to_the_difference_of_the_scores() -> None:
    scores = MODEL.scores(SEEN)
    parts = MODEL.contributions(SEEN, scores, Kind.CHAT_REASONING, Kind.CHAT_FAST)

    expected = {"asks": -0.5, "asks for mathematics": 4.0, "its wording": 0.8}
    assert parts == {name: pytest.approx(weight) for name, weight in expected.items()}
    bias = MODEL.scores(Seen({}))
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
    assert all(len(weights) == len(model.kinds) for weights in (model.named | model.wording).values())
