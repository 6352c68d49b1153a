"""How long a process that died stays away."""

from familyai.cli.supervisor import Backoff


def delays(*healthy_s: float) -> list[float]:
    backoff, last, found = Backoff(), None, []
    for seconds in healthy_s:
        last = backoff.next_s(last, seconds)
        found.append(last)
    return found


def test_it_doubles_up_to_half_a_minute() -> None:
    assert delays(*[0] * 9) == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_minute_of_health_forgives() -> None:
    assert delays(0, 0, 59.9, 60, 0) == [0.5, 1, 2, 0.5, 1]
