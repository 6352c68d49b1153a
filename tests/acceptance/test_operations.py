"""The stack as its owner sees it: clients that leave, a killed worker, Flower, the command line, other dialects."""

import os
import signal
import stat

import httpx
import openai
import psutil
from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

from tests.acceptance.conftest import Household
from tests.support import wait_until

LONG: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Write a very long story about the sea."}]


def running(household: Household) -> float:
    return household.metric("vllm:num_requests_running")


def test_a_client_that_leaves_stops_the_generation(household: Household, client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Write a very long story about the sea."}],
        stream=True,
        max_tokens=2000,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    wait_until(lambda: running(household) == 1, "it runs")
    stream.close()
    wait_until(lambda: running(household) == 0, "it stopped", 60)
    wait_until(lambda: household.metric("familyai_jobs_running") == 0, "the slot is free", 60)


def test_a_client_that_leaves_without_a_stream(household: Household) -> None:
    body = {"model": "auto", "messages": LONG, "max_tokens": 2000, "ignore_eos": True}
    headers = {"authorization": f"Bearer {household.api_key}"}
    try:
        httpx.post(f"{household.url}/v1/chat/completions", json=body, headers=headers, timeout=2)
    except httpx.ReadTimeout:
        wait_until(lambda: running(household) == 0, "it stopped", 60)
    else:
        raise AssertionError("2000 tokens came in two seconds")


def test_anthropic_messages(http: httpx.Client) -> None:
    body = {
        "model": "auto",
        "max_tokens": 16,
        "temperature": 0,
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    reply = http.post("/v1/messages", json=body)
    assert reply.status_code == 200, reply.text
    assert "Paris" in reply.json()["content"][0]["text"]


def test_answers_say_where_they_come_from(http: httpx.Client) -> None:
    body = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]}
    headers = http.post("/v1/chat/completions", json=body).headers
    assert headers["x-familyai-job-id"].startswith("job-")
    assert headers["x-familyai-queue"] == "chat-lightweight"
    assert headers["x-familyai-route"].startswith("chat-lightweight;confidence=")


def test_flower_shows_the_task_and_never_the_prompt(household: Household, client: openai.OpenAI) -> None:
    secret = "xyzzy-plugh"
    client.chat.completions.create(model="auto", messages=[{"role": "user", "content": secret}], max_tokens=1)
    assert httpx.get(f"{household.flower_url}/api/tasks").status_code == 401
    with httpx.Client(base_url=household.flower_url, auth=flower_auth(household)) as flower:
        wait_until(lambda: "familyai.serve" in flower.get("/api/tasks").text, "Flower has heard of the task")
        page = flower.get("/api/tasks").text + flower.get("/tasks").text
    assert secret not in page


def flower_auth(household: Household) -> tuple[str, str]:
    return "familyai", (household.home / "flower.password").read_text().strip()


def test_the_home_keeps_its_secrets(household: Household) -> None:
    for name in ("env", "broker.env"):
        assert stat.S_IMODE((household.home / name).stat().st_mode) == 0o600


def test_no_prompt_in_any_log(household: Household, client: openai.OpenAI) -> None:
    secret = "frobnicate-quux"
    client.chat.completions.create(model="auto", messages=[{"role": "user", "content": secret}], max_tokens=4)
    logs = "".join(path.read_text(errors="replace") for path in (household.home / "logs").glob("*.log"))
    assert logs
    assert secret not in logs
    assert household.api_key not in logs


def test_chat_in_the_terminal(household: Household) -> None:
    asked = household.familyai("chat", "What is the capital of France?")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.strip()


def test_members_come_and_go(household: Household) -> None:
    added = household.familyai("member", "add", "Grandma", "--role", "adult")
    assert added.returncode == 0, added.stderr
    key = next(word for word in added.stdout.split() if word.startswith("fai-"))
    assert models(household, key) == 200
    assert "Grandma" in household.familyai("member", "list").stdout
    assert household.familyai("member", "remove", "Grandma").returncode == 0
    assert models(household, key) == 401


def models(household: Household, key: str) -> int:
    return httpx.get(f"{household.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code


def test_status_and_doctor_are_content(household: Household) -> None:
    wait_until(lambda: household.familyai("status").returncode == 0, "all is well", 60)
    doctor = household.familyai("doctor")
    assert doctor.returncode == 0, doctor.stdout


def test_z_a_killed_worker_leaves_nothing_comes_back_and_goes_on(household: Household, client: openai.OpenAI) -> None:
    """Last in this file: it costs a restart of the engine."""
    chunks: list[ChatCompletionChunk] = []
    with client.chat.completions.create(
        model="chat-fast",
        messages=LONG,
        stream=True,
        max_tokens=80,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    ) as stream:
        for chunk in stream:
            chunks.append(chunk)
            if len(chunks) == 10:
                kill_worker(household)

    said = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert len({(chunk.id, chunk.created) for chunk in chunks}) == 1
    assert [choice.delta.role for choice in said if choice.delta.role] == ["assistant"]
    assert [choice.finish_reason for choice in said if choice.finish_reason] == ["length"]
    assert [chunk.usage.completion_tokens for chunk in chunks if chunk.usage] == [80], "counted once"
    assert len("".join(choice.delta.content or "" for choice in said).split()) > 40
    wait_until(lambda: ready(household), "the stack is ready again", 120)


def kill_worker(household: Household) -> None:
    pid = int(httpx.get(f"{household.worker_url()}/health").json()["pid"])
    worker = psutil.Process(pid)
    family = worker.children(recursive=True)
    assert any("EngineCore" in "".join(process.cmdline()) + process.name() for process in family)
    os.kill(pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


def ready(household: Household) -> bool:
    return httpx.get(f"{household.url}/health/ready").status_code == 200
