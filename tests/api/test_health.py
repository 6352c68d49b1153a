import asyncio
import re

import httpx
import pytest
from jsonschema import Draft202012Validator
from redis.asyncio import Redis

from api.app import create_app
from familyai.catalogue import Profile
from familyai.frame import Failed
from familyai.jobs import Claim
from familyai.settings import Settings
from tests.api.support import JSON, PROFILE, SSE, ScriptedWorker, Served, until


async def test_alive_and_ready_are_two_questions(served: Served, redis: Redis, worker: ScriptedWorker) -> None:
    assert (await served.client.get("/health")).json() == {"status": "ok"}
    ready = await served.client.get("/health/ready")
    assert ready.status_code == 503
    assert ready.json() == {
        "status": "unavailable",
        "parts": {"broker": "ok", "replies": "ok", "queue chat": "ok", "queue vectors": "no worker"},
    }

    await ScriptedWorker(redis, queue="vectors").beat()
    ready = await served.client.get("/health/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")


async def test_health_and_metrics_need_no_key(served: Served) -> None:
    del served.client.headers["Authorization"]

    for path in ("/health", "/health/ready", "/metrics", "/openapi.json"):
        assert (await served.client.get(path)).status_code != 401


@pytest.mark.parametrize("path", ["/health", "/health/ready", "/v1/models"])
async def test_whoever_asks_with_head_gets_the_same_without_the_body(served: Served, path: str) -> None:
    head, get = await served.client.head(path), await served.client.get(path)

    assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"])
    assert head.content == b""


async def test_answers_that_were_not_whole_do_not_count_as_200(served: Served, worker: ScriptedWorker) -> None:
    async def begin(headers: tuple[tuple[bytes, bytes], ...]) -> tuple[httpx.Response, Claim]:
        request = served.client.build_request("POST", "/v1/chat/completions", json={"model": "auto"})
        opening = asyncio.create_task(served.client.send(request, stream=True))
        claim = await worker.take()
        await worker.start(claim, headers)
        await worker.write(claim, b"data: 1\n\n")
        return await opening, claim

    left, _ = await begin(SSE)
    await left.aclose()
    cut, claim = await begin(JSON)
    await worker.say(claim, Failed(claim.job.id, 1, 2, "engine_failed", "boom"))
    with pytest.raises(httpx.RemoteProtocolError):
        await cut.aread()

    async def counted() -> bool:
        text = (await served.client.get("/metrics")).text
        counter = 'familyai_requests_total{path="/v1/chat/completions",status="%s"} 1.0'
        assert counter % 200 not in text
        return counter % 499 in text and counter % 500 in text

    await until(counted, "both are counted")


async def test_metrics_count_by_route_and_status(served: Served, worker: ScriptedWorker) -> None:
    await served.client.get("/v1/models/gpt-9")
    await served.client.get("/v1/models/gpt-8")
    await served.client.get("/some/scan.php")
    asking = asyncio.create_task(served.chat(stream=True))
    claim = await worker.take()
    await worker.start(claim, SSE)
    waiting = asyncio.create_task(served.chat())
    await until(lambda: _waits(worker), "a second job waits")

    text = (await served.client.get("/metrics")).text
    assert 'familyai_requests_total{path="/v1/models/{name}",status="404"} 2.0' in text
    assert 'familyai_requests_total{path="unmatched",status="404"} 1.0' in text
    assert "familyai_open_replies 2.0" in text
    assert 'familyai_waiting_jobs{queue="chat"} 1.0' in text
    assert 'familyai_live_workers{queue="chat"} 1.0' in text
    assert "familyai_broker_up 1.0" in text
    assert "scan.php" not in text

    await worker.write(claim, b"data: 1\n\n")
    await worker.end(claim)
    await asking
    await worker.answer(await worker.take(), b"{}")
    await waiting
    text = (await served.client.get("/metrics")).text
    assert 'familyai_requests_total{path="/v1/chat/completions",status="200"} 2.0' in text
    assert 'familyai_time_to_first_byte_seconds_count{path="/v1/chat/completions"} 2.0' in text
    assert 'familyai_request_duration_seconds_count{path="/v1/chat/completions"} 2.0' in text


async def _waits(worker: ScriptedWorker) -> bool:
    return await worker.jobs.waiting("chat") == 1


async def test_models_are_listed_as_openai_does_and_tell_more(served: Served) -> None:
    listed = (await served.client.get("/v1/models")).json()

    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["auto", "chat", "chat-light", "vectors"]
    assert listed["data"][2] == {
        "id": "chat-light",
        "object": "model",
        "created": 1735689600,
        "owned_by": "org",
        "model": "org/chat",
        "queue": "chat",
        "tasks": ["generate"],
        "capabilities": [],
        "context_tokens": 4096,
        "resident": False,
    }
    for model in listed["data"]:
        assert (await served.client.get(f"/v1/models/{model['id']}")).json() == model
    assert (await served.client.get("/v1/models/org/chat")).json()["queue"] == "chat"


KEYLESS = {"/v1/audio/voices", "/v1/audio/models"}
"""Names only, for chat interfaces that ask for them without a key."""


def test_openapi_describes_every_operation() -> None:
    app = create_app(Settings(broker_url="redis://127.0.0.1:1/0"), Profile.model_validate(PROFILE))
    document = app.openapi()

    assert document["paths"]["/v1/chat/completions"]["post"]["operationId"] == "create_chat_completion"
    ready = document["paths"]["/health/ready"]["get"]["responses"]
    schemas = {ready[status]["content"]["application/json"]["schema"]["$ref"] for status in ("200", "503")}
    assert schemas == {"#/components/schemas/Readiness"}
    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]
    speech = document["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]["content"]
    sounds = {f"audio/{kind}" for kind in ("mpeg", "ogg", "aac", "flac", "wav", "pcm")}
    assert set(speech) == {*sounds, "text/event-stream"}
    heard = document["paths"]["/v1/audio/transcriptions"]["post"]["responses"]["200"]["content"]
    assert set(heard) == {"application/json", "text/plain", "text/vtt", "text/event-stream"}
    chat = document["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
    assert [content["text/event-stream"] for content in (speech, heard, chat)] == [{}] * 3
    job = document["paths"]["/v1/transcription-jobs"]["post"]["requestBody"]["content"]
    assert "required" not in job["multipart/form-data"]["schema"], "ids of files will do"
    operations = {(path, verb): told for path, verbs in document["paths"].items() for verb, told in verbs.items()}
    assert {("/v1/files", "post"), ("/v1/batches/{batch_id}/cancel", "post")} <= set(operations)
    for (path, _), told in operations.items():
        assert told["summary"], path
        assert told["description"], path
        for content in told.get("requestBody", {}).get("content", {}).values():
            Draft202012Validator.check_schema(content["schema"])
        if {"chat", "anthropic", "embeddings"} & set(told.get("tags", [])):
            assert "model" in told["requestBody"]["content"]["application/json"]["schema"]["required"], path
            assert {"400", "401", "404", "413", "415", "500", "503"} <= set(told["responses"]), path
        if path.startswith("/v1/") and path not in KEYLESS:
            assert told["security"] == [{"HTTPBearer": []}, {"APIKeyHeader": []}], path
            assert "401" in told["responses"], path


def test_openapi_refers_only_to_what_it_holds() -> None:
    app = create_app(Settings(broker_url="redis://127.0.0.1:1/0"), Profile.model_validate(PROFILE))
    document = app.openapi()

    references = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert references
    assert references <= set(document["components"]["schemas"])
    assert "HTTPValidationError" not in references
    assert "#/$defs" not in str(document)
