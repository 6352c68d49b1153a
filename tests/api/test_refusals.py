"""Everything that is refused before it becomes a job: the status, the envelope, and that nothing was queued."""

import asyncio
import threading
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from api.body import QUICK_BYTES, parse
from tests.api.support import MESSAGE, Served

CHAT = "/v1/chat/completions"


def problem(response: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "code"),
    [
        (CHAT, {}, 400, "model", "missing_model"),
        (CHAT, {"model": None}, 400, "model", "missing_model"),
        (CHAT, {"model": "gpt-9"}, 404, "model", "model_not_found"),
        (CHAT, {"model": "auto", "n": 9}, 400, "n", "too_wide"),
        (CHAT, {"model": "auto", "use_beam_search": True}, 400, "use_beam_search", "unsupported_parameter"),
        (CHAT, {"model": "auto", "priority": 1}, 400, "priority", "unsupported_parameter"),
        (CHAT, {"model": "vectors"}, 400, "model", "unsupported_task"),
        (
            CHAT,
            {"model": "auto", "messages": [{"content": [{"image_url": {"url": "file:///etc/passwd"}}]}]},
            400,
            "messages[0].content[0].image_url.url",
            "url_not_allowed",
        ),
        ("/v1/completions", {"model": "auto", "prompt": ["x"] * 9}, 400, "prompt", "too_wide"),
        ("/v1/embeddings", {"model": "chat", "input": "x"}, 400, "model", "unsupported_task"),
        (
            "/v1/responses",
            {"model": "auto", "previous_response_id": "r"},
            400,
            "previous_response_id",
            "unsupported_parameter",
        ),
        ("/v1/responses", {"model": "auto", "background": True}, 400, "background", "unsupported_parameter"),
    ],
)
async def test_requests_that_cannot_be_served(
    served: Served, redis: Redis, path: str, body: dict[str, Any], status: int, param: str, code: str
) -> None:
    response = await served.client.post(path, json=body)

    assert response.status_code == status
    error = problem(response)
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert await redis.llen("chat") == 0


async def test_an_unknown_model_is_answered_with_those_there_are(served: Served) -> None:
    response = await served.chat(model="gpt-9")

    assert all(name in problem(response)["message"] for name in ("auto", "chat", "chat-light", "vectors"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer fai-000000000000-" + "x" * 43},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "fai-key"},
        {"x-api-key": "wrong"},
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/auto")])
async def test_no_key_or_a_wrong_key(served: Served, method: str, path: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as stranger:
        response = await stranger.request(method, path, headers=headers, content=b"not even JSON")

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert problem(response)["code"] in ("missing_api_key", "invalid_api_key")


async def test_a_removed_member_is_a_stranger_at_once(served: Served, redis: Redis) -> None:
    assert (await served.client.get("/v1/models")).status_code == 200
    await served.front.members.remove("ada")

    assert (await served.client.get("/v1/models")).status_code == 401


async def test_anthropics_clients_hear_anthropics_errors(served: Served) -> None:
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
        stranger = await client.post("/v1/messages", json={"model": "auto"})
        member = await client.post("/v1/messages", json={"model": "x"}, headers={"x-api-key": served.key})

    assert (stranger.status_code, stranger.json()["error"]["type"]) == (401, "authentication_error")
    assert (member.status_code, member.json()["error"]["type"]) == (404, "not_found_error")
    assert member.json()["type"] == "error"


@pytest.mark.parametrize(
    ("path", "missing"), [("/v1/messages", "max_tokens"), ("/v1/messages/count_tokens", "messages")]
)
async def test_what_anthropics_endpoints_miss_is_said_in_anthropics_words(
    served: Served, path: str, missing: str
) -> None:
    response = await served.client.post(path, json={key: value for key, value in MESSAGE.items() if key != missing})

    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert missing in response.json()["error"]["message"]
    assert set(response.json()) == {"type", "error"}


async def test_two_keys_at_once_are_nobodys(served: Served) -> None:
    headers = [("Authorization", f"Bearer {served.key}"), ("Authorization", "Bearer fai-other")]
    async with httpx.AsyncClient(base_url=served.url, trust_env=False) as client:
        response = await client.get("/v1/models", headers=headers)

    assert (response.status_code, problem(response)["param"]) == (400, "Authorization")


async def test_a_broker_that_does_not_answer_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def silence(_: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(served.front.members, "authenticate", silence)
    monkeypatch.setattr("api.auth.AUTHENTICATE_S", 0.01)

    assert problem(await served.chat())["code"] == "broker_down"


async def test_a_long_path_is_not_repeated_in_full(served: Served) -> None:
    response = await served.client.get("/" + "x" * 5000)

    assert len(problem(response)["message"]) < 250


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": "auto", "x": "\\ud800"}', b"[" * 5000])
async def test_what_is_no_json_object(served: Served, content: bytes) -> None:
    response = await served.client.post(CHAT, content=content)

    assert (response.status_code, problem(response)["code"]) == (400, "invalid_json")


async def test_a_large_body_is_read_beside_the_loop(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    readers: list[threading.Thread] = []

    def read(data: bytes) -> dict[str, Any]:
        readers.append(threading.current_thread())
        return parse(data)

    monkeypatch.setattr("api.body.parse", read)
    for size in (QUICK_BYTES, QUICK_BYTES + 1):
        response = await served.client.post(CHAT, content=b'{"model": "gpt-9"}'.ljust(size))
        assert problem(response)["code"] == "model_not_found"

    assert [reader is threading.main_thread() for reader in readers] == [True, False]


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
async def test_a_compressed_body_is_refused_by_its_header(served: Served, encoding: str) -> None:
    response = await served.client.post(CHAT, content=b"{}", headers={"Content-Encoding": encoding})

    assert (response.status_code, problem(response)["param"]) == (415, "Content-Encoding")
    plain = await served.client.post(CHAT, content=b"{}", headers={"Content-Encoding": "Identity"})
    assert problem(plain)["code"] == "missing_model"


async def test_an_announced_body_over_the_limit_is_refused_unread(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\nContent-Length: 500001\r\n\r\n"
    writer.write(head.encode())  # and not one byte of the body

    assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


async def test_a_body_of_unknown_length_is_refused_once_it_is_over_the_limit(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"186a0\r\n" + b"x" * 100_000 + b"\r\n"
    writer.write(head.encode() + chunk * 6)  # and never the last chunk

    assert b" 413 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


async def test_a_body_at_the_limit_is_read(served: Served) -> None:
    response = await served.client.post(CHAT, content=b'{"model": "gpt-9"}'.ljust(500_000))

    assert response.status_code == 404
    assert (await served.client.post(CHAT, content=b"{}".ljust(500_001))).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "unknown_path"),
        ("GET", "/", 404, "unknown_path"),
        ("GET", "/health/", 404, "unknown_path"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/gpt-9", 404, "model_not_found"),
    ],
)
async def test_paths_and_methods_that_do_not_exist(
    served: Served, method: str, path: str, status: int, code: str
) -> None:
    response = await served.client.request(method, path)

    assert (response.status_code, problem(response)["code"]) == (status, code)
    assert ("allow" in response.headers) is (status == 405)


async def test_a_bug_tells_the_client_nothing_of_our_insides(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.choose.decide", lambda *_, **__: 1 / 0)

    response = await served.chat()

    assert response.status_code == 500
    assert problem(response)["code"] == "internal_error"
    assert "division" not in response.text
