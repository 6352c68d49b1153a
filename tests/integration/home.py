"""`familyai` as a person uses it: a home of its own, on ports of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support import free_port

CATALOGUE = Path(__file__).parents[2] / "queues.yaml"
COMMAND = [sys.executable, "-P", "-m", "familyai.cli.main"]


@dataclass
class Household:
    """What is run with this environment finds this home."""

    home: Path
    env: dict[str, str]

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """With a umask as most people have it: what is private is made so by FamilyAI."""
        shown = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([*COMMAND, *words], env=self.env, umask=0o022, **shown)

    def __call__(self, *words: str) -> tuple[int, str]:
        """Exit code and everything that was shown."""
        process = self.start(*words)
        shown, _ = process.communicate(timeout=240)
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


@contextmanager
def a_home(folder: Path, **more: str) -> Iterator[Household]:
    """With the echo engine, unless told otherwise. Nothing of it lives on after the block."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("FAMILYAI_")}
    ports = ("PORT", "WORKER_PORT", "FLOWER_PORT", "BROKER_PORT")
    env |= {f"FAMILYAI_{name}": str(free_port(in_a_row=3)) for name in ports}
    env |= {"FAMILYAI_HOME": str(folder / "home"), "FAMILYAI_CATALOGUE": str(CATALOGUE), "FAMILYAI_PROFILE": "echo"}
    made = Household(folder / "home", {**env, **more})
    try:
        yield made
    finally:
        for process in made.left():
            process.kill()
