"""Text and numbers that are meant to break whoever reads them: each is refused in words, and nobody's 500."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest

from api.app import create_app
from familyai.allowance import Role
from familyai.catalogue import Profile
from familyai.jobs import Claim
from familyai.members import Change
from familyai.settings import Settings
from tests.api.support import PROFILE, ScriptedWorker, Served

NASTY = {
    "nul": "%00",
    "no-utf8": "%ff%fe",
    "surrogate": "%ed%a0%80",
    "byte-order-mark": "%ef%bb%bf",
    "line-ends": "%0d%0aX:%20a",
    "above": "..%2f..%2fetc%2fpasswd",
    "long": "a" * 5000,
    "bidirectional": "%e2%80%ae",
    "glob": "*",
    "percent": "%25s%25n",
    "huge": "9" * 5000,
}
BOMBS = {
    "deep-arrays": b'{"model":"auto","messages":' + b"[" * 100_000,
    "deep-and-whole": b'{"messages":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "deep-objects": b'{"a":' * 20_000,
    "infinite": b'{"model":"auto","max_tokens":1e400000}',
    "million-digits": b'{"model":"auto","max_tokens":' + b"9" * 400_000 + b"}",
    "not-a-number": b'{"model":"auto","temperature":NaN}',
    "lone-surrogate": b'{"model":"auto","messages":"\\ud800"}',
    "no-utf8": b'{"model":"auto","messages":"\xff"}',
    "encoded-surrogate": b'{"model":"auto","messages":"\xed\xa0\x80"}',
    "byte-order-mark": b'\xef\xbb\xbf{"model":"auto"}',
    "utf16": '{"model":"auto"}'.encode("utf-16"),
    "raw-nul": b'{"model":"auto\x00"}',
    "empty": b"",
    "no-object": b"[" + b"[]," * 100_000 + b"[]]",
}


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    settings = Settings(broker_url="redis://127.0.0.1:1/0")
    for path, verbs in create_app(settings, Profile.model_validate(PROFILE)).openapi()["paths"].items():
        for verb, told in verbs.items():
            yield verb.upper(), path, told


OPERATIONS = list(operations())
NAMED = [
    (verb, path, told)
    for verb, path, told in OPERATIONS
    if any(parameter["in"] in ("path", "query") for parameter in told.get("parameters", []))
]


def takes(kind: str) -> list[tuple[str, str]]:
    return [(verb, path) for verb, path, told in OPERATIONS if kind in told.get("requestBody", {}).get("content", {})]


@pytest.fixture
async def admin(served: Served) -> Served:
    """Whoever may ask everything."""
    await served.front.members.change("ada", Change(role=Role.ADMIN))
    return served


def check(response: httpx.Response) -> None:
    """A refusal in the envelope of the path, or an answer."""
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert isinstance(response.json()["error"]["message"], str)


@pytest.mark.parametrize(("verb", "path", "told"), NAMED, ids=[f"{verb} {path}" for verb, path, _ in NAMED])
async def test_names_in_paths_and_queries(admin: Served, verb: str, path: str, told: dict[str, Any]) -> None:
    for nasty in NASTY.values():
        query = "&".join(f"{one['name']}={nasty}" for one in told["parameters"] if one["in"] == "query")
        at = re.sub(r"{\w+}", nasty, path)
        check(await admin.client.request(verb, f"{at}?{query}"))


@pytest.mark.parametrize(("verb", "path"), takes("application/json"))
async def test_bombs_in_json(admin: Served, verb: str, path: str) -> None:
    path = path.replace("{name}", "ada").replace("{job_id}", "job-1")
    for bomb in BOMBS.values():
        response = await admin.client.request(verb, path, content=bomb, headers={"Content-Type": "application/json"})
        check(response)
        assert 400 <= response.status_code < 500


@pytest.mark.parametrize("bomb", BOMBS)
async def test_a_bomb_is_told_to_be_no_json(served: Served, bomb: str) -> None:
    response = await served.client.post("/v1/chat/completions", content=BOMBS[bomb])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_json")


async def test_of_a_key_that_comes_ever_again_the_engine_reads_what_was_checked(
    served: Served, worker: ScriptedWorker
) -> None:
    body = b'{"model":"auto","messages":[],' + b'"n":999,' * 40_000 + b'"n":1}'
    asking = asyncio.create_task(served.client.post("/v1/chat/completions", content=body))
    claim = await worker.take()
    await worker.answer(claim, b"{}")
    assert (await asking).status_code == 200
    assert sent(claim).count(b'"n":') == 1


async def test_nul_is_text_like_any_other(served: Served, worker: ScriptedWorker) -> None:
    asking = asyncio.create_task(served.chat(messages=[{"role": "user", "content": "a\x00b"}]))
    claim = await worker.take()
    await worker.answer(claim, b"{}")
    assert (await asking).status_code == 200
    assert orjson.loads(sent(claim))["messages"][0]["content"] == "a\x00b"


def sent(claim: Claim) -> bytes:
    assert isinstance(claim.job.body, bytes)
    return claim.job.body


@pytest.mark.parametrize("raw", [b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"../x", b"a" * 5000])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/transcriptions", "/v1/transcription-jobs"])
async def test_fields_of_forms(served: Served, path: str, raw: bytes) -> None:
    fields = [(b"purpose", b""), (b"model", b""), (raw, b""), (b"file", b'; filename="%s"' % raw)]
    parts = [
        b'--x\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, more, raw) for name, more in fields
    ]
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    check(await served.client.post(path, content=b"".join(parts) + b"--x--\r\n", headers=headers))


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"a" * 9000, b"9" * 5000, b"-1"])
async def test_values_of_headers(served: Served, value: bytes) -> None:
    names = [
        "X-FamilyAI-Priority",
        "X-FamilyAI-Deadline-S",
        "X-FamilyAI-Prefer",
        "X-FamilyAI-Detach",
        "Accept",
        "Content-Type",
        "Host",
    ]
    for name in [*names, "Content-Encoding", "Last-Event-ID", "X-Forwarded-For", "x-openwebui-user-id"]:
        response = await served.client.post("/v1/route", json={"model": "no"}, headers={name: value})
        check(response)
        assert response.status_code >= 400


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"a" * 9000])
async def test_keys_that_are_none(served: Served, value: bytes) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as stranger:
        for name, key in [("Authorization", b"Bearer " + value), ("Authorization", value), ("x-api-key", value)]:
            assert (await stranger.get("/v1/models", headers={name: key})).status_code == 401
