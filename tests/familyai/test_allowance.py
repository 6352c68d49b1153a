"""What a role may use, what a member may use instead, and when."""

from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from familyai.allowance import Allowance, Role, Roles, may_ask_at, spans

ROLES = Roles()


def test_a_child_has_limits_and_an_adult_next_to_none() -> None:
    child, adult = ROLES.of(Role.CHILD, {}), ROLES.of(Role.ADULT, {})
    assert child.tokens_per_day is not None
    assert child.running is not None
    assert (adult.tokens_per_day, adult.requests_per_minute, adult.running, adult.models) == (None, None, None, None)


def test_a_member_s_own_limits_replace_the_role_s_one_by_one() -> None:
    own = ROLES.of(Role.CHILD, {"tokens_per_day": None, "weight": 2})
    assert own == ROLES.child.model_copy(update={"tokens_per_day": None, "weight": 2.0})


@pytest.mark.parametrize(
    "own",
    [
        {"weight": 0},
        {"weight": -1},
        {"running": 0},
        {"waiting": 0},
        {"tokens_per_day": -5},
        {"hours": "all day"},
        {"no": 1},
    ],
)
def test_a_limit_that_is_none_is_refused(own: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ROLES.of(Role.ADULT, own)


@pytest.mark.parametrize("hours", ["7-20", "07:00", "07:00-24:00", "25:00-26:00", "07:00-07:00", "07:00-20:30,", ""])
def test_hours_are_spans(hours: str) -> None:
    with pytest.raises(ValueError, match="spans"):
        spans(hours)


@pytest.mark.parametrize(
    ("hours", "now", "may"),
    [
        (None, time(3), True),
        ("07:00-20:30", time(6, 59, 59), False),
        ("07:00-20:30", time(7), True),
        ("07:00-20:30", time(20, 29, 59), True),
        ("07:00-20:30", time(20, 30), False),
        ("22:00-06:00", time(23), True),
        ("22:00-06:00", time(5, 59), True),
        ("22:00-06:00", time(6), False),
        ("07:00-12:00, 14:00-20:30", time(13), False),
        ("07:00-12:00, 14:00-20:30", time(14), True),
    ],
)
def test_a_span_holds_its_first_moment_and_not_its_last(hours: str | None, now: time, may: bool) -> None:
    assert may_ask_at(hours, now) is may


@given(first=st.times(), last=st.times(), now=st.times())
def test_a_span_and_its_reverse_are_the_whole_day(first: time, last: time, now: time) -> None:
    one, other = f"{first:%H:%M}", f"{last:%H:%M}"
    if one != other:
        assert may_ask_at(f"{one}-{other}", now) != may_ask_at(f"{other}-{one}", now)


def test_an_allowance_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Allowance().weight = 2
