"""The supervisor over real processes: whatever happens to it or to them, nothing is left behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support import wait_until

# The parent: two children, each with a grandchild of its own; it says on stdout when all of them are up.
PARENT = """
import asyncio, json, os, sys
from pathlib import Path
from familyai.cli.probes import Health
from familyai.cli.supervisor import Backoff, ProcessSpec, StartFailed, Supervisor, run

folder = Path(sys.argv[1])

class WroteFile:
    def __init__(self, name): self.path = folder / name
    async def __call__(self): return Health(self.path.exists(), "waits for its file")

def spec(name, source):
    return ProcessSpec(name, (sys.executable, "-c", source, str(folder / name)), os.environ, folder / f"{name}.log",
                       WroteFile(name), 20, float(os.environ.get("STOP_TIMEOUT_S", "10")),
                       os.environ.get("STAGE", name))

specs = [spec(name, source) for name, source in json.loads(sys.argv[2]).items()]

def write_down():
    with (folder / "words").open("a") as words, (folder / "states").open("a") as states:
        words.writelines(f"{s.name} {s.words}\\n" for s in supervisor.states())
        states.write(json.dumps([[s.name, s.phase, s.restarts] for s in supervisor.states()]) + "\\n")

supervisor = Supervisor(specs, Backoff(first_s=0.05), write_down)

async def ready():
    print("ready", flush=True)

try:
    asyncio.run(run(supervisor, ready))
except StartFailed as error:
    print(f"failed: {error}", flush=True)
    sys.exit(1)
"""

# Writes its pid and its grandchild's into its file, and ends on SIGTERM without looking after the grandchild.
CHILD = """
import os, pathlib, signal, subprocess, sys
grandchild = subprocess.Popen(["sleep", "1000"])
part = pathlib.Path(sys.argv[1] + ".part")
part.write_text(f"{os.getpid()} {grandchild.pid}")
part.rename(sys.argv[1])
signal.pause()
"""

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + CHILD.replace(
    "signal.pause()", "\nwhile True: signal.pause()"
)

NEVER_HEALTHY = "import signal; signal.pause()"

# Goes on only when the other one is there too.
MEETS_THE_OTHER = (
    """
import os, pathlib, sys
meeting = pathlib.Path(sys.argv[1]).parent / "meeting"
try:
    os.mkfifo(meeting)
    mode = "r"
except FileExistsError:
    mode = "w"
open(meeting, mode).close()  # returns when the other side is open, too
"""
    + CHILD
)


@dataclass
class Parent:
    popen: "subprocess.Popen[str]"
    folder: Path

    def pids(self, name: str) -> list[int]:
        """Of a child and its grandchild."""
        return [int(pid) for pid in (self.folder / name).read_text().split()]

    def all_pids(self) -> list[int]:
        return self.pids("first") + self.pids("second")

    def ready(self) -> "Parent":
        assert self.popen.stdout is not None
        assert self.popen.stdout.readline() == "ready\n"
        return self

    def said(self) -> list[str]:
        """Its log from warnings upwards, which is what a person in the foreground sees."""
        return (self.folder / "said").read_text().splitlines()

    def states(self) -> list[list[list[str]]]:
        return [json.loads(line) for line in (self.folder / "states").read_text().splitlines()]


class StartParent:
    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, list[Parent]()

    def __call__(self, first: str = CHILD, second: str = CHILD, **env: str) -> Parent:
        sources = json.dumps({"first": first, "second": second})
        popen = subprocess.Popen(
            [sys.executable, "-c", PARENT, str(self.folder), sources],
            stdout=subprocess.PIPE,
            stderr=(self.folder / "said").open("w"),
            text=True,
            env={**os.environ, **env},
        )
        self.started.append(Parent(popen, self.folder))
        return self.started[-1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartParent]:
    starter = StartParent(tmp_path)
    yield starter
    for parent in starter.started:
        parent.popen.kill()
        parent.popen.communicate()


def gone(pids: list[int]) -> bool:
    return not any(lives(pid) for pid in pids)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_parent_leaves_nothing(start: StartParent, number: signal.Signals) -> None:
    parent = start().ready()
    pids = parent.all_pids()
    assert not gone(pids[:1])
    parent.popen.send_signal(number)
    assert parent.popen.wait(20) == 0
    assert gone(pids)


def test_they_stop_in_reverse_order(start: StartParent) -> None:
    parent = start().ready()
    parent.popen.terminate()
    parent.popen.wait(20)
    seen = parent.states()
    assert [["first", "healthy", 0], ["second", "stopped", 0]] in seen
    assert not any(first[1] == "stopping" and second[1] != "stopped" for first, second in seen)
    assert "second finishes what it runs, up to 10 s" in (parent.folder / "words").read_text().splitlines()


def test_those_of_one_stage_start_together_and_stop_together(start: StartParent) -> None:
    parent = start(MEETS_THE_OTHER, MEETS_THE_OTHER, STAGE="both").ready()
    pids = parent.all_pids()
    parent.popen.terminate()
    assert parent.popen.wait(20) == 0
    assert [["first", "stopping", 0], ["second", "stopping", 0]] in parent.states()
    assert gone(pids)


def test_a_stage_fails_with_the_first_that_does(start: StartParent) -> None:
    parent = start(first=NEVER_HEALTHY, second="import sys; sys.exit(3)", STAGE="both")
    output, _ = parent.popen.communicate(timeout=30)
    assert (output, parent.popen.returncode) == ("failed: second ended with exit code 3\n", 1)


def test_a_killed_parent_takes_its_children_along(start: StartParent) -> None:
    parent = start().ready()
    children = [parent.pids("first")[0], parent.pids("second")[0]]
    grandchildren = [parent.pids("first")[1], parent.pids("second")[1]]
    parent.popen.kill()
    parent.popen.wait()
    wait_until(lambda: gone(children), "the children are gone")
    for pid in grandchildren:  # theirs to look after: an engine asks for a death signal of its own
        os.kill(pid, signal.SIGKILL)


def test_a_killed_child_starts_again_and_its_own_children_are_gone_before(start: StartParent) -> None:
    parent = start().ready()
    old, others = parent.pids("first"), parent.pids("second")
    (parent.folder / "first").unlink()
    os.kill(old[0], signal.SIGKILL)
    wait_until((parent.folder / "first").exists, "the first child runs again")
    assert gone(old)
    assert parent.pids("first") != old
    assert lives(others[0])
    wait_until(lambda: [["first", "healthy", 1], ["second", "healthy", 0]] in parent.states(), "healthy again")
    wait_until(lambda: len(parent.said()) == 2, "both are said")
    assert parent.said() == [
        "first was killed by SIGKILL; it starts again in 0.05 s",
        "first is healthy again",
    ]


# Its first life is a good one; every later one ends at once.
CRASHES_LATER = (
    """
