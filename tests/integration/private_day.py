"""One household's day, full of words that nobody else may read, and all that those who look on can see of it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis

from familyai.broker_users import FLOWER, OWNER, url_of
from familyai.cli.home import Home
from familyai.tasks import make_app
from tests.integration.home import Household
from tests.support import wait_until

ECHO = {"model": "familyai/echo", "engine": "echo", "memory_gb": 0.1, "slots": 4}
PROFILE = {
    "memory_budget_gb": 1,
    "limits": {"inline_body_kb": 4, "aof_rewrite_s": 1, "replay_s": 1},
    "queues": {"chat-fast": {**ECHO, "tasks": ["generate", "embed"]}, "asr": {**ECHO, "tasks": ["transcribe"]}},
    "routes": {"auto": {"kinds": ["chat-fast"]}},
}
SECRET = "aubergine"
"""Stands in every prompt, answer, system prompt, tool, recording and in what the engine fails with."""
FILE_NAME = "zucchini"
STRANGE_KEY = "fai-parsnip"
LONG = " ".join([SECRET] * 2000)
"""Travels through the blob store."""
ENDED = ("completed", "failed")
FLOWER_PAGES = ("/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers", "/api/tasks", "/api/queues/length")


@dataclass
class Seen:
    """What was said, written down or shown, by where; `denied`: how often the broker refused somebody something."""

    texts: dict[str, str] = field(default_factory=dict)
    event_types: set[str] = field(default_factory=set)
    denied: dict[str, int] = field(default_factory=dict)

    def where(self, word: str) -> list[str]:
        return [where for where, text in self.texts.items() if word.lower() in text.lower()]


def broker_url(household: Household, user: str) -> str:
    file = "broker.password" if user == OWNER else f"broker-{user}.password"
    password = (household.home / file).read_text().strip()
    return url_of(user, password, f"127.0.0.1:{household.env['FAMILYAI_BROKER_PORT']}")


def live(household: Household) -> None:
    """Chat, streams, uploads, batches, mistakes and failures. Everything has ended when it returns."""
    url = f"http://127.0.0.1:{household.env['FAMILYAI_PORT']}"
    headers = {"authorization": f"Bearer {Home(household.home).api_key()}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as client:
        _talk(client)
        _fail(client)
        _upload(client)
        _batch(client)
    assert household("chat", SECRET)[0] == 0


def _talk(client: httpx.Client) -> None:
    for more in ({}, {"stream": True}, {"messages": _messages(LONG)}):
        assert SECRET in _answer(client, 200, **more)
    assert SECRET in client.post("/v1/completions", json={"model": "auto", "prompt": SECRET}).text
    assert client.post("/v1/embeddings", json={"model": "chat-fast", "input": SECRET}).status_code == 200


def _fail(client: httpx.Client) -> None:
    _answer(client, 500, echo={"fail": "quoting"})
    assert "error" in _answer(client, 200, echo={"fail": "after:0"}, stream=True)
    _answer(client, 400, echo={"fail": SECRET})
    _answer(client, 404, model=SECRET)
    _answer(client, 400, messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": SECRET}}]}])
    assert client.post("/v1/chat/completions", content=f'{{"model": {SECRET}').status_code == 400
    assert client.get(f"/v1/{SECRET}", params={"q": SECRET}).status_code == 404
    stranger = {"authorization": f"Bearer {STRANGE_KEY}"}
    assert client.get("/v1/models", headers=stranger).status_code == 401


def _upload(client: httpx.Client) -> None:
    """The stand-in hears nothing, but not before the recordings have gone their whole way."""
    recording = (f"{FILE_NAME}.wav", LONG.encode())
    form = {"model": "asr", "prompt": SECRET}
    assert client.post("/v1/audio/transcriptions", data=form, files={"file": recording}).status_code == 404
    jobs = "/v1/transcription-jobs"
    job = client.post(jobs, data={"model": "asr"}, files={"files": recording}).json()
    wait_until(lambda: client.get(f"{jobs}/{job['id']}").json()["status"] in ENDED, "the recording was tried")


def _batch(client: httpx.Client) -> None:
    path = "/v1/chat/completions"
    fine = {"custom_id": FILE_NAME, "method": "POST", "url": path, "body": _body()}
    failing = {**fine, "custom_id": "2", "body": _body(echo={"fail": "quoting"})}
    assert _status_of_batch(client, [fine, failing]) == "completed"
    assert _status_of_batch(client, [fine, {"broken": SECRET}]) == "failed"


def _status_of_batch(client: httpx.Client, lines: list[dict[str, Any]]) -> str:
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    form = {"file": (f"{FILE_NAME}.jsonl", content)}
    file = client.post("/v1/files", data={"purpose": "batch"}, files=form).json()
    order = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.post("/v1/batches", json=order).json()

    def status() -> str:
        return str(client.get(f"/v1/batches/{batch['id']}").json()["status"])

    wait_until(lambda: status() in ENDED, "the batch ends")
    return status()


def _answer(client: httpx.Client, status: int, **more: Any) -> str:
    reply = client.post("/v1/chat/completions", json=_body(**more))
    assert reply.status_code == status, reply.text
    return reply.text


def _body(**more: Any) -> dict[str, Any]:
    tool = {"type": "function", "function": {"name": SECRET, "description": SECRET, "parameters": {"type": "object"}}}
    return {"model": "auto", "messages": _messages(), "tools": [tool], "user": SECRET, **more}


def _messages(text: str = f"my {SECRET}") -> list[dict[str, str]]:
    return [{"role": "system", "content": SECRET}, {"role": "user", "content": text}]


@contextmanager
def events_of(household: Household) -> Iterator[list[dict[str, Any]]]:
    """Every event that Celery tells meanwhile, as Flower hears them."""
    heard: list[dict[str, Any]] = []
    app = make_app(broker_url(household, FLOWER))
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": heard.append})
        thread = threading.Thread(target=lambda: receiver.capture(limit=None, timeout=None, wakeup=False))
        thread.start()
        wait_until(lambda: heard, "the first heartbeat is heard")
        try:
            yield heard
        finally:
            receiver.should_stop = True
            thread.join(30)


def look_everywhere(household: Household, seen: Seen) -> None:
    """While it runs."""
    for words in (["status"], ["status", "--json"], ["doctor"], ["queue"]):
        seen.texts[" ".join(words)] = household(*words)[1]
    for path in (*household.home.glob("logs/*"), household.home / "supervisor.json"):
        seen.texts[path.name] = path.read_text()
    with httpx.Client(timeout=30, trust_env=False) as client:
        for name, url in _pages(household):
            seen.texts[name] = _page(client, url, household)
    seen.texts["ps"] = "\n".join(" ".join(process.cmdline()) for process in household.left())
    with Redis.from_url(broker_url(household, OWNER)) as redis:
        stats = redis.info("stats")
    seen.denied = {name: stats[name] for name in stats if name.startswith("acl_access_denied")}


def _pages(household: Household) -> Iterator[tuple[str, str]]:
    port = {name: int(household.env[f"FAMILYAI_{name}"]) for name in ("PORT", "WORKER_PORT", "FLOWER_PORT")}
    yield "front /metrics", f"http://127.0.0.1:{port['PORT']}/metrics"
    for number in range(len(PROFILE["queues"])):  # type: ignore[arg-type]
        yield f"worker {number} /metrics", f"http://127.0.0.1:{port['WORKER_PORT'] + number}/metrics"
    for page in FLOWER_PAGES:
        yield f"Flower {page}", f"http://127.0.0.1:{port['FLOWER_PORT']}{page}"


def _page(client: httpx.Client, url: str, household: Household) -> str:
    password = (household.home / "flower.password").read_text().strip()
    reply = client.get(url, auth=("familyai", password))
    assert reply.status_code == 200, (url, reply.text)
    return reply.text


def files_with(folder: Path, word: str) -> list[str]:
    """The files below a folder in which a word stands, whichever may come and go meanwhile."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and word.encode() in path.read_bytes():
                found.append(str(path.relative_to(folder)))
        except FileNotFoundError:
            continue
    return found
