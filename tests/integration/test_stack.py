"""`familyai` as a person uses it, with the echo engine: up, status, chat, a killed worker, down, and nothing left."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.home import Household, a_home
from tests.support import wait_until


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    with a_home(tmp_path) as made:
        yield made


def test_a_day_in_the_background(household: Household) -> None:
    code, shown = household("up", "--detach")
    assert code == 0, shown
    assert "What is the capital of France?\nWhat is the capital of France?" in shown  # asked, and echoed
    assert (household.home / "env").stat().st_mode & 0o777 == 0o600

    status = household.status()
    assert status["healthy"]
    assert [process["name"] for process in status["processes"]] == ["broker", "worker chat-fast", "front", "flower"]
    idle = {"workers": 1, "running": 0, "waiting": 0, "wait_s": 0.0}
    assert status["queues"] == [{"queue": "chat-fast", "model": "familyai/echo", **idle}]
    code, shown = household("chat", "hello", "--max-tokens", "2")
    assert (code, shown.splitlines()[0]) == (0, "hello ")
    assert household("chat", "hello", "--model", "nope")[0] == 1
    assert household("doctor")[0] == 0

    key = (household.home / "env").read_text()
    code, shown = household("up", "--detach")
    assert code == 0
    assert "runs already" in shown

    worker = household.pids()["worker chat-fast"]
    os.kill(worker, signal.SIGKILL)
    wait_until(lambda: household.status()["processes"][1]["healthy"], "the worker is back")
    assert household.status()["processes"][1]["restarts"] == 1

    code, shown = household("down")
    assert code == 0
    assert "has stopped" in shown
    assert household.left() == []
    assert household("down") == (0, "FamilyAI does not run.\n")
    assert household("status")[0] == 1
    assert (household.home / "env").read_text() == key


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_ends_with_a_signal_and_the_key_outlives_it(
    household: Household, number: signal.Signals
) -> None:
    process = household.start("up")
    assert process.stdout is not None
    for line in process.stdout:
        if "Ctrl-C stops everything" in line:
            break
    else:
        pytest.fail("it never came up")
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert household.left() == []


def test_a_killed_supervisor_leaves_nothing_and_the_next_start_works(household: Household) -> None:
    assert household("up", "--detach")[0] == 0
    key = (household.home / "env").read_text()
    os.kill(household.supervisor(), signal.SIGKILL)
    wait_until(lambda: not household.left(), "all of it is gone")
    assert household("status")[0] == 1
    code, shown = household("up", "--detach")
    assert code == 0, shown
    assert (household.home / "env").read_text() == key  # the broker has kept the member
    assert household("down")[0] == 0
    assert household.left() == []


def test_what_keeps_it_from_starting_is_shown(household: Household) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(household.env["FAMILYAI_FLOWER_PORT"])))
        taken.listen()
        code, shown = household("up", "--detach")
    assert code == 1
    assert "set FAMILYAI_FLOWER_PORT" in shown

    household.env["FAMILYAI_BLOB_URL"] = "nonsense://x"
    code, shown = household("up", "--detach")
    assert code == 1
    assert "FamilyAI did not start: " in shown
    assert "last lines of" in shown
    assert "nonsense" in shown
    assert household.left() == []
