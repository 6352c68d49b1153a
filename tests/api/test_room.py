"""Who may be connected, and who goes when one more comes. Connections are their names here."""

import pytest

from api.room import Room

ONE, OTHER = "192.0.2.1", "192.0.2.2"


def test_while_there_is_room_nobody_goes() -> None:
    room: Room[str] = Room(3, 2)
    assert [room.enter("a", ONE), room.enter("b", ONE), room.enter("c", OTHER)] == [None] * 3
    assert len(room) == 3


def test_a_place_that_has_its_share_makes_room_itself() -> None:
    room: Room[str] = Room(10, 2)
    room.enter("other", OTHER)
    room.enter("a", ONE)
    room.enter("b", ONE)

    assert room.enter("c", ONE) == "a"
    assert room.enter("d", ONE) == "b"
    assert len(room) == 3


def test_in_a_full_room_who_has_been_idle_for_longest_goes() -> None:
    room: Room[str] = Room(3, 3)
    for name in "abc":
        room.enter(name, ONE)
    room.work("a")
    room.rest("b")

    assert room.enter("d", OTHER) == "c"
    assert room.enter("e", OTHER) == "b"


def test_where_everybody_works_the_newcomer_goes() -> None:
    room: Room[str] = Room(2, 2)
    for name in "ab":
        room.enter(name, ONE)
        room.work(name)

    assert room.enter("c", OTHER) == "c"
    assert len(room) == 2


def test_a_place_at_work_takes_nobody_else_s_room() -> None:
    room: Room[str] = Room(10, 1)
    room.enter("other", OTHER)
    room.enter("a", ONE)
    room.work("a")

    assert room.enter("b", ONE) == "b"


def test_who_has_left_leaves_room_however_often_they_leave() -> None:
    room: Room[str] = Room(2, 1)
    room.enter("a", ONE)
    room.leave("a")
    room.leave("a")
    room.rest("a")

    assert room.enter("b", ONE) is None
    assert len(room) == 1


@pytest.mark.parametrize("host", ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::7"])
def test_a_listed_proxy_has_no_share(host: str) -> None:
    room: Room[str] = Room(3, 1, ["192.0.2.0/24", "::ffff:192.0.2.0/120", "2001:db8::7"])

    assert [room.enter(name, host) for name in "abc"] == [None] * 3
    assert room.enter("d", host) == "a"


def test_a_household_behind_one_network_is_one_place() -> None:
    room: Room[str] = Room(9, 1)
    room.enter("a", "2001:db8:1:2::1")

    assert room.enter("b", "2001:db8:1:2:ffff::1") == "a"
    assert room.enter("c", None) is None
