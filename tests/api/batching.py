"""Batches as a client asks for them, and a worker that answers each line."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import openai
from openai.types import Batch as OpenAIBatch

from familyai.jobs import Claim
from tests.api.support import LIMIT_S, ScriptedWorker

CHAT = "/v1/chat/completions"
ENDED = {"completed", "failed", "expired", "cancelled"}


@dataclass
class Answering:
    """A worker that answers every job as it is told to, and remembers what it was asked."""

    worker: ScriptedWorker
    answer: Callable[[Claim, dict[str, Any]], Awaitable[None]] | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                claim = await self.worker.take()
                body = json.loads(claim.job.body) if claim.job.blob is None else {}
                self.asked.append(body)
                self.claims.append(claim)
                group.create_task((self.answer or self.echo)(claim, body))

    async def echo(self, claim: Claim, body: dict[str, Any]) -> None:
        await self.worker.answer(claim, json.dumps({"said": body.get("say")}).encode())


def a_line(custom_id: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "auto", "say": custom_id, **body}}


def jsonl(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def begun(client: openai.AsyncOpenAI, content: bytes, **more: Any) -> OpenAIBatch:
    file = await client.files.create(file=("in.jsonl", content), purpose="batch")
    asked = {"endpoint": CHAT, "completion_window": "24h"} | more
    return await client.batches.create(input_file_id=file.id, **asked)


async def ended(client: openai.AsyncOpenAI, batch_id: str) -> OpenAIBatch:
    deadline = time.monotonic() + LIMIT_S
    while (batch := await client.batches.retrieve(batch_id)).status not in ENDED:
        assert time.monotonic() < deadline, f"still {batch.status}"
        await asyncio.sleep(0.02)
    return batch


async def content(client: openai.AsyncOpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return [json.loads(line) for line in (await client.files.content(file_id)).text.splitlines()]


def counts(batch: OpenAIBatch) -> tuple[int, int, int]:
    assert batch.request_counts
    return batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed
