"""Bad input: a clear error in OpenAI's envelope, from whoever knows best, and nobody else is harmed."""

from typing import Any

import httpx
import openai
import pytest

HELLO = [{"role": "user", "content": "Hello"}]


def test_a_wrong_key(household: object, client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as refused:
        client.with_options(api_key="fai-000000000000-wrong").models.list()
    assert refused.value.code == "invalid_api_key"


def test_an_unknown_model_lists_the_known(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "Hello"}])
    assert "chat-fast" in refused.value.message


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"temperature": "hot"}, "body.temperature"),  # as the engine writes it
        ({"n": 1000}, "n"),
        ({"use_beam_search": True}, "use_beam_search"),
        ({"priority": 1}, "priority"),
        ({"structured_outputs": {"regex": "a" * 1001}}, "structured_outputs.regex"),
    ],
)
def test_a_bad_parameter_is_named(http: httpx.Client, more: dict[str, object], param: str) -> None:
    assert refused(http, more)["param"] == param


def test_a_prompt_longer_than_the_model_is_told_its_length(http: httpx.Client) -> None:
    assert "4096" in refused(http, {"messages": [{"role": "user", "content": "word " * 6000}]})["message"]


def refused(http: httpx.Client, more: dict[str, object]) -> dict[str, Any]:
    reply = http.post("/v1/chat/completions", json={"model": "auto", "messages": HELLO, **more})
    assert reply.status_code == 400
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    return error


def test_an_outside_url_is_refused(http: httpx.Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "http://192.0.2.1/x.png"}}
    reply = http.post(
        "/v1/chat/completions", json={"model": "auto", "messages": [{"role": "user", "content": [image]}]}
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "messages[0].content[0].image_url.url"


def test_embeddings_from_a_model_that_cannot(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.embeddings.create(model="auto", input="hello")
    assert "embed" in refused.value.message
