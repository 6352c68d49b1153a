"""What is still alive of a stack, and never a stranger that was given its pid."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from familyai.cli import down, state
from familyai.cli.home import Home
from familyai.cli.supervisor import Phase, ProcessState

LEADER = "import subprocess, sys; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); sys.stdin.read()"


def stack_of(pid: int, created_at_s: float) -> state.StackState:
    process = ProcessState(name="worker", phase=Phase.HEALTHY, pid=pid, created_at_s=created_at_s)
    return state.StackState(
        pid=pid, created_at_s=created_at_s, phase=state.StackPhase.HEALTHY, environment={}, processes=[process]
    )


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[str]"]:
    popen = subprocess.Popen(
        [sys.executable, "-c", LEADER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield popen
    popen.kill()
    popen.communicate()


def test_it_is_read_back_as_written(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert state.load(home) is None
    written = stack_of(1, 2.5)
    state.save(home, written)
    assert state.load(home) == written
    home.state.write_text("{")
    assert state.load(home) is None


def test_survivors_are_the_child_and_its_session(leader: "subprocess.Popen[str]") -> None:
    assert leader.stdout is not None
    grandchild = int(leader.stdout.readline())
    running = stack_of(leader.pid, psutil.Process(leader.pid).create_time())
    assert {process.pid for process in state.survivors(running)} == {leader.pid, grandchild}
    leader.kill()
    leader.wait()
    assert [process.pid for process in state.survivors(running)] == [grandchild]
    os.kill(grandchild, 9)


def test_down_ends_what_a_killed_supervisor_left(
    leader: "subprocess.Popen[str]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leader.stdout is not None
    grandchild = int(leader.stdout.readline())
    home = Home(tmp_path)
    running = stack_of(leader.pid, psutil.Process(leader.pid).create_time())
    state.save(home, msgspec.structs.replace(running, pid=grandchild, created_at_s=1.0))  # its pid is another's now
    monkeypatch.setenv("FAMILYAI_HOME", str(tmp_path))
    assert down.down() == 0
    assert "Ended 2 processes" in capsys.readouterr().out
    assert state.survivors(running) == []
    assert not home.state.exists()


def test_a_stranger_with_the_same_pid_is_spared(leader: "subprocess.Popen[str]") -> None:
    earlier_s = psutil.Process(leader.pid).create_time() - 60
    assert state.survivors(stack_of(leader.pid, earlier_s)) == []
    assert not state.is_alive(leader.pid, earlier_s)


def test_a_dead_process_does_not_live(leader: "subprocess.Popen[str]") -> None:
    created_at_s = psutil.Process(leader.pid).create_time()
    assert state.is_alive(leader.pid, created_at_s)
    leader.kill()
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert not state.is_alive(leader.pid, created_at_s)  # a zombie
    leader.wait()
    assert not state.is_alive(leader.pid, created_at_s)
