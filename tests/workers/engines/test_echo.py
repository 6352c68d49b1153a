import json
from collections.abc import AsyncIterator

import httpx
import pytest

from workers.engines.echo import EchoEngine, EchoFailure, expected_words
from workers.meter import Meter, current_meter


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(EchoEngine("familyai/echo").app)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine") as made:
        yield made


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "familyai/echo", "messages": [{"role": "user", "content": text}], **more}


async def test_the_answer_is_the_question(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/chat/completions", json=chat("to be or not"))).json()
    assert answer["choices"][0]["message"]["content"] == "to be or not "
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 4, "total_tokens": 8}


async def test_a_stream_gives_the_same_text_word_by_word(client: httpx.AsyncClient) -> None:
    reply = await client.post(
        "/v1/chat/completions", json=chat("naïve 東京 café", stream=True, max_tokens=5, ignore_eos=True)
    )
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    deltas = [json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]]
    assert "".join(deltas) == "".join(expected_words("naïve 東京 café", 5)) == "naïve 東京 café naïve 東京 "


@pytest.mark.parametrize(
    ("limit", "text", "reason"), [(2, "a b ", "length"), (3, "a b c ", "stop"), (9, "a b c ", "stop")]
)
async def test_a_limit_cuts_and_does_not_stretch(client: httpx.AsyncClient, limit: int, text: str, reason: str) -> None:
    answer = (await client.post("/v1/chat/completions", json=chat("a b c", max_tokens=limit))).json()
    (choice,) = answer["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, reason)


async def test_n_answers(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/completions", json={"model": "x", "prompt": "one two", "n": 3})).json()
    assert [choice["text"] for choice in answer["choices"]] == ["one two "] * 3


async def test_what_it_does_not_answer_it_refuses_in_openai_s_envelope(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/responses", json={"model": "x", "input": "a"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize(
    ("body", "param"),
    [(chat("a", max_tokens=-1), "max_tokens"), ({"model": "x"}, "messages"), (chat("a", stream="maybe"), "stream")],
)
async def test_a_wrong_parameter_is_named(client: httpx.AsyncClient, body: dict[str, object], param: str) -> None:
    reply = await client.post("/v1/chat/completions", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_it_refuses_with_the_status_asked_for(client: httpx.AsyncClient) -> None:
    reply = await client.post("/v1/chat/completions", json=chat("a", echo={"fail": "status:429"}))
    assert reply.status_code == 429


@pytest.mark.parametrize("fail", ["before", "after:1"])
async def test_it_raises_where_asked(client: httpx.AsyncClient, fail: str) -> None:
    with pytest.raises(EchoFailure):
        await client.post("/v1/chat/completions", json=chat("a b", stream=True, echo={"fail": fail}))


async def test_embeddings_are_paid_by_the_word(client: httpx.AsyncClient) -> None:
    current_meter.set(meter := Meter())
    await client.post("/v1/embeddings", json={"model": "x", "input": ["a b", "c"]})
    assert (meter.prompt, meter.generated) == (3, 0)


async def test_embeddings_are_deterministic(client: httpx.AsyncClient) -> None:
    reply = (await client.post("/v1/embeddings", json={"model": "x", "input": ["a", "b", "a"]})).json()
    first, second, third = (entry["embedding"] for entry in reply["data"])
    assert first == third != second
