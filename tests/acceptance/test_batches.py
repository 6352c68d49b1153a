"""Files and batches with the official `openai` client and the real model, a killed worker included."""

import json
import os
import signal
from typing import Any

import httpx
import openai
import pytest
from openai.types import Batch

from tests.acceptance.conftest import Household
from tests.support import wait_until

CHAT = "/v1/chat/completions"
CAPITALS = {"France": "Paris", "Italy": "Rome", "Germany": "Berlin", "Japan": "Tokyo"}


def a_line(custom_id: str, url: str, **body: Any) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": "auto", "temperature": 0} | body}


def asking(custom_id: str, text: str, **more: Any) -> dict[str, Any]:
    return a_line(custom_id, CHAT, messages=[{"role": "user", "content": text}], **more)


def begin(client: openai.OpenAI, endpoint: Any, lines: list[dict[str, Any]]) -> Batch:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"of": "the family"}
    )


def completed(client: openai.OpenAI, batch: Batch, limit_s: float = 60) -> Batch:
    wait_until(lambda: client.batches.retrieve(batch.id).status in ("completed", "failed"), "the batch ends", limit_s)
    batch = client.batches.retrieve(batch.id)
    assert batch.status == "completed", batch.errors
    return batch


def lines_of(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def test_chat_by_the_file(client: openai.OpenAI) -> None:
    lines = [asking(country, f"What is the capital of {country}?", max_tokens=16) for country in CAPITALS]
    batch = completed(client, begin(client, CHAT, [*lines, asking("odd", "Hello", max_tokens=-1)]))
    assert batch.metadata == {"of": "the family"}
    answers = {line["custom_id"]: line["response"] for line in lines_of(client, batch.output_file_id)}
    assert list(answers) == list(CAPITALS)
    for country, answer in answers.items():
        assert CAPITALS[country] in answer["body"]["choices"][0]["message"]["content"]
        assert answer["body"]["usage"]["completion_tokens"]
    (odd,) = lines_of(client, batch.error_file_id)
    assert (odd["custom_id"], odd["response"]["status_code"]) == ("odd", 400)
    assert odd["response"]["body"]["error"]["message"]
    assert batch.id in [listed.id for listed in client.batches.list()]
    assert batch.output_file_id in [file.id for file in client.files.list(purpose="batch_output")]


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/completions", {"prompt": "The capital of France is", "max_tokens": 4}),
        ("/v1/responses", {"input": "What is the capital of France?", "max_output_tokens": 16, "store": False}),
    ],
)
def test_other_endpoints_by_the_file(client: openai.OpenAI, endpoint: str, body: dict[str, Any]) -> None:
    batch = completed(client, begin(client, endpoint, [a_line("a", endpoint, **body)]))
    (line,) = lines_of(client, batch.output_file_id)
    assert "Paris" in json.dumps(line["response"]["body"])


def test_recordings_by_the_file(client: openai.OpenAI) -> None:
    spoken = client.audio.speech.create(
        model="tts-1", voice="alloy", input="Dinner is ready. Please come down to the kitchen."
    ).content
    recording = client.files.create(file=("dinner.mp3", spoken), purpose="user_data")
    url = "/v1/audio/transcriptions"
    lines = [
        a_line(kind, url, model="whisper-1", file=recording.id, response_format=kind)
        for kind in ("json", "verbose_json", "srt")
    ]
    batch = completed(client, begin(client, url, lines))
    answers = lines_of(client, batch.output_file_id)
    assert [line["custom_id"] for line in answers] == ["json", "verbose_json", "srt"]
    assert all("kitchen" in line["response"]["body"]["text"] for line in answers)


def test_z_a_hundred_lines_outlive_the_worker(household: Household, client: openai.OpenAI) -> None:
    """Last in this file: it costs a restart of the engine."""
    names = [f"line-{number}" for number in range(100)]
    batch = begin(client, CHAT, [asking(name, f"Say a word about {name}.", max_tokens=16) for name in names])
    wait_until(lambda: _done(client, batch) >= 20, "a fifth is done", 60)
    os.kill(int(httpx.get(f"{household.worker_url()}/health").json()["pid"]), signal.SIGKILL)
    assert _done(client, batch) < 100
    batch = completed(client, batch, limit_s=200)
    assert batch.request_counts
    assert (batch.request_counts.completed, batch.request_counts.failed) == (100, 0)
    assert [line["custom_id"] for line in lines_of(client, batch.output_file_id)] == names
    assert batch.error_file_id is None


def _done(client: openai.OpenAI, batch: Batch) -> int:
    counts = client.batches.retrieve(batch.id).request_counts
    return counts.completed if counts else 0
