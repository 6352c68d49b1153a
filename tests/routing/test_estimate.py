"""What a request is taken for before it runs: by its texts, whatever else it carries."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.catalogue import Model, Task
from routing.estimate import (
    AUDIO_TOKENS,
    IMAGE_TOKENS,
    VIDEO_TOKENS,
    Estimate,
    estimate,
    estimate_audio,
    text_tokens,
)
from routing.tokens import most_tokens_of, tokens_of

MODEL = Model.model_validate(
    {"model": "org/chat", "engine": "echo", "memory_gb": 1, "slots": 4, "answer_tokens": 100, "tasks": list(Task)}
)
PHOTO = "data:image/png;base64," + base64.b64encode(bytes(300_000)).decode()
TEXT = " ".join(["tree"] * 100)
HALF = " ".join(["tree"] * 50)
"""A hundred tokens, and half of them."""


def of(body: dict[str, Any], task: Task = Task.GENERATE, width: int = 1, **kwargs: Any) -> Estimate:
    return estimate(body, task, MODEL, width, **kwargs)


def chat(*content: Any) -> dict[str, Any]:
    return {"messages": [{"content": list(content)}]}


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": TEXT},
        {"prompt": [HALF, HALF]},
        {"prompt": [7] * 100},
        {"prompt": [[7] * 50, [8] * 50]},
        {"messages": [{"content": TEXT}]},
        {"messages": [{"content": HALF}, {"content": [{"text": HALF}]}]},
        {"input": TEXT},
        {"input": [{"content": [{"text": TEXT}]}]},
        {"messages": [], "system": TEXT},
        {"messages": [], "system": [{"text": TEXT}]},
        {"input": "", "instructions": TEXT},
        {"prompt": "", "suffix": TEXT},
        {"messages": [], "documents": [{"content": TEXT}]},
        {"messages": [{"tool_calls": [{"function": {"arguments": TEXT}}]}]},
        {"messages": [{"content": [{"input": {"path": TEXT}}]}]},
    ],
)
def test_every_text_of_a_prompt_counts(body: dict[str, Any]) -> None:
    assert of(body).input == 100


@pytest.mark.parametrize("name", ["tools", "functions", "response_format", "text", "output_config", "guided_json"])
def test_schemas_count_as_they_are_written(name: str) -> None:
    schema = {"properties": {"x" * 40: {"type": "string"}}}
    assert of({name: [schema]}).input == tokens_of(json.dumps([schema], separators=(",", ":")))


def test_answers_share_a_prompt_that_counts_once() -> None:
    assert (of({"prompt": TEXT, "n": 4}, width=4).input, of({"prompt": TEXT, "n": 4}, width=4).output) == (100, 400)


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        ({"image_url": {"url": PHOTO}}, IMAGE_TOKENS),
        ({"image_url": PHOTO}, IMAGE_TOKENS),
        ({"image_url": {"url": "data:,"}}, IMAGE_TOKENS),
        ({"source": {"type": "base64", "media_type": "image/png", "data": PHOTO}}, IMAGE_TOKENS),
        ({"source": {"type": "url", "url": "https://example.org/a.png"}}, IMAGE_TOKENS),
        ({"input_audio": {"data": PHOTO, "format": "wav"}}, AUDIO_TOKENS),
        ({"audio_url": {"url": PHOTO}}, AUDIO_TOKENS),
        ({"video_url": {"url": PHOTO}}, VIDEO_TOKENS),
        ({"image_url": {"url": PHOTO}, "text": TEXT}, IMAGE_TOKENS + 100),
        ({"image_url": None, "text": TEXT}, 100),
    ],
)
def test_media_count_by_kind_not_by_length(part: dict[str, Any], tokens: int) -> None:
    assert of(chat(part)).input == tokens
    assert of(chat(part, part)).input == 2 * tokens


def test_a_text_that_looks_like_media_is_a_text() -> None:
    assert of(chat({"text": f"data:{TEXT}"})).input == tokens_of(f"data:{TEXT}") > 100
    assert of(chat({"source": {"type": "text", "data": TEXT}})).input == 101


@pytest.mark.parametrize(
    ("asked", "output"),
    [
        ({}, 100),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 5000}, 100),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": "7"}, 7),
        ({"max_tokens": 7.0}, 7),
        ({"max_tokens": -7}, 100),
        ({"max_tokens": None}, 100),
        ({"max_tokens": [7]}, 100),
        ({"max_tokens": float("inf")}, 100),
        ({"max_output_tokens": 1}, 100),
        ({"max_output_tokens": 1, "input": ""}, 100),
        ({"max_tokens": 1, "prompt": ""}, 100),
    ],
)
def test_an_answer_is_expected_to_be_as_long_as_usual_or_as_it_may_be(asked: dict[str, Any], output: int) -> None:
    assert of({"messages": [], **asked}).output == output


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({"input": "", "max_output_tokens": 7}, 7),
        ({"input": "", "max_tokens": 7}, 100),
        ({"prompt": "", "max_tokens": 7}, 7),
        ({"prompt": "", "max_completion_tokens": 7}, 100),
    ],
)
def test_each_endpoint_has_its_own_word_for_the_longest_answer(body: dict[str, Any], output: int) -> None:
    assert of(body).output == output


def test_what_generates_nothing_has_no_output() -> None:
    assert of({"messages": [{"content": TEXT}]}, generates=False) == Estimate(100, 0, 100.0, 100)
    assert of({"input": [TEXT, TEXT]}, Task.EMBED, width=2) == Estimate(200, 0, 200.0, 200)


def test_speech_is_measured_in_characters_and_takes_no_tokens() -> None:
    assert of({"input": "schön"}, Task.SPEAK) == Estimate(5, 0, 5.0, 0)
    assert of({"input": None}, Task.SPEAK) == Estimate(0, 0, 1.0, 0)


@pytest.mark.parametrize(("size_bytes", "seconds"), [(0, 0), (1, 1), (16_000, 1), (16_001, 2), (960_000, 60)])
def test_recordings_are_measured_in_seconds(size_bytes: int, seconds: int) -> None:
    assert estimate_audio(size_bytes, MODEL) == Estimate(seconds, 0, max(1.0, seconds), 0)


def test_costs_are_the_models_own() -> None:
    model = MODEL.model_copy(update={"costs": MODEL.costs.model_copy(update={"input": 0.5, "output": 3.0})})
    found = estimate({"prompt": TEXT, "max_tokens": 10}, Task.GENERATE, model, 2)
    assert found == Estimate(100, 20, 0.5 * 100 + 3 * 20, 120)


def test_nothing_costs_less_than_one() -> None:
    assert of({"max_tokens": 0, "messages": []}).cost == 1


@pytest.mark.parametrize("name", ["messages", "tools", "input"])
def test_depth_is_no_matter(name: str) -> None:
    value: Any = TEXT
    for _ in range(5_000):
        value = [value]
    assert of({name: value}).input == 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "source", "image_url", "type", "x"]), inner, max_size=3)
    ),
)
BODIES = st.dictionaries(
    st.sampled_from(["messages", "prompt", "input", "system", "tools", "max_tokens", "max_output_tokens"]), JSON
)


@given(BODIES, st.sampled_from(list(Task)), st.integers(1, 64))
def test_any_body_has_an_estimate(body: dict[str, Any], task: Task, width: int) -> None:
    found = of(body, task, width)
    assert found.cost >= 1
    assert min(found.input, found.output, found.tokens) >= 0
    assert found.output <= 100 * width


@given(st.lists(st.text(), max_size=5), st.text())
def test_more_text_is_never_less(texts: list[str], more: str) -> None:
    assert of(chat(*texts, more)).input >= of(chat(*texts)).input


def test_many_texts_are_estimated_as_one() -> None:
    assert of(chat(*["tree"] * 5_000)).input == pytest.approx(5_000, rel=0.05)


@given(st.lists(st.text(max_size=30), max_size=4), st.integers(0, 200))
def test_what_is_surely_less_is_not_counted_and_nothing_else_is_guessed(texts: list[str], exact_from: int) -> None:
    body = chat(*texts) | {"system": " ".join(texts)}
    exact, told = text_tokens(body), text_tokens(body, exact_from)

    assert told == exact or exact <= told < exact_from
    assert (told == exact) or sum(map(most_tokens_of, texts)) < exact_from


def test_images_are_more_than_their_texts() -> None:
    body = chat({"image_url": PHOTO}, "hi")

    assert text_tokens(body, exact_from=IMAGE_TOKENS) == text_tokens(body) > IMAGE_TOKENS
