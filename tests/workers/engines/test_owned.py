"""A child that asked for it dies with its parent, even by SIGKILL."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support import wait_until

PARENT = """
import multiprocessing, signal, sys
from workers.engines.owned import die_with_parent

def child(path):
    die_with_parent()
    import os
    open(path, "w").write(str(os.getpid()))
    signal.pause()

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=child, args=(sys.argv[1],)).start()
    signal.pause()
"""


def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    pid_file = tmp_path / "child.pid"
    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py"), str(pid_file)])
    wait_until(lambda: pid_file.exists() and pid_file.read_text(), "the child runs")
    child = psutil.Process(int(pid_file.read_text()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the child is gone", 5)
