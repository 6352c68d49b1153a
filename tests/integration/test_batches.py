"""A batch over real processes: whoever is killed, each line is answered once."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from familyai.allowance import Role
from familyai.members import MemberStore
from tests.integration.conftest import Process, StartProcess
from tests.support import status_of, wait_until

CHAT = "/v1/chat/completions"


@pytest.fixture
def few_slots(environment: dict[str, str], tmp_path: Path) -> None:
    """So that a batch lasts long enough to be disturbed."""
    text = Path(environment["FAMILYAI_CATALOGUE"]).read_text()
    assert "slots: 64" in text
    (tmp_path / "queues.yaml").write_text(text.replace("slots: 64", "slots: 8"))
    environment["FAMILYAI_CATALOGUE"] = str(tmp_path / "queues.yaml")


@pytest.fixture
async def api_key(members: MemberStore) -> str:
    _, key = await members.add("anna", Role.ADULT)
    return key


def start_front(start_process: StartProcess, port: int | None = None) -> Process:
    front = start_process("api", port=port)
    wait_until(lambda: status_of(f"{front.url}/health/ready") == 200, "the front is ready")
    return front


def a_line(number: int, **echo: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": f"line number {number}"}]
    body = {"model": "auto", "messages": messages, "echo": echo}
    return {"custom_id": f"line-{number}", "method": "POST", "url": CHAT, "body": body}


def begin(client: openai.OpenAI, lines: list[dict[str, Any]]) -> Batch:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    file = client.files.create(file=("lines.jsonl", content), purpose="batch")
    return client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")


def done(client: openai.OpenAI, batch: Batch) -> int:
    counts = client.batches.retrieve(batch.id).request_counts
    return counts.completed + counts.failed if counts else 0


def finished(client: openai.OpenAI, batch: Batch) -> Batch:
    wait_until(lambda: client.batches.retrieve(batch.id).status in ("completed", "failed"), "the batch ends", 90)
    return client.batches.retrieve(batch.id)


def lines_of(client: openai.OpenAI, file_id: str | None) -> list[dict[str, Any]]:
    assert file_id
    return [json.loads(line) for line in client.files.content(file_id).text.splitlines()]


def kill(process: Process) -> None:
    os.kill(process.popen.pid, signal.SIGKILL)
    process.popen.wait()


@pytest.mark.timeout(240)
def test_a_hundred_lines_outlive_a_worker_and_a_front(
    few_slots: None, start_process: StartProcess, api_key: str
) -> None:
    worker = start_process("workers", "chat-fast", "--port", "PORT")
    front = start_front(start_process)
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key=api_key) as client:
        batch = begin(client, [a_line(number, delay_s=1.0) for number in range(100)])
        wait_until(lambda: done(client, batch) >= 20, "a fifth is done")
        kill(worker)
        start_process("workers", "chat-fast", "--port", "PORT")
        wait_until(lambda: done(client, batch) >= 60, "more than half is done", 60)
        assert done(client, batch) < 100
        kill(front)
        start_front(start_process, port=front.port)
        batch = finished(client, batch)

        assert batch.request_counts
        assert (batch.status, batch.request_counts.completed, batch.request_counts.failed) == ("completed", 100, 0)
        answers = lines_of(client, batch.output_file_id)
        assert [line["custom_id"] for line in answers] == [f"line-{number}" for number in range(100)]
        texts = [line["response"]["body"]["choices"][0]["message"]["content"].strip() for line in answers]
        assert texts == [f"line number {number}" for number in range(100)]
        assert batch.error_file_id is None


def test_lines_that_the_engine_fails_on_fail_alone(start_process: StartProcess, api_key: str) -> None:
    start_process("workers", "chat-fast", "--port", "PORT")
    front = start_front(start_process)
    with openai.OpenAI(base_url=f"{front.url}/v1", api_key=api_key) as client:
        batch = begin(client, [a_line(1), a_line(2, fail="before"), a_line(3, fail="status:400"), a_line(4)])
        batch = finished(client, batch)
        assert [line["custom_id"] for line in lines_of(client, batch.output_file_id)] == ["line-1", "line-4"]
        errors = lines_of(client, batch.error_file_id)
        assert [(line["custom_id"], line["response"]["status_code"]) for line in errors] == [
            ("line-2", 500),
            ("line-3", 400),
        ]
