"""The headline of `familyai status` says what its rows say."""

import pytest

from familyai.catalogue import Fairness
from familyai.cli import status
from familyai.cli.state import StackPhase
from familyai.cli.supervisor import Phase, ProcessState
from familyai.fair import Ticket
from familyai.line import Line


def found(phase: str, *healths: str) -> status.Status:
    """Of processes `a`, `b`, ...; all that is not `ok` is not healthy."""
    processes = [
        status.ProcessStatus(name=name, pid=1, uptime_s=1.0, restarts=0, healthy=health == "ok", health=health)
        for name, health in zip("abc", healths, strict=False)
    ]
    return status.Status(
        healthy=False, phase=phase, profile="echo", processes=processes, queues=None, url="", flower_url=""
    )


@pytest.mark.parametrize(
    ("supervisor", "all_well", "phase"),
    [
        (None, True, "not running"),
        (StackPhase.HEALTHY, True, "healthy"),
        (StackPhase.HEALTHY, False, "not healthy"),
        (StackPhase.STARTING, False, "starting"),
        (StackPhase.STOPPING, False, "stopping"),
    ],
)
def test_the_phase_is_how_it_is_now(supervisor: StackPhase | None, all_well: bool, phase: str) -> None:
    assert status.phase_of(supervisor, all_well) == phase


def test_the_headline_names_those_that_are_not_healthy() -> None:
    assert (
        status.headline(found("not healthy", "ok", "loading", "starting")) == "not healthy: b (loading), c (starting)"
    )
    assert status.headline(found("not healthy", "ok")) == "not healthy: the broker does not answer"
    assert status.headline(found("starting", "ok", "loading")) == "starting"


def waiting(count: int) -> tuple[Ticket, ...]:
    return tuple(Ticket(f"job-{number}", "q.00", "ada", 1, 10, 1, float(number)) for number in range(count))


@pytest.mark.parametrize(
    ("count", "pace", "wait_s"),
    [(0, None, 0.0), (0, 2.0, 0.0), (1, None, None), (1, 2.0, 0.0), (3, 2.0, 40.0)],
)
def test_a_queue_says_how_long_its_last_waits(count: int, pace: float | None, wait_s: float | None) -> None:
    line = Line(waiting(count), (), {}, pace, workers=1, slots=1, reserve_slots=0, fairness=Fairness())
    assert status.queue_status("q", "org/q", line) == status.QueueStatus("q", "org/q", 1, 0, count, wait_s)


@pytest.mark.parametrize(
    ("phase", "ends", "words"),
    [
        (Phase.STARTING, 2, "loading"),
        (Phase.STARTING, 3, "loading (ended 3 times in a row)"),
        (Phase.RESTARTING, 4, "loading (ended 4 times in a row)"),
        (Phase.HEALTHY, 4, "loading"),
    ],
)
def test_a_crash_loop_shows(phase: Phase, ends: int, words: str) -> None:
    assert status.health_words(ProcessState(name="worker", phase=phase, ends_in_a_row=ends), "loading") == words
