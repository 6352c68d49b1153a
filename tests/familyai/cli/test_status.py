"""The headline of `familyai status` says what its rows say."""

import pytest

from familyai.cli import status
from familyai.cli.state import StackPhase


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
