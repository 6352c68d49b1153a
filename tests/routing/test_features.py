"""Signals of whole conversations: what counts, how much, and that nothing grows with a pasted file."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.conversation import Conversation, Turn, read
from routing.features import DECAY, Features, excerpt, see


def chat(*texts: str, **more: Any) -> Features:
    """Turns of a user and an assistant, by turns."""
    roles = ("user", "assistant")
    messages = [{"role": roles[at % 2], "content": text} for at, text in enumerate(texts)]
    return see(read({"messages": messages, **more})).named


def test_what_was_said_before_counts_less_with_each_turn() -> None:
    ask = "Write me a poem about our cat"
    now, before = chat(ask), chat(ask, "Soft paws …", "Thanks")
    long_ago = chat(ask, "Soft paws …", "Thanks", "…", "Good night")

    name = "asks for creative writing"
    assert before[name] == pytest.approx(DECAY * now[name])
    assert long_ago[name] == pytest.approx(DECAY**2 * now[name])
    assert before["goes on with earlier turns"] == 1


def test_the_first_turn_is_never_out_of_sight() -> None:
    ask = "Refactor this function"
    turns = [ask, *[text for number in range(8) for text in ("Done.", f"Hm {number}")]]
    assert chat(*turns)["asks to program"] > 0


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
