from familyai.frame import Tokens
from workers.meter import Meter


def test_takes_what_came_since_the_last_take() -> None:
    meter = Meter()
    meter.saw_prompt(7)
    meter.saw_tokens(0, [1, 2])
    assert meter.take() == Tokens(7, ((1, 2),))
    meter.saw_tokens(0, [3])
    assert meter.take() == Tokens(0, ((3,),))


def test_takes_nothing_when_nothing_came() -> None:
    assert Meter().take() is None


def test_keeps_choices_apart_and_totals_over_all() -> None:
    meter = Meter()
    meter.saw_tokens(2, [9])
    meter.saw_tokens(0, [1])
    assert meter.take() == Tokens(0, ((1,), (), (9,)))
    assert meter.generated == 2


def test_keeps_what_came_together_apart() -> None:
    """Outputs that made no frame travel with the next one that did."""
    meter = Meter()
    for ids in ([1], [2, 3], []):
        meter.saw_tokens(0, ids)
    meter.saw_tokens(1, [9])
    tokens = meter.take()
    assert tokens
    assert tokens.ids == ((1, 2, 3), (9,))
    assert tokens.outputs == ((1,), (2, 3), ())
    meter.saw_tokens(0, [4, 5])
    assert meter.take() == Tokens(0, ((4, 5),))


def test_one_output_needs_no_sizes() -> None:
    assert Tokens(0, ((4, 5),)).outputs == ((4, 5),)
    assert Tokens(3).outputs == ()
