"""What the bench of fairness makes of what it measured."""

import math

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.benchmark.fair.figures import Answer, Window, jain, relative, residual_s, within_factor
from scripts.benchmark.questions import Question, WrongAnswer, http_request, word_times

SHARES = st.lists(st.integers(0, 10**6), min_size=1, max_size=20).filter(any)


def event(choice: int, word: str) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"index": choice, "delta": {"content": word}}]}) + b"\n\n"


@given(SHARES)
def test_jains_index_lies_between_one_for_all_and_all_for_one(shares: list[int]) -> None:
    assert 1 / len(shares) - 1e-9 <= jain(shares) <= 1 + 1e-9


@pytest.mark.parametrize(("shares", "index"), [([5, 5, 5], 1), ([9, 0, 0], 1 / 3), ([4, 1], 25 / 34)])
def test_jains_index_of_known_shares(shares: list[float], index: float) -> None:
    assert jain(shares) == pytest.approx(index)


def test_nobody_served_has_no_index() -> None:
    with pytest.raises(ValueError, match="nobody"):
        jain([0, 0])


def test_jobs_of_one_length_are_half_over_when_one_looks() -> None:
    assert residual_s([0.2, 0.2]) == pytest.approx(0.1)


def test_one_looks_into_long_jobs_more_often_than_into_short_ones() -> None:
    assert residual_s([0.1, 0.9]) == pytest.approx(0.41)


def test_a_window_counts_what_came_in_it() -> None:
    window = Window(1.0, 3.0)
    answers = [Answer("ada", 0.0, (0.5, 1.0, 2.9), 7), Answer("ada", 0.0, (2.0, 3.0), 7)]
    assert window.tokens(answers) == 3
    assert window.ended(answers) == 1
    assert window.service(answers) == 7 + 2 * 3  # the first one's prompt was read before


@pytest.mark.parametrize(("said", "honest"), [(0.5, 1), (0.49, 0), (2.0, 1), (2.01, 0), (1.0, 1)])
def test_a_forecast_is_within_a_factor_of_two_of_what_came(said: float, honest: float) -> None:
    assert within_factor([(said, 1.0)], 2) == honest


def test_ratios_are_made_within_a_round() -> None:
    assert relative([10, 100, 30], [10, 50, 20]) == pytest.approx(1.5)
    assert math.isnan(relative([1.0], []))


def test_each_of_several_answers_is_compared() -> None:
    question = Question("q", tokens=2, stream=True, n=2)
    words = [f"{word} " for word in question.answer.split()]
    pieces = [event(choice, word) for word in words for choice in (0, 1)]
    chunks = [(float(at), piece) for at, piece in enumerate([*pieces, b"data: [DONE]\n\n"])]
    assert word_times(question, chunks) == [0.0, 1.0, 2.0, 3.0]
    chunks[1] = (1.0, event(1, "somebody-else's "))
    with pytest.raises(WrongAnswer, match="not the answer"):
        word_times(question, chunks)


def test_a_question_that_does_not_say_how_long_its_answer_is() -> None:
    body = orjson.loads(Question("q", tokens=30, stream=True, says_length=False).body())
    assert "max_tokens" not in body
    assert len(body["messages"][0]["content"].split()) == 30


def test_other_headers_travel_along() -> None:
    request = http_request(Question("q", 3, True), 80, "key", {"x-familyai-priority": "batch"})
    head, _, _ = request.partition(b"\r\n\r\n")
    assert b"\r\nx-familyai-priority: batch" in head
