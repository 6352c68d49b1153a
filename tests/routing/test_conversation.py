"""Every endpoint's body is read as the same conversation; what is no valid body is read as far as it goes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.conversation import Turn, read

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("messages", "input", "prompt", "system", "instructions", "tools", "functions", "suffix")


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]},
        {"messages": [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": "Hi"}]},
        {"system": "Be kind.", "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
        {"system": [{"type": "text", "text": "Be kind."}], "messages": [{"role": "user", "content": "Hi"}]},
        {"instructions": "Be kind.", "input": "Hi"},
        {"instructions": "Be kind.", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
    ],
)
def test_the_same_question_by_every_endpoint(body: dict[str, Any]) -> None:
    conversation = read(body)

    assert conversation.turns == (Turn("user", "Hi"),)
    assert conversation.system == "Be kind."
    assert not conversation.has_image
    assert not conversation.tools


@pytest.mark.parametrize(
    ("prompt", "text"), [("Once upon", "Once upon"), (["One", "Two"], "One"), ([1, 2], ""), ([[1]], ""), (None, "")]
)
def test_a_prompt_is_what_a_user_said(prompt: Any, text: str) -> None:
    conversation = read({"prompt": prompt, "suffix": "the end"})

    assert conversation.turns == (Turn("user", text),)
    assert conversation.fills_in


@pytest.mark.parametrize("suffix", ["", None, 3])
def test_no_gap_without_a_text_behind_it(suffix: Any) -> None:
    assert not read({"prompt": "def f(", "suffix": suffix}).fills_in


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [IMAGE]}],
        [
            {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
            {"role": "user", "content": "?"},
        ],
        [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "iVBORw0KGgo="}}]}],
        [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image", "source": {}}]}]}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]}],
    ],
)
@pytest.mark.parametrize("name", ["messages", "input"])
def test_an_image_anywhere_is_seen(messages: list[Any], name: str) -> None:
    assert read({name: messages}).has_image


@pytest.mark.parametrize(
    "output",
    [
        [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}],
        [{"type": "input_text", "text": "Here:"}, {"type": "input_image", "image_url": "data:,"}],
    ],
)
def test_an_image_that_a_tool_gave_back_is_seen(output: list[Any]) -> None:
    called = {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"}
    given = {"type": "function_call_output", "call_id": "1"}

    assert read({"input": [called, given | {"output": output}]}).has_image
    assert not read({"input": [called, given | {"output": "input_image"}]}).has_image


def test_words_on_images_are_none() -> None:
    assert not read(
        {"messages": [{"role": "user", "content": "image_url: data:image/png;base64,iVBORw0KGgo="}]}
    ).has_image


TOOLS_BY_ENDPOINT = [
    {"tools": [{"type": "function", "function": {"name": "edit_file"}}]},
    {"tools": [{"type": "function", "name": "edit_file"}]},
    {"tools": [{"name": "edit_file", "input_schema": {}}]},
    {"functions": [{"name": "edit_file"}]},
]


@pytest.mark.parametrize("body", TOOLS_BY_ENDPOINT)
def test_tools_are_known_by_name(body: dict[str, Any]) -> None:
    assert read(body).tools == ("edit_file",)


def test_of_a_tool_with_a_name_without_end_the_beginning_is_kept() -> None:
    """The router searches names for what tools do, and 32 MB of one would take it seconds."""
    name = "x" * 1_000
    calls = [{"role": "assistant", "tool_calls": [{"function": {"name": name}}]}]
    conversation = read({"tools": [{"name": name}], "messages": calls})

    assert conversation.tools == conversation.turns[0].calls == ("x" * 128,)


@pytest.mark.parametrize(
    "items",
    [
        [
            {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "ls"}}]},
            {"role": "tool", "content": "a.py"},
        ],
        [
            {"role": "assistant", "content": [{"type": "tool_use", "name": "ls", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "a.py"}]},
        ],
        [
            {"type": "function_call", "name": "ls", "arguments": "{}"},
            {"type": "function_call_output", "output": "a.py"},
        ],
    ],
)
def test_calls_and_what_tools_gave_back_are_no_words_of_the_users(items: list[Any]) -> None:
    conversation = read({"messages": [{"role": "user", "content": "Look"}, *items]})

    assert [turn.role for turn in conversation.turns] == ["user", "assistant", "tool"]
    assert conversation.turns[1].calls == ("ls",)
    assert conversation.asked == ["Look"]


def test_what_was_asked_before_is_what_the_last_answer_followed() -> None:
    said = [("user", "A"), ("assistant", "1"), ("user", "B"), ("assistant", "2"), ("user", "C"), ("user", "D")]
    messages = [{"role": role, "content": text} for role, text in said]

    conversation = read({"messages": messages})
    assert (conversation.asked, conversation.asked_before) == (["A", "B", "C", "D"], ["A", "B"])
    assert read({"messages": messages[:3]}).asked == ["A", "B"]
    assert read({"messages": messages[:1]}).asked_before == []


def test_as_it_stood_at_each_of_the_users_turns() -> None:
    said = [("user", "A"), ("assistant", "1"), ("user", "B"), ("assistant", "2"), ("user", "C"), ("assistant", "3")]
    conversation = read({"system": "S", "messages": [{"role": role, "content": text} for role, text in said]})

    stood = conversation.as_it_stood(2)
    assert [[turn.text for turn in state.turns] for state in stood] == [["1", "B"], ["1", "2", "C", "3"]]
    assert {state.system for state in stood} == {"S"}
    assert [state.asked for state in conversation.as_it_stood(9)] == [["A"], ["B"], ["C"]]
    assert read({"messages": []}).as_it_stood(3) == [read({"messages": []})]


@given(st.dictionaries(st.sampled_from(KEYS), JSON))
def test_any_body_can_be_read(body: dict[str, Any]) -> None:
    conversation = read(body)
    assert all(isinstance(turn.text, str) for turn in conversation.turns)
    assert all(isinstance(name, str) for name in conversation.tools)
