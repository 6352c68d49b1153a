"""The front as its own process."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from api.__main__ import OTHER_FILES, room_for
from tests.support import free_port, status_of, wait_until

ROOT = Path(__file__).parents[2]


def environment(home: Path, **settings: object) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("FAMILYAI_")}
    settings |= {"home": home, "catalogue": ROOT / "queues.yaml", "profile": "echo"}
    return own | {f"FAMILYAI_{name.upper()}": str(value) for name, value in settings.items()}


def test_it_serves_until_it_is_told_to_stop(broker_url: str, tmp_path: Path) -> None:
    port = free_port()
    front = subprocess.Popen(
        [sys.executable, "-m", "api"], cwd=ROOT, env=environment(tmp_path, broker_url=broker_url, port=port)
    )
    try:
        wait_until(lambda: _answers(port) or front.poll() is not None, "the front answers")
        response = httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
        assert response.json() == {"status": "ok"}
        assert "server" not in response.headers
        front.terminate()
        assert front.wait(timeout=20) in (0, -signal.SIGTERM)  # which uvicorn hands on once it has shut down
    finally:
        front.kill()
        front.wait()


def _answers(port: int) -> bool:
    return status_of(f"http://127.0.0.1:{port}/health") == 200


def test_without_a_broker_it_says_what_is_missing(tmp_path: Path) -> None:
    front = subprocess.run(
        [sys.executable, "-m", "api"], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True, check=False
    )

    assert front.returncode == 2
    assert "FAMILYAI_BROKER_URL is not set" in front.stderr
    assert "Traceback" not in front.stderr


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "room"),
    [
        (1024, 500_000, 4000 + OTHER_FILES, 2000),
        (1024, resource.RLIM_INFINITY, 4000 + OTHER_FILES, 2000),
        (1024, 1024, 1024, (1024 - OTHER_FILES) // 2),
        (500_000, 500_000, 500_000, 2000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, 2000),
        (64, 64, 64, 1),
    ],
)
def test_there_is_room_for_as_many_connections_as_files_may_be_open(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: int, room: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))

    assert room_for(2000) == room
    assert limits[-1] == (raised, hard)
