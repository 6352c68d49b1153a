"""Transcription jobs under fire: front processes that are killed, and a broker that goes away and comes back."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from redis.asyncio import Redis

from familyai.allowance import Role
from familyai.blobs import BlobStore
from familyai.members import MemberStore
from tests.api.asr import QUEUE, Asr, recording
from tests.api.support import ScriptedWorker, until
from tests.integration.conftest import Process, StartProcess
from tests.support import Broker, status_of, wait_until

JOBS = "/v1/transcription-jobs"
WORDS = [f"word{n}" for n in range(12)]
RECORDINGS = [recording(*WORDS[:7]), recording(*WORDS[7:], language="de")]
SLOTS = 2


@pytest.fixture
def broker_url(own_broker: Broker) -> str:
    return own_broker.url


@pytest.fixture
def environment(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    asr = {"model": "org/asr", "engine": "echo", "memory_gb": 1, "slots": SLOTS, "tasks": ["transcribe"]}
    profile = {"memory_budget_gb": 1, "limits": {"drain_s": 2}, "queues": {QUEUE: asr}}
    (tmp_path / "queues.yaml").write_text(yaml.safe_dump({"profiles": {"ears": profile}}))
    more = {"FAMILYAI_PROFILE": "ears", "FAMILYAI_BLOB_URL": (tmp_path / "blobs").as_uri()}
    return {**environment, **more, "FAMILYAI_CATALOGUE": str(tmp_path / "queues.yaml")}


@pytest.fixture
def start_front(start_process: StartProcess) -> Callable[[], Process]:
    def start() -> Process:
        process = start_process("api")
        wait_until(lambda: status_of(f"{process.url}/health") == 200, "the front answers")
        return process

    return start


@pytest.fixture
async def asr(redis: Redis, environment: dict[str, str]) -> AsyncIterator[Asr]:
    made = Asr(ScriptedWorker(redis, QUEUE), BlobStore(environment["FAMILYAI_BLOB_URL"]))
    made.open.set()
    made.start()
    yield made
    await made.stop()


@pytest.fixture
async def key(members: MemberStore) -> str:
    return (await members.add("ada", Role.ADULT))[1]


def client(front: Process, key: str) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(base_url=front.url, headers=headers, timeout=20, trust_env=False)


async def begun(front: Process, key: str) -> str:
    files = [("files", (f"{n}.ogg", data)) for n, data in enumerate(RECORDINGS)]
    async with client(front, key) as http:
        response = await http.post(JOBS, files=files, data={"formats": "txt,srt,json", "word_timestamps": "true"})
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


async def ended(front: Process, key: str, job_id: str) -> dict[str, Any]:
    async with client(front, key) as http:

        async def is_over() -> bool:
            response = await http.get(f"{JOBS}/{job_id}")
            return response.status_code == 200 and response.json()["status"] not in ("queued", "running")

        await until(is_over, "the job ends", limit_s=60)
        job: dict[str, Any] = (await http.get(f"{JOBS}/{job_id}")).json()
        return job


async def results(front: Process, key: str, job: dict[str, Any]) -> list[bytes]:
    async with client(front, key) as http:
        paths = [path for file in job["files"] for path in file["results"].values()]
        return [(await http.get(path)).content for path in paths]


async def events(
    front: Process, key: str, job_id: str, last_id: str = "", begun: asyncio.Event | None = None
) -> list[tuple[str, str]]:
    """Ids and types, up to the end of the stream."""
    found: list[tuple[str, str]] = []
    async with client(front, key) as http:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with http.stream("GET", f"{JOBS}/{job_id}/events", headers=headers, timeout=60) as response:
            async for line in response.aiter_lines():
                if line.startswith("id: "):
                    found.append((line[4:], ""))
                elif line.startswith("event: "):
                    found[-1] = (found[-1][0], line[7:])
                    if begun:
                        begun.set()
    return found


async def heard(asr: Asr, count: int) -> None:
    await until(lambda: sum(asr.heard.values()) >= count, f"{count} windows are heard", limit_s=40)


async def test_a_killed_front_is_taken_over(
    start_front: Callable[[], Process], asr: Asr, key: str, environment: dict[str, str]
) -> None:
    """Three times, in the middle: nothing is lost, next to nothing is done twice, and nobody sees a difference."""
    leading = start_front()
    calm = await ended(leading, key, await begun(leading, key))
    undisturbed = await results(leading, key, calm)
    asr.heard.clear()
    asr.cuts.clear()
    real, places = asr._hear, asyncio.Semaphore(0)

    async def when_allowed(claim: Any) -> Any:
        await places.acquire()
        return await real(claim)

    asr._hear = when_allowed  # type: ignore[method-assign]
    job_id = await begun(leading, key)
    for kill in range(1, 4):
        for _ in range(3):
            places.release()
        await heard(asr, 3 * kill)
        other = await asyncio.to_thread(start_front)  # else the worker would not beat, which lives in this loop
        leading.end()
        leading = other
    for _ in range(100):
        places.release()

    job = await ended(leading, key, job_id)
    assert job["status"] == "completed", json.dumps(job["files"])
    assert await results(leading, key, job) == undisturbed
    assert set(asr.heard) == set(WORDS)
    assert sum(asr.heard.values()) <= len(WORDS) + 3 * SLOTS
    assert sum(asr.cuts.values()) == len(RECORDINGS)
    types = [kind for _, kind in await events(leading, key, job_id)]
    assert types.count("file.prepared") == types.count("file.completed") == len(RECORDINGS)
    assert types.count("job.running") == types.count("job.completed") == 1


async def test_the_broker_restarts(
    start_front: Callable[[], Process], asr: Asr, key: str, own_broker: Broker, redis: Redis
) -> None:
    """The job goes on, and so does everybody who follows it."""
    front = start_front()
    asr.open.clear()
    job_id = await begun(front, key)
    following = asyncio.create_task(events(front, key, job_id))
    await until(lambda: sum(asr.cuts.values()) == len(RECORDINGS), "all is cut", limit_s=40)
    asr.open.set()
    await heard(asr, 2)
    asr.open.clear()
    await redis.execute_command("WAITAOF", 1, 0, 5000)
    own_broker.kill()
    own_broker.start()
    asr.open.set()

    job = await ended(front, key, job_id)
    assert job["status"] == "completed", json.dumps(job["files"])
    assert (await results(front, key, job))[0] == b"word0. word1. word2. word3. word4. word5. word6.\n"
    seen = await asyncio.wait_for(following, 20)
    assert seen[-1][1] == "job.completed"
    assert seen == await events(front, key, job_id)
    assert await events(front, key, job_id, last_id=seen[3][0]) == seen[4:]


async def test_a_front_that_stops_lets_its_followers_go(start_front: Callable[[], Process], asr: Asr, key: str) -> None:
    """Whoever follows comes again, to the next front, with the last id."""
    front = start_front()
    asr.open.clear()
    job_id = await begun(front, key)
    follows = asyncio.Event()
    following = asyncio.create_task(events(front, key, job_id, begun=follows))
    await until(lambda: sum(asr.cuts.values()) == len(RECORDINGS), "all is cut", limit_s=40)
    await asyncio.wait_for(follows.wait(), 40)
    front.popen.terminate()
    seen = await asyncio.wait_for(following, 20)
    assert seen[0][1] == "job.running"
    asr.open.set()
    second = start_front()
    rest = await events(second, key, job_id, last_id=seen[-1][0])
    assert rest[-1][1] == "job.completed"
    assert [*seen, *rest] == await events(second, key, job_id)
