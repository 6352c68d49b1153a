"""The household teaches its router: from an answer to a line of the examination, through the command line."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.catalogue import Route
from familyai.kinds import Kind
from familyai.members import MemberStore
from routing.decide import judge
from routing.estimate import text_tokens
from routing.examples import read_file
from tests.integration.conftest import Process, StartProcess
from tests.support import status_of, wait_until

TEXT = "What should a child of five know about the moon?"
LIMIT_S = 60


@pytest.fixture
def learning(environment: dict[str, str], tmp_path: Path) -> None:
    text = Path(environment["FAMILYAI_CATALOGUE"]).read_text()
    assert "  echo:\n    memory_budget_gb: 1\n" in text
    (tmp_path / "queues.yaml").write_text(text.replace("  echo:\n", "  echo:\n    learn: true\n"))
    environment["FAMILYAI_CATALOGUE"] = str(tmp_path / "queues.yaml")


@pytest.fixture
def front(learning: None, start_process: StartProcess, worker: Process) -> Process:
    process = start_process("api")
    wait_until(lambda: status_of(f"{process.url}/health/ready") == 200, "the front is ready")
    return process


async def test_a_mark_reaches_the_examination(
    front: Process, members: MemberStore, redis: Redis, environment: dict[str, str], tmp_path: Path
) -> None:
    _, key = await members.add("anna", Role.ADULT)
    environ = environment | {"FAMILYAI_URL": front.url, "FAMILYAI_API_KEY": key}

    async def typed(*words: str) -> str:
        command = [sys.executable, "-m", "familyai.cli.main", "route", *words]
        ended = await asyncio.to_thread(
            subprocess.run, command, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return str(ended.stdout)

    told = json.loads(await typed(TEXT, "--json"))
    asked = {"model": "auto", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 3}
    async with httpx.AsyncClient(base_url=front.url, headers={"authorization": f"Bearer {key}"}) as client:
        answer = await client.post("/v1/chat/completions", json=asked, timeout=LIMIT_S)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-familyai-route"].startswith(f"{told['kind']};confidence=")

    job = answer.headers["x-familyai-job-id"]
    wrong = next(kind for kind in Kind if kind != told["kind"])
    assert await typed("--wrong", job, "--kind", wrong) == (
        f"Marked: {told['kind']} was wrong, {wrong} would have been right.\n"
    )
    await typed("--export", str(tmp_path / "home.jsonl"))
    (example,) = read_file(tmp_path / "home.jsonl")
    assert (example.id, example.kinds) == (f"home-{job}", (wrong,))
    assert example.body == {"messages": asked["messages"], "max_tokens": 3}
    judged = judge(example.body, text_tokens(example.body), Route())
    assert judged.kind == told["kind"], "the examination sees the mistake"

    await members.remove("anna")
    left = [key for name in (keys.routed, keys.route_feedback) for key in await redis.keys(name("*"))]
    assert left == []
