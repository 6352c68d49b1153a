"""`familyai` as a person uses it, with the echo engine: up, status, chat, a killed worker, down, and nothing left."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import free_port, wait_until

CATALOGUE = Path(__file__).parents[2] / "queues.yaml"
COMMAND = [sys.executable, "-P", "-m", "familyai.cli.main"]


@dataclass
class Household:
    """A home of its own, on ports of its own."""

    home: Path
    env: dict[str, str]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*COMMAND, *words], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit code and everything that was shown."""
        process = self.start(*words)
        shown, _ = process.communicate(timeout=90)
        return process.returncode, shown

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--json")[1])
        return found

    def pids(self) -> dict[str, int]:
        return {process["name"]: process["pid"] for process in self.status()["processes"]}

    def supervisor(self) -> int:
        return int(json.loads((self.home / "supervisor.json").read_text())["pid"])

    def left(self) -> list[psutil.Process]:
        """Whatever lives with this home in its environment."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("FAMILYAI_HOME") == str(self.home)
        except psutil.Error:  # a zombie has no environment
            return False


@pytest.fixture
def household(tmp_path: Path) -> Iterator[Household]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("FAMILYAI_")}
    ports = ("PORT", "WORKER_PORT", "FLOWER_PORT", "BROKER_PORT")
    env |= {f"FAMILYAI_{name}": str(free_port()) for name in ports}
    env |= {"FAMILYAI_HOME": str(tmp_path / "home"), "FAMILYAI_CATALOGUE": str(CATALOGUE), "FAMILYAI_PROFILE": "echo"}
    made = Household(tmp_path / "home", env)
    yield made
    for process in made.left():
        process.kill()


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
