"""Audio endpoints: the recording goes by reference, the form as it was sent, and nothing stays."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.submit import json_job, submit
from familyai.blobs import BlobStore
from familyai.catalogue import Profile
from familyai.errors import LimitReached, Unavailable
from familyai.job import Job, own_blob
from familyai.jobs import State
from familyai.lanes import Priority
from familyai.settings import Settings
from routing.estimate import Estimate
from routing.resolve import resolve
from tests.api.support import PROFILE, ScriptedWorker, Served, until

ASR = {"model": "org/whisper", "engine": "whisper", "memory_gb": 1, "slots": 2, "tasks": ["transcribe"]}
TTS = {
    "model": "org/piper",
    "engine": "piper",
    "memory_gb": 1,
    "slots": 2,
    "tasks": ["speak"],
    "voices": {"alloy": "en_US-joe-medium"},
}
TRANSCRIBE, TRANSLATE = "/v1/audio/transcriptions", "/v1/audio/translations"


@pytest.fixture
def profile() -> Profile:
    queues = {**PROFILE["queues"], "asr": ASR, "tts": TTS}
    limits = {**PROFILE["limits"], "upload_mb": 3}
    aliases = {"auto": "chat", "whisper-1": "asr", "tts-1": "tts"}
    return Profile.model_validate({**PROFILE, "queues": queues, "aliases": aliases, "limits": limits})


@pytest.fixture
def blobs(settings: Settings) -> BlobStore:
    return BlobStore(settings.blobs)


def listening(worker: ScriptedWorker, queue: str) -> ScriptedWorker:
    """The same worker, on another queue."""
    worker.queue = queue
    return worker


async def body_of(job: Job, blobs: BlobStore) -> bytes:
    assert job.blob
    stored = [chunk async for chunk in blobs.chunks(job.blob.name, job.blob.offset, job.blob.length)]
    return job.body + b"".join(stored) + job.tail


async def nothing_stays(blobs: BlobStore) -> None:
    async def empty() -> bool:
        return await blobs.older_than(-60) == []

    await until(empty, "the upload is gone")


async def test_a_recording_travels_by_reference(served: Served, worker: ScriptedWorker, blobs: BlobStore) -> None:
    sound = bytes(range(256)) * 8000
    granularities = {"timestamp_granularities[]": ["word", "segment"]}
    data = {"model": "whisper-1", **granularities, "prompt": 'Zoë said "hi"\r\n--x', "precut": "true"}
    sent = served.client.post(TRANSCRIBE, files={"file": ('a"\n/../b.mp3', sound)}, data=data)
    asking = asyncio.create_task(sent)
    claim = await listening(worker, "asr").take()

    assert claim.job.blob is not None
    assert (claim.job.blob.name, claim.job.blob.length) == (own_blob(claim.job.id), len(sound))
    assert len(claim.job.body) < 2000
    body = await body_of(claim.job, blobs)
    assert len(body) == claim.job.body_bytes
    names = re.findall(rb'name="([^"]*)"', body)
    assert names == [b"timestamp_granularities[]", b"timestamp_granularities[]", b"prompt", b"model", b"file", b"audio"]
    assert b"\r\n\r\norg/whisper\r\n" in body
    assert b'Zo\xc3\xab said "hi"\r\n--x' in body
    assert sound in body

    await worker.answer(claim, b'{"text": "hi"}')
    response = await asking
    assert (response.status_code, response.json()) == (200, {"text": "hi"})
    assert response.headers["x-familyai-queue"] == "asr"


async def chunked(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


async def test_a_chunked_upload_of_octets_without_a_model(served: Served, worker: ScriptedWorker) -> None:
    """As Open WebUI sends it."""
    form = httpx.Request("POST", served.url, files={"file": ("a.webm", b"x" * 9999, "application/octet-stream")})
    headers = {"content-type": form.headers["content-type"]}
    asking = asyncio.create_task(served.client.post(TRANSLATE, content=chunked(form.read()), headers=headers))
    claim = await listening(worker, "asr").take()
    assert claim.job.path == TRANSLATE
    assert claim.job.blob
    assert claim.job.blob.length == 9999
    await worker.answer(claim, b"{}")
    assert (await asking).status_code == 200


async def test_a_client_that_leaves_takes_its_recording_along(
    served: Served, worker: ScriptedWorker, blobs: BlobStore
) -> None:
    asking = asyncio.create_task(served.client.post(TRANSCRIBE, files={"file": b"x" * 100_000}))
    await listening(worker, "asr").next()
    assert await blobs.older_than(-60) != []
    asking.cancel()
    await nothing_stays(blobs)


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "no file": ({"data": {"model": "whisper-1"}, "files": {}}, 400, "form"),
    "two files": ({"files": [("file", b"a"), ("file", b"b")]}, 400, "one file"),
    "no such model": ({"files": {"file": b"a"}, "data": {"model": "gpt-9"}}, 404, "gpt-9"),
    "a model that cannot": ({"files": {"file": b"a"}, "data": {"model": "chat"}}, 400, "cannot transcribe"),
    "too large": ({"files": {"file": b"a" * 3_100_000}}, 413, "3 MB"),
    "a file in the wrong place": ({"files": {"audio": b"a"}}, 400, "no file is expected"),
    "no form": ({"json": {"file": "a"}}, 400, "form"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_bad_uploads(served: Served, blobs: BlobStore, name: str) -> None:
    request, status, words = REFUSED[name]
    response = await served.client.post(TRANSCRIBE, **request)
    assert response.status_code == status
    assert words in response.json()["error"]["message"]
    await nothing_stays(blobs)


async def test_a_recording_for_which_no_answer_could_be_heard_goes(
    served: Served, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise Unavailable("the broker is down", code="broker_down")

    monkeypatch.setattr(served.front.replies, "open", lost)
    response = await served.client.post(TRANSCRIBE, files={"file": b"x"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "broker_down")
    await nothing_stays(blobs)


@pytest.mark.parametrize("detached", ["true", "false"])
async def test_a_recording_that_was_not_let_in_goes(
    served: Served, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, detached: str
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise LimitReached("too many wait", code="too_many_waiting", retry_after_s=1)

    monkeypatch.setattr(served.front.gate, "enter", full)
    headers = {"x-familyai-detach": detached}
    response = await served.client.post(TRANSCRIBE, files={"file": b"x"}, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (429, "too_many_waiting")
    await nothing_stays(blobs)


async def test_a_detached_job_that_was_refused_does_not_run(
    served: Served, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was enqueued, but the broker's answer was lost."""
    enqueue, jobs = served.front.jobs.enqueue, list[Job]()

    async def unheard(job: Job) -> None:
        await enqueue(job)
        jobs.append(job)
        raise ConnectionError("reset")

    monkeypatch.setattr(served.front.jobs, "enqueue", unheard)
    headers = {"x-familyai-detach": "true"}
    response = await served.client.post(TRANSCRIBE, files={"file": b"x"}, headers=headers)
    assert response.status_code == 503
    await nothing_stays(blobs)
    (record,) = await served.front.jobs.records([jobs[0].id])
    assert record.state is State.CANCELLED


