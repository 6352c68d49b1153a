"""Signals of whole conversations: what counts, how much, and that nothing grows with a pasted file."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from familyai.kinds import Kind
from routing.conversation import Conversation, Turn, read
from routing.features import Features, excerpt, see


def chat(*texts: str, **more: Any) -> Features:
    """Turns of a user and an assistant, by turns, as they stood last."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    return see(read({"messages": messages, **more}).as_it_stood(1)[-1]).named


def test_what_the_conversation_was_before_is_a_signal() -> None:
    conversation = read({"messages": [{"role": "user", "content": "and now with types"}]})
    found = see(conversation, {Kind.CODE_TRADITIONAL: 0.9, Kind.CHAT_FAST: 0.1}).named
    assert (found["was code-traditional"], found["was chat-fast"]) == (0.9, 0.1)
    assert not any(name.startswith("was ") for name in see(conversation).named)


def test_only_the_last_turn_of_the_users_is_seen() -> None:
    ask = "Write me a poem about our cat"
    assert "asks for creative writing" in chat(ask)
    assert "asks for creative writing" not in chat(ask, "Soft paws …", "Thanks")


def test_what_the_first_and_the_last_sentence_say_is_told_apart() -> None:
    found = chat(
        "Write me a poem. We had such a lovely day at the lake with the children. What is the capital of Norway?"
    )
    assert "at first: asks for creative writing" in found
    assert "at last: asks for creative writing" not in found
    assert found["at last: a question"] == 1
    assert "at first: a question" not in found


@pytest.mark.parametrize("text", ["", "Write me a poem", "Write me a poem.", "帮我写一首诗。"])
def test_a_single_sentence_has_no_first_and_last(text: str) -> None:
    assert not any(name.startswith(("at first: ", "at last: ")) for name in chat(text))


def test_a_chinese_text_has_sentences_without_blanks() -> None:
    found = chat("帮我写一首诗。挪威的首都是哪里？")
    assert "at first: asks for creative writing" in found
    assert "at last: asks for creative writing" not in found


def test_an_assistants_code_is_no_code_of_the_users() -> None:
    found = chat("Hi", "```python\nx = 1\ny = 2\n```", "Thanks")
    assert found["answered with a code block"] == 1
    assert "a code block" not in found


def test_words_in_a_code_block_are_not_what_is_meant() -> None:
    said, pasted = chat("once upon a time, a poem"), chat("What is this?\n```\nonce upon a time, a poem\n```")
    assert "asks for creative writing" in said
    assert "asks for creative writing" not in pasted


@pytest.mark.parametrize(
    ("tool", "signal"),
    [
        ("edit_file", "tools of a coding agent"),
        ("browser_click", "tools of a coding agent"),
        ("get_weather", "tools of everyday use"),
    ],
)
def test_tools(tool: str, signal: str) -> None:
    assert chat("Hi", tools=[{"function": {"name": tool}}])[signal] > 0


def test_tools_that_were_used() -> None:
    used = Conversation((Turn("user", "Fix it"), Turn("assistant", "", ("run_command",)), Turn("tool", "ok")))
    assert see(used).named["used tools of a coding agent"] == 1


def test_instructions_are_signals_of_their_own() -> None:
    found = see(read({"system": "You write short poems.", "messages": [{"role": "user", "content": "Hi"}]})).named
    assert any(name.startswith("instructed: ") for name in found)
    assert "asks for creative writing" not in found


def test_a_pasted_file_makes_no_more_signals_than_its_excerpt() -> None:
    small, large = chat("x = 1\n" * 2_000), chat("x = 1\n" * 200_000)
    assert small.keys() == large.keys()


def test_an_excerpt_has_beginning_middle_and_end() -> None:
    text = "a" * 5_000 + "m" * 5_000 + "z" * 5_000
    some = excerpt(text, 1_000)
    assert len(some) <= 1_002
    assert (some[0], some[501], some[-1]) == ("a", "m", "z")
    assert excerpt("short", 1_000) == "short"


@given(st.lists(st.text(), max_size=6))
def test_any_conversation_has_signals_between_0_and_about_1(texts: list[str]) -> None:
    assert all(0 <= value <= 2 for value in chat(*texts).values())
