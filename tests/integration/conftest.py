"""Real processes over a real broker, with the echo engine."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.allowance import Role
from familyai.broker_users import FRONT, WORKER
from familyai.catalogue import load_profile
from familyai.frame import Body, End, Failed, Frame, Start, decode_frames
from familyai.job import Job, new_job_id
from familyai.jobs import JobStore
from familyai.members import MemberStore
from familyai.subscription import Subscription
from tests.support import as_user, free_port, status_of, wait_until

ROOT = Path(__file__).parents[2]


@dataclass
class Process:
    """A process of the product, and where it answers."""

    popen: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def healthy(self) -> bool:
        assert self.popen.poll() is None, f"ended with {self.popen.returncode}:\n{self.log.read_text()[-3000:]}"
        return status_of(f"{self.url}/health") == 200

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.popen.pid).children(recursive=True)

    def end(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()


StartProcess = Callable[..., Process]


@pytest.fixture
def environment(broker_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "FAMILYAI_HOME": str(tmp_path / "home"),
        "FAMILYAI_CATALOGUE": str(ROOT / "queues.yaml"),
        "FAMILYAI_PROFILE": "echo",
        "FAMILYAI_BROKER_URL": broker_url,
    }


@pytest.fixture
def impatient(environment: dict[str, str], tmp_path: Path) -> None:
    """Whatever stops lets running answers go on for no time, and nobody waits long for a broker."""
    text = Path(environment["FAMILYAI_CATALOGUE"]).read_text()
    assert "  echo:\n    memory_budget_gb: 1\n" in text
    text = text.replace("  echo:\n", "  echo:\n    limits: {drain_s: 0.01, broker_wait_s: 2}\n")
    (tmp_path / "queues.yaml").write_text(text)
    environment["FAMILYAI_CATALOGUE"] = str(tmp_path / "queues.yaml")


@pytest.fixture
def members(redis: Redis, environment: dict[str, str]) -> MemberStore:
    profile = load_profile(Path(environment["FAMILYAI_CATALOGUE"]), environment["FAMILYAI_PROFILE"])
    return MemberStore(redis, profile)


@pytest.fixture
def start_process(environment: dict[str, str], tmp_path: Path) -> Iterator[StartProcess]:
    """Starts `python -m ARGUMENTS`, on a port and as a broker's user of its own; waits for its health, and ends it."""
    started: list[Process] = []

    def start(*arguments: str, port: int | None = None, healthy: bool = True, **more: str) -> Process:
        port = port or free_port()
        log = tmp_path / f"{arguments[0]}-{len(started)}.log"
        words = [sys.executable, "-m", *(argument.replace("PORT", str(port)) for argument in arguments)]
        with log.open("wb") as output:
            user = FRONT if arguments[0] == "api" else WORKER
            own = {"FAMILYAI_BROKER_URL": as_user(user, environment["FAMILYAI_BROKER_URL"])}
            environ = {**environment, **own, "FAMILYAI_PORT": str(port), **more}
            popen = subprocess.Popen(words, env=environ, stdout=output, stderr=output, cwd=tmp_path)
        process = Process(popen, port, log)
        started.append(process)
        if healthy:
            wait_until(process.healthy, f"{words} is healthy")
        return process

    yield start
    for process in reversed(started):
        process.end()


@pytest.fixture
def worker(start_process: StartProcess) -> Process:
    return start_process("workers", "chat-fast", "--port", "PORT")


@asynccontextmanager
async def front_client(start: StartProcess, members: MemberStore) -> AsyncIterator[httpx.AsyncClient]:
    """A member's, of a front that is started for it and ready: somebody serves."""
    front = start("api")
    wait_until(lambda: status_of(f"{front.url}/health/ready") == 200, "the front is ready")
    _, key = await members.add("anna", Role.ADULT)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=front.url, headers=headers, timeout=60) as made:
        yield made


@dataclass
class Reply:
    """What came back for one job."""

    frames: list[Frame] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def start(self) -> Start:
        first = self.frames[0]
        assert isinstance(first, Start)
        return first

    @property
    def text(self) -> str:
        return b"".join(frame.data for frame in self.frames if isinstance(frame, Body)).decode()

    async def end(self) -> End | Failed:
        await asyncio.wait_for(self.ended.wait(), 30)
        last = self.frames[-1]
        assert isinstance(last, End | Failed)
        return last


class Caller:
    """Does what a front does, without HTTP: enqueues jobs and collects their frames."""

    def __init__(self, redis: Redis, front: str = "test-front") -> None:
        self.jobs = JobStore(redis, record_ttl_s=60)
        self.front = front
        self.replies: dict[str, Reply] = {}
        self.messages = 0

    def hear(self, message: bytes) -> None:
        self.messages += 1
        for frame in decode_frames(message):
            reply = self.replies[frame.job_id]
            reply.frames.append(frame)
            if isinstance(frame, End | Failed):
                reply.ended.set()

    async def ask(self, text: str, queue: str = "chat-fast", **more: Any) -> tuple[Job, Reply]:
        body = {"model": "familyai/echo", "messages": [{"role": "user", "content": text}], "stream": True, **more}
        job = Job(
            id=new_job_id(),
            queue=queue,
            model=queue,
            member="anna",
            front=self.front,
            method="POST",
            path="/v1/chat/completions",
            headers=(("content-type", "application/json"),),
            body=orjson.dumps(body),
            created_at_s=time.time(),
        )
        self.replies[job.id] = Reply()
        await self.jobs.enqueue(job)
        return job, self.replies[job.id]


@pytest.fixture
async def caller(redis: Redis, broker_url: str) -> AsyncIterator[Caller]:
    made = Caller(redis)
    subscription = Subscription(broker_url, keys.reply(made.front), made.hear)
    task = asyncio.create_task(subscription.run())
    await asyncio.wait_for(subscription.connected.wait(), 10)
    yield made
    task.cancel()
