"""What is kept of a request: enough for the router to decide the same again, and nothing that it does not read."""

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from familyai.catalogue import Prefer, Route
from routing.classify import LONGEST_CODE_TOKENS
from routing.decide import judge
from routing.estimate import text_tokens
from routing.examples import read_examples
from routing.kept import MOST_BYTES, PIXEL, kept

EXAMPLES = read_examples()[::7]
"""Of each file some."""
PHOTO = "data:image/jpeg;base64," + "A" * 300_000


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def sure(body: dict[str, Any]) -> dict[str, Any]:
    made = kept(body)
    assert made is not None
    assert len(orjson.dumps(made)) <= MOST_BYTES
    return made


def test_the_router_decides_the_same_again() -> None:
    """The whole verdict, on labelled requests of all sorts; of the longest, which are cut, the kind."""
    cut = 0
    for example in EXAMPLES:
        prefer = Prefer(example.prefer) if example.prefer else None
        before, made = judge(example.body, text_tokens(example.body), Route(), prefer), sure(example.body)
        after = judge(made, text_tokens(made), Route(), prefer)
        if len(orjson.dumps(example.body)) <= MOST_BYTES:
            assert after == before, example.id
        else:
            cut += 1
            assert after.kind is before.kind, example.id
    assert len(EXAMPLES) > 600
    assert cut < len(EXAMPLES) / 20


def test_only_what_the_router_reads_is_kept() -> None:
    body = {
        "model": "auto",
        "messages": [user("Hi")],
        "user": "leo@example.org",
        "metadata": {"chat": "42"},
        "max_tokens": 9,
        "stream": True,
        "reasoning_effort": "high",
        "reasoning": {"effort": "low", "summary": "auto"},
        "chat_template_kwargs": {"enable_thinking": True, "secret": "x"},
        "tools": [{"type": "function", "function": {"name": "timer", "description": "our secret", "parameters": {}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "bank", "schema": {}}},
    }
    assert kept(body) == {
        "messages": [user("Hi")],
        "max_tokens": 9,
        "stream": True,
        "reasoning_effort": "high",
        "reasoning": {"effort": "low"},
        "chat_template_kwargs": {"enable_thinking": True},
        "tools": [{"type": "function", "function": {"name": "timer"}}],
    }


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": PHOTO, "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://family.example/holiday.jpg"}},
        {"type": "input_image", "image_url": PHOTO},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "A" * 300_000}},
        {"type": "image", "source": {"type": "url", "url": "https://family.example/holiday.jpg"}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": "A" * 300_000}}]},
        {"type": "input_audio", "input_audio": {"data": "A" * 300_000, "format": "wav"}},
        {"type": "file", "file": {"filename": "tax.pdf", "file_data": PHOTO}},
        {"type": "image", "image": PHOTO},
    ],
)
def test_no_picture_and_no_recording_is_kept(part: dict[str, Any]) -> None:
    body = {"messages": [user([{"type": "text", "text": "Whose is this?"}, part])]}
    made = sure(body)
    written = orjson.dumps(made).decode()
    assert "AAAA" not in written
    assert "holiday" not in written
    assert made["messages"][0]["content"][0] == body["messages"][0]["content"][0]
    assert judge(made, text_tokens(made), Route()) == judge(body, text_tokens(body), Route())
    if part["type"] not in ("file", "image"):  # an image as no API sends it is counted as text
        assert text_tokens(made) == text_tokens(body)


def test_a_text_that_stands_in_a_source_stays() -> None:
    part = {"type": "document", "source": {"type": "text", "data": "Dear diary"}}
    assert kept({"messages": [user([part])]}) == {"messages": [user([part])]}
    assert kept({"input": [{"type": "input_image", "image_url": PHOTO}]}) == {
        "input": [{"type": "input_image", "image_url": PIXEL}]
    }


def test_long_code_is_cut_and_still_long() -> None:
    code = "".join(f"def area_{i}(width: int) -> int:\n    return width * {i}  # in metres\n\n" for i in range(20_000))
    body = {"messages": [{"role": "system", "content": "Be brief."}, user(f"What is wrong here?\n```\n{code}```")]}
    made = sure(body)
    assert made["messages"][0] == body["messages"][0]
    assert made["messages"][1]["content"].startswith("What is wrong here?")
    assert text_tokens(made) > LONGEST_CODE_TOKENS
    assert judge(made, text_tokens(made), Route()).kind is judge(body, text_tokens(body), Route()).kind


def test_of_a_long_conversation_both_ends_stay() -> None:
    turns = [user(f"question {i} " + "word " * 100) for i in range(3_000)]
    messages = sure({"messages": [{"role": "system", "content": "Be brief."}, *turns]})["messages"]
    assert messages[0]["content"] == "Be brief."
    assert messages[1]["content"].startswith("question 0 ")
    assert messages[-1] == turns[-1]


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [user([{"type": "text", "text": "x"}] * 50_000)]},
        {"messages": [user([{"x" * 100_000: "y"}])]},
    ],
)
def test_what_stays_too_large_is_not_kept(body: dict[str, Any]) -> None:
    assert kept(body) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)
names = st.sampled_from(["messages", "input", "prompt", "system", "tools", "reasoning", "stream", "source"])


@settings(deadline=None)
@given(st.dictionaries(names, anything))
def test_whatever_comes_is_taken(body: dict[str, Any]) -> None:
    made = sure(body)
    assert made.keys() <= body.keys()
    assert sure(made) == made


def test_what_is_nested_as_deep_as_can_be_written_is_not_kept() -> None:
    """In place of a number that should be an image comes an object, which is one level too many."""
    content: Any = {"image_url": 5}
    for _ in range(250):
        content = [content]
    body = {"messages": [{"role": "user", "content": content}]}

    assert orjson.dumps(body)
    assert kept(body) is None
