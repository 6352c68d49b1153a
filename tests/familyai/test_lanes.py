"""Lanes have names that Celery, Flower and people can read, and members who share them rarely meet in all."""

from itertools import combinations
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.lanes import Lane, Priority, first_free, hand, lane_named, lanes

QUEUES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


def test_a_lane_is_called_by_number_and_priority() -> None:
    names = [Lane("chat-fast", 3, priority).name for priority in Priority]
    assert names == ["chat-fast.03", "chat-fast.03.background", "chat-fast.03.batch"]
    assert Lane("chat-fast", 120, Priority.BATCH).name == "chat-fast.120.batch"


@given(queue=QUEUES, number=st.integers(0, 255), priority=st.sampled_from(Priority))
def test_a_name_leads_back_to_its_lane(queue: str, number: int, priority: Priority) -> None:
    lane = Lane(queue, number, priority)
    assert lane_named(lane.name) == lane


@pytest.mark.parametrize(
    "name", ["chat-fast", "chat-fast.batch", ".03", "chat-fast.3", "chat-fast.03.urgent", "x.-1", ""]
)
def test_what_is_no_lane_has_none(name: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        lane_named(name)


def test_all_lanes_of_a_model() -> None:
    found = lanes("tts", 3)
    assert len({lane.name for lane in found}) == 9
    assert {lane.queue for lane in found} == {"tts"}


@given(member=st.text(min_size=1, max_size=64), count=st.integers(1, 256), size=st.integers(1, 8))
def test_a_hand_is_always_the_same_and_has_no_lane_twice(member: str, count: int, size: int) -> None:
    dealt = hand(member, count, size)
    assert dealt == hand(member, count, size)
    assert len(set(dealt)) == len(dealt) == min(size, count)
    assert all(0 <= number < count for number in dealt)


MEMBERS = [f"member {number}" for number in range(1000)]


def test_two_members_who_share_lanes_rarely_share_them_all() -> None:
    """Of 499,500 pairs one in C(32, 4) = 35,960 would be expected to: 14. So a flood leaves nearly everybody a lane."""
    hands = [frozenset(hand(member, 32, 4)) for member in MEMBERS]
    collisions = sum(one == other for one, other in combinations(hands, 2))
    expected = comb(len(MEMBERS), 2) / comb(32, 4)
    print(f"{collisions} of {comb(len(MEMBERS), 2)} pairs share all four lanes; {expected:.1f} are expected")
    assert collisions < 3 * expected


def test_every_lane_is_dealt_about_as_often() -> None:
    dealt = [number for member in MEMBERS for number in hand(member, 32, 4)]
    often = [dealt.count(number) for number in range(32)]
    assert min(often) > 80  # 125 on average, with a standard deviation of 10
    assert max(often) < 170


def test_the_first_number_that_is_nobodys() -> None:
    assert first_free([], 4) == 0
    assert first_free([0, 2, 1], 4) == 3
    assert first_free(range(4), 4) is None
