"""A job's end, told to a receiver: once, signed with the home's secret, and noted in the job."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
from redis.asyncio import Redis

from familyai import keys
from familyai.catalogue import Profile
from tests.api.asr import MODEL, QUEUE, Asr, recording
from tests.api.folder import JOBS, got
from tests.api.support import PROFILE, Served, until


@pytest.fixture
def profile() -> Profile:
    limits = {**PROFILE["limits"], "webhook_hosts": ["127.0.0.1"]}
    return Profile.model_validate({**PROFILE, "limits": limits, "queues": {**PROFILE["queues"], QUEUE: MODEL}})


class Receiver:
    """A server that confirms whatever comes."""

    def __init__(self) -> None:
        self.calls: list[tuple[dict[str, str], bytes]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head if line)}
        self.calls.append((headers, await reader.readexactly(int(headers["content-length"]))))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    yield made, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    server.close()


async def test_the_end_of_a_job_is_told(
    served: Served, asr: Asr, receiver: tuple[Receiver, str], tmp_path: Path, redis: Redis
) -> None:
    told, url = receiver
    made = await served.client.post(
        JOBS, files=[("files", ("secret plans.m4a", recording("one")))], data={"webhook_url": url}
    )
    job_id = made.json()["id"]

    async def is_settled() -> bool:
        return await redis.zcard(keys.WORK) == 0

    await until(is_settled, "the webhook is delivered")
    ((headers, body),) = told.calls
    secret = (tmp_path / "webhook.password").read_text().strip()
    openai.OpenAI(api_key="unused").webhooks.verify_signature(body, headers, secret=secret)
    event = json.loads(body)
    assert (event["type"], event["data"]["id"]) == ("transcription.job.completed", job_id)
    assert b"plans" not in body
    webhook = (await got(served, job_id))["webhook"]
    assert webhook["delivered_at"]
    assert webhook["tries"] == 1


async def test_a_host_that_is_not_listed_is_refused(served: Served, asr: Asr) -> None:
    for url, code in (("https://example.com/", "webhook_not_allowed"), ("ftp://127.0.0.1/", "invalid_url")):
        answer = await served.client.post(
            JOBS, files=[("files", ("a.m4a", recording("one")))], data={"webhook_url": url}
        )
        assert answer.status_code == 400
        assert answer.json()["error"] | {"message": ""} == {
            "message": "",
            "type": "invalid_request_error",
            "param": "webhook_url",
            "code": code,
        }
    assert asr.cuts == {}
