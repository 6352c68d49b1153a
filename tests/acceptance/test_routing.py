"""`model: "auto"` with real engines: every kind is told apart, and its answer says which way it came."""

import openai
import pytest

REQUESTS = {
    "code-traditional": "Fix this Python function:\n```python\ndef f(x):\n    return x / 0\n```\nZeroDivisionError",
    "code-agentic": "Go through the whole repository, rename Customer to Client in all files, and run the tests until "
    "they pass",
    "chat-lightweight": "capital of Peru?",
    "chat-fast": "What should I cook for my family tonight? Some ideas with chicken and rice, please, not too spicy",
    "chat-reasoning": "Write a bedtime story about a dragon who is afraid of fire, with rhymes, about two pages",
}


@pytest.mark.parametrize(("kind", "text"), REQUESTS.items())
def test_an_answer_says_what_its_request_was_taken_for(client: openai.OpenAI, kind: str, text: str) -> None:
    messages = [{"role": "user", "content": text}]
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=messages, max_tokens=4)  # type: ignore[call-overload]
    assert raw.headers["x-familyai-queue"] == kind
    assert raw.headers["x-familyai-route"].startswith(f"{kind};confidence=")
    assert raw.parse().choices[0].message.content


def test_a_stream_says_so_too(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(
        model="auto", stream=True, max_tokens=4, messages=[{"role": "user", "content": REQUESTS["chat-fast"]}]
    ) as response:
        assert response.headers["x-familyai-route"].startswith("chat-fast;confidence=")
        assert "[DONE]" in "".join(response.iter_lines())


def test_a_title_is_a_chat_uis_own(client: openai.OpenAI) -> None:
    asked = "### Task:\nGenerate a concise title.\n### Chat History:\n<chat_history>\nUSER: Hi\n</chat_history>"
    messages = [{"role": "user", "content": asked}]
    raw = client.chat.completions.with_raw_response.create(model="auto", messages=messages, max_tokens=4)  # type: ignore[call-overload]
    assert raw.headers["x-familyai-queue"] == "chat-lightweight"
    assert raw.headers["x-familyai-route"].startswith("side-task;")


def test_every_model_is_listed_with_what_it_can(client: openai.OpenAI) -> None:
    listed = {model.id: model for model in client.models.list()}
    assert listed["auto"].owned_by == "familyai"
    assert listed["chat-fast"].owned_by == "HuggingFaceTB"
    assert listed["chat-fast"].resident is True  # type: ignore[attr-defined]
    assert listed["chat-fast"].context_tokens == 4096  # type: ignore[attr-defined]
    assert "tools" in listed["chat-fast"].capabilities  # type: ignore[attr-defined]
