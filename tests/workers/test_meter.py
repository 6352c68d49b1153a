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