async def test_without_a_key_nothing_is_read(served: Served, blobs: BlobStore) -> None:
    headers = {"authorization": "Bearer fai-no"}
    response = await served.client.post(TRANSCRIBE, files={"file": b"x" * 100_000}, headers=headers)
    assert response.status_code == 401
    await nothing_stays(blobs)


async def test_a_full_disk(settings: Settings, profile: Profile, served: Served, blobs: BlobStore) -> None:
    served.front.blobs._reserve_bytes = 10**18
    response = await served.client.post(TRANSCRIBE, files={"file": b"x"})
    assert (response.status_code, response.json()["error"]["code"]) == (507, "insufficient_storage")
    await nothing_stays(blobs)


async def test_a_broken_store(served: Served, tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("a file where a folder should be")
    response = await served.client.post(TRANSCRIBE, files={"file": b"x"})
    assert (response.status_code, response.json()["error"]["code"]) == (503, "blob_store_down")


async def test_speech_needs_no_model(served: Served, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(served.client.post("/v1/audio/speech", json={"input": "Hi.", "voice": "alloy"}))
    claim = await listening(worker, "tts").take()
    assert json.loads(claim.job.body) == {"input": "Hi.", "voice": "alloy", "model": "org/piper"}
    await worker.answer(claim, b"\xff\xf3", b"sound", headers=((b"content-type", b"audio/mpeg"),))
    response = await asking
    assert (response.headers["content-type"], response.content) == ("audio/mpeg", b"\xff\xf3sound")


async def test_a_chat_model_does_not_speak(served: Served) -> None:
    response = await served.client.post("/v1/audio/speech", json={"input": "Hi.", "model": "chat"})
    assert response.status_code == 400
    assert "these can: tts" in response.json()["error"]["message"]


async def test_voices_are_the_engine_s_and_asked_for_once(served: Served, worker: ScriptedWorker) -> None:
    anybody = httpx.AsyncClient(base_url=served.url, trust_env=False)
    asking = [asyncio.create_task(anybody.get("/v1/audio/voices")) for _ in range(5)]
    claim = await listening(worker, "tts").take()
    assert (claim.job.method, claim.job.path) == ("GET", "/v1/audio/voices")
    await worker.answer(claim, b'{"voices": [{"id": "joe", "name": "joe"}]}')
    for response in await asyncio.gather(*asking):
        assert response.json() == {"voices": [{"id": "joe", "name": "joe"}]}
    await anybody.aclose()


@pytest.mark.parametrize("answer", [b"no json", b'{"voices": 3}'])
async def test_voices_of_an_engine_that_makes_no_sense(served: Served, worker: ScriptedWorker, answer: bytes) -> None:
    asking = asyncio.create_task(served.client.get("/v1/audio/voices"))
    await worker.answer(await listening(worker, "tts").take(), answer)
    assert (await asking).json() == {"voices": [{"id": "alloy", "name": "alloy"}]}


async def test_voices_while_nobody_speaks(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.voices.PATIENCE_S", 0.05)
    response = await served.client.get("/v1/audio/voices")
    assert response.json() == {"voices": [{"id": "alloy", "name": "alloy"}]}
    await until(lambda: served.front.replies.all() == [], "nobody waits any more")


async def test_models_that_speak(served: Served) -> None:
    response = await served.client.get("/v1/audio/models", headers={"authorization": ""})
    assert [model["id"] for model in response.json()["models"]] == ["tts-1", "tts"]


async def test_batch_work_waits_in_a_lane_of_its_own(served: Served) -> None:
    target, sentence = resolve("tts", served.front.profile), Estimate(1, 0, 1.0, 0)
    first, second = (
        json_job(served.front, "/v1/audio/speech", "ada", target, {"input": "a"}, sentence, priority=priority)
        for priority in (Priority.BATCH, Priority.INTERACTIVE)
    )
    for job in (first, second):
        await submit(served.front, job)
    messages = [await served.front.redis.lrange(lane, 0, -1) for lane in ("tts.00", "tts.00.batch")]
    ids = [[_job_id(message) for message in lane] for lane in messages]
    assert ids == [[second.id], [first.id]]
    assert await served.front.jobs.lanes_with_messages("tts") == {"tts.00", "tts.00.batch"}


def _job_id(message: bytes) -> str:
    return str(json.loads(base64.b64decode(json.loads(message)["body"]))[1]["job_id"])
