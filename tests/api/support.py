"""A front that serves, and a worker that takes jobs off the real queue and says what the test says."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from redis.asyncio import Redis

from api.__main__ import server_config
from api.app import create_app
from api.front import Front
from familyai import keys
from familyai.broker import BROKER_ERRORS
from familyai.catalogue import Profile
from familyai.frame import Body, End, Frame, Start, encode_frames
from familyai.job_log import JobLog, entry
from familyai.jobs import Claim, Delivery, JobStore
from familyai.lanes import lanes
from familyai.registry import HEARTBEAT_INTERVAL_S, WorkerRegistry
from familyai.settings import Settings

LIMIT_S = 20.0
LANES = 8
SSE = ((b"content-type", b"text/event-stream; charset=utf-8"),)
JSON = ((b"content-type", b"application/json"),)

MESSAGE: dict[str, Any] = {"model": "auto", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
"""The least that Anthropic's endpoint takes."""

PROFILE: dict[str, Any] = {
    "memory_budget_gb": 4,
    "limits": {"json_body_mb": 0.5, "inline_body_kb": 100, "width": 8},
    "queues": {
        "chat": {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4, "context_tokens": 4096},
        "chat-light": {"served_by": "chat"},
        "vectors": {"model": "org/vectors", "engine": "echo", "memory_gb": 1, "slots": 4, "tasks": ["embed"]},
    },
    "aliases": {"auto": "chat"},
}


@dataclass
class ScriptedWorker:
    """Takes jobs off a queue as a worker does, and says what the test says."""

    redis: Redis
    queue: str = "chat"
    id: str = "worker-1"
    life: asyncio.Task[None] | None = None
    _seq: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.jobs = JobStore(self.redis, record_ttl_s=60)
        self.registry = WorkerRegistry(self.redis)

    async def beat(self) -> None:
        await self.registry.beat(self.queue, self.id)

    async def live(self) -> None:
        """Beats until cancelled, however slow the machine, over restarts of the broker."""
        while True:
            with suppress(*BROKER_ERRORS):
                await self.beat()
            await asyncio.sleep(HEARTBEAT_INTERVAL_S)

    async def pop(self, limit_s: float = LIMIT_S) -> Delivery | None:
        """The next job on the queue, out of Celery's own message."""
        popped = await self.redis.brpop([lane.name for lane in lanes(self.queue, LANES)], timeout=limit_s)
        if popped is None:
            return None
        _, about, _ = json.loads(base64.b64decode(json.loads(popped[1])["body"]))
        return Delivery(about["job_id"], popped[0].decode(), about["member"])

    async def take(self) -> Claim:
        claim = await self.jobs.claim(await self.next(), self.queue, self.id)
        assert isinstance(claim, Claim)
        return claim

    async def next(self) -> Delivery:
        delivery = await self.pop()
        assert delivery is not None, "no job came"
        return delivery

    async def say(self, claim: Claim, *frames: Frame) -> None:
        await self.redis.publish(keys.reply(claim.job.front), encode_frames(frames))

    async def start(self, claim: Claim, headers: Any = SSE, status: int = 200) -> None:
        self._seq[claim.job.id] = 1
        await self.say(claim, Start(claim.job.id, claim.attempt, 0, status, headers, self.id, claim.queue_wait_s))

    async def write(self, claim: Claim, *chunks: bytes) -> None:
        await self.say(claim, *(Body(claim.job.id, claim.attempt, self._next(claim), chunk) for chunk in chunks))

    async def end(self, claim: Claim) -> None:
        await self.say(claim, End(claim.job.id, claim.attempt, self._next(claim)))

    async def answer(self, claim: Claim, *chunks: bytes, headers: Any = JSON, status: int = 200) -> None:
        await self.start(claim, headers, status)
        await self.write(claim, *chunks)
        await self.end(claim)

    async def log(self, claim: Claim, *chunks: bytes) -> None:
        """The same, unheard: in the job's log alone."""
        said: list[Frame] = [Start(claim.job.id, claim.attempt, 0, 200, JSON, self.id, claim.queue_wait_s)]
        said += [Body(claim.job.id, claim.attempt, seq, chunk) for seq, chunk in enumerate(chunks, 1)]
        said.append(End(claim.job.id, claim.attempt, len(said)))
        await JobLog(self.redis, kept_s=60).append([entry(tuple(said))])

    def _next(self, claim: Claim) -> int:
        seq = self._seq.get(claim.job.id, 0)
        self._seq[claim.job.id] = seq + 1
        return seq


@dataclass
class Served:
    """A front that serves: over HTTP, and from within."""

    app: FastAPI
    url: str
    key: str
    client: httpx.AsyncClient

    @property
    def front(self) -> Front:
        front: Front = self.app.state.front
        return front

    async def chat(self, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
        least = MESSAGE if path.startswith("/v1/messages") else {"model": "auto"}
        return await self.client.post(path, json=least | body)


@asynccontextmanager
async def serving(settings: Settings, profile: Profile) -> AsyncIterator[tuple[FastAPI, str]]:
    """A front with the product's own server, on a port of its own, and where it is."""
    app = create_app(settings, profile)
    config = server_config(app, settings, profile)
    config.port, config.timeout_graceful_shutdown = 0, 1
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    await until(lambda: server.started, "the server starts")
    await asyncio.wait_for(app.state.front.replies.subscription.connected.wait(), LIMIT_S)
    yield app, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await running


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str, limit_s: float = LIMIT_S) -> None:
    """Waits for a condition, not for a time."""
    deadline = asyncio.get_running_loop().time() + limit_s
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        assert asyncio.get_running_loop().time() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.01)