import pathlib, sys
lives = pathlib.Path(sys.argv[1] + ".lives")
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
if len(lives.read_text()) > 1:
    print("no such model")
    sys.exit(3)
"""
    + CHILD
)


def test_a_crash_loop_is_said_and_where_to_read_why(start: StartParent) -> None:
    parent = start(first=CRASHES_LATER).ready()
    pid, _ = parent.pids("first")
    (parent.folder / "first").unlink()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: len(parent.said()) >= 4, "it has ended four times")
    why = parent.folder / "first.log"
    assert parent.said()[:4] == [
        "first was killed by SIGKILL; it starts again in 0.05 s",
        "first ended with exit code 3; it starts again in 0.1 s",
        f"first ended with exit code 3 (3 times in a row; {why} tells why); it starts again in 0.2 s",
        f"first ended with exit code 3 (4 times in a row; {why} tells why); it starts again in 0.4 s",
    ]
    assert why.read_text().endswith("no such model\n")
    parent.popen.terminate()
    assert parent.popen.wait(20) == 0


def test_a_child_that_does_not_end_is_killed_with_its_group(start: StartParent) -> None:
    parent = start(second=STUBBORN, STOP_TIMEOUT_S="0.2").ready()
    pids = parent.all_pids()
    parent.popen.terminate()
    assert parent.popen.wait(20) == 0
    assert gone(pids)


def test_only_a_later_ctrl_c_does_not_wait(start: StartParent) -> None:
    parent = start(second=STUBBORN, STOP_TIMEOUT_S="1000").ready()
    pids = parent.all_pids()
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        parent.popen.send_signal(number)
    wait_until(lambda: parent.states()[-1][1][1] == "stopping", "the second child is asked to end")
    assert lives(pids[-2])

    def ended() -> bool:
        parent.popen.send_signal(signal.SIGINT)
        return parent.popen.poll() is not None

    wait_until(ended, "a Ctrl-C is taken for a hurry")
    assert gone(pids)


def test_a_failing_start_is_reported_and_stops_the_rest(start: StartParent) -> None:
    parent = start(second="import sys; print('no such model'); sys.exit(3)")
    output, _ = parent.popen.communicate(timeout=30)
    assert (output, parent.popen.returncode) == ("failed: second ended with exit code 3\n", 1)
    assert gone(parent.pids("first"))
    assert (parent.folder / "second.log").read_text() == "no such model\n"


def test_a_signal_while_it_starts_leaves_nothing(start: StartParent) -> None:
    parent = start(second=NEVER_HEALTHY)
    wait_until(lambda: (parent.folder / "states").exists() and parent.states()[-1][1][1] == "starting", "it starts")
    parent.popen.terminate()
    assert parent.popen.wait(20) == 0
    assert gone(parent.pids("first"))
