"""Chat, as the official `openai` client sees it, answered by the real model through the real queue."""

import json
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

CAPITALS = {
    "France": "Paris",
    "Italy": "Rome",
    "Germany": "Berlin",
    "Japan": "Tokyo",
    "England": "London",
    "Greece": "Athens",
    "Poland": "Warsaw",
    "Austria": "Vienna",
}


def ask(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def capital_of(country: str) -> list[ChatCompletionMessageParam]:
    return ask(f"What is the capital of {country}?")


def test_a_plain_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="auto", messages=capital_of("France"), max_tokens=16, temperature=0)
    assert "Paris" in str(answer.choices[0].message.content)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage
    assert answer.usage.completion_tokens > 3


def test_a_streamed_answer_with_usage(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="chat-fast",
        messages=capital_of("France"),
        max_tokens=16,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text
    assert len(chunks) > 5
    usage = chunks[-1].usage
    assert usage
    assert usage.completion_tokens == 8


@pytest.mark.parametrize("name", ["chat-lightweight", "chat-reasoning", "code-agentic", "gpt-4o"])
def test_every_name_is_served(client: openai.OpenAI, name: str) -> None:
    answer = client.chat.completions.create(model=name, messages=ask("Hello"), max_tokens=3)
    assert answer.model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert answer.choices[0].message.content


def test_two_answers_at_once(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="auto", messages=ask("Tell me a word."), n=2, max_tokens=8)
    assert [choice.index for choice in answer.choices] == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


def test_a_stop_word_ends_the_answer(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=capital_of("France"), stop=[" is"], temperature=0, max_tokens=32
    )
    assert answer.choices[0].message.content == "The capital of France"


def test_a_seed_repeats_the_answer(client: openai.OpenAI) -> None:
    texts = {
        client.chat.completions.create(
            model="auto", messages=ask("Write a sentence about the sea."), seed=7, temperature=0.8, max_tokens=12
        )
        .choices[0]
        .message.content
        for _ in range(2)
    }
    assert len(texts) == 1


def test_logprobs(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="auto", messages=capital_of("France"), logprobs=True, top_logprobs=3, max_tokens=4, temperature=0
    )
    assert answer.choices[0].logprobs
    tokens = answer.choices[0].logprobs.content or []
    assert [token.token for token in tokens] == ["The", " capital", " of", " France"]
    assert all(len(token.top_logprobs) == 3 and token.logprob <= 0 for token in tokens)


def test_output_that_follows_a_json_schema(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "big": {"type": "boolean"}},
        "required": ["city", "big"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="auto",
        messages=ask("Name a city as JSON with the fields city and big."),
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
        max_tokens=60,
        temperature=0,
    )
    jsonschema.validate(json.loads(str(answer.choices[0].message.content)), schema)


def test_a_tool_that_must_be_called(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model="auto",
        messages=ask("How is the weather in Paris?"),
        tools=[{"type": "function", "function": {"name": "get_weather", "strict": True, "parameters": schema}}],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        max_tokens=100,
        temperature=0,
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    jsonschema.validate(json.loads(call.function.arguments), schema)


def test_one_members_odd_schema_breaks_nobodys_tools(client: openai.OpenAI) -> None:
    """vLLM left alone would choose a grammar backend for it that cannot do tool calls, and keep that for everybody."""
    schema = {"type": "object", "properties": {"age": {"type": "integer", "multipleOf": 5}}, "required": ["age"]}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model="auto",
            messages=ask("How old?"),
            response_format={"type": "json_schema", "json_schema": {"name": "age", "schema": schema}},
        )
    test_a_tool_that_must_be_called(client)


def test_eight_at_once_get_their_own_answers(client: openai.OpenAI) -> None:
    def answer(country: str) -> str:
        stream = client.chat.completions.create(
            model="auto", messages=capital_of(country), max_tokens=24, temperature=0, stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)

    with ThreadPoolExecutor(8) as pool:
        answers = dict(zip(CAPITALS, pool.map(answer, CAPITALS), strict=True))
    assert all(CAPITALS[country] in text for country, text in answers.items()), answers


@pytest.mark.parametrize("text", ["你好，世界 🎉", "naïve café — Ελλάδα", "👩‍👩‍👧‍👦 family"])
def test_unicode_arrives_whole(client: openai.OpenAI, text: str) -> None:
    """The model may only say this text; its characters take several tokens each."""
    stream = client.chat.completions.create(
        model="auto",
        messages=ask("Say it."),
        stream=True,
        max_tokens=64,
        extra_body={"structured_outputs": {"choice": [text]}},
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == text


def test_the_responses_api(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="auto", input="What is the capital of France?", max_output_tokens=16, temperature=0, store=False
    )
    assert "Paris" in answer.output_text


def test_the_responses_api_streams(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(
            model="auto",
            input="What is the capital of France?",
            max_output_tokens=16,
            temperature=0,
            stream=True,
            store=False,
        )
    )
    assert events[-1].type == "response.completed"
    assert "Paris" in "".join(event.delta for event in events if event.type == "response.output_text.delta")
