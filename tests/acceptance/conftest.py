"""The whole product, as a household starts it: `familyai up --detach` in a home of its own, with the real engines."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from familyai.catalogue import load_profile
from tests.support import free_port

ROOT = Path(__file__).parents[2]
QUEUES = list(load_profile(ROOT / "queues.yaml", "embedded").resident)


@dataclass(frozen=True)
class Household:
    """A running stack, and how to talk to it."""

    environment: dict[str, str]
    home: Path
    url: str
    api_key: str
    worker_port: int
    flower_url: str

    def familyai(self, *arguments: str, limit_s: float = 120) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "familyai.cli.main", *arguments]
        return subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=limit_s, check=False
        )

    def worker_url(self, queue: str = "chat-fast") -> str:
        """Where a queue's worker says how it is: the workers' ports follow each other."""
        return f"http://127.0.0.1:{self.worker_port + QUEUES.index(queue)}"

    def metric(self, name: str, queue: str = "chat-fast") -> float:
        """The sum of a metric's samples on the port of the queue's worker."""
        lines = httpx.get(f"{self.worker_url(queue)}/metrics", timeout=30).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


@pytest.fixture(scope="session")
def household(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    home = tmp_path_factory.mktemp("home")
    share_models(home)
    ports = {name: free_port() for name in ("PORT", "FLOWER_PORT", "BROKER_PORT")}
    ports["WORKER_PORT"] = free_port(in_a_row=len(QUEUES))
    environment = {**os.environ, "FAMILYAI_HOME": str(home), "COLUMNS": "120"}
    environment |= {f"FAMILYAI_{name}": str(port) for name, port in ports.items()}
    environment["FAMILYAI_CATALOGUE"] = str(ROOT / "queues.yaml")
    started = subprocess.run(
        [sys.executable, "-m", "familyai.cli.main", "up", "--detach"],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert started.returncode == 0, started.stdout
    values = dict(line.split("=", 1) for line in (home / "env").read_text().splitlines() if "=" in line)
    running = Household(
        environment,
        home,
        values["FAMILYAI_URL"].strip("'\""),
        values["FAMILYAI_API_KEY"].strip("'\""),
        ports["WORKER_PORT"],
        f"http://127.0.0.1:{ports['FLOWER_PORT']}",
    )
    yield running
    ended = running.familyai("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def share_models(home: Path) -> None:
    """Converting a model takes half a minute: use what the set-up has converted, if it has."""
    converted = ROOT / ".familyai" / "models"
    if converted.is_dir():
        (home / "models").symlink_to(converted)


@pytest.fixture(scope="session")
def client(household: Household) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{household.url}/v1", api_key=household.api_key, max_retries=0, timeout=120) as made:
        yield made


@pytest.fixture
def http(household: Household) -> Iterator[httpx.Client]:
    """For what the `openai` client would not send."""
    headers = {"authorization": f"Bearer {household.api_key}"}
    with httpx.Client(base_url=household.url, headers=headers, timeout=120) as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs the real engines."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.real)
            item.add_marker(pytest.mark.timeout(300))
