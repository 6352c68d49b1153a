import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.width import count, embedding_width, generation_width


@pytest.mark.parametrize(
    ("body", "width"),
    [
        ({}, 1),
        ({"n": 3}, 3),
        ({"n": 2, "best_of": 5}, 5),
        ({"prompt": "one"}, 1),
        ({"prompt": ["one", "two"], "n": 3}, 6),
        ({"prompt": [1, 2, 3], "n": 2}, 2),
        ({"prompt": [[1, 2], [3]], "n": 2}, 4),
        ({"prompt": []}, 1),
        ({"n": "4"}, 4),
        ({"n": 4.0}, 4),
    ],
)
def test_answers_asked_for_at_once(body: dict[str, object], width: int) -> None:
    assert generation_width(body) == width


@pytest.mark.parametrize(
    ("given_input", "width"),
    [
        ("one", 1),
        ([1, 2, 3], 1),
        (["a"] * 32, 1),
        (["a"] * 33, 2),
        ([[1]] * 64, 2),
        ([[1]] * 65, 3),
        ([], 1),
        (None, 1),
    ],
)
def test_embedding_inputs_share_a_slot(given_input: object, width: int) -> None:
    assert embedding_width({"input": given_input}) == width


@pytest.mark.parametrize("value", [None, True, False, 0, -5, "many", [9], {"n": 9}, "", "nan", "inf", float("inf")])
def test_what_is_no_number_of_answers_is_left_to_the_engine(value: object) -> None:
    assert count(value) == 1


@given(st.integers(1, 10**6))
def test_a_number_counts_however_it_is_written(number: int) -> None:
    assert count(number) == count(str(number)) == count(f" {number} ") == count(f"{number}.0") == number


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3), st.lists))
def test_any_body_has_a_width(value: object) -> None:
    assert generation_width({"n": value, "prompt": value, "best_of": value}) >= 1
    assert embedding_width({"input": value}) >= 1
