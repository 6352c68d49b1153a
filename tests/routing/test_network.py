"""The served network is the trained one: sums of weights times values, and of units that are at work or not."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.kinds import CHAT, CODE, Kind
from routing.features import Seen
from routing.network import load, network_of, shares

NETWORK = network_of(
    {
        "kinds": ["chat-fast", "chat-reasoning"],
        "bias": [10, -10, -50],
        "signals": {"asks": [100, 0, 0], "asks for mathematics": [-100, 300, 100]},
        "outer": [[0, 200]],
        "wording": {"prove": [0, 50], "that": [20, 10]},
    }
)
PACKAGED = load()
WORDING = ((2.0, frozenset({"prove", "that", "unheard of"})),)
SEEN = Seen({"asks": 0.5, "asks for mathematics": 1.0, "never seen": 9.0}, WORDING)


def test_scores_are_sums_and_what_training_never_saw_says_nothing() -> None:
    scores = NETWORK.judge(SEEN).scores
    assert scores == {Kind.CHAT_FAST: pytest.approx(0.0), Kind.CHAT_REASONING: pytest.approx(5.1)}


def test_a_unit_that_is_not_at_work_says_nothing() -> None:
    scores = NETWORK.judge(Seen({"asks": 0.5, "asks for mathematics": 0.5})).scores
    assert scores == {Kind.CHAT_FAST: pytest.approx(0.1), Kind.CHAT_REASONING: pytest.approx(1.4)}


def test_nothing_seen_leaves_what_is_usual() -> None:
    scores = NETWORK.judge(Seen({})).scores
    assert scores == {Kind.CHAT_FAST: pytest.approx(0.1), Kind.CHAT_REASONING: pytest.approx(-0.1)}


def test_a_signal_contributes_by_itself_and_through_the_units_at_work() -> None:
    parts = NETWORK.judge(SEEN).contributions(Kind.CHAT_REASONING, Kind.CHAT_FAST)
    expected = {"asks": -0.5, "asks for mathematics": 6.0, "its wording": 0.8}
    assert parts == {name: pytest.approx(weight, abs=1e-5) for name, weight in expected.items()}


@given(st.dictionaries(st.sampled_from(sorted(PACKAGED.named)), st.floats(0, 1), max_size=30))
def test_contributions_are_what_the_scores_differ_by(named: dict[str, float]) -> None:
    """Besides what is usual, and what the units at work begin with."""
    network = PACKAGED
    judged = network.judge(Seen(named))
    one, other = Kind.CHAT_FAST, Kind.CODE_AGENTIC
    parts = judged.contributions(one, other)
    at, against = network.kinds.index(one), network.kinds.index(other)
    begins = network.bias[len(network.kinds) :] * judged.at_work @ (network.outer[:, at] - network.outer[:, against])
    usual = network.bias[at] - network.bias[against] + begins
    assert sum(parts.values()) + usual == pytest.approx(judged.scores[one] - judged.scores[other], abs=1e-3)
    assert parts["its wording"] == pytest.approx(0, abs=1e-3)


def test_shares_are_probabilities() -> None:
    odds = shares({Kind.CHAT_FAST: 0.0, Kind.CHAT_REASONING: math.log(3)})
    assert odds == {Kind.CHAT_FAST: pytest.approx(0.25), Kind.CHAT_REASONING: pytest.approx(0.75)}
    assert shares({Kind.CHAT_FAST: 5000.0, Kind.VISION: -5000.0})[Kind.CHAT_FAST] == 1


def test_the_network_of_the_package_knows_every_kind() -> None:
    kinds, units = len(PACKAGED.kinds), len(PACKAGED.outer)
    assert set(PACKAGED.kinds) == {*CODE, *CHAT}
    assert PACKAGED.bias.shape == (kinds + units,)
    assert PACKAGED.signals.shape == (len(PACKAGED.named), kinds + units)
    assert PACKAGED.outer.shape == (units, kinds)
    assert PACKAGED.pieces.shape == (len(PACKAGED.wording), kinds)
    assert all(np.isfinite(weights).all() for weights in (PACKAGED.bias, PACKAGED.signals, PACKAGED.pieces))
